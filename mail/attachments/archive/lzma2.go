package archive

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// lzmaState is how much memory the probabilities of LZMA2 need. They are
// allocated for every chunk with new properties.
const lzmaState = 64 << 10

// probabilities returns how much memory LZMA needs for the literals, by the first
// octet of its properties.
func probabilities(properties byte) int64 { return 0x600 << (properties%9 + properties/9%5) }

// fitting returns the part of a dictionary that content of size octets can use.
func fitting(dictionary int64, size uint64) int64 {
	return max(lzma.MinDictCap, int64(min(uint64(dictionary), size)))
}

// lzma2Chunk describes a chunk by its first octets: its packed size with the
// header, its unpacked size, and whether it has new properties. The end marker
// is a chunk of size 1.
func lzma2Chunk(b []byte) (packed, size int64, properties, ok bool) {
	switch {
	case len(b) >= 1 && b[0] == 0:
		return 1, 0, false, true
	case len(b) >= 3 && b[0] <= 2:
		size = int64(binary.BigEndian.Uint16(b[1:])) + 1
		return 3 + size, size, false, true
	case len(b) >= 5 && b[0] >= 0x80:
		size = int64(b[0]&0x1f)<<16 + int64(binary.BigEndian.Uint16(b[1:])) + 1
		packed = 5 + int64(binary.BigEndian.Uint16(b[3:])) + 1
		if properties = b[0] >= 0xc0; properties {
			packed++
		}
		return packed, size, properties, true
	}
	return 0, 0, false, false
}

// lzma2Size returns the unpacked size of chunks up to their end marker; ok is
// false if b ends before it.
func lzma2Size(b []byte) (total uint64, ok bool) {
	for {
		packed, size, _, ok := lzma2Chunk(b)
		if !ok || packed > int64(len(b)) {
			return 0, false
		}
		if size == 0 {
			return total, true
		}
		total += uint64(size)
		b = b[packed:]
	}
}

// lzma2Chunks passes chunks on, up to their end marker.
type lzma2Chunks struct {
	in    *bufio.Reader
	state func() error // called before a chunk with new properties
	// end is called after the end marker was read, which is passed on only if end
	// returns an error or is nil.
	end  func() error
	n    int64 // octets since the first chunk
	left int64 // octets of the chunk
}

func (c *lzma2Chunks) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.left == 0 {
		b, _ := c.in.Peek(6)
		packed, size, properties, ok := lzma2Chunk(b)
		if !ok {
			return 0, io.ErrUnexpectedEOF
		}
		if c.n == 0 && size > 0 && b[0] != 1 && b[0] < 0xe0 {
			return 0, xzDamage("no new dictionary")
		}
		if properties {
			if err := c.state(); err != nil {
				return 0, err
			}
		}
		if size == 0 && c.end != nil {
			c.in.Discard(1)
			c.n++
			if err := c.end(); err != nil {
				p[0] = 0
				return 1, nil
			}
			continue
		}
		c.left = packed
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.n += int64(n)
	return n, err
}
