package dkim

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"hoplite/mail"
)

// AppendHeader appends a raw field in canonical form (RFC 6376, 3.4.1 and
// 3.4.2), ending in CRLF.
func AppendHeader(dst, raw []byte, c Canon) []byte {
	if c == Simple {
		for len(raw) > 0 { // CRLF even if the message uses LF
			line := raw
			if i := bytes.IndexByte(raw, '\n'); i >= 0 {
				line = raw[:i]
				raw = raw[i+1:]
			} else {
				raw = nil
			}
			dst = append(append(dst, bytes.TrimSuffix(line, []byte("\r"))...), '\r', '\n')
		}
		return dst
	}
	name, value, _ := bytes.Cut(raw, []byte(":"))
	for _, b := range bytes.TrimRight(name, " \t\r\n") {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		dst = append(dst, b)
	}
	dst = append(dst, ':')
	start, space := len(dst), false
	for _, b := range value {
		switch b {
		case ' ', '\t', '\r', '\n':
			space = len(dst) > start
		default:
			if space {
				dst = append(dst, ' ')
				space = false
			}
			dst = append(dst, b)
		}
	}
	return append(dst, '\r', '\n')
}

// bodyKey identifies a method of hashing a body.
type bodyKey struct {
	canon  Canon
	length int64 // -1 means the whole body
}

// bodySum holds a body hash and the length of the complete canonical body.
type bodySum struct {
	sum   []byte
	total int64
}

// hashBody hashes a body in several ways in one pass.
func hashBody(r io.Reader, ways []bodyKey) (map[bodyKey]bodySum, error) {
	pooled := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(pooled)
	var canons [2]*canoniser
	sinks := map[bodyKey]*sink{}
	for _, w := range ways {
		i := 0
		if w.canon {
			i = 1
		}
		if canons[i] == nil {
			at := i * outSize
			canons[i] = &canoniser{relaxed: w.canon == Relaxed, out: pooled[at : at : at+outSize]}
		}
		if sinks[w] == nil {
			sinks[w] = &sink{h: sha256.New(), left: w.length}
			canons[i].sinks = append(canons[i].sinks, sinks[w])
		}
	}
	buf := pooled[32<<10:]
	for {
		n, err := r.Read(buf)
		for _, c := range canons {
			if c != nil {
				c.write(buf[:n])
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	sums := map[bodyKey]bodySum{}
	for i, c := range canons {
		if c == nil {
			continue
		}
		c.close()
		for k, s := range sinks {
			if k.canon == (i == 1) {
				sums[k] = bodySum{s.h.Sum(nil), c.total}
			}
		}
	}
	return sums, nil
}

// HashBody returns the SHA-256 hash of a message's canonical body.
func HashBody(m *mail.Message, c Canon) ([]byte, error) {
	k := bodyKey{c, -1}
	sums, err := hashBody(m.Body(), []bodyKey{k})
	return sums[k].sum, err
}

// sink hashes the next left octets it receives, or all octets if left is
// negative.
type sink struct {
	h    hash.Hash
	left int64
}

func (s *sink) write(p []byte) {
	if s.left >= 0 {
		p = p[:min(int64(len(p)), s.left)]
		s.left -= int64(len(p))
	}
	s.h.Write(p)
}

// canoniser converts a body to canonical form, piece by piece.
type canoniser struct {
	relaxed bool
	sinks   []*sink
	total   int64

	out   []byte // not yet written
	empty int    // number of empty lines, which are hashed only if text follows
	text  bool   // the current line contains text
	space bool   // relaxed: pending white space, which is hashed only if text follows
	cr    bool   // the previous piece ended in CR
}

var (
	crlf  = []byte("\r\n")
	space = []byte(" ")
)

// outSize is the amount of canonical text collected before it is hashed.
const outSize = 16 << 10

// buffers is a pool for the input and the canonical text of both kinds.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// write processes the next piece of the body.
func (c *canoniser) write(p []byte) {
	if c.cr && len(p) > 0 {
		c.cr = false
		if p[0] != '\n' {
			c.part(crlf[:1])
		}
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			if p[len(p)-1] == '\r' {
				c.cr = true
				p = p[:len(p)-1]
			}
			c.part(p)
			return
		}
		line := p[:i]
		if i > 0 && line[i-1] == '\r' {
			line = line[:i-1]
		}
		c.part(line)
		c.endLine()
		p = p[i+1:]
	}
}

// part processes text within one line.
func (c *canoniser) part(p []byte) {
	if len(p) == 0 {
		return
	}
	if !c.relaxed {
		c.begin()
		c.emit(p)
		return
	}
	if !c.space && p[len(p)-1] != ' ' && bytes.IndexByte(p, '\t') < 0 && !bytes.Contains(p, []byte("  ")) {
		c.begin() // most lines need no change
		c.emit(p)
		return
	}
	for len(p) > 0 {
		n := 0
		for n < len(p) && p[n] != ' ' && p[n] != '\t' {
			n++
		}
		if n > 0 {
			c.begin()
			if c.space {
				c.emit(space)
				c.space = false
			}
			c.emit(p[:n])
			p = p[n:]
		}
		for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
			c.space = true
			p = p[1:]
		}
	}
}

// begin writes the pending white space and line endings before the first text
// of a line.
func (c *canoniser) begin() {
	for ; c.empty > 0; c.empty-- {
		c.emit(crlf)
	}
	c.text = true
}

func (c *canoniser) endLine() {
	if c.text {
		c.emit(crlf)
	} else {
		c.empty++
	}
	c.text, c.space = false, false
}

// close ends the body: an unterminated last line gets a line ending, empty
// lines at the end are dropped, and an empty body becomes CRLF in simple form
// (RFC 6376, 3.4.3).
func (c *canoniser) close() {
	if c.cr {
		c.part(crlf[:1])
	}
	if c.text {
		c.endLine()
	}
	if !c.relaxed && c.total == 0 && len(c.out) == 0 {
		c.emit(crlf)
	}
	c.flush()
}

func (c *canoniser) emit(p []byte) {
	if len(c.out)+len(p) > outSize {
		c.flush()
		if len(p) > 4<<10 {
			c.put(p)
			return
		}
	}
	c.out = append(c.out, p...)
}

func (c *canoniser) flush() {
	c.put(c.out)
	c.out = c.out[:0]
}

func (c *canoniser) put(p []byte) {
	c.total += int64(len(p))
	for _, s := range c.sinks {
		s.write(p)
	}
}
