package summary

import (
	"encoding/binary"
	"slices"
	"strings"

	"hoplite/mail/mime"
)

// The header fields used in a summary. All fields up to Bcc are searchable; for
// the others, only the first field of each name is used.
const (
	fieldSubject = iota
	fieldFrom
	fieldTo
	fieldCc
	fieldBcc
	fieldDate
	fieldMessageID
	fieldReferences
	fieldInReplyTo
	fieldCount
)

var fieldNames = [fieldCount]string{"Subject", "From", "To", "Cc", "Bcc", "Date", "Message-ID", "References", "In-Reply-To"}

// fields holds the unfolded values of the first field of each name.
type fields [fieldCount]string

// headerTexts sets the texts derived from the header.
func headerTexts(texts *[count][]byte, header []byte) {
	texts[Envelope] = mime.AppendEnvelope(nil, header)
	var first fields
	var seen [fieldCount]bool
	for f := range mime.Fields(header) {
		i := slices.IndexFunc(fieldNames[:], f.Is)
		if i < 0 || seen[i] && i > fieldBcc {
			continue
		}
		v := f.Unfolded()
		if !seen[i] {
			first[i], seen[i] = v, true
		}
		if i <= fieldBcc {
			find := &texts[int(FindSubject)+i-fieldSubject]
			if len(*find) > 0 {
				*find = append(*find, '\n')
			}
			*find = append(*find, Fold(mime.DecodeWords(v))...)
			if i != fieldSubject {
				*find = appendAddresses(*find, v)
			}
		}
	}
	first.sortTexts(texts)
	first.threadTexts(texts)
}

// appendAddresses appends, one per line, the addresses in a field that are not
// in normal form, so that SEARCH also finds ann@example.org in "ann (work) @
// example.org".
func appendAddresses(b []byte, v string) []byte {
	if len(v) > maxAddresses || !oddAddress(v) {
		return b
	}
	for _, a := range mime.ParseAddresses(v) {
		a.Local = spacedDots.Replace(a.Local)
		if addr := a.Addr(); strings.Contains(addr, "@") && !strings.Contains(v, addr) {
			b = append(append(b, '\n'), Fold(addr)...)
		}
	}
	return b
}

var spacedDots = strings.NewReplacer(" . ", ".", " .", ".", ". ", ".")

// oddAddress reports whether a quote, comment or space is next to an "@", or a
// space is next to a dot. Few fields contain these, so most need not be parsed.
func oddAddress(v string) bool {
	if strings.Contains(v, " .") {
		return true
	}
	for rest := v; ; {
		i := strings.IndexByte(rest, '@')
		if i < 0 {
			return false
		}
		if i > 0 && strings.IndexByte("\" \t)", rest[i-1]) >= 0 || i+1 < len(rest) && strings.IndexByte(" \t(", rest[i+1]) >= 0 {
			return true
		}
		rest = rest[i+1:]
	}
}

// sortTexts sets the SORT keys.
func (f *fields) sortTexts(texts *[count][]byte) {
	if t, ok := parseDate(f[fieldDate]); ok {
		b := binary.LittleEndian.AppendUint64(nil, uint64(t.Unix()))
		texts[sent] = binary.LittleEndian.AppendUint64(b, uint64(Day(t)))
	}
	base, isReply := baseSubject(mime.DecodeWords(f[fieldSubject]))
	texts[Subject] = []byte(Casemap(base))
	if isReply {
		texts[reply] = []byte{1}
	}
	local, show := firstAddress(f[fieldFrom])
	texts[MailFrom], texts[ShowFrom] = []byte(local), []byte(show)
	local, show = firstAddress(f[fieldTo])
	texts[MailTo], texts[ShowTo] = []byte(local), []byte(show)
	local, _ = firstAddress(f[fieldCc])
	texts[MailCc] = []byte(local)
}

// threadTexts sets the message ids.
func (f *fields) threadTexts(texts *[count][]byte) {
	if ids := messageIDs(f[fieldMessageID]); len(ids) > 0 {
		texts[MessageID] = []byte(ids[0])
	}
	refs := messageIDs(f[fieldReferences])
	if len(refs) == 0 {
		if refs = messageIDs(f[fieldInReplyTo]); len(refs) > 1 {
			refs = refs[:1]
		}
	}
	texts[references] = []byte(strings.Join(refs, "\n"))
}

// maxAddresses is the maximum number of octets of an address field that are
// read to find its first address.
const maxAddresses = 4 << 10

// firstAddress returns the local part and the display form of the first
// address, both as mapped by Casemap.
func firstAddress(v string) (local, show string) {
	if len(v) > maxAddresses {
		v = v[:maxAddresses]
	}
	for _, a := range mime.ParseAddresses(v) {
		if a.Kind == mime.GroupEnd {
			continue
		}
		show = mime.DecodeWords(a.Name)
		switch {
		case a.Kind == mime.GroupStart:
			show = a.Local // the group's name
		case show == "":
			show = a.Addr()
		}
		return Casemap(a.Local), Casemap(show)
	}
	return "", ""
}

// maxRefs is the maximum number of references kept for a message. If there are
// more, maxRefs/2 from each end are kept.
const maxRefs = 200

// messageIDs returns the message ids in a field, without their brackets.
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

// normalID removes white space and redundant quotes, so that different
// spellings of an id compare equal.
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
