package archive

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

var le = binary.LittleEndian

// xz parses the container format (tukaani.org, "The .xz File Format", 1.2.1)
// itself, because the library allocates every dictionary that a block declares.
// Checksums of the content are not verified; damaged LZMA2 data is detected
// anyway.
func (w *walk) xz() error {
	packed := &tally{r: w.Reader}
	x := &xzReader{w: w, in: bufio.NewReaderSize(packed, 4096)}
	if err := x.streamHeader(); err != nil {
		return err
	}
	return w.compressed("", guarded{x}, packed)
}

// xzReader decodes streams. Each consists of a header, blocks and an index.
type xzReader struct {
	w     *walk
	in    *bufio.Reader
	check int64    // length of the checksum after each block
	block *xzBlock // nil between blocks
	taken int64    // memory reserved for dictionaries
	err   error    // the first error
}

// xzBlock is the compressed content of a block.
type xzBlock struct {
	packed *tally
	out    *lzma.Reader2
}

func xzDamage(format string, args ...any) error {
	return fmt.Errorf("damaged xz: "+format, args...)
}

// streamHeader reads the magic number and the type of checksum.
func (x *xzReader) streamHeader() error {
	h := make([]byte, 12)
	if _, err := io.ReadFull(x.in, h); err != nil {
		return xzDamage("%w", err)
	}
	if string(h[:6]) != "\xfd7zXZ\x00" || h[6] != 0 || h[7] > 15 || crc32.ChecksumIEEE(h[6:8]) != le.Uint32(h[8:]) {
		return xzDamage("not a header")
	}
	x.check = [6]int64{0, 4, 8, 16, 32, 64}[(h[7]+2)/3]
	return nil
}

func (x *xzReader) Read(p []byte) (n int, err error) {
	if x.err == nil {
		n, x.err = x.read(p)
	}
	return n, x.err
}

func (x *xzReader) read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
		}
		n, err := x.block.out.Read(p)
		if err == io.EOF {
			pad := -x.block.packed.n & 3
			x.block, err = nil, x.skip(pad+x.check)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (x *xzReader) skip(n int64) error {
	if _, err := io.CopyN(io.Discard, x.in, n); err != nil {
		return xzDamage("%w", err)
	}
	return nil
}

// next opens the next block, or returns io.EOF after the last stream.
func (x *xzReader) next() error {
	for {
		size, err := x.in.ReadByte()
		if err != nil {
			return xzDamage("%w", err)
		}
		if size != 0 {
			return x.blockHeader(int(size)*4 + 4)
		}
		if err := x.index(); err != nil {
			return err
		}
		// A stream may be followed by zeros and then another stream.
		for {
			four, err := x.in.Peek(4)
			if len(four) == 0 && err == io.EOF {
				return io.EOF
			}
			if err != nil || le.Uint32(four) != 0 {
				break
			}
			x.in.Discard(4)
		}
		if err := x.streamHeader(); err != nil {
			return err
		}
	}
}

// index skips the index and footer of a stream. The first octet of the index
// has already been read.
func (x *xzReader) index() error {
	n := int64(1)
	number := func() (v uint64, err error) {
		for shift := 0; ; shift += 7 {
			c, err := x.in.ReadByte()
			if err != nil || shift > 56 {
				return 0, xzDamage("index")
			}
			n++
			v |= uint64(c&0x7f) << shift
			if c&0x80 == 0 {
				return v, nil
			}
		}
	}
	records, err := number()
	for ; err == nil && records > 0; records-- {
		if _, err = number(); err == nil {
			_, err = number()
		}
	}
	if err != nil {
		return err
	}
	const checkSum, footer = 4, 12
	return x.skip(-n&3 + checkSum + footer)
}

// blockHeader reads a header of size octets. The first octet has already been
// read.
func (x *xzReader) blockHeader(size int) error {
	h := make([]byte, size)
	h[0] = byte(size/4 - 1)
	if _, err := io.ReadFull(x.in, h[1:]); err != nil {
		return xzDamage("%w", err)
	}
	end := size - 4
	if crc32.ChecksumIEEE(h[:end]) != le.Uint32(h[end:]) {
		return xzDamage("check sum of a block header")
	}
	flags, rest := h[1], h[2:end]
	for _, has := range []byte{0x40, 0x80} { // compressed and uncompressed size
		if flags&has != 0 {
			_, n := binary.Uvarint(rest)
			if n <= 0 {
				return xzDamage("block header")
			}
			rest = rest[n:]
		}
	}
	const lzma2 = 0x21
	if flags&3 != 0 || len(rest) < 3 || rest[0] != lzma2 || rest[1] != 1 {
		return ErrMethod // filters for the machine code of some processors
	}
	dictionary, ok := dictionary2(rest[2])
	if !ok {
		return xzDamage("dictionary size")
	}
	// The dictionary of the previous block is no longer in use.
	if need := lzmaMemory + dictionary; need > x.taken {
		if err := x.w.take(need - x.taken); err != nil {
			return err
		}
		x.taken = need
	}
	b := &xzBlock{packed: &tally{r: x.in}}
	var err error
	b.out, err = lzma.Reader2Config{DictCap: int(dictionary)}.NewReader2(b.packed)
	if err != nil {
		return xzDamage("%w", err)
	}
	x.block = b
	return nil
}

// dictionary2 decodes an LZMA2 dictionary size.
func dictionary2(c byte) (int64, bool) {
	if c >= 40 {
		return 1<<32 - 1, c == 40
	}
	return int64(2|c&1) << (c/2 + 11), true
}
