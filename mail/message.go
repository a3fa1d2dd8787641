package mail

import (
	"bytes"
	"errors"
	"io"
)

// Content is data that can be read at any offset, repeatedly and by several
// readers concurrently.
type Content interface {
	io.ReaderAt
	Size() int64
}

// Bytes is Content in memory.
type Bytes []byte

// ReadAt implements io.ReaderAt.
func (b Bytes) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Size returns the number of octets.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Limits on a header block. A larger block is refused before it is parsed,
// because some parsers take time quadratic in the size of a field.
const (
	MaxHeader     = 256 << 10
	MaxFields     = 1000
	MaxField      = 64 << 10
	MaxFieldLines = 500
)

// The errors of NewMessage.
var (
	ErrHeaderLong  = errors.New("header larger than 256 KiB")
	ErrFieldCount  = errors.New("more than 1000 header fields")
	ErrFieldLong   = errors.New("header field larger than 64 KiB or 500 lines")
	errHeaderFirst = errors.New("read message header")
)

// Span is the range of octets from Start up to but not including End.
type Span struct{ Start, End int64 }

// Message is the content of one message: an immutable base whose lines end in
// CRLF, and the header edits made for one handoff.
type Message struct {
	// Base is the message as it arrived, header and body.
	Base Content
	// Head is the header block of Base, including the empty line that ends it,
	// if present. It must not be modified.
	Head []byte
	// Top holds complete fields, each ending in CRLF, that are placed before
	// all others.
	Top []byte
	// Drop lists the spans of Head's fields to omit, in ascending order.
	Drop []Span
	// EightBit is set if Base contains an octet above 127.
	EightBit bool
	// LongLine is the length in octets of the longest line of Base, excluding
	// CRLF, or 0 if unknown.
	LongLine int
	// Repaired describes the change that NewMessage made to the header block.
	// It is empty for nearly all mail, which is left unchanged.
	Repaired string
}

// NewMessage reads the header block of base and checks its limits. A header
// block to which fields cannot be added is repaired first; see repair.
func NewMessage(base Content) (*Message, error) {
	block, truncated, err := readBlock(base)
	if err != nil {
		return nil, err
	}
	n := 0
	for f := range Fields(block) {
		switch {
		case f.Name != "":
		case truncated && f.End == int64(len(block)):
			return nil, ErrHeaderLong // the line may be a valid field
		default:
			return repair(base, block, f)
		}
		if n++; n > MaxFields {
			return nil, ErrFieldCount
		}
		if len(f.Raw) > MaxField || bytes.Count(f.Raw, []byte("\n")) > MaxFieldLines {
			return nil, ErrFieldLong
		}
	}
	if len(block) > MaxHeader {
		return nil, ErrHeaderLong
	}
	return &Message{Base: base, Head: block}, nil
}

// readBlock reads up to and including the first empty line, or everything if
// there is none. Input beyond MaxHeader is truncated.
func readBlock(base Content) (block []byte, truncated bool, err error) {
	const most = MaxHeader + 4
	if b, ok := base.(Bytes); ok {
		if end := headEnd(b[:min(len(b), most)]); end >= 0 {
			return b[:end:end], false, nil
		}
		return b[:min(len(b), most):min(len(b), most)], len(b) > most, nil
	}
	for size := int64(8 << 10); ; size *= 4 {
		size = min(size, base.Size(), most)
		block = make([]byte, size)
		if n, err := base.ReadAt(block, 0); n < len(block) {
			return nil, false, errors.Join(errHeaderFirst, err)
		}
		if end := headEnd(block); end >= 0 {
			return block[:end:end], false, nil
		}
		if size == base.Size() || size == most {
			return block, size < base.Size(), nil
		}
	}
}

// headEnd returns the offset after the empty line, or -1.
func headEnd(b []byte) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return -1
}

// Edited returns a copy with further edits for one handoff: fields to add above
// the existing ones, and fields to omit. The spans in drop must not overlap.
func (m *Message) Edited(top []byte, drop ...Span) *Message {
	e := *m
	e.Top = append(append(make([]byte, 0, len(top)+len(m.Top)), top...), m.Top...)
	e.Drop = mergeSpans(m.Drop, drop)
	return &e
}

func mergeSpans(a, b []Span) []Span {
	out := make([]Span, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].Start <= b[0].Start {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return out
}

// Size returns the number of octets that WriteTo writes.
func (m *Message) Size() int64 {
	n := int64(len(m.Top)) + m.Base.Size()
	for _, d := range m.Drop {
		n -= d.End - d.Start
	}
	return n
}

// Body returns the part of Base after the header.
func (m *Message) Body() *io.SectionReader {
	start := int64(len(m.Head))
	return io.NewSectionReader(m.Base, start, m.Base.Size()-start)
}

// Header returns the header block with all edits, including the empty line that
// ends it, if present. Like Head, it must not be modified.
func (m *Message) Header() []byte {
	if len(m.Top)+len(m.Drop) == 0 {
		return m.Head[:len(m.Head):len(m.Head)]
	}
	return m.AppendHeader(make([]byte, 0, len(m.Top)+len(m.Head)))
}

// AppendHeader appends the header block with all edits to b.
func (m *Message) AppendHeader(b []byte) []byte {
	b = append(b, m.Top...)
	from := int64(0)
	for _, d := range m.Drop {
		b = append(b, m.Head[from:d.Start]...)
		from = d.End
	}
	return append(b, m.Head[from:]...)
}

// Reader returns a reader of the message with all edits.
func (m *Message) Reader() io.Reader {
	return io.MultiReader(bytes.NewReader(m.Header()), m.Body())
}

// copier is Content that can copy itself to a file within the kernel, without a
// buffer in this process.
type copier interface {
	// CopyTo writes everything from offset off to the end.
	CopyTo(w io.Writer, off int64) (int64, error)
}

// WriteTo writes the message with all edits.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.Header())
	if err != nil {
		return int64(n), err
	}
	if b, ok := m.Base.(Bytes); ok {
		k, err := w.Write(b[len(m.Head):])
		return int64(n + k), err
	}
	if c, ok := m.Base.(copier); ok {
		k, err := c.CopyTo(w, int64(len(m.Head)))
		return int64(n) + k, err
	}
	k, err := io.Copy(w, m.Body())
	return int64(n) + k, err
}
