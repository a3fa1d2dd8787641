package cms

import (
	"encoding/binary"
	"errors"
)

var (
	errShort  = errors.New("ends early")
	errNested = errors.New("nested too deeply")
)

// parseHeader reads an identifier and length at the start of b and returns how
// many octets they take. errShort means that b is too short.
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

// frame is an open element during a walk over octets in memory.
type frame struct {
	end    int // in the input, -1: indefinite
	start  int // of the content in the output
	h      header
	string bool // a constructed OCTET STRING
}

// toDER converts one whole BER element to definite and shortest lengths and
// joins segmented OCTET STRINGs. The order of SETs is kept, because that is
// what the signer hashed. Input that needs no change is returned as it is.
func toDER(b []byte) ([]byte, error) {
	var stack [maxDepth]frame
	depth, pos, plain := 0, 0, true
	var out []byte
	for {
		for depth > 0 {
			f := &stack[depth-1]
			if f.end < 0 && len(b)-pos >= 2 && b[pos] == 0 && b[pos+1] == 0 {
				pos += 2
			} else if f.end < 0 || pos < f.end {
				break
			}
			if f.end >= 0 && pos > f.end {
				return nil, errors.New("an element is longer than the one around it")
			}
			depth--
			if !plain {
				out = closeFrame(out, f, depth > 0 && stack[depth-1].string)
			}
		}
		if depth == 0 && pos > 0 {
			break
		}
		h, n, err := parseHeader(b[pos:])
		if err != nil {
			return nil, err
		}
		limit := len(b)
		for i := depth - 1; i >= 0; i-- {
			if stack[i].end >= 0 {
				limit = stack[i].end
				break
			}
		}
		if pos+n > limit || h.length > int64(limit-pos-n) {
			return nil, errors.New("an element is longer than the one around it")
		}
		if plain && (h.length < 0 || h.cons && h.is(universal, tagOctets) || !minimal(b[pos:pos+n], h)) {
			// Start over and write the output.
			plain, depth, pos, out = false, 0, 0, make([]byte, 0, len(b))
			continue
		}
		pos += n
		if h.cons {
			if depth == maxDepth {
				return nil, errNested
			}
			f := frame{end: -1, start: len(out), h: h, string: h.is(universal, tagOctets)}
			if h.length >= 0 {
				f.end = pos + int(h.length)
			}
			stack[depth] = f
			depth++
			continue
		}
		if !plain {
			if depth > 0 && stack[depth-1].string {
				if !h.is(universal, tagOctets) {
					return nil, errors.New("an OCTET STRING contains another type")
				}
			} else {
				out = appendHeader(out, h)
			}
			out = append(out, b[pos:pos+int(h.length)]...)
		}
		pos += int(h.length)
	}
	if plain {
		return b[:pos], nil
	}
	return out, nil
}

// closeFrame inserts the header of a finished element before its content.
func closeFrame(out []byte, f *frame, inString bool) []byte {
	if inString {
		return out // a nested segment: only its content counts
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

// minimal reports whether the header octets are those that DER would use.
func minimal(b []byte, h header) bool {
	var head [16]byte
	return string(appendHeader(head[:0], h)) == string(b)
}
