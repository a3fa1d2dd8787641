package imap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"slices"
	"strings"
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
	return wholeEntry(t, src.file, known), nil
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

// The fields that an entry is made of; the first of them are for SEARCH.
const (
	hSubject = iota
	hFrom
	hTo
	hCc
	hBcc
	hDate
	hID
	hRefs
	hReply
	hCount
)

var headerNames = [hCount]string{"Subject", "From", "To", "Cc", "Bcc", "Date", "Message-ID", "References", "In-Reply-To"}

// headerValues are the values of the first field of each name, unfolded.
type headerValues [hCount]string

// headerTexts fills in the texts that come from the header.
func headerTexts(texts *[eCount][]byte, header []byte) {
	texts[eEnvelope] = mime.AppendEnvelope(nil, header)
	var first headerValues
	var seen [hCount]bool
	for f := range mime.Fields(header) {
		i := slices.IndexFunc(headerNames[:], f.Is)
		if i < 0 || seen[i] && i > hBcc {
			continue
		}
		v := f.Unfolded()
		if !seen[i] {
			first[i], seen[i] = v, true
		}
		if i > hBcc {
			continue
		}
		find := &texts[eFindSubject+i-hSubject]
		if len(*find) > 0 {
			*find = append(*find, '\n')
		}
		*find = append(*find, foldText(mime.DecodeWords(v))...)
	}
	first.sortTexts(texts)
	first.threadTexts(texts)
}

// sortTexts fills in what SORT compares.
func (h *headerValues) sortTexts(texts *[eCount][]byte) {
	if sent, ok := parseDate(h[hDate]); ok {
		texts[eSent] = binary.LittleEndian.AppendUint64(nil, uint64(sent.Unix()))
		texts[eSent] = binary.LittleEndian.AppendUint64(texts[eSent], uint64(day(sent)))
	}
	base, reply := baseSubject(mime.DecodeWords(h[hSubject]))
	texts[eSubject] = []byte(strings.ToUpper(base))
	if reply {
		texts[eReply] = []byte{1}
	}
	for _, l := range []struct{ from, mail, show int }{{hFrom, eMailFrom, eShowFrom}, {hTo, eMailTo, eShowTo}, {hCc, eMailCc, -1}} {
		local, show := firstAddress(h[l.from])
		texts[l.mail] = []byte(local)
		if l.show >= 0 {
			texts[l.show] = []byte(show)
		}
	}
}

// threadTexts fills in the message ids.
func (h *headerValues) threadTexts(texts *[eCount][]byte) {
	if ids := messageIDs(h[hID]); len(ids) > 0 {
		texts[eID] = []byte(ids[0])
	}
	refs := messageIDs(h[hRefs])
	if len(refs) == 0 {
		if refs = messageIDs(h[hReply]); len(refs) > 1 {
			refs = refs[:1]
		}
	}
	texts[eRefs] = []byte(strings.Join(refs, "\n"))
}

// firstAddress is the local part of the first address, and how it is displayed.
func firstAddress(v string) (local, show string) {
	if len(v) > 4<<10 {
		v = v[:4<<10]
	}
	for _, a := range mime.ParseAddresses(v) {
		if a.Kind == mime.GroupEnd {
			continue
		}
		show = mime.DecodeWords(a.Name)
		switch {
		case a.Kind == mime.GroupStart:
			show = a.Local // a group is displayed by its name
		case show == "":
			show = a.Addr()
		}
		return strings.ToUpper(a.Local), strings.ToUpper(show)
	}
	return "", ""
}

// maxRefs is how many references of a message THREAD looks at: the first and
// the last of them.
const maxRefs = 200

// messageIDs finds the message ids in a field, without their brackets.
func messageIDs(v string) []string {
	var ids []string
	for {
		i := strings.IndexByte(v, '<')
		if i < 0 {
			break
		}
		v = v[i+1:]
		j := strings.IndexAny(v, "<>")
		if j < 0 {
			break
		}
		if v[j] == '<' {
			v = v[j:]
			continue
		}
		if id := normalID(v[:j]); id != "" && len(id) < 1000 {
			ids = append(ids, id)
		}
		v = v[j+1:]
	}
	if len(ids) > maxRefs {
		ids = append(ids[:maxRefs/2], ids[len(ids)-maxRefs/2:]...)
	}
	return ids
}

// normalID drops white space and quotes that mean nothing, so that two
// spellings of one id are the same.
func normalID(id string) string {
	if !strings.ContainsAny(id, " \t\"\\\n") {
		return id
	}
	var b strings.Builder
	for i := 0; i < len(id); i++ {
		switch c := id[i]; c {
		case ' ', '\t', '"', '\n':
		case '\\':
			if i++; i < len(id) {
				b.WriteByte(id[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// objectID makes an identifier of the form that RFC 8474 asks for.
func objectID(kind byte, of string) string {
	sum := sha256.Sum256([]byte(of))
	return string(kind) + hex.EncodeToString(sum[:16])
}
