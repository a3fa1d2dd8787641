package maildrop

import (
	"errors"
	"fmt"
	"time"

	"hoplite/maildrop/maildir"
)

// incoming is a message that gets a UID and a file in cur.
type incoming struct {
	message Message
	base    string
	place   func(name string) error // puts the file into cur
	undo    func(name string)
}

// place gives messages their UIDs and files in cur, all or none: first the
// lines of the uidlist - a line without a file is harmless, a file whose UID
// was shown but not written is not - then the files, then everything durable.
// f.mu is held.
func (f *Folder) place(items []incoming) ([]*Message, error) {
	lock, err := f.lockList()
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	// Others may have given out UIDs while we waited.
	if now, err := f.fileStamp(maildir.UIDListFile); err != nil {
		return nil, err
	} else if !now.Equal(f.state.stamp.List) {
		if err := f.underLock(lock); err != nil {
			return nil, err
		}
	}
	st := &f.state
	msgs := make([]*Message, len(items))
	entries := make([]maildir.Entry, len(items))
	saved := time.Now().Unix()
	for i := range items {
		m := items[i].message
		m.UID, m.ModSeq, m.Saved = st.next+uint32(i), st.modseq+1, saved
		m.File = items[i].base
		m.File = infoName(&m)
		msgs[i] = &m
		entries[i] = maildir.Entry{UID: m.UID, Ext: m.Ext, Base: items[i].base}
	}
	if err := f.writeList(&reading{files: nil}, entries); err != nil {
		return nil, err
	}
	st.next += uint32(len(items))
	for i, item := range items {
		if err := item.place(msgs[i].File); err != nil {
			for j := range i {
				items[j].undo(msgs[j].File)
			}
			return nil, errors.Join(fmt.Errorf("store a message: %w", err), f.finish(change{}))
		}
	}
	if err := f.curSync.sync(f.cur); err != nil {
		for i, item := range items {
			item.undo(msgs[i].File)
		}
		return nil, errors.Join(err, f.finish(change{}))
	}
	st.modseq++
	st.msgs = append(st.msgs, msgs...) // snapshots end before the new ones
	if st.uids != nil {
		for _, m := range msgs {
			st.uids[m.Base()] = m.UID
		}
	}
	return msgs, f.finish(change{added: msgs})
}

// underLock is sync for those who hold the uidlist's lock already.
func (f *Folder) underLock(lock *maildir.Lock) error {
	now, _, err := f.look()
	if err != nil {
		return err
	}
	r, err := f.read(now, true)
	if err != nil {
		return err
	}
	return f.adopt(r, lock)
}
