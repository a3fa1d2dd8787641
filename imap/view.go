package imap

import (
	"slices"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// poll looks for changes in the selected folder and tells the client. Unless
// expunge is set, messages that are gone keep their numbers for now: EXPUNGE
// must not come while FETCH, STORE or SEARCH run (RFC 9051, 7.5.1).
func (s *session) poll(expunge bool) error {
	if s.sel == nil {
		return nil
	}
	snap, err := s.sel.folder.Sync()
	if err != nil {
		return s.lost(err)
	}
	return s.advance(snap, expunge, nil)
}

// lost ends a session whose folder has gone away under it.
func (s *session) lost(err error) error {
	s.log.Info().Err(err).Msg("imap: selected mailbox is lost")
	s.untagged("BYE selected mailbox is no longer there")
	return errBye
}

// advance brings the view to snap and tells the client what is new. Flags of
// messages for which told returns true are known to the client already.
func (s *session) advance(snap *maildrop.Snapshot, expunge bool, told func(*maildrop.Message) bool) error {
	sel := s.sel
	old := sel.view
	if snap == old {
		return nil
	}
	if snap.Gone || snap.Validity != old.Validity {
		return s.lost(maildrop.ErrGone)
	}
	c := snap.Since(old)
	grown := len(c.Added) > 0
	switch {
	case len(c.Expunged) == 0 || expunge:
		s.expunged(old, c.Expunged)
		sel.view, sel.held = snap, false
	default:
		sel.view, sel.held = hold(old, snap), true
	}
	if !slices.Equal(snap.Keywords, old.Keywords) {
		s.untaggedFlags()
	}
	if s.sel.saved != nil && expunge && len(c.Expunged) > 0 {
		sel.saved = slices.DeleteFunc(sel.saved, func(u uint32) bool { _, ok := slices.BinarySearch(c.Expunged, u); return ok })
	}
	if grown {
		sel.claim(snap)
		s.untagged("%d EXISTS", len(sel.view.Messages))
		if !s.rev2 {
			s.untagged("%d RECENT", sel.countRecent())
		}
	}
	for _, m := range c.Flagged {
		if told != nil && told(m) {
			continue
		}
		if i, ok := sel.view.Find(m.UID); ok {
			s.flagsOf(i, m, s.condstore)
		}
	}
	return nil
}

// untaggedFlags tells the client that there are new keywords.
func (s *session) untaggedFlags() {
	s.untagged("FLAGS (%s)", s.flagNames(""))
	if !s.sel.readOnly {
		s.untagged("OK [PERMANENTFLAGS (%s)] flags", s.flagNames(` \*`))
	}
}

// expunged tells which messages of old are gone.
func (s *session) expunged(old *maildrop.Snapshot, uids []uint32) {
	if len(uids) == 0 {
		return
	}
	if s.qresync {
		s.vanished("VANISHED", uids)
		return
	}
	for n, uid := range uids {
		if i, ok := old.Find(uid); ok {
			b := append(s.w.Room(64), "* "...)
			b = appendInt(b, int64(i-n+1))
			s.w.Took(append(b, " EXPUNGE\r\n"...))
		}
	}
}

// hold is snap with the messages of old put back that it has no more.
func hold(old, snap *maildrop.Snapshot) *maildrop.Snapshot {
	v := *snap
	v.Messages = make([]*maildrop.Message, 0, max(len(old.Messages), len(snap.Messages)))
	a, b := old.Messages, snap.Messages
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].UID < b[0].UID:
			v.Messages = append(v.Messages, a[0])
			a = a[1:]
		default:
			if len(a) > 0 && a[0].UID == b[0].UID {
				a = a[1:]
			}
			v.Messages = append(v.Messages, b[0])
			b = b[1:]
		}
	}
	return &v
}

// messages returns the indexes in the view of a command's set, ascending. A
// message number that isn't there is a mistake; a UID that isn't is none.
func (s *session) messages(set wire.Set, uid bool) []int {
	v := s.sel.view
	var out []int
	if set.Saved {
		for _, u := range s.sel.saved {
			if i, ok := v.Find(u); ok {
				out = append(out, i)
			}
		}
		return out
	}
	last := uint32(len(v.Messages))
	if !uid {
		for _, r := range set.Resolve(last) {
			if r.Hi > last {
				s.p.Fail("no such message")
				return nil
			}
			for n := r.Lo; n <= r.Hi; n++ {
				out = append(out, int(n-1))
			}
		}
		for _, r := range set.Ranges {
			if last == 0 && (r.Lo == wire.Star || r.Hi == wire.Star) {
				s.p.Fail("the mailbox is empty")
			}
		}
		return out
	}
	top := uint32(0)
	if last > 0 {
		top = v.Messages[last-1].UID
	}
	for _, r := range set.Resolve(top) {
		for i := v.From(r.Lo); i < int(last) && v.Messages[i].UID <= r.Hi; i++ {
			out = append(out, i)
		}
	}
	return out
}

// uidsOf are the UIDs of messages of the view.
func (s *session) uidsOf(idx []int) []uint32 {
	uids := make([]uint32, len(idx))
	for i, n := range idx {
		uids[i] = s.sel.view.Messages[n].UID
	}
	return uids
}
