package mime

import (
	"bytes"
	"iter"
	"strings"
)

// Field is one header field as found in the message.
type Field struct {
	Off  int    // offset of Raw in the header
	Raw  []byte // the whole field, including continuation lines and the final line ending
	Name []byte // as written, without white space before the colon; empty if the line is not a field
	body []byte
}

// Is reports whether the field has the given name, ignoring case.
func (f Field) Is(name string) bool {
	return len(f.Name) == len(name) && strings.EqualFold(string(f.Name), name)
}

// Value returns the text after the colon, including folding and the final line
// ending.
func (f Field) Value() []byte { return f.body }

// Unfolded returns the value without line endings and surrounding white space.
func (f Field) Unfolded() string { return string(Unfold(nil, f.body)) }

// Fields splits a header into its fields, up to the empty line that ends it. A
// line that is neither a field nor a continuation is returned as a Field
// without a name.
func Fields(header []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for off := 0; off < len(header); {
			end := off + lineLen(header[off:])
			if l := header[off:end]; l[0] == '\n' || len(l) == 2 && l[0] == '\r' && l[1] == '\n' {
				return
			}
			for end < len(header) && (header[end] == ' ' || header[end] == '\t') {
				end += lineLen(header[end:])
			}
			if !yield(field(off, header[off:end])) {
				return
			}
			off = end
		}
	}
}

// lineLen returns the length of the first line of b, including its line ending.
func lineLen(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

func field(off int, raw []byte) Field {
	f := Field{Off: off, Raw: raw, body: raw}
	first := raw[:lineLen(raw)]
	colon := bytes.IndexByte(first, ':')
	if colon < 0 {
		return f
	}
	name := bytes.TrimRight(raw[:colon], " \t")
	for _, c := range name {
		// RFC 5322, 3.6.8 allows printable US-ASCII except the colon.
		// 8-bit names are invalid, but readers accept them.
		if c <= ' ' || c == 0x7f {
			return f
		}
	}
	if len(name) == 0 {
		return f
	}
	f.Name, f.body = name, raw[colon+1:]
	return f
}

// Lookup returns the unfolded value of the first field with that name, and
// whether there is one.
func Lookup(header []byte, name string) (string, bool) {
	for f := range Fields(header) {
		if f.Is(name) {
			return f.Unfolded(), true
		}
	}
	return "", false
}

// Unfold appends a field's value to dst without line endings (RFC 5322, 2.2.3)
// and surrounding white space. NULs are removed, because IMAP replies must not
// contain them.
func Unfold(dst, value []byte) []byte {
	value = bytes.Trim(value, " \t\r\n")
	for {
		i := bytes.IndexAny(value, "\r\n\x00")
		if i < 0 {
			return append(dst, value...)
		}
		dst = append(dst, value[:i]...)
		value = value[i+1:]
	}
}
