package index

import (
	"slices"
	"time"

	"hoplite/maildrop/maildir"
)

// Gone describes an expunged message.
type Gone struct {
	UID    uint32
	ModSeq uint64
}

// FileStamp identifies a version of a file.
type FileStamp struct {
	Ino   uint64
	Size  int64
	MTime time.Time
}

// Equal reports whether a and b identify the same version.
func (a FileStamp) Equal(b FileStamp) bool {
	return a.Ino == b.Ino && a.Size == b.Size && a.MTime.Equal(b.MTime)
}

// Stamp is the state of a folder's directories and files when they were read.
type Stamp struct {
	List, Keywords FileStamp
	New, Cur       time.Time
}

// Equal reports whether two stamps are equal.
func (a Stamp) Equal(b Stamp) bool {
	return a.List.Equal(b.List) && a.Keywords.Equal(b.Keywords) && a.New.Equal(b.New) && a.Cur.Equal(b.Cur)
}

// Head is a folder's state without its messages.
type Head struct {
	Validity, Next uint32
	ModSeq         uint64
	Recent         uint32 // the first UID never shown as \Recent
	GoneFloor      uint64 // Gone is complete for later changes
	Lines          int    // lines in the uidlist
	CeilingAt      int64  // unused; the first version stored Ceiling's offset
	Ceiling        uint64 // the bound for ModSeq in the uidlist's header
	Stamp          Stamp
	// Settle is set if a directory changed so shortly before Stamp was read
	// that another change may have the same time.
	Settle bool
}

// State is the contents of a log.
type State struct {
	Head     Head
	Other    []string // unknown keys in the uidlist's header
	Keywords []string
	Messages []*Message // ascending by UID
	Gone     []Gone     // in chronological order
	// Doubtful is set if the log was not closed or its end was damaged, so the
	// last changes may be missing.
	Doubtful bool
}

// The record kinds.
const (
	kindHead     = 'H'
	kindKeywords = 'K'
	kindOther    = 'O'
	kindMessage  = 'M'
	kindFlags    = 'F'
	kindGone     = 'X'
)

func (e *encoder) head(h *Head) {
	e.byte(kindHead)
	e.uint(uint64(h.Validity))
	e.uint(uint64(h.Next))
	e.uint(h.ModSeq)
	e.uint(uint64(h.Recent))
	e.uint(h.GoneFloor)
	e.int(int64(h.Lines))
	e.int(h.CeilingAt)
	e.uint(h.Ceiling)
	for _, f := range []FileStamp{h.Stamp.List, h.Stamp.Keywords} {
		e.uint(f.Ino)
		e.int(f.Size)
		e.time(f.MTime)
	}
	e.time(h.Stamp.New)
	e.time(h.Stamp.Cur)
	if h.Settle {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

func (d *decoder) head() (h Head) {
	h.Validity, h.Next, h.ModSeq = d.uint32(), d.uint32(), d.uint()
	h.Recent, h.GoneFloor = d.uint32(), d.uint()
	h.Lines, h.CeilingAt, h.Ceiling = int(d.int()), d.int(), d.uint()
	for _, f := range []*FileStamp{&h.Stamp.List, &h.Stamp.Keywords} {
		f.Ino, f.Size, f.MTime = d.uint(), d.int(), d.time()
	}
	h.Stamp.New, h.Stamp.Cur = d.time(), d.time()
	h.Settle = d.byte() != 0
	return h
}

func (e *encoder) texts(kind byte, list []string) {
	e.byte(kind)
	e.uint(uint64(len(list)))
	for _, s := range list {
		e.text(s)
	}
}

func (d *decoder) texts() []string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.text())
	}
	return list
}

// The bits in a record's mark octet.
const (
	markNew     = 1 << 0
	markPending = 1 << 1
	markExact   = 1 << 2 // unknown to the first version, which ignores it
)

func (e *encoder) message(m *Message) {
	e.byte(kindMessage)
	e.flagPart(m)
	e.int(m.Size)
	e.int(m.Wire - m.Size)
	e.int(m.Date)
	e.int(m.Saved)
	e.text(m.File)
	e.text(m.Ext)
}

func (e *encoder) flagPart(m *Message) {
	var mark byte
	if m.New {
		mark |= markNew
	}
	if m.Pending {
		mark |= markPending
	}
	if m.Exact {
		mark |= markExact
	}
	e.uint(uint64(m.UID))
	e.byte(byte(m.Flags))
	e.byte(mark)
	e.uint(m.Keywords)
	e.uint(m.ModSeq)
}

func (d *decoder) flagPart(m *Message) {
	m.UID, m.Flags = d.uint32(), maildir.Flags(d.byte())
	mark := d.byte()
	m.New, m.Pending, m.Exact = mark&markNew != 0, mark&markPending != 0, mark&markExact != 0
	m.Keywords, m.ModSeq = d.uint(), d.uint()
}

// flags writes the fields of a message that can change, which takes less space
// than a whole record.
func (e *encoder) flags(m *Message) {
	e.byte(kindFlags)
	e.flagPart(m)
	_, info := maildir.Split(m.File)
	e.text(info)
}

// apply applies the records of one batch to s.
func (s *State) apply(payload string) error {
	d := decoder{b: payload}
	for len(d.b) > 0 && !d.bad {
		switch d.byte() {
		case kindHead:
			s.Head = d.head()
		case kindKeywords:
			s.Keywords = d.texts()
		case kindOther:
			s.Other = d.texts()
		case kindMessage:
			m := &Message{}
			d.flagPart(m)
			m.Size = d.int()
			m.Wire = m.Size + d.int()
			m.Date, m.Saved = d.int(), d.int()
			m.File, m.Ext = d.text(), d.text()
			s.put(m)
		case kindFlags:
			var m Message
			d.flagPart(&m)
			s.flag(&m, d.text())
		case kindGone:
			g := Gone{d.uint32(), d.uint()}
			s.drop(g)
		default:
			d.bad = true
		}
	}
	if d.bad {
		return errDamaged
	}
	return nil
}

func (s *State) find(uid uint32) (int, bool) {
	if n := len(s.Messages); n == 0 || s.Messages[n-1].UID < uid {
		return n, false
	}
	return slices.BinarySearchFunc(s.Messages, uid, func(m *Message, u uint32) int { return int(int64(m.UID) - int64(u)) })
}

func (s *State) put(m *Message) {
	i, ok := s.find(m.UID)
	if ok {
		s.Messages[i] = m
		return
	}
	s.Messages = slices.Insert(s.Messages, i, m)
}

func (s *State) flag(m *Message, info string) {
	if i, ok := s.find(m.UID); ok {
		next := *s.Messages[i]
		next.Flags, next.Keywords, next.ModSeq = m.Flags, m.Keywords, m.ModSeq
		next.New, next.Pending, next.Exact = m.New, m.Pending, m.Exact
		next.File = next.Base() + info
		s.Messages[i] = &next
	}
}

// drop marks a message as removed; finish removes it. Removing many expunged
// messages therefore takes linear time.
func (s *State) drop(g Gone) {
	if i, ok := s.find(g.UID); ok {
		s.Messages[i] = &Message{UID: g.UID}
	}
	s.Gone = append(s.Gone, g)
}

// finish removes the marked messages.
func (s *State) finish() {
	s.Messages = slices.DeleteFunc(s.Messages, func(m *Message) bool { return m.File == "" })
}
