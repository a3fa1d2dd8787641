package maildrop

import (
	"errors"
	"slices"
)

// Expunge removes messages for good, whatever their flags, and returns which
// were removed.
func (f *Folder) Expunge(uids []uint32) ([]uint32, *Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return nil, nil, err
	}
	var done []uint32
	var size int64
	var failed error
	for _, uid := range uids {
		i, ok := f.state.find(uid)
		if !ok {
			continue
		}
		m := f.state.msgs[i]
		if failed = f.unlink(m); failed != nil {
			break
		}
		done = append(done, uid)
		size += m.Size
	}
	err := f.dropped(done)
	f.box.used(-size, -int64(len(done)))
	return done, f.snap.Load(), errors.Join(failed, err)
}

// unlink removes a message's file, wherever others have moved it.
func (f *Folder) unlink(m *Message) error {
	err := f.wherever(m, func(at found) error { return f.in(at).Remove(at.file) })
	if errors.Is(err, ErrNoMessage) {
		return nil
	}
	return err
}

// dropped takes messages whose files are gone out of the state.
func (f *Folder) dropped(uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	st := &f.state
	slices.Sort(uids)
	keep := make([]*Message, 0, len(st.msgs))
	for _, m := range st.msgs {
		if _, gone := slices.BinarySearch(uids, m.UID); gone {
			delete(st.uids, m.Base())
			continue
		}
		keep = append(keep, m)
	}
	st.msgs = keep
	st.modseq++
	st.forget(uids)
	return f.finish(change{expunged: uids})
}
