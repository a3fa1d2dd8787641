package imap

import (
	"encoding/binary"
	"slices"
	"strings"

	"hoplite/mail/mime"
)

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
