package maildrop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// openIndex opens the directory of all indexes of the store.
func (s *Store) openIndex() error {
	if s.env.NoIndex {
		return nil
	}
	dir := filepath.Join(s.env.Data, "index", pathPart(s.set.Load().Name))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("open the index of maildrop %q: %w", s.set.Load().Name, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the index of maildrop %q: %w", s.set.Load().Name, err)
	}
	s.index = root
	return nil
}

// indexRoot opens the index directory of a folder. Its name has the folder's
// GUID, and its inode as well: a copy of a Maildir has the same GUIDs.
func (f *Folder) indexRoot(guid string) (*os.Root, error) {
	if f.box.store.index == nil || guid == "" {
		return nil, nil
	}
	st, err := f.dir.StatSelf()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(guid[:2], fmt.Sprintf("%s-%x", guid, st.Ino))
	if err := f.box.store.index.MkdirAll(name, 0o700); err != nil {
		return nil, err
	}
	return f.box.store.index.OpenRoot(name)
}

// load takes the folder's state from the index, if it has one.
func (f *Folder) load() {
	st := &f.state
	st.recent, st.ceilingAt = max(st.recent, 1), -1
	if err := f.cleanTmp(time.Now()); err != nil {
		f.box.store.log.Debug().Err(err).Msg("clean tmp")
	}
	list := f.listHead()
	if list == nil || list.GUID == "" {
		return
	}
	s := f.openLog(list.GUID)
	if s == nil || s.Head.Validity != list.Validity {
		return
	}
	h := s.Head
	st.msgs = append([]*Message{}, s.Messages...) // never nil: the log says so much
	st.logged, st.gone = st.msgs, s.Gone
	st.keywords, st.loggedKeywords, st.other = s.Keywords, s.Keywords, s.Other
	st.validity, st.next, st.guid = h.Validity, h.Next, list.GUID
	st.modseq, st.recent, st.goneFloor = h.ModSeq, h.Recent, h.GoneFloor
	st.lines, st.ceiling, st.ceilingAt = h.Lines, h.Ceiling, h.CeilingAt
	st.stamp, st.settle, st.loaded = h.Stamp, h.Settle, true
	if s.Doubtful {
		// Readers may know of changes that we don't.
		st.modseq = max(st.modseq, list.ModSeq)
		st.goneFloor, st.settle = st.modseq, true
	}
	f.snap.Store(st.snapshot())
}

// listHead reads the header of the uidlist.
func (f *Folder) listHead() *maildir.UIDList {
	r, err := f.dir.Open(maildir.UIDListFile)
	if err != nil {
		return nil
	}
	defer r.Close()
	b := make([]byte, 4096)
	n, _ := r.ReadAt(b, 0)
	i := slices.Index(b[:n], '\n')
	if i < 0 {
		return nil
	}
	list, err := maildir.ParseUIDList(string(b[:i+1]))
	if err != nil {
		return nil
	}
	return list
}

// openLog opens the folder's log; nil when there is none to be had.
func (f *Folder) openLog(guid string) *index.State {
	st := &f.state
	root, err := f.indexRoot(guid)
	if root == nil && err == nil {
		st.noLog = true
		return nil
	}
	var s *index.State
	if err == nil {
		st.log, s, err = index.OpenLog(root)
	}
	if err != nil {
		st.noLog = true
		f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("working without an index")
		if root != nil {
			root.Close()
		}
		return nil
	}
	f.items.setRoot(root)
	return s
}

// closeIndex closes the log and the cache.
func (f *Folder) closeIndex() {
	st := &f.state
	st.log.Close()
	st.log, st.noLog, st.logged, st.loggedKeywords = nil, false, nil, nil
	if err := f.items.close(); err != nil {
		f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("item cache")
	}
}

// record writes a change to the index. The index may lag behind or fail: what
// it lacks is read from the Maildir again.
func (f *Folder) record(c change) {
	st := &f.state
	f.items.drop(c.expunged)
	if st.noLog {
		return
	}
	if st.log == nil {
		if f.openLog(st.guid) == nil {
			return
		}
		// Whatever is in there is not of this state.
		st.logged = nil
	}
	if st.logged == nil {
		f.rewriteSoon()
		return
	}
	b := index.Batch{Head: f.head(), Added: c.added, Flagged: c.flagged}
	for _, uid := range c.expunged {
		b.Gone = append(b.Gone, index.Gone{UID: uid, ModSeq: st.modseq})
	}
	if c.all {
		b.Added, b.Flagged, b.Gone = difference(st.logged, st.msgs, st.modseq)
		for _, g := range b.Gone {
			f.items.drop([]uint32{g.UID})
		}
	}
	if !slices.Equal(st.keywords, st.loggedKeywords) {
		b.Keywords = st.keywords
	}
	if err := st.log.Write(b); err != nil {
		f.loseLog(err)
		return
	}
	st.logged, st.loggedKeywords = st.msgs, st.keywords
	if st.log.Wasteful() {
		f.rewriteLog()
	}
}

// putOff is how long work waits that nobody waits for.
const putOff = 50 * time.Millisecond

// rewriteSoon writes the whole state to the log, after whoever waits for it
// has gone on: a reader who opens a large folder for the first time.
func (f *Folder) rewriteSoon() {
	if f.state.rewriting {
		return
	}
	f.state.rewriting = true
	time.AfterFunc(putOff, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.dated(); f.state.rewriting {
			f.rewriteLog()
		}
	})
}

// rewriteLog writes the whole state to the log.
func (f *Folder) rewriteLog() {
	st := &f.state
	st.rewriting = false
	err := st.log.Rewrite(&index.State{Head: f.head(), Other: st.other, Keywords: st.keywords, Messages: st.msgs, Gone: st.gone})
	if err != nil {
		f.loseLog(err)
		return
	}
	st.logged, st.loggedKeywords = st.msgs, st.keywords
}

// loseLog goes on without a log that can't be written.
func (f *Folder) loseLog(err error) {
	f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("index not written")
	f.state.log.Close()
	f.state.log, f.state.noLog = nil, true
}

// head is what the log says of the state apart from messages.
func (f *Folder) head() index.Head {
	st := &f.state
	return index.Head{
		Validity: st.validity, Next: st.next, ModSeq: st.modseq, Recent: st.recent, GoneFloor: st.goneFloor,
		Lines: st.lines, Ceiling: st.ceiling, CeilingAt: st.ceilingAt, Stamp: st.stamp, Settle: st.settle,
	}
}

// difference is what leads from one list of messages to another.
func difference(old, now []*Message, modseq uint64) (added, flagged []*Message, gone []index.Gone) {
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].UID < now[0].UID:
			gone = append(gone, index.Gone{UID: old[0].UID, ModSeq: modseq})
			old = old[1:]
		case len(old) == 0 || now[0].UID < old[0].UID:
			added = append(added, now[0])
			now = now[1:]
		default:
			a, b := old[0], now[0]
			old, now = old[1:], now[1:]
			if a == b {
				continue
			}
			if a.Base() == b.Base() && a.Ext == b.Ext && a.Size == b.Size && a.Wire == b.Wire && a.Date == b.Date && a.Saved == b.Saved {
				flagged = append(flagged, b)
			} else {
				added = append(added, b)
			}
		}
	}
	return added, flagged, gone
}

// unload writes what is left to write and forgets the folder's state.
func (f *Folder) unload() {
	if f.dated(); f.state.loaded && !f.deleted.Load() {
		// A directory that had no time to settle would be read again.
		if err := f.sync(); err != nil && !errors.Is(err, ErrGone) {
			f.box.store.log.Debug().Err(err).Msg("last look at a folder")
		}
		if f.record(change{}); f.state.rewriting {
			f.rewriteLog()
		}
	}
	f.closeIndex()
	f.state = state{}
	f.snap.Store(nil)
}

// erase removes the folder's index.
func (f *Folder) erase() {
	guid := f.state.guid
	if list := f.listHead(); list != nil && guid == "" {
		guid = list.GUID
	}
	f.closeIndex()
	f.state.noLog = true
	st, err := f.dir.StatSelf()
	if f.box.store.index == nil || guid == "" || err != nil {
		return
	}
	name := filepath.Join(guid[:2], fmt.Sprintf("%s-%x", guid, st.Ino))
	if err := f.box.store.index.RemoveAll(name); err != nil {
		f.box.store.log.Warn().Err(err).Msg("remove index")
	}
}
