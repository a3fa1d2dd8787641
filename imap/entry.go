package imap

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
// a table of offsets, and the texts behind it.
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
	eFindSubject        // fields decoded and folded, for SEARCH
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

// entryOf returns a message's entry; the first call reads the message.
func entryOf(folder *maildrop.Folder, m *maildrop.Message) (entry, error) {
	if e := entry(folder.Cached(m)); e.valid() {
		return e, nil
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
	e := makeEntry(t, preview(src.file, t))
	if len(e) <= maxEntry {
		folder.Keep(m, e)
	}
	return e, nil
}

// maxEntry is the largest entry that is kept; a header that makes a larger one
// was written to be a nuisance.
const maxEntry = 256 << 10

func makeEntry(t *mime.Tree, preview string) entry {
	var texts [eCount][]byte
	texts[eEnvelope] = mime.AppendEnvelope(nil, t.Root.Raw)
	texts[eBody] = mime.AppendStructure(nil, t.Root, false)
	texts[eStructure] = mime.AppendStructure(nil, t.Root, true)
	texts[ePreview] = []byte(preview)
	headerTexts(&texts, t.Root.Raw)
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

// headerTexts fills in the texts that come from the header.
func headerTexts(texts *[eCount][]byte, header []byte) {
	finds := map[string]int{"subject": eFindSubject, "from": eFindFrom, "to": eFindTo, "cc": eFindCc, "bcc": eFindBcc}
	first := map[string]string{}
	for f := range mime.Fields(header) {
		name := strings.ToLower(string(f.Name))
		i, find := finds[name]
		switch name {
		case "subject", "from", "to", "cc", "date", "message-id", "references", "in-reply-to":
		default:
			if !find {
				continue
			}
		}
		v := f.Unfolded()
		if _, seen := first[name]; !seen {
			first[name] = v
		}
		if find {
			if len(texts[i]) > 0 {
				texts[i] = append(texts[i], '\n')
			}
			texts[i] = append(texts[i], foldText(mime.DecodeWords(v))...)
		}
	}
	if sent, ok := parseDate(first["date"]); ok {
		texts[eSent] = binary.LittleEndian.AppendUint64(nil, uint64(sent.Unix()))
		texts[eSent] = binary.LittleEndian.AppendUint64(texts[eSent], uint64(day(sent)))
	}
	base, reply := baseSubject(mime.DecodeWords(first["subject"]))
	texts[eSubject] = []byte(strings.ToUpper(base))
	if reply {
		texts[eReply] = []byte{1}
	}
	for _, l := range []struct {
		name       string
		mail, show int
	}{{"from", eMailFrom, eShowFrom}, {"to", eMailTo, eShowTo}, {"cc", eMailCc, -1}} {
		local, show := firstAddress(first[l.name])
		texts[l.mail] = []byte(local)
		if l.show >= 0 {
			texts[l.show] = []byte(show)
		}
	}
	if ids := messageIDs(first["message-id"]); len(ids) > 0 {
		texts[eID] = []byte(ids[0])
	}
	refs := messageIDs(first["references"])
	if len(refs) == 0 {
		if refs = messageIDs(first["in-reply-to"]); len(refs) > 1 {
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
