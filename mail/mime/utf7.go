package mime

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

// utf7 is the charset of RFC 2152, which golang.org/x/text lacks. It is needed
// only to read old mail.
type utf7 struct{}

func (utf7) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: &utf7Decoder{}}
}

func (utf7) NewEncoder() *encoding.Encoder { return encoding.Nop.NewEncoder() }

// utf7Decoder decodes text in which base64-encoded UTF-16 appears between "+"
// and "-".
type utf7Decoder struct {
	shifted bool   // after "+"
	empty   bool   // nothing follows the "+" yet
	bits    uint32 // bits of an incomplete unit
	n       uint   // number of bits
	high    rune   // the first half of a surrogate pair, or 0
}

func (d *utf7Decoder) Reset() { *d = utf7Decoder{} }

func (d *utf7Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	out := dst[:0]
	for nSrc < len(src) {
		// Write the lone surrogate and the following character.
		if cap(dst)-len(out) < 2*utf8.UTFMax {
			return len(out), nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		switch {
		case d.shifted && sextet[c] != 0xff:
			out = d.sextet(out, sextet[c])
		case d.shifted:
			out = d.end(out)
			if c != '-' {
				continue // c itself is not part of the base64 text
			}
			if d.empty {
				out = append(out, '+') // "+-"
			}
		case c == '+':
			d.shifted, d.empty, d.n = true, true, 0
		case c >= utf8.RuneSelf:
			out = utf8.AppendRune(out, utf8.RuneError)
		default:
			out = append(out, c)
		}
		nSrc++
	}
	if atEOF && d.high != 0 {
		if cap(dst)-len(out) < utf8.UTFMax {
			return len(out), nSrc, transform.ErrShortDst
		}
		out = d.end(out)
	}
	return len(out), nSrc, nil
}

// sextet adds a base64 character, and outputs the UTF-16 unit if this completes
// it.
func (d *utf7Decoder) sextet(out []byte, v byte) []byte {
	d.empty = false
	d.bits, d.n = d.bits<<6|uint32(v), d.n+6
	if d.n < 16 {
		return out
	}
	d.n -= 16
	unit := rune(d.bits >> d.n & 0xffff)
	high := d.high
	if d.high = 0; high != 0 {
		if r := utf16.DecodeRune(high, unit); r != utf8.RuneError {
			return utf8.AppendRune(out, r)
		}
		out = utf8.AppendRune(out, utf8.RuneError)
	}
	if unit >= 0xd800 && unit < 0xdc00 {
		d.high = unit
		return out
	}
	return utf8.AppendRune(out, unit)
}

// end leaves base64 mode.
func (d *utf7Decoder) end(out []byte) []byte {
	if d.shifted = false; d.high != 0 {
		d.high = 0
		out = utf8.AppendRune(out, utf8.RuneError)
	}
	return out
}
