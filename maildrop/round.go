package maildrop

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"hoplite/internal/parallel"
	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// round is one look at a folder's disk: it reads what changed, has package
// reconcile decide what follows, carries that out and publishes it. The
// folder is locked.
type round struct {
	*Folder
	list *lockedList // nil while the uidlist is not locked
	now  stamp       // the stamps from before the reading
	scan *scan
}

// read reads what changed since the folder was last read, or everything.
func (r *round) read(all bool) (err error) {
	r.scan = &scan{files: r.files, known: &r.known, since: r.since, log: r.box.store.log}
	return r.scan.read(r.now, all)
}

// run reads what changed: without the lock if nothing has to be decided, else
// with the uidlist locked.
func (r *round) run(all bool) error {
	// A folder that nobody served yet has nothing but unknown files.
	if !r.known.Known && r.now.List == (index.FileStamp{}) {
		return r.runLocked(true)
	}
	if err := r.read(all); err != nil {
		return err
	}
	next, changes, plan := reconcile.Reconcile(&r.known, r.scan.r)
	if plan.Lock {
		return r.runLocked(all || plan.All)
	}
	return r.carryOut(next, changes, plan)
}

// runLocked locks the uidlist, reads what changed, and decides. If the disk
// has been at rest since it was read without the lock, it need not be read
// again.
func (r *round) runLocked(all bool) (err error) {
	if r.list, err = r.lockList(lockWait); err != nil {
		return err
	}
	defer r.list.release()
	if r.scan != nil && r.scan.rest {
		now, _, err := r.look()
		if err != nil {
			return err
		}
		if now.Equal(r.now) {
			return r.decide()
		}
	}
	return r.refresh(all)
}

// refresh reads what changed, with the uidlist locked, and decides.
func (r *round) refresh(all bool) (err error) {
	if r.now, _, err = r.look(); err != nil {
		return err
	}
	if err := r.read(all); err != nil {
		return err
	}
	if err := r.scan.lookAgain(r.now); err != nil {
		return err
	}
	return r.decide()
}

// decide makes the reading the folder's state. The uidlist is locked.
func (r *round) decide() error {
	reading := r.scan.r
	reading.Locked = true
	if reading.List != nil {
		if err := r.identify(reading); err != nil {
			return err
		}
	}
	return r.carryOut(reconcile.Reconcile(&r.known, reading))
}

// identify fills in what a uidlist lacks.
func (r *round) identify(reading *reconcile.Reading) (err error) {
	list := reading.List
	if list.Validity == 0 {
		if list.Validity, err = maildir.NextUIDValidity(r.box.dir); err != nil {
			return err
		}
	}
	if list.GUID == "" {
		list.GUID = newGUID()
	}
	if list.Validity != r.known.Validity {
		reading.ForeignModSeq = r.foreignModSeq()
	}
	return nil
}

func newGUID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// carryOut does what the plan says and publishes the new state. Without the
// uidlist's lock the plan writes nothing.
func (r *round) carryOut(next reconcile.State, c reconcile.Changes, plan reconcile.Plan) error {
	f, reading := r.Folder, r.scan.r
	if plan.Err != nil {
		return plan.Err
	}
	vanished, err := r.settleNew(&next, plan)
	if noRoom(err) && !reading.KeepNew && (f.known.Known || !reading.Damaged) {
		// Readers must get at the old mail to make room for the new.
		f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("disk full: new mail is not shown")
		reading.KeepNew = true
		return r.decide()
	}
	if err != nil {
		return err
	}
	next.Drop(&c, vanished)
	if r.moveToCur(plan.Assigned) {
		// What others did to the directories since the reading is seen when they
		// have settled.
		if _, err := f.lookDirs(&r.now); err != nil {
			return err
		}
	}
	if next.GUID != f.known.GUID || next.Validity != f.known.Validity {
		f.index.close() // another folder's files took the place of this one's
	}
	f.known = next
	c.Flagged = append(c.Flagged, r.retry(plan.Pending)...)
	f.since, f.settle = r.now, young(r.now)
	if reading.KeepNew {
		f.since.New = time.Time{} // look again
	}
	f.raise(r.list)
	if r.list != nil {
		if err := r.list.restamp(&f.since); err != nil {
			return err
		}
	}
	if c.Quiet && f.snap.Load() != nil {
		return nil
	}
	f.publish(c)
	return nil
}

// settleNew measures new messages while their lines are on the way to the
// uidlist. It returns those whose files are gone; a line without a file leaves
// a UID that no message has.
func (r *round) settleNew(next *reconcile.State, plan reconcile.Plan) (vanished []*Message, err error) {
	if r.list == nil || len(plan.Append) == 0 && !plan.Rewrite {
		return r.measureAll(plan.Measure)
	}
	measured := make(chan error, 1)
	var list *maildir.UIDList
	if plan.Rewrite {
		list = next.List(nil)
	}
	go func() {
		var err error
		vanished, err = r.measureAll(plan.Measure)
		measured <- err
	}()
	err = r.list.write(next, list, plan.Append)
	return vanished, errors.Join(<-measured, err)
}

// measureAll fills in sizes and dates of new messages. When a large folder is
// opened for the first time, names that have the sizes are believed for now,
// and the files are looked at after the reader has its answer. A lock is kept
// fresh in the meantime.
func (r *round) measureAll(msgs []*Message) (vanished []*Message, err error) {
	const many = 100
	f := r.Folder
	if !f.known.Known && len(msgs) > many {
		f.dating = newDating(f.files, f.box.store.log)
	}
	gone := make([]bool, len(msgs))
	err = parallel.Do(len(msgs), func(i int) error {
		m := msgs[i]
		if f.dating != nil && reconcile.Believe(m) {
			m.Dating = f.dating.Dating
			return nil
		}
		st, err := f.in(fileOf(m)).Stat(m.File)
		if err == nil && reconcile.Measure(m, st) {
			m.Size, m.Wire, err = f.measure(m)
			m.Exact = true
		}
		if r.list != nil {
			r.list.touch()
		}
		gone[i] = isNot(err)
		return ignoreMissing(err)
	})
	for i, m := range msgs {
		if gone[i] {
			vanished = append(vanished, m)
		}
	}
	if f.dating != nil {
		f.dating.msgs = msgs
	}
	return vanished, err
}

// moveToCur moves messages from new to cur, and reports whether any were. One
// that cannot be moved now stays in new, where it can be read as well.
func (r *round) moveToCur(msgs []*Message) (moved bool) {
	for _, m := range msgs {
		if !m.New {
			continue
		}
		name := m.File
		if _, info := maildir.Split(name); info == "" {
			name += ":2,"
		}
		if err := r.new.Rename(m.File, r.cur, name); err != nil {
			r.box.store.log.Debug().Err(err).Msg("new mail stays in new")
			continue
		}
		m.File, m.New, moved = name, false, true
	}
	return moved
}

// retry writes flags that could not be written before, and returns the
// messages that it wrote. Their slice is not shown to readers yet.
func (r *round) retry(pending []*Message) (done []*Message) {
	for _, m := range pending {
		i, ok := r.known.Find(m.UID)
		if !ok || r.known.Messages[i] != m {
			continue
		}
		next := *m
		if r.renameFlags(&next, m) == nil && next.File != "" {
			r.known.Messages[i] = &next
			done = append(done, &next)
		}
	}
	return done
}
