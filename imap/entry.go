package imap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"sync"
	"time"

	"hoplite/mail/mime"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

var crlfReaders = sync.Pool{New: func() any { return maildir.NewCRLFReader(nil) }}

// entry is what FETCH, SEARCH, SORT and THREAD want to know of a message
// beyond flags and sizes, rendered once and kept by the store. It is a version,
// a table of offsets, and the texts behind it. Most is in the header, so that
// an entry is first made of that alone; BODY, BODYSTRUCTURE and PREVIEW are
// empty in it until one of them is asked for.
type entry []byte

// entryVersion changes whenever the texts do.
const entryVersion = 4

// The texts of an entry.
const (
	eEnvelope    = iota // ENVELOPE as it goes over the wire
	eBody               // BODY
	eStructure          // BODYSTRUCTURE
	ePreview            // UTF-8
	eSent               // the Date field: seconds since 1970, 8 octets
	eSubject            // base subject, upper case (RFC 5256, 2.1)
	eReply              // not empty when the subject says reply or forward
	eMailFrom           // first address's local part, upper case
	eMailTo             //
	eMailCc             //
	eShowFrom           // first address as it is displayed, upper case (RFC 5957)
	eShowTo             //
	eID                 // Message-ID without brackets
	eRefs               // References or In-Reply-To, a line each
	eFindSubject        // fields decoded and folded, for SEARCH; as headerNames has them
	eFindFrom
	eFindTo
	eFindCc
	eFindBcc
	eCount
)

const entryHead = 1 + 4*(eCount+1)

// text returns one of the texts.
func (e entry) text(i int) []byte {
	t := e[1+4*i:]
	return e[binary.LittleEndian.Uint32(t):binary.LittleEndian.Uint32(t[4:])]
}

// sent is the time in the Date field and the day in its own zone, as day counts
// it; the internal date where there is no such field (RFC 5256, 2.2).
func (e entry) sent(m *maildrop.Message) (unix, onDay int64) {
	if t := e.text(eSent); len(t) == 16 {
		return int64(binary.LittleEndian.Uint64(t)), int64(binary.LittleEndian.Uint64(t[8:]))
	}
	return m.InternalDate().Unix(), day(m.InternalDate())
}

// day counts the days since 1970 of the date that t shows in its zone.
func day(t time.Time) int64 {
	_, zone := t.Zone()
	n := t.Unix() + int64(zone)
	if n < 0 {
		n -= 86399
	}
	return n / 86400
}

// valid tells whether kept bytes are an entry of this version.
func (e entry) valid() bool {
	if len(e) < entryHead || e[0] != entryVersion {
		return false
	}
	last := uint32(entryHead)
	for i := range eCount + 1 {
		off := binary.LittleEndian.Uint32(e[1+4*i:])
		if off < last || off > uint32(len(e)) {
			return false
		}
		last = off
	}
	return true
}

// thread names the message's thread for ever and in every folder (RFC 8474,
// 5.2): by the first message that it refers to, which replies to replies refer
// to as well.
func (e entry) thread(m *maildrop.Message) string {
	root, _, _ := bytes.Cut(e.text(eRefs), []byte("\n"))
	if len(root) == 0 {
		root = e.text(eID)
	}
	if len(root) == 0 {
		return objectID('T', m.GUID())
	}
	return objectID('T', string(root))
}

// whole tells whether the entry has the texts that say what is in the body.
func (e entry) whole() bool { return len(e.text(eBody)) > 0 }

// entryOf returns a message's entry. The first call reads the message: only
// its header, unless the whole entry is wanted.
func entryOf(folder *maildrop.Folder, m *maildrop.Message, whole bool) (e entry, err error) {
	known := entry(folder.Cached(m))
	switch {
	case !known.valid():
		known = nil
	case known.whole() || !whole:
		return known, nil
	}
	if whole {
		e, err = readWhole(folder, m, known)
	} else {
		e, err = readHeader(folder, m)
	}
	if err == nil && len(e) <= maxEntry {
		folder.Keep(m, e)
	}
	return e, err
}

// maxEntry is the largest entry that is kept; a header that makes a larger one
// was written to be a nuisance.
const maxEntry = 256 << 10

// Most headers fit into a block of the first kind, most messages into one of
// the second.
var (
	headBlocks  = sync.Pool{New: func() any { return new([8 << 10]byte) }}
	wholeBlocks = sync.Pool{New: func() any { return new([64 << 10]byte) }}
)

// readWhole makes an entry of all of a message. known is one of its header, or
// nil.
func readWhole(folder *maildrop.Folder, m *maildrop.Message, known entry) (entry, error) {
	block := wholeBlocks.Get().(*[64 << 10]byte)
	defer wholeBlocks.Put(block)
	if m.Size < int64(len(block)) {
		n, err := folder.Head(m, block[:])
		if err != nil {
			return nil, err
		}
		if n < len(block) {
			return wholeEntry(mime.WalkBytes(block[:n]), bytes.NewReader(block[:n]), known), nil
		}
	}
	src, err := openMessage(folder, m)
	if err != nil {
		return nil, err
	}
	defer src.close()
	t, err := src.walk()
	if err != nil {
		return nil, err
	}
	return wholeEntry(t, &src.file, known), nil
}

func wholeEntry(t *mime.Tree, file io.ReaderAt, known entry) entry {
	var texts [eCount][]byte
	if known == nil {
		headerTexts(&texts, t.Root.Raw)
	} else {
		for i := range texts {
			texts[i] = known.text(i)
		}
	}
	room := headBlocks.Get().(*[8 << 10]byte)
	defer headBlocks.Put(room)
	texts[eBody] = mime.AppendStructure(room[:0], t.Root, false)
	texts[eStructure] = mime.AppendStructure(room[min(len(texts[eBody]), len(room)):][:0], t.Root, true)
	texts[ePreview] = []byte(preview(file, t))
	return makeEntry(&texts)
}

// readHeader makes an entry of a message's header.
func readHeader(folder *maildrop.Folder, m *maildrop.Message) (entry, error) {
	block := headBlocks.Get().(*[8 << 10]byte)
	defer headBlocks.Put(block)
	n, err := folder.Head(m, block[:])
	if err != nil {
		return nil, err
	}
	header := block[:n]
	if end := headerEnd(header); end >= 0 {
		header = header[:end]
	} else if n == len(block) {
		if header, err = longHeader(folder, m); err != nil {
			return nil, err
		}
	}
	return headerEntry(header), nil
}

func headerEntry(header []byte) entry {
	var texts [eCount][]byte
	headerTexts(&texts, header)
	return makeEntry(&texts)
}

// longHeader is as much of a header as a walk over the message keeps.
func longHeader(folder *maildrop.Folder, m *maildrop.Message) ([]byte, error) {
	src, err := openMessage(folder, m)
	if err != nil {
		return nil, err
	}
	defer src.close()
	header, err := src.head()
	return header[:min(len(header), mime.MaxHeader)], err
}

func makeEntry(texts *[eCount][]byte) entry {
	size := entryHead
	for _, text := range texts {
		size += len(text)
	}
	e := make(entry, entryHead, size)
	e[0] = entryVersion
	for i, text := range texts {
		binary.LittleEndian.PutUint32(e[1+4*i:], uint32(len(e)))
		e = append(e, text...)
	}
	binary.LittleEndian.PutUint32(e[1+4*eCount:], uint32(len(e)))
	return e
}

// objectID makes an identifier of the form that RFC 8474 asks for.
func objectID(kind byte, of string) string {
	sum := sha256.Sum256([]byte(of))
	return string(kind) + hex.EncodeToString(sum[:16])
}
