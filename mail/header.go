package mail

import (
	"bytes"
	"iter"
	"strings"
)

// Field is one header field of a message.
type Field struct {
	// Name is the text before the colon, as written. It is empty for a line
	// that is not a field, which real mail may contain.
	Name string
	// Raw is the whole field, including its folding and line ending.
	Raw []byte
	Span
	colon int
}

// Value returns the text after the colon, still folded, without the final line
// ending.
func (f Field) Value() []byte {
	if f.Name == "" {
		return nil
	}
	return bytes.TrimRight(f.Raw[f.colon+1:], "\r\n")
}

// Text returns the value, unfolded and trimmed (RFC 5322, 2.2.3). Encoded words
// are not decoded.
func (f Field) Text() string {
	v := f.Value()
	if bytes.IndexByte(v, '\n') < 0 {
		return strings.TrimSpace(string(v))
	}
	var b strings.Builder
	b.Grow(len(v))
	for _, c := range v {
		if c != '\r' && c != '\n' {
			b.WriteByte(c)
		}
	}
	return strings.TrimSpace(b.String())
}

// Is reports whether the field has the given name, ignoring case.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Fields iterates over the fields of a header block from the top. It accepts
// CRLF and LF, stops at the empty line, and never fails: a line that is not a
// field is returned with an empty name.
func Fields(head []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for start := 0; start < len(head); {
			end := fieldEnd(head, start)
			raw := head[start:end:end]
			if len(bytes.TrimRight(raw, "\r\n")) == 0 {
				return
			}
			f := Field{Raw: raw, Span: Span{int64(start), int64(end)}}
			if i := bytes.IndexByte(raw, ':'); i > 0 {
				if name := bytes.TrimRight(raw[:i], " \t"); fieldName(name) {
					f.Name, f.colon = string(name), i
				}
			}
			if !yield(f) {
				return
			}
			start = end
		}
	}
}

// fieldEnd returns the offset of the end of the field that starts at i. A field
// consists of its first line and all following lines that begin with white
// space.
func fieldEnd(b []byte, i int) int {
	for {
		nl := bytes.IndexByte(b[i:], '\n')
		if nl < 0 {
			return len(b)
		}
		if i += nl + 1; i == len(b) || b[i] != ' ' && b[i] != '\t' {
			return i
		}
	}
}

// fieldName reports whether b is a field name (RFC 5322, 2.2; RFC 6532 does not
// change it).
func fieldName(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return len(b) > 0
}
