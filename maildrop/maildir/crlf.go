package maildir

import (
	"bytes"
	"io"
	"strings"
)

// block is the size of reads and writes in octets.
const block = 64 << 10

// LFWriter converts CRLF to LF while writing to a file, and counts octets. Lone
// CRs and LFs are left unchanged. If several CRs precede an LF, all of them are
// dropped, because a reader could not distinguish them from a line ending.
//
// After a field "Content-Transfer-Encoding: binary", line endings are not
// converted, because a bare LF in such a part is data (RFC 3030, 3). The CRLF
// that ends the part's header indicates that the part is stored as received.
type LFWriter struct {
	w    io.Writer
	buf  []byte
	held int    // CRs at the end of the input so far
	mid  bool   // the last Write ended within a line
	line []byte // the part of that line written, if it may be binaryField

	// Binary is set after a field that announces binary data. If no bare LF has
	// followed, Bare is false, and conversion would lose no information.
	Binary, Bare bool
	all          bool // also convert binary data
	last         byte // last octet of binary data

	// Size is the number of octets written, and Wire the number with CRLF line
	// endings.
	Size, Wire int64
}

// NewLFWriter returns a writer that writes to w in blocks. The caller must call
// Flush at the end.
func NewLFWriter(w io.Writer) *LFWriter {
	return &LFWriter{w: w, buf: make([]byte, 0, block)}
}

// Reset makes l write to w, reusing its buffers.
func (l *LFWriter) Reset(w io.Writer) { *l = LFWriter{w: w, buf: l.buf[:0], line: l.line[:0]} }

// ConvertAll makes l also convert binary data.
func (l *LFWriter) ConvertAll() { l.all = true }

// Write accepts text with either line ending, split at any point.
func (l *LFWriter) Write(p []byte) (int, error) {
	n := len(p)
	if l.Binary {
		return n, l.data(p)
	}
	for l.held > 0 && len(p) > 0 && p[0] == '\r' {
		l.held++
		p = p[1:]
	}
	if len(p) == 0 {
		return n, nil
	}
	if p[0] == '\n' && !l.Binary {
		if l.Binary = l.announcesBinary(nil); !l.Binary {
			l.held = 0
		} else if l.held > 0 {
			l.last = '\r'
		}
	}
	if err := l.release(); err != nil {
		return 0, err
	}
	if l.Binary {
		return n, l.data(p)
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			return n, l.tail(p)
		}
		line := bytes.TrimRight(p[:i], "\r")
		if l.announcesBinary(line) {
			l.Binary = true
			return n, l.data(p)
		}
		p, l.mid = p[i+1:], false
		l.Wire += int64(len(line)) + 2
		if err := l.put(line); err != nil {
			return 0, err
		}
		if err := l.put(newline); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// binaryField is the field that announces binary data, in lower case.
const binaryField = "content-transfer-encoding:"

// announcesBinary reports whether the current line, which ends with text, is
// binaryField with the value "binary".
func (l *LFWriter) announcesBinary(text []byte) bool {
	if l.mid {
		if len(l.line) == 0 {
			return false
		}
		text = append(l.line, text[:min(len(text), maxField)]...)
		l.line = l.line[:0]
	}
	if len(text) < len(binaryField) || text[0]|0x20 != 'c' || l.all || !strings.EqualFold(string(text[:len(binaryField)]), binaryField) {
		return false
	}
	return strings.EqualFold(string(bytes.TrimSpace(text[len(binaryField):])), "binary")
}

// maxField is the maximum length of a line that is compared with binaryField.
const maxField = 100

// data writes octets unchanged.
func (l *LFWriter) data(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	bare := bytes.Count(p, newline) - bytes.Count(p, crlf)
	if p[0] == '\n' && l.last == '\r' {
		bare--
	}
	l.last = p[len(p)-1]
	l.Bare = l.Bare || bare > 0
	l.Wire += int64(len(p) + bare)
	return l.put(p)
}

// release writes the pending CRs, which did not turn out to be part of a line
// ending.
func (l *LFWriter) release() error {
	for ; l.held > 0; l.held-- {
		l.Wire++
		if err := l.put([]byte{'\r'}); err != nil {
			return err
		}
	}
	return nil
}

var (
	newline = []byte{'\n'}
	crlf    = []byte("\r\n")
)

// tail handles the octets after the last LF.
func (l *LFWriter) tail(p []byte) error {
	text := bytes.TrimRight(p, "\r")
	l.held = len(p) - len(text)
	if len(l.line) > 0 || !l.mid && len(text) > 0 && text[0]|0x20 == 'c' {
		l.line = append(l.line, text[:min(len(text), maxField-min(len(l.line), maxField))]...)
	}
	l.mid = l.mid || len(text) > 0
	l.Wire += int64(len(text))
	return l.put(text)
}

func (l *LFWriter) put(p []byte) error {
	l.Size += int64(len(p))
	if len(l.buf)+len(p) > cap(l.buf) {
		if err := l.spill(); err != nil {
			return err
		}
		if len(p) >= cap(l.buf) {
			_, err := l.w.Write(p)
			return err
		}
	}
	l.buf = append(l.buf, p...)
	return nil
}

func (l *LFWriter) spill() error {
	if len(l.buf) == 0 {
		return nil
	}
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

// Flush writes the rest of the text.
func (l *LFWriter) Flush() error {
	if err := l.release(); err != nil {
		return err
	}
	return l.spill()
}

// WireSize counts the octets in a file as stored and with CRLF line endings.
func WireSize(r io.Reader) (size, wire int64, err error) {
	buf := make([]byte, block)
	var last byte
	for {
		n, err := r.Read(buf)
		p := buf[:n]
		size += int64(n)
		wire += int64(n) + int64(bytes.Count(p, newline))
		if n > 0 {
			if last == '\r' && p[0] == '\n' {
				wire--
			}
			wire -= int64(bytes.Count(p, crlf))
			last = p[n-1]
		}
		if err == io.EOF {
			return size, wire, nil
		}
		if err != nil {
			return size, wire, err
		}
	}
}

// WireLen returns the size of text with CRLF line endings.
func WireLen(text []byte) int64 {
	return int64(len(text) + bytes.Count(text, newline) - bytes.Count(text, crlf))
}

// CRLFReader reads a stored message and returns it with CRLF line endings.
type CRLFReader struct {
	r    io.Reader
	in   []byte // input block
	out  []byte // output block for WriteTo, allocated when needed
	rest []byte // the part of in that has not been returned
	last byte   // the octet before rest
	owed bool   // an LF whose CR has already been returned
	err  error
}

// NewCRLFReader returns a reader for r, which may contain LF or CRLF line
// endings or both.
func NewCRLFReader(r io.Reader) *CRLFReader {
	return &CRLFReader{r: r, in: make([]byte, block)}
}

// Reset makes c read from r, reusing its buffers.
func (c *CRLFReader) Reset(r io.Reader) { *c = CRLFReader{r: r, in: c.in, out: c.out} }

func (c *CRLFReader) fill() bool {
	for len(c.rest) == 0 && c.err == nil {
		var n int
		n, c.err = c.r.Read(c.in)
		c.rest = c.in[:n]
	}
	return len(c.rest) > 0
}

// Read implements io.Reader.
func (c *CRLFReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if c.owed {
			p[n] = '\n'
			n++
			c.owed, c.last, c.rest = false, '\n', c.rest[1:]
			continue
		}
		if n > 0 && len(c.rest) == 0 {
			return n, nil
		}
		if !c.fill() {
			return n, c.err
		}
		n += c.copyLine(p[n:])
	}
	return n, nil
}

// copyLine copies text up to the next line ending into p, followed by CRLF.
func (c *CRLFReader) copyLine(p []byte) int {
	i := bytes.IndexByte(c.rest[:min(len(c.rest), len(p))], '\n')
	if i < 0 {
		n := copy(p, c.rest)
		c.advance(n)
		return n
	}
	n := copy(p, c.rest[:i])
	c.advance(i)
	if c.last == '\r' {
		p[n] = '\n'
		c.advance(1)
		return n + 1
	}
	p[n] = '\r'
	c.owed = true
	return n + 1
}

func (c *CRLFReader) advance(n int) {
	if n > 0 {
		c.last = c.rest[n-1]
		c.rest = c.rest[n:]
	}
}

// WriteTo implements io.WriterTo. Each input block is written with one call.
func (c *CRLFReader) WriteTo(w io.Writer) (int64, error) {
	if c.out == nil {
		c.out = make([]byte, 0, block+block/16)
	}
	var total int64
	for c.owed || c.fill() {
		out := c.out[:0]
		if c.owed {
			out = append(out, '\n')
			c.owed = false
			c.advance(1)
		}
		for len(c.rest) > 0 {
			i := bytes.IndexByte(c.rest, '\n')
			if i < 0 {
				i = len(c.rest)
			}
			out = append(out, c.rest[:i]...)
			c.advance(i)
			if len(c.rest) == 0 {
				break
			}
			if c.last != '\r' {
				out = append(out, '\r')
			}
			out = append(out, '\n')
			c.advance(1)
		}
		c.out = out
		n, err := w.Write(out)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	if c.err == io.EOF {
		return total, nil
	}
	return total, c.err
}
