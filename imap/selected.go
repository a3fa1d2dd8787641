package imap

import (
	"slices"
	"sort"
	"strings"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// selected is the folder that a session has selected.
type selected struct {
	folder   *maildrop.Folder
	readOnly bool
	// view is the folder as the client knows it; message numbers count its
	// Messages. It is a snapshot of the store, or one in which messages still
	// stand that are gone, but whose EXPUNGE could not be sent yet.
	view *maildrop.Snapshot
	// held says that view is of the second kind.
	held bool
	// recent are the UIDs that are \Recent here, as [from, to).
	recent [][2]uint32
	// saved are the UIDs that SEARCH saved (SEARCHRES), ascending.
	saved []uint32
}

// isRecent tells whether the message is \Recent in this session.
func (sel *selected) isRecent(uid uint32) bool {
	for _, r := range sel.recent {
		if uid >= r[0] && uid < r[1] {
			return true
		}
	}
	return false
}

func (sel *selected) countRecent() int {
	n := 0
	for _, r := range sel.recent {
		n += sel.view.From(r[1]) - sel.view.From(r[0])
	}
	return n
}

// claim makes the messages that nobody was shown before recent for us.
func (sel *selected) claim(snap *maildrop.Snapshot) {
	from := sel.folder.Recent(snap, !sel.readOnly)
	if n := len(sel.recent); n > 0 {
		from = max(from, sel.recent[n-1][1])
	}
	if from < snap.Next {
		sel.recent = append(sel.recent, [2]uint32{from, snap.Next})
		if len(sel.recent) > 100 {
			sel.recent = slices.Delete(sel.recent, 0, 50)
		}
	}
}

func (s *session) doSelect() error  { return s.choose(false) }
func (s *session) doExamine() error { return s.choose(true) }

// choose runs SELECT and EXAMINE.
func (s *session) choose(readOnly bool) error {
	s.p.SP()
	args := s.p.Select()
	if !s.end() {
		return nil
	}
	if args.QResync != nil && !s.qresync {
		s.p.Fail("ENABLE QRESYNC first")
		return nil
	}
	if s.sel != nil {
		s.unselect()
		if s.qresync || s.rev2 {
			s.untagged("OK [CLOSED] previous mailbox closed")
		}
	}
	if args.CondStore || args.QResync != nil {
		s.condstore = true
	}
	name, err := s.mailbox(args.Mailbox)
	if err != nil {
		return err
	}
	folder, err := s.box.Folder(name)
	if err != nil {
		return err
	}
	snap, err := folder.Sync()
	if err != nil {
		folder.Close()
		return err
	}
	s.sel = &selected{folder: folder, readOnly: readOnly, view: snap}
	s.sel.claim(snap)
	s.describe(name)
	if args.QResync != nil {
		s.resync(args.QResync)
	}
	if readOnly {
		s.tagged("OK [READ-ONLY] EXAMINE completed")
	} else {
		s.tagged("OK [READ-WRITE] SELECT completed")
	}
	return nil
}

// describe sends what SELECT has to say.
func (s *session) describe(name string) {
	v := s.sel.view
	s.untagged("FLAGS (%s)", s.flagNames(""))
	if s.sel.readOnly {
		s.untagged("OK [PERMANENTFLAGS ()] read-only")
	} else {
		s.untagged("OK [PERMANENTFLAGS (%s)] flags", s.flagNames(` \*`))
	}
	s.untagged("%d EXISTS", len(v.Messages))
	if !s.rev2 {
		s.untagged("%d RECENT", s.sel.countRecent())
		if first := v.Counts().FirstUnseen; first >= 0 {
			s.untagged("OK [UNSEEN %d] first unseen message", first+1)
		}
	}
	s.untagged("OK [UIDVALIDITY %d] UIDs are valid", v.Validity)
	s.untagged("OK [UIDNEXT %d] next UID", v.Next)
	s.untagged("OK [HIGHESTMODSEQ %d] highest", max(v.ModSeq, 1))
	s.untagged("OK [MAILBOXID (%s)] id", objectID('F', v.GUID))
	if s.rev2 {
		s.untagged("LIST () %s %s", s.quotedSeparator(), s.mailboxName(name))
	}
}

// flagNames lists the flags of the folder, with more behind them.
func (s *session) flagNames(more string) string {
	var b strings.Builder
	b.WriteString(`\Answered \Flagged \Deleted \Seen \Draft`)
	for _, k := range s.sel.view.Keywords {
		if k != "" {
			b.WriteString(" " + k)
		}
	}
	return b.String() + more
}

// resync tells a client that knows an older state what happened since
// (RFC 7162, 3.2.5.2).
func (s *session) resync(q *wire.QResync) {
	v := s.sel.view
	if q.Validity != v.Validity {
		return
	}
	known := func(uid uint32) bool { return true }
	if q.Known != nil {
		set := wire.Set{Ranges: q.Known}.Resolve(0)
		known = func(uid uint32) bool { return within(set, uid) }
	}
	// Message numbers that still have the UIDs the client remembers show that
	// nothing below them was expunged.
	below := uint32(0)
	seqs, uids := expand(q.SeqMatch), expand(q.MatchUIDs)
	for i := 0; i < len(seqs) && i < len(uids); i++ {
		n := int(seqs[i])
		if n > len(v.Messages) || v.Messages[n-1].UID != uids[i] {
			break
		}
		below = uids[i]
	}
	var gone []uint32
	for _, uid := range s.sel.folder.Vanished(v, q.ModSeq) {
		if uid > below && known(uid) {
			gone = append(gone, uid)
		}
	}
	if len(gone) > 0 {
		s.vanished("VANISHED (EARLIER)", gone)
	}
	for i, m := range v.Messages {
		if m.ModSeq > q.ModSeq && known(m.UID) {
			s.flagsOf(i, m, true)
		}
	}
}

// expand lists the numbers of ranges, no more than 10,000.
func expand(ranges []wire.Range) []uint32 {
	var out []uint32
	for _, r := range ranges {
		for n := r.Lo; n <= r.Hi && len(out) < 10_000; n++ {
			out = append(out, n)
		}
	}
	return out
}

// within tells whether n is in ascending, disjoint ranges.
func within(set []wire.Range, n uint32) bool {
	i := sort.Search(len(set), func(i int) bool { return set[i].Hi >= n })
	return i < len(set) && set[i].Lo <= n
}

// vanished sends "* VANISHED ..." in lines of a bearable length.
func (s *session) vanished(what string, uids []uint32) {
	const most = 2000
	for len(uids) > 0 {
		n := min(len(uids), most)
		s.untagged("%s %s", what, wire.AppendNumbers(nil, uids[:n]))
		uids = uids[n:]
	}
}

func (s *session) unselect() {
	if s.sel != nil {
		s.sel.folder.Close()
		s.sel = nil
	}
}

func (s *session) doUnselect() error {
	if s.end() {
		s.unselect()
		s.tagged("OK UNSELECT completed")
	}
	return nil
}

func (s *session) doClose() error {
	if !s.end() {
		return nil
	}
	defer s.unselect()
	if !s.sel.readOnly {
		if _, err := s.remove(deleted(s.sel.view.Messages)); err != nil {
			return err
		}
	}
	s.tagged("OK CLOSE completed")
	return nil
}

func deleted(msgs []*maildrop.Message) []uint32 {
	var uids []uint32
	for _, m := range msgs {
		if m.Flags&maildrop.Deleted != 0 {
			uids = append(uids, m.UID)
		}
	}
	return uids
}

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
