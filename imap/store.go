package imap

import (
	"slices"
	"strings"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// enableCondstore makes MODSEQ part of every untagged FETCH from now on
// (RFC 7162, 3.1).
func (s *session) enableCondstore() {
	if s.condstore {
		return
	}
	s.condstore = true
	if s.sel != nil {
		s.untagged("OK [HIGHESTMODSEQ %d] highest", max(s.sel.view.ModSeq, 1))
	}
}

// parseFlags sorts flags into system flags and keywords. \Recent cannot be
// set; other names with a backslash are nothing that we know.
func (s *session) parseFlags(names []string) (maildrop.Flags, []string) {
	var flags maildrop.Flags
	var keywords []string
	for _, n := range names {
		if n == "" {
			continue // the parser has found a mistake there
		}
		switch strings.ToLower(n) {
		case `\seen`:
			flags |= maildrop.Seen
		case `\answered`:
			flags |= maildrop.Answered
		case `\flagged`:
			flags |= maildrop.Flagged
		case `\deleted`:
			flags |= maildrop.Deleted
		case `\draft`:
			flags |= maildrop.Draft
		default:
			if n[0] == '\\' {
				s.p.Fail("unknown flag " + n)
				continue
			}
			keywords = append(keywords, n)
		}
	}
	return flags, keywords
}

var errReadOnly = no{"[READ-ONLY] mailbox is selected read-only"}

// doStore runs STORE and UID STORE.
func (s *session) doStore(uid bool) error {
	s.p.SP()
	st := s.p.Store()
	if !s.end() {
		return nil
	}
	flags, keywords := s.parseFlags(st.Flags)
	idx := s.messages(st.Set, uid)
	if s.p.Err() != nil {
		return nil
	}
	if s.sel.readOnly {
		return errReadOnly
	}
	if st.Conditional {
		s.enableCondstore()
	}
	change := maildrop.FlagChange{Flags: flags, Keywords: keywords, Conditional: st.Conditional, Unchanged: st.UnchangedSince}
	switch st.Op {
	case wire.Add:
		change.Mode = maildrop.Add
	case wire.Remove:
		change.Mode = maildrop.Remove
	default:
		change.Mode = maildrop.Replace
	}
	// What others did before is told first, so that it isn't lost among what
	// this command does.
	if err := s.poll(false); err != nil {
		return err
	}
	uids := s.uidsOf(idx)
	modified, snap, err := s.sel.folder.Store(uids, change)
	if err != nil {
		return err
	}
	gone, err := s.stored(snap, uids, modified, st, uid)
	if err != nil {
		return err
	}
	if err := s.poll(uid); err != nil {
		return err
	}
	switch {
	case len(modified) > 0:
		s.tagged("OK [MODIFIED %s] some were changed by others", s.numbers(modified, uid))
	case gone && !uid:
		s.tagged("NO [EXPUNGEISSUED] some of the messages are gone")
	default:
		s.tagged("OK STORE completed")
	}
	return nil
}

// numbers writes UIDs as what the command counts in.
func (s *session) numbers(uids []uint32, uid bool) []byte {
	if !uid {
		nums := make([]uint32, 0, len(uids))
		for _, u := range uids {
			if i, ok := s.sel.view.Find(u); ok {
				nums = append(nums, uint32(i+1))
			}
		}
		uids = nums
	}
	return wire.AppendNumbers(nil, uids)
}

// stored tells the client about the flags that STORE has set, changed or not;
// gone says that some of the messages are not there any more.
func (s *session) stored(snap *maildrop.Snapshot, uids, modified []uint32, st wire.Store, uid bool) (gone bool, err error) {
	mine := func(u uint32) bool { _, ok := slices.BinarySearch(uids, u); return ok }
	old := s.sel.view
	if err := s.advance(snap, false, func(m *maildrop.Message) bool { return mine(m.UID) }); err != nil {
		return false, err
	}
	refused := func(u uint32) bool { _, ok := slices.BinarySearch(modified, u); return ok }
	for _, u := range uids {
		i, ok := s.sel.view.Find(u)
		if !ok {
			continue
		}
		m := s.sel.view.Messages[i]
		if s.sel.held {
			if _, there := snap.Find(u); !there {
				gone = true
				continue
			}
		}
		changed := true
		if j, ok := old.Find(u); ok {
			changed = old.Messages[j] != m
		}
		switch {
		case !st.Silent && !refused(u):
			s.flagsOf(i, m, uid || s.qresync)
		case s.condstore && changed && !refused(u):
			// Even a silent STORE shows the new MODSEQ (RFC 7162, 3.1.3).
			s.modseqOf(i, m, uid || s.qresync)
		}
	}
	return gone, nil
}

func (s *session) modseqOf(i int, m *maildrop.Message, withUID bool) {
	b := appendInt(append(s.w.Room(128), "* "...), int64(i+1))
	b = append(b, " FETCH ("...)
	if withUID {
		b = append(appendInt(append(b, "UID "...), int64(m.UID)), ' ')
	}
	b = appendInt(append(b, "MODSEQ ("...), int64(m.ModSeq))
	s.w.Took(append(b, "))\r\n"...))
}

func (s *session) doExpunge() error {
	if !s.end() {
		return nil
	}
	if err := s.poll(true); err != nil { // others may have marked messages, too
		return err
	}
	return s.expunge(deleted(s.sel.view.Messages), "EXPUNGE")
}

// doUIDExpunge runs UID EXPUNGE (RFC 4315, 2.1).
func (s *session) doUIDExpunge() error {
	s.p.SP()
	set := s.p.Set()
	if !s.end() {
		return nil
	}
	idx := s.messages(set, true)
	var uids []uint32
	for _, i := range idx {
		if m := s.sel.view.Messages[i]; m.Flags&maildrop.Deleted != 0 {
			uids = append(uids, m.UID)
		}
	}
	return s.expunge(uids, "UID EXPUNGE")
}

func (s *session) expunge(uids []uint32, what string) error {
	if s.sel.readOnly {
		return errReadOnly
	}
	snap, err := s.remove(uids)
	if err != nil {
		return err
	}
	if err := s.advance(snap, true, nil); err != nil {
		return err
	}
	if s.condstore && len(uids) > 0 {
		s.tagged("OK [HIGHESTMODSEQ %d] %s completed", max(s.sel.view.ModSeq, 1), what)
		return nil
	}
	s.tagged("OK %s completed", what)
	return nil
}

// remove expunges and returns the folder's state afterwards.
func (s *session) remove(uids []uint32) (*maildrop.Snapshot, error) {
	if len(uids) == 0 {
		return s.sel.folder.Sync()
	}
	_, snap, err := s.sel.folder.Expunge(uids)
	return snap, err
}
