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
