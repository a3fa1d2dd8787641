package pop3

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// maxUIDL is the maximum length of a unique id (RFC 1939, 7).
const maxUIDL = 70

// uidlFormat is the format of unique ids.
type uidlFormat []uidlPart

// uidlPart is either literal text or a variable with its width and base.
type uidlPart struct {
	text  string
	what  byte // u, v, f or g; 0 for text
	width int
	hex   bool
}

// parseUIDL parses a format such as "%08Xu%08Xv". Numbers are padded with zeros
// to the width.
func parseUIDL(format string) (uidlFormat, error) {
	var f uidlFormat
	unique := false
	for rest := format; rest != ""; {
		i := strings.IndexByte(rest, '%')
		if i != 0 {
			if i < 0 {
				i = len(rest)
			}
			f = append(f, uidlPart{text: rest[:i]})
			rest = rest[i:]
			continue
		}
		part, after, err := uidlVariable(rest[1:])
		if err != nil {
			return nil, err
		}
		unique = unique || part.what == 'u' || part.what == 'f' || part.what == 'g'
		f, rest = append(f, part), after
	}
	for i := range len(format) {
		if format[i] <= 0x20 || format[i] >= 0x7f {
			return nil, errors.New("a UIDL may contain only printable ASCII without spaces")
		}
	}
	if !unique {
		return nil, errors.New("without %u, %f or %g all messages would have the same UIDL")
	}
	return f, nil
}

// uidlVariable parses a variable after its "%".
func uidlVariable(s string) (part uidlPart, rest string, err error) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i > 0 {
		if part.width, err = strconv.Atoi(s[:i]); err != nil || part.width > 32 {
			return part, "", fmt.Errorf("width %s is too large", s[:i])
		}
	}
	if i < len(s) && (s[i] == 'X' || s[i] == 'x') {
		part.hex = true
		i++
	}
	if i == len(s) {
		return part, "", errors.New("nothing follows the last %")
	}
	switch part.what = s[i]; part.what {
	case '%':
		part = uidlPart{text: "%"}
	case 'u', 'v', 'f', 'g':
	default:
		return part, "", fmt.Errorf("unknown variable %%%c; known are %%u, %%v, %%f and %%g", s[i])
	}
	return part, s[i+1:], nil
}

// id returns a message's unique id: the one that an earlier server assigned, as
// recorded in the uidlist, otherwise one in the configured format.
func (f uidlFormat) id(validity uint32, m *maildrop.Message) string {
	if kept := maildir.ExtKey(m.Ext, 'P'); kept != "" {
		return kept
	}
	var b strings.Builder
	for _, p := range f {
		switch p.what {
		case 0:
			b.WriteString(p.text)
		case 'u':
			b.WriteString(p.number(m.UID))
		case 'v':
			b.WriteString(p.number(validity))
		case 'f':
			b.WriteString(m.Base())
		case 'g':
			b.WriteString(m.GUID())
		}
	}
	if id := b.String(); len(id) <= maxUIDL && printable(id) {
		return id
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:maxUIDL/4])
}

// number formats a number as the part specifies.
func (p uidlPart) number(n uint32) string {
	base := 10
	if p.hex {
		base = 16
	}
	text := strconv.FormatUint(uint64(n), base)
	return strings.Repeat("0", max(0, p.width-len(text))) + text
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}
