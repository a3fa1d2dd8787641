package mime

import (
	"bufio"
	"bytes"
	"io"
	"slices"
)

// Decoder returns a reader that decodes a transfer encoding (RFC 2045, 6),
// given in lower case. Like mail programs, it is lenient: invalid octets are
// skipped, and a missing end is accepted. If the encoding is unknown, known is
// false and the octets are returned unchanged.
func Decoder(enc string, r io.Reader) (dec io.Reader, known bool) {
	switch enc {
	case "", "7bit", "8bit", "binary":
		return r, true
	case "base64":
		return &base64Reader{r: bufio.NewReaderSize(r, batch)}, true
	case "quoted-printable":
		return &lineReader{r: bufio.NewReaderSize(r, 4096), decode: qpLine}, true
	case "uuencode", "x-uuencode", "x-uue", "uue":
		return &lineReader{r: bufio.NewReaderSize(r, 4096), decode: uuLine}, true
	}
	return r, false
}

// base64Reader decodes base64, skipping octets outside the alphabet. It
// continues after padding to support concatenated encodings.
type base64Reader struct {
	r    *bufio.Reader
	quad [4]byte
	n    int    // number of octets in quad
	out  []byte // decoded octets that have not been read yet
	buf  []byte
	err  error
}

const batch = 16 << 10

func (d *base64Reader) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		d.fill()
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// fill decodes the available input.
func (d *base64Reader) fill() {
	d.out = d.buf[:0]
	if _, err := d.r.Peek(1); err == nil {
		in, _ := d.r.Peek(d.r.Buffered())
		d.r.Discard(len(in))
		d.decode(in)
	} else {
		d.flush()
		d.err = err
	}
	d.buf = d.out
}

// decode decodes intact quads in bulk and everything else octet by octet.
func (d *base64Reader) decode(in []byte) {
	d.out = slices.Grow(d.out, len(in))
	for len(in) > 0 {
		if d.n == 0 {
			out, n := d.out[len(d.out):cap(d.out)], 0
			for len(in) >= 4 && len(out) >= n+3 {
				a, b, c, e := sextet[in[0]], sextet[in[1]], sextet[in[2]], sextet[in[3]]
				if (a|b|c|e)&0x80 != 0 {
					break
				}
				out[n], out[n+1], out[n+2] = a<<2|b>>4, b<<4|c>>2, c<<6|e
				in, n = in[4:], n+3
			}
			d.out = d.out[:len(d.out)+n]
			if len(in) == 0 {
				return
			}
		}
		d.octet(in[0])
		in = in[1:]
	}
}

func (d *base64Reader) octet(c byte) {
	if c == '=' {
		d.flush()
		return
	}
	if sextet[c] == 0xff {
		return
	}
	d.quad[d.n] = sextet[c]
	if d.n++; d.n == 4 {
		q := d.quad
		d.out = append(d.out, q[0]<<2|q[1]>>4, q[1]<<4|q[2]>>2, q[2]<<6|q[3])
		d.n = 0
	}
}

// flush decodes an incomplete quad: two sextets yield one octet, three yield
// two.
func (d *base64Reader) flush() {
	q := d.quad
	if d.n >= 2 {
		d.out = append(d.out, q[0]<<2|q[1]>>4)
	}
	if d.n == 3 {
		d.out = append(d.out, q[1]<<4|q[2]>>2)
	}
	d.n = 0
}

var sextet = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i, c := range []byte(alphabet) {
		t[c] = byte(i)
	}
	return t
}()

// lineReader decodes line by line. Overlong lines are processed in pieces.
type lineReader struct {
	r      *bufio.Reader
	decode func(st *lineState, dst, line []byte) []byte
	st     lineState
	buf    []byte
	out    []byte
	carry  []byte // the end of a piece, which may begin an escape
	err    error
}

type lineState struct {
	body bool // for uuencode: between begin and end
	part bool // the line is an incomplete piece without a line ending
}

func (d *lineReader) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		line, err := d.r.ReadSlice('\n')
		if len(d.carry) > 0 {
			line = append(bytes.Clone(d.carry), line...)
			d.carry = d.carry[:0]
		}
		if d.st.part = err == bufio.ErrBufferFull; d.st.part {
			// Keep octets that may belong to an escape or to
			// trailing white space.
			keep := line[len(line)-min(len(line), 3):]
			if i := bytes.IndexByte(keep, '='); i >= 0 {
				d.carry = append(d.carry, keep[i:]...)
				line = line[:len(line)-len(keep)+i]
			}
		} else {
			d.err = err
		}
		d.buf = d.decode(&d.st, d.buf[:0], line)
		d.out = d.buf
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// qpLine decodes a line of quoted-printable text (RFC 2045, 6.7).
func qpLine(st *lineState, dst, line []byte) []byte {
	end := []byte(nil)
	if !st.part {
		text := bytes.TrimRight(line, "\r\n")
		end = line[len(text):]
		line = bytes.TrimRight(text, " \t")
		if n := len(line); n > 0 && line[n-1] == '=' {
			line, end = line[:n-1], nil
		}
	}
	for {
		i := bytes.IndexByte(line, '=')
		if i < 0 {
			break
		}
		dst = append(dst, line[:i]...)
		if i+2 < len(line) && unhex(line[i+1]) >= 0 && unhex(line[i+2]) >= 0 {
			dst = append(dst, byte(unhex(line[i+1])<<4|unhex(line[i+2])))
			line = line[i+3:]
			continue
		}
		dst = append(dst, '=')
		line = line[i+1:]
	}
	dst = append(dst, line...)
	return append(dst, end...)
}

// uuLine decodes a line of uuencode between its "begin" and "end" lines.
func uuLine(st *lineState, dst, line []byte) []byte {
	line = bytes.TrimRight(line, "\r\n")
	if !st.body {
		st.body = bytes.HasPrefix(line, []byte("begin "))
		return dst
	}
	if bytes.Equal(line, []byte("end")) {
		st.body = false
		return dst
	}
	if len(line) == 0 || line[0] < ' ' || line[0] > '`' {
		return dst
	}
	want := int(line[0]-' ') & 63
	line = line[1:]
	at := func(i int) byte {
		if i < len(line) {
			return (line[i] - ' ') & 63
		}
		return 0
	}
	for i := 0; want > 0; i += 4 {
		q := [4]byte{at(i), at(i + 1), at(i + 2), at(i + 3)}
		b := [3]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2, q[2]<<6 | q[3]}
		dst = append(dst, b[:min(want, 3)]...)
		want -= 3
	}
	return dst
}
