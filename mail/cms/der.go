package cms

import (
	"bytes"
	"encoding/binary"
	"errors"
)

var (
	errShort  = errors.New("ends early")
	errNested = errors.New("nested too deeply")
)

// parseHeader parses an identifier and length at the start of b and returns the
// number of octets they occupy. errShort means that b is too short.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < 2 {
		return h, 0, errShort
	}
	h = header{class: b[0] >> 6, cons: b[0]&0x20 != 0, tag: uint32(b[0] & 0x1f)}
	n = 1
	if h.tag == 0x1f {
		h.tag = 0
		for {
			if n > 4 {
				return h, 0, errors.New("tag number too large")
			}
			if n == len(b) {
				return h, 0, errShort
			}
			c := b[n]
			n++
			h.tag = h.tag<<7 | uint32(c&0x7f)
			if c&0x80 == 0 {
				break
			}
		}
	}
	if n == len(b) {
		return h, 0, errShort
	}
	c := b[n]
	n++
	switch {
	case c < 0x80:
		h.length = int64(c)
	case c == 0x80:
		if h.length = -1; !h.cons {
			return h, 0, errors.New("a primitive element of indefinite length")
		}
	case c > 0x88:
		return h, 0, errors.New("length too large")
	default:
		k := int(c & 0x7f)
		if len(b) < n+k {
			return h, 0, errShort
		}
		var v [8]byte
		copy(v[8-k:], b[n:n+k])
		n += k
		u := binary.BigEndian.Uint64(v[:])
		if u > 1<<62 {
			return h, 0, errors.New("length too large")
		}
		h.length = int64(u)
	}
	return h, n, nil
}

// appendHeader appends h in its shortest form (X.690, 10.1).
func appendHeader(b []byte, h header) []byte {
	id := h.class << 6
	if h.cons {
		id |= 0x20
	}
	if h.tag < 0x1f {
		b = append(b, id|byte(h.tag))
	} else {
		b = append(b, id|0x1f)
		started := false
		for shift := 28; shift >= 0; shift -= 7 {
			c := byte(h.tag>>shift) & 0x7f
			if c == 0 && !started && shift > 0 {
				continue
			}
			started = true
			if shift > 0 {
				c |= 0x80
			}
			b = append(b, c)
		}
	}
	if h.length < 0 {
		return append(b, 0x80)
	}
	if h.length < 0x80 {
		return append(b, byte(h.length))
	}
	k := 1
	for v := h.length >> 8; v > 0; v >>= 8 {
		k++
	}
	b = append(b, 0x80|byte(k))
	for k--; k >= 0; k-- {
		b = append(b, byte(h.length>>(8*k)))
	}
	return b
}

// frame is an open element during conversion in memory.
type frame struct {
	end    int // in the input; -1 means indefinite
	start  int // of the content, in the output
	h      header
	string bool // a constructed OCTET STRING
}

// toDER converts one complete BER element to definite, shortest lengths and
// joins segmented OCTET STRINGs. The order of SETs is kept, because the signer
// hashed them in that order. Input that needs no change is returned as is.
func toDER(b []byte) ([]byte, error) {
	c := converter{in: b, plain: true}
	for c.pos == 0 || c.depth > 0 {
		if err := c.element(); err != nil {
			return nil, err
		}
		if err := c.closeFinished(); err != nil {
			return nil, err
		}
	}
	if c.plain {
		return b[:c.pos], nil
	}
	return c.out, nil
}

// converter is the state of toDER: the position in the input, the open
// elements, and the output.
type converter struct {
	in    []byte
	pos   int
	stack [maxDepth]frame
	depth int
	plain bool   // the input has been DER so far
	out   []byte // empty while plain
}

var errOverlong = errors.New("an element is longer than the one around it")

// element converts the header of the next element, and its content if it is
// primitive.
func (c *converter) element() error {
	h, n, err := parseHeader(c.in[c.pos:])
	if err != nil {
		return err
	}
	if left := c.limit() - c.pos - n; left < 0 || h.length > int64(left) {
		return errOverlong
	}
	if c.plain && (h.length < 0 || h.cons && h.is(universal, tagOctets) || !minimal(c.in[c.pos:c.pos+n], h)) {
		// Restart, writing the output this time.
		c.plain, c.depth, c.pos, c.out = false, 0, 0, make([]byte, 0, len(c.in))
		return nil
	}
	c.pos += n
	if h.cons {
		return c.open(h)
	}
	return c.primitive(h)
}

// limit returns the nearest known end of an open element.
func (c *converter) limit() int {
	for i := c.depth - 1; i >= 0; i-- {
		if c.stack[i].end >= 0 {
			return c.stack[i].end
		}
	}
	return len(c.in)
}

// inString reports whether the innermost open element is an OCTET STRING.
func (c *converter) inString() bool { return c.depth > 0 && c.stack[c.depth-1].string }

// open descends into a constructed element.
func (c *converter) open(h header) error {
	if c.depth == maxDepth {
		return errNested
	}
	f := frame{end: -1, start: len(c.out), h: h, string: h.is(universal, tagOctets)}
	if h.length >= 0 {
		f.end = c.pos + int(h.length)
	}
	c.stack[c.depth] = f
	c.depth++
	return nil
}

// primitive copies a primitive element or, for a segment of an OCTET STRING,
// only its content.
func (c *converter) primitive(h header) error {
	end := c.pos + int(h.length)
	if !c.plain {
		switch {
		case !c.inString():
			c.out = appendHeader(c.out, h)
		case !h.is(universal, tagOctets):
			return errors.New("an OCTET STRING contains another type")
		}
		c.out = append(c.out, c.in[c.pos:end]...)
	}
	c.pos = end
	return nil
}

// closeFinished closes all elements that end at the current position.
func (c *converter) closeFinished() error {
	for c.depth > 0 {
		f := &c.stack[c.depth-1]
		switch {
		case f.end < 0 && bytes.HasPrefix(c.in[c.pos:], []byte{0, 0}):
			if c.pos += 2; c.pos > c.limit() {
				return errOverlong
			}
		case f.end < 0 || c.pos < f.end:
			return nil
		case c.pos > f.end:
			return errOverlong
		}
		c.depth--
		if !c.plain {
			c.out = closeFrame(c.out, f, c.inString())
		}
	}
	return nil
}

// closeFrame inserts the header of a finished element before its content.
func closeFrame(out []byte, f *frame, inString bool) []byte {
	if inString {
		return out // a nested segment has no header in the output
	}
	h := f.h
	h.length = int64(len(out) - f.start)
	h.cons = !f.string
	var head [16]byte
	hb := appendHeader(head[:0], h)
	out = append(out, hb...)
	copy(out[f.start+len(hb):], out[f.start:len(out)-len(hb)])
	copy(out[f.start:], hb)
	return out
}

// minimal reports whether the header is encoded as DER requires.
func minimal(b []byte, h header) bool {
	var head [16]byte
	return string(appendHeader(head[:0], h)) == string(b)
}
