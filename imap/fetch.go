package imap

import (
	"errors"
	"slices"
	"strconv"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// fetchBatch is how many messages are marked \Seen at once, before they are sent.
const fetchBatch = 64

// warmBatch is for how many messages entries are made before they are sent.
const warmBatch = 512

// doFetch runs FETCH and UID FETCH.
func (s *session) doFetch(uid bool) error {
	s.p.SP()
	f := s.p.Fetch()
	if !s.end() {
		return nil
	}
	if f.Vanished && (!s.qresync || !uid) {
		s.p.Fail("VANISHED needs UID FETCH and ENABLE QRESYNC")
		return nil
	}
	if uid && !has(f.Items, wire.ItemUID) {
		f.Items = slices.Insert(f.Items, 0, wire.Item{Kind: wire.ItemUID})
	}
	if f.ChangedSince > 0 && !has(f.Items, wire.ItemModSeq) {
		f.Items = append(f.Items, wire.Item{Kind: wire.ItemModSeq})
	}
	if has(f.Items, wire.ItemModSeq) {
		s.enableCondstore()
	}
	idx := s.messages(f.Set, uid)
	if s.p.Err() != nil {
		return nil
	}
	if f.Vanished {
		s.fetchVanished(f)
	}
	if f.ChangedSince > 0 {
		idx = slices.DeleteFunc(idx, func(i int) bool { return s.sel.view.Messages[i].ModSeq <= f.ChangedSince })
	}
	gone, err := s.fetchAll(idx, f.Items)
	if err != nil {
		return err
	}
	if err := s.poll(uid); err != nil {
		return err
	}
	if gone {
		s.tagged("NO [EXPUNGEISSUED] some of the messages are gone")
	} else {
		s.tagged("OK FETCH completed")
	}
	return nil
}

func has(items []wire.Item, k wire.ItemKind) bool {
	return slices.ContainsFunc(items, func(it wire.Item) bool { return it.Kind == k })
}

// fetchVanished tells which UIDs of the set are gone (RFC 7162, 3.2.6).
func (s *session) fetchVanished(f wire.Fetch) {
	set := f.Set.Resolve(max(s.sel.view.Next, 2) - 1)
	var gone []uint32
	for _, u := range s.sel.folder.Vanished(s.sel.view, f.ChangedSince) {
		if within(set, u) {
			gone = append(gone, u)
		}
	}
	if len(gone) > 0 {
		s.vanished("VANISHED (EARLIER)", gone)
	}
}

// fetchAll sends the items of all messages; gone says that some of them had
// been expunged by others.
func (s *session) fetchAll(idx []int, items []wire.Item) (gone bool, err error) {
	marks := !s.sel.readOnly && slices.ContainsFunc(items, func(it wire.Item) bool {
		return !it.Peek && (it.Kind == wire.ItemSection || it.Kind == wire.ItemBinary)
	})
	f := fetcher{session: s, items: items, needFile: slices.ContainsFunc(items, needsFile), whole: slices.ContainsFunc(items, needsWhole)}
	defer f.close()
	withFlags := items
	if marks && !has(items, wire.ItemFlags) {
		at := 0
		if items[0].Kind == wire.ItemUID {
			at = 1
		}
		withFlags = slices.Insert(slices.Clone(items), at, wire.Item{Kind: wire.ItemFlags})
	}
	entries := slices.ContainsFunc(items, needsEntry)
	for len(idx) > 0 {
		batch := idx
		if marks {
			batch = idx[:min(fetchBatch, len(idx))]
		} else if entries {
			batch = idx[:min(warmBatch, len(idx))]
		}
		if entries {
			if err := s.warm(batch, f.whole); err != nil {
				return gone, err
			}
		}
		var marked []uint32
		if marks {
			if marked, err = s.markSeen(batch); err != nil {
				return gone, err
			}
		}
		for _, i := range batch {
			f.items = items
			if len(marked) > 0 {
				if _, ok := slices.BinarySearch(marked, s.sel.view.Messages[i].UID); ok {
					f.items = withFlags
				}
			}
			err := f.fetch(i)
			if errors.Is(err, maildrop.ErrNoMessage) {
				gone = true
				continue
			}
			if err != nil {
				return gone, err
			}
		}
		idx = idx[len(batch):]
	}
	return gone, nil
}

// markSeen sets \Seen on messages of the view and returns the UIDs it was new to.
func (s *session) markSeen(idx []int) ([]uint32, error) {
	var uids []uint32
	for _, i := range idx {
		if m := s.sel.view.Messages[i]; m.Flags&maildrop.Seen == 0 {
			uids = append(uids, m.UID)
		}
	}
	if len(uids) == 0 {
		return nil, nil
	}
	_, snap, err := s.sel.folder.Store(uids, maildrop.FlagChange{Mode: maildrop.Add, Flags: maildrop.Seen})
	if err != nil {
		return nil, err
	}
	return uids, s.advance(snap, false, func(m *maildrop.Message) bool {
		_, mine := slices.BinarySearch(uids, m.UID)
		return mine
	})
}

// flagsOf sends the flags of the message at index i as an untagged FETCH.
func (s *session) flagsOf(i int, m *maildrop.Message, withUID bool) {
	b := append(s.w.Room(512), "* "...)
	b = appendInt(b, int64(i+1))
	b = append(b, " FETCH ("...)
	if withUID {
		b = append(b, "UID "...)
		b = appendInt(b, int64(m.UID))
		b = append(b, ' ')
	}
	b = s.appendFlags(b, m)
	if s.condstore {
		b = append(b, " MODSEQ ("...)
		b = strconv.AppendUint(b, m.ModSeq, 10)
		b = append(b, ')')
	}
	s.w.Took(append(b, ")\r\n"...))
}

// flagTexts has the system flags of every combination, as FLAGS shows them.
var flagTexts = func() (t [32]string) {
	for f := range t {
		for _, n := range []struct {
			f    maildrop.Flags
			name string
		}{{maildrop.Answered, `\Answered`}, {maildrop.Flagged, `\Flagged`}, {maildrop.Deleted, `\Deleted`},
			{maildrop.Seen, `\Seen`}, {maildrop.Draft, `\Draft`}} {
			if maildrop.Flags(f)&n.f == 0 {
				continue
			}
			if t[f] != "" {
				t[f] += " "
			}
			t[f] += n.name
		}
	}
	return t
}()

func (s *session) appendFlags(b []byte, m *maildrop.Message) []byte {
	b = append(b, "FLAGS ("...)
	start := len(b)
	b = append(b, flagTexts[m.Flags&31]...)
	if !s.rev2 && s.sel.isRecent(m.UID) {
		if len(b) > start {
			b = append(b, ' ')
		}
		b = append(b, `\Recent`...)
	}
	if m.Keywords != 0 {
		for _, k := range s.sel.view.KeywordNames(m) {
			if len(b) > start {
				b = append(b, ' ')
			}
			b = append(b, k...)
		}
	}
	return append(b, ')')
}
