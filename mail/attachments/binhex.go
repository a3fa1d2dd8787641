package attachments

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"hoplite/mail/mime"
)

// binHexIntro begins the line before a BinHex file. The line usually continues
// "with BinHex 4.0)", but some encoders differ, and decoders ignore the rest.
const binHexIntro = "(This file must be converted"

// startsBinHex reports whether content begins with a BinHex file, which some
// senders attach without its MIME type. inText finds those that start later.
func startsBinHex(r *bufio.Reader) bool {
	head, _ := r.Peek(len(binHexIntro))
	return string(head) == binHexIntro
}

// listBinHex lists the two forks of a BinHex 4.0 file (RFC 1741, appendix A). d
// is positioned after the first colon.
func listBinHex(s *scan, at place, d *hqx) error {
	if at.depth >= s.Depth {
		return errDepth
	}
	in := &runReader{r: d}
	var n [1]byte
	if _, err := io.ReadFull(in, n[:]); err != nil || n[0] == 0 || n[0] > 63 {
		return errBinHex
	}
	head := make([]byte, int(n[0])+1+4+4+2+4+4+2)
	if _, err := io.ReadFull(in, head); err != nil {
		return errBinHex
	}
	sum := crc16(crc16(0, n[:]), head[:len(head)-2])
	if crc16(sum, []byte{0, 0}) != binary.BigEndian.Uint16(head[len(head)-2:]) {
		return errBinHex
	}
	name := mime.DecodeString("macintosh", string(head[:n[0]]))
	lens := head[len(head)-10:]
	forks := []struct {
		name string
		size int64
	}{
		{name, int64(binary.BigEndian.Uint32(lens))},
		{name + " (resource fork)", int64(binary.BigEndian.Uint32(lens[4:]))},
	}
	for i, f := range forks {
		fork := &forkReader{r: in, left: f.size}
		if f.size > 0 || i == 0 {
			if err := s.content(at.inside(f.name, "binhex"), []string{f.name}, "", fork); err != nil {
				return err
			}
		}
		if _, err := io.Copy(io.Discard, fork); err != nil {
			return err
		}
		var want [2]byte
		if _, err := io.ReadFull(in, want[:]); err != nil || fork.left > 0 || crc16(fork.sum, []byte{0, 0}) != binary.BigEndian.Uint16(want[:]) {
			return errBinHex
		}
	}
	return nil
}

var errBinHex = errors.New("damaged BinHex")

// hqx decodes the 6-bit characters between two colons.
type hqx struct {
	head []byte // the rest of the line that contains the first colon
	r    *bufio.Reader
	bits uint32
	n    uint
	done bool
}

var hqxValue = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range []byte("!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr") {
		t[c] = int8(i)
	}
	return t
}()

// ReadByte returns the next octet, or io.EOF after the last colon.
func (d *hqx) ReadByte() (byte, error) {
	for d.n < 8 {
		if d.done {
			return 0, io.EOF
		}
		c, err := d.next()
		if err != nil {
			return 0, err
		}
		v := hqxValue[c]
		switch {
		case c == ':':
			d.done = true
			return 0, io.EOF
		case v < 0:
			if bytes.IndexByte([]byte(" \t\r\n"), c) < 0 {
				return 0, errBinHex
			}
			continue
		}
		d.bits = d.bits<<6 | uint32(v)
		d.n += 6
	}
	d.n -= 8
	return byte(d.bits >> d.n), nil
}

func (d *hqx) next() (byte, error) {
	if len(d.head) > 0 {
		c := d.head[0]
		d.head = d.head[1:]
		return c, nil
	}
	return d.r.ReadByte()
}

// runReader expands runs: octet, 0x90, count. A literal 0x90 is encoded as 0x90
// 0.
type runReader struct {
	r    *hqx
	last byte
	left int
}

func (r *runReader) Read(p []byte) (int, error) {
	for i := range p {
		for r.left == 0 {
			b, err := r.r.ReadByte()
			if err != nil {
				return i, err
			}
			if b == 0x90 {
				n, err := r.r.ReadByte()
				if err != nil {
					return i, err
				}
				if n == 0 {
					r.last, r.left = 0x90, 1
				} else {
					r.left = int(n) - 1 // the octet itself has already been returned
				}
			} else {
				r.last, r.left = b, 1
			}
		}
		p[i] = r.last
		r.left--
	}
	return len(p), nil
}

// forkReader reads one fork and computes its checksum.
type forkReader struct {
	r    io.Reader
	left int64
	sum  uint16
}

func (f *forkReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	f.sum = crc16(f.sum, p[:n])
	return n, err
}

var crcTable = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// crc16 updates a CCITT checksum. BinHex adds two zero octets at the end, which
// are not included.
func crc16(sum uint16, b []byte) uint16 {
	for _, c := range b {
		sum = sum<<8 ^ crcTable[sum>>8] ^ uint16(c)
	}
	return sum
}
