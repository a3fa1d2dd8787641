package wire

import (
	"bytes"
	"io"
	"strconv"
	"unicode/utf8"
)

// Writer collects responses and sends them when its buffer is full or Flush is
// called. After the first error on the connection it discards all output. It
// holds no buffer between commands.
type Writer struct {
	dst   io.Writer
	layer Layer   // nil, or dst
	buf   *[]byte // pooled; nil while empty
	n     int
	err   error
}

// Layer transforms output, for example by compression. Flush sends what Write
// has retained.
type Layer interface {
	io.Writer
	Flush() error
}

// NewWriter returns a writer that sends to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// Through sends all further output through a layer. The buffer must be empty.
func (w *Writer) Through(l Layer) { w.dst, w.layer = l, l }

// Err returns the first error on the connection.
func (w *Writer) Err() error { return w.err }

// Flush sends the buffered output and returns the buffer to the pool.
func (w *Writer) Flush() error {
	if w.buf != nil {
		w.send()
		pool.Put(w.buf)
		w.buf = nil
	}
	if w.layer != nil && w.err == nil {
		w.err = w.layer.Flush()
	}
	return w.err
}

func (w *Writer) send() {
	if w.err == nil && w.n > 0 {
		_, w.err = w.dst.Write((*w.buf)[:w.n])
	}
	w.n = 0
}

// Room returns the free part of the buffer, with room for at least n octets; n
// must be at most 4096. The caller appends to it and passes the result to Took.
func (w *Writer) Room(n int) []byte {
	if w.buf == nil {
		w.buf = pool.Get().(*[]byte)
	}
	if bufSize-w.n < n {
		w.send()
	}
	return (*w.buf)[w.n:w.n:bufSize]
}

// Took adds b to the output. b must start as the slice returned by Room, but
// may have outgrown the buffer.
func (w *Writer) Took(b []byte) {
	if len(b) <= bufSize-w.n {
		if len(b) > 0 && &b[0] != &(*w.buf)[w.n] {
			copy((*w.buf)[w.n:], b)
		}
		w.n += len(b)
		return
	}
	w.Write(b)
}

// Write adds b to the output.
func (w *Writer) Write(b []byte) (int, error) {
	if w.buf == nil {
		w.buf = pool.Get().(*[]byte)
	}
	n := len(b)
	if n > bufSize-w.n {
		w.send()
		if n >= bufSize {
			if w.err == nil {
				_, w.err = w.dst.Write(b)
			}
			return n, w.err
		}
	}
	w.n += copy((*w.buf)[w.n:], b)
	return n, w.err
}

// WriteString adds s to the output.
func (w *Writer) WriteString(s string) (int, error) {
	n := len(s)
	for len(s) > 0 {
		room := w.Room(1)
		k := min(len(s), cap(room))
		w.n += copy((*w.buf)[w.n:], s[:k])
		s = s[k:]
	}
	return n, w.err
}

// AppendString appends an IMAP string: quoted if possible, otherwise a literal.
// If utf8ok is set, a quoted string may contain UTF-8 (RFC 6855, RFC 9051).
// NULs are removed, because neither form can contain them.
func AppendString(dst []byte, s string, utf8ok bool) []byte {
	if len(s) <= 1000 && quotable(s, utf8ok) {
		dst = append(dst, '"')
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, s[i])
		}
		return append(dst, '"')
	}
	b := bytes.ReplaceAll([]byte(s), []byte{0}, nil)
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(b)), 10)
	dst = append(dst, "}\r\n"...)
	return append(dst, b...)
}

// quotable reports whether s can be written as a quoted string.
func quotable(s string, utf8ok bool) bool {
	high := false
	for i := range len(s) {
		c := s[i]
		if c == 0 || c == '\r' || c == '\n' || c >= 0x80 && !utf8ok {
			return false
		}
		high = high || c >= 0x80
	}
	return !high || utf8.ValidString(s)
}

// AppendAString appends s as an atom if possible, otherwise as a string.
func AppendAString(dst []byte, s string) []byte {
	if s == "" || len(s) > 200 {
		return AppendString(dst, s, false)
	}
	for i := range len(s) {
		if !atomChar(s[i]) {
			return AppendString(dst, s, false)
		}
	}
	if len(s) == 3 && (s[0]|0x20) == 'n' && (s[1]|0x20) == 'i' && (s[2]|0x20) == 'l' {
		return AppendString(dst, s, false)
	}
	return append(dst, s...)
}
