package imap

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

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
	f := fetcher{session: s, items: items, needFile: slices.ContainsFunc(items, needsFile)}
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
			if err := s.warm(batch); err != nil {
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

// needsEntry tells whether an item is made from the message's entry.
func needsEntry(it wire.Item) bool {
	switch it.Kind {
	case wire.ItemEnvelope, wire.ItemBody, wire.ItemBodyStructure, wire.ItemPreview:
		return true
	}
	return false
}

// needsFile tells whether an item is made from the message's file.
func needsFile(it wire.Item) bool {
	switch it.Kind {
	case wire.ItemSection, wire.ItemBinary, wire.ItemBinarySize:
		return true
	}
	return false
}

// fetcher sends the items of messages, one message after the other.
type fetcher struct {
	*session
	items    []wire.Item
	needFile bool
	msg      *maildrop.Message
	src      *source // the message's file, when it is needed
}

func (f *fetcher) close() {
	if f.src != nil {
		f.src.close()
		f.src = nil
	}
}

// fetch sends "* n FETCH (...)". What can fail for the message alone fails
// before the first octet.
func (f *fetcher) fetch(i int) error {
	f.msg = f.sel.view.Messages[i]
	f.close()
	if f.needFile {
		var err error
		if f.src, err = openMessage(f.sel.folder, f.msg); err != nil {
			return err
		}
	}
	var e entry
	for _, it := range f.items {
		switch it.Kind {
		case wire.ItemEnvelope, wire.ItemBody, wire.ItemBodyStructure, wire.ItemPreview:
			if e == nil {
				var err error
				if e, err = entryOf(f.sel.folder, f.msg); err != nil {
					return err
				}
			}
		case wire.ItemBinary, wire.ItemBinarySize:
			if err := f.src.checkBinary(it.Path); err != nil {
				return err
			}
		}
	}
	b := append(f.w.Room(512), "* "...)
	b = appendInt(b, int64(i+1))
	b = append(b, " FETCH ("...)
	for n, it := range f.items {
		if n > 0 {
			b = append(b, ' ')
		}
		var err error
		if needsFile(it) {
			f.w.Took(b)
			err = f.content(it)
			b = f.w.Room(512)
		} else {
			b = f.plain(b, it, e)
		}
		if err != nil {
			return err
		}
	}
	f.w.Took(append(b, ")\r\n"...))
	return f.w.Err()
}

// plain appends an item that needs no look into the file.
func (f *fetcher) plain(b []byte, it wire.Item, e entry) []byte {
	m := f.msg
	switch it.Kind {
	case wire.ItemUID:
		return appendInt(append(b, "UID "...), int64(m.UID))
	case wire.ItemFlags:
		return f.appendFlags(b, m)
	case wire.ItemInternalDate:
		return appendDate(append(b, "INTERNALDATE "...), m.InternalDate())
	case wire.ItemSaveDate:
		return appendDate(append(b, "SAVEDATE "...), m.SaveDate())
	case wire.ItemSize:
		return appendInt(append(b, "RFC822.SIZE "...), m.Wire)
	case wire.ItemModSeq:
		b = strconv.AppendUint(append(b, "MODSEQ ("...), m.ModSeq, 10)
		return append(b, ')')
	case wire.ItemEnvelope:
		return append(append(b, "ENVELOPE "...), e.text(eEnvelope)...)
	case wire.ItemBody:
		return append(append(b, "BODY "...), e.text(eBody)...)
	case wire.ItemBodyStructure:
		return append(append(b, "BODYSTRUCTURE "...), e.text(eStructure)...)
	case wire.ItemPreview:
		return wire.AppendString(append(b, "PREVIEW "...), string(e.text(ePreview)), f.utf8 || f.rev2)
	case wire.ItemEmailID:
		b = append(append(b, "EMAILID ("...), objectID('M', m.GUID())...)
		return append(b, ')')
	case wire.ItemThreadID:
		return append(b, "THREADID NIL"...) // RFC 8474, 5.2: we keep no threads
	}
	return b
}

// content sends an item that comes out of the message's file.
func (f *fetcher) content(it wire.Item) error {
	switch it.Kind {
	case wire.ItemBinary:
		return f.binary(it)
	case wire.ItemBinarySize:
		n, _, err := f.src.binarySize(it.Path)
		if err != nil {
			return err
		}
		f.w.Took(appendInt(append(append(f.w.Room(512), it.Label...), ' '), n))
		return nil
	}
	if len(it.Label) > 4000 {
		f.w.WriteString(it.Label)
	} else {
		f.w.Took(append(f.w.Room(4096), it.Label...))
	}
	piece, err := f.src.section(it)
	if err != nil {
		return err
	}
	if piece == nil {
		piece = &nothing // what isn't there is empty, as with other servers
	}
	size := piece.size
	off := int64(0)
	if it.Partial {
		off = int64(min(it.Off, uint64(size)))
		size = min(size-off, int64(it.Len))
	}
	b := appendInt(append(f.w.Room(64), " {"...), size)
	f.w.Took(append(b, "}\r\n"...))
	return piece.send(f.w, off, size)
}

// binary sends BINARY[...] with its transfer encoding undone.
func (f *fetcher) binary(it wire.Item) error {
	n, nul, err := f.src.binarySize(it.Path)
	if err != nil {
		return err
	}
	off := int64(0)
	if it.Partial {
		off = int64(min(it.Off, uint64(n)))
		n = min(n-off, int64(it.Len))
	}
	f.w.WriteString(it.Label)
	mark := " {"
	if nul {
		mark = " ~{" // only literal8 may hold a NUL (RFC 3516, 4.2)
	}
	b := appendInt(append(f.w.Room(64), mark...), n)
	f.w.Took(append(b, "}\r\n"...))
	r, err := f.src.decoded(it.Path)
	if err != nil {
		return err
	}
	return copyPart(f.w, r, off, n)
}

// copyPart sends n octets of r from off on. They were announced, so that less
// of them ends the session.
func copyPart(w io.Writer, r io.Reader, off, n int64) error {
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return errors.Join(errBye, err)
	}
	if _, err := io.CopyN(w, r, n); err != nil {
		return errors.Join(errBye, err)
	}
	return nil
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendDate appends a date in quotes (RFC 9051, 9: date-time).
func appendDate(b []byte, t time.Time) []byte {
	return t.AppendFormat(b, `"_2-Jan-2006 15:04:05 -0700"`)
}
