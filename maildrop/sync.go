package maildrop

import (
	"errors"
	"fmt"
	"time"

	"hoplite/maildrop/reconcile"
)

// sync adopts changes on disk. The caller holds f.mu.
func (f *Folder) sync() error {
	if f.finishDates(); f.deleted.Load() {
		return ErrGone
	}
	now, gone, err := f.look()
	if err != nil {
		return fmt.Errorf("examine folder %s: %w", f.dir.Path(), err)
	}
	if gone {
		f.markDeleted()
		return ErrGone
	}
	if !f.known.Known {
		f.load()
	}
	arrived := f.fresh.Swap(false)
	same := f.known.Known && now.Equal(f.since)
	all := false
	switch {
	case arrived || !same:
	case !f.settle:
		return nil
	case time.Since(now.Cur) > settleTime && time.Since(now.New) > settleTime:
		all = true
	case time.Since(now.New) > settleTime:
		return nil // read again when the directories have settled
	}
	r := round{Folder: f, now: now}
	if err := r.run(all); err != nil {
		return fmt.Errorf("read folder %s: %w", f.dir.Path(), err)
	}
	return nil
}

// unchanged reports whether the disk is unchanged since it was last read. It
// needs no descriptor, so folders that clients are only watching do not hold
// any.
func (f *Folder) unchanged() bool {
	if !f.mu.TryLock() {
		return true // the folder is in use, so it has just been checked
	}
	defer f.mu.Unlock()
	return f.known.Known && !f.settle && !f.fresh.Load() && f.dates == nil && f.glance().Equal(f.since)
}

// markDeleted marks the folder as deleted.
func (f *Folder) markDeleted() {
	f.deleted.Store(true)
	if s := f.snap.Load(); s != nil {
		gone := *s
		gone.Gone = true
		f.snap.Store(&gone)
	}
	f.watchers.wake()
}

// raiseWait is the maximum time that a change waits for the lock to raise the
// bound in the uidlist. If another program holds the lock longer, the next
// change retries.
const raiseWait = time.Second

// raise keeps the bound in the uidlist's header above the modification
// sequence. l is nil if the uidlist is not locked. A failure matters only if
// the index is lost later.
func (f *Folder) raise(l *lockedList) {
	if f.known.ModSeq < f.known.Ceiling {
		return
	}
	err := f.raiseTo(l, f.known.Bound())
	if err != nil {
		f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("modification sequence not saved in the uidlist")
	}
}

func (f *Folder) raiseTo(l *lockedList, bound uint64) error {
	same := l != nil
	if l == nil {
		var err error
		if l, err = f.lockList(raiseWait); err != nil {
			return err
		}
		defer l.release()
		now, err := l.stamp()
		if err != nil {
			return err
		}
		// The stamp must not cover lines added by other programs that have not
		// been read yet.
		same = now.Equal(f.since.List)
	}
	err := l.raise(bound)
	if errors.Is(err, errNoBound) && same {
		err = l.write(&f.known, f.known.List(nil), nil)
	}
	if err != nil {
		return err
	}
	f.known.Ceiling = bound
	if !same {
		return nil
	}
	f.since.List, err = l.stamp()
	return err
}

// finish completes a change made by this process. It updates the directory
// stamps, so that the directories need not be read again. l is nil if the
// uidlist is not locked and therefore has not been changed.
func (f *Folder) finish(l *lockedList, c reconcile.Changes) error {
	f.raise(l)
	if l != nil {
		if err := l.restamp(&f.since); err != nil {
			return err
		}
	}
	if _, err := f.lookDirs(&f.since); err != nil {
		return err
	}
	f.settle = true
	f.publish(c)
	return nil
}

// publish makes the state visible to readers and writes it to the index.
func (f *Folder) publish(c reconcile.Changes) {
	f.snap.Store(snapshotOf(&f.known))
	defer f.watchers.wake()
	if f.index.write(&f.known, headOf(&f.known, f.since, f.settle), c) {
		return
	}
	// Rewrite the index after the client has received its response.
	time.AfterFunc(indexDelay, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.finishDates(); f.index.behind {
			f.index.rewrite(&f.known, headOf(&f.known, f.since, f.settle))
		}
	})
}

// indexDelay is the time for which rewriting the index is delayed so that
// readers are served first.
const indexDelay = 50 * time.Millisecond

// load restores the folder's state from the index, if any.
func (f *Folder) load() {
	k := &f.known
	k.Recent = max(k.Recent, 1)
	if err := f.cleanTmp(time.Now()); err != nil {
		f.box.store.log.Debug().Err(err).Msg("clean tmp")
	}
	list := f.listHead()
	if list == nil || list.GUID == "" {
		return
	}
	s := f.index.open(list.GUID)
	if s == nil || s.Head.Validity != list.Validity {
		return
	}
	h := s.Head
	*k = reconcile.State{
		Known: true, Messages: s.Messages, Keywords: s.Keywords,
		Validity: h.Validity, Next: h.Next, GUID: list.GUID, Other: s.Other, Lines: h.Lines,
		ModSeq: h.ModSeq, Ceiling: h.Ceiling, Recent: h.Recent, Gone: s.Gone, GoneFloor: h.GoneFloor,
	}
	f.index.current(k)
	f.since, f.settle = h.Stamp, h.Settle
	if s.Doubtful {
		// Clients may have seen changes that the index lacks.
		k.ModSeq = max(k.ModSeq, list.ModSeq)
		k.GoneFloor, f.settle = k.ModSeq, true
	}
	f.snap.Store(snapshotOf(k))
}

// unload writes pending changes and discards the folder's state.
func (f *Folder) unload() {
	if f.finishDates(); f.known.Known && !f.deleted.Load() {
		// Otherwise, a directory that has not settled would have to be read
		// again.
		if err := f.sync(); err != nil && !errors.Is(err, ErrGone) {
			f.box.store.log.Debug().Err(err).Msg("sync folder before closing")
		}
		f.index.write(&f.known, headOf(&f.known, f.since, f.settle), reconcile.Changes{})
		if f.index.behind {
			f.index.rewrite(&f.known, headOf(&f.known, f.since, f.settle))
		}
	}
	f.index.close()
	f.forget()
}

// forget discards everything known about the folder.
func (f *Folder) forget() {
	f.known, f.since, f.settle, f.dates = reconcile.State{}, stamp{}, false, nil
	f.index.off = false
	f.snap.Store(nil)
}
