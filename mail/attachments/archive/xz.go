package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

var le = binary.LittleEndian

// xzBuffer is how far the reader looks ahead for the end of a block.
const xzBuffer = 128 << 10

// xz reads the container format (tukaani.org, "The .xz File Format", 1.2.1)
// itself, because the library allocates every dictionary that a block announces.
// Check sums of the content are skipped: damaged LZMA2 data is noticed as such.
func (w *walk) xz() error {
	packed := &tally{r: w.Reader}
	if err := w.allocate(xzBuffer); err != nil {
		return err
	}
	x := &xzReader{w: w, in: bufio.NewReaderSize(packed, xzBuffer)}
	if err := x.streamHeader(); err != nil {
		return err
	}
	return w.compressed("", guarded{x}, packed)
}

// maxXZStreams is how many streams of one file are read. Files have several if
// they were appended to.
const maxXZStreams = 1000

var errXZStreams = errors.New("too many streams")

// xzReader decodes streams, which consist of a header, blocks, and an index. One
// decoder reads the chunks of all blocks for which its dictionary is large enough.
type xzReader struct {
	w       *walk
	in      *bufio.Reader
	streams int
	check   int64 // octets of the check sum after each block
	chunks  *lzma2Chunks
	out     *lzma.Reader2 // nil between decoders
	inBlock bool          // the header of the next block was read
	need    int64         // dictionary of the block
	size    int64         // dictionary of out
	taken   int64         // memory taken for dictionaries
	stop    error         // why out has ended; errLarger if the next block needs a larger dictionary
	err     error         // the first error
}

var errLarger = errors.New("larger dictionary")

func xzDamage(format string, args ...any) error {
	return fmt.Errorf("damaged xz: "+format, args...)
}

// streamHeader reads the magic number and the type of checksum.
func (x *xzReader) streamHeader() error {
	if x.streams++; x.streams > maxXZStreams {
		return errXZStreams
	}
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
		if x.out == nil {
			if err := x.open(); err != nil {
				return 0, err
			}
		}
		n, err := x.out.Read(p)
		if err == io.EOF {
			x.out = nil
			if err = x.stop; err == errLarger {
				err = nil
			}
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// open makes a decoder for the next block.
func (x *xzReader) open() error {
	if !x.inBlock {
		if err := x.next(); err != nil {
			return err
		}
	}
	// The previous dictionary is garbage.
	need := lzmaMemory + x.need
	if need > x.taken {
		if err := x.w.take(need - x.taken); err != nil {
			return err
		}
		x.taken = need
	}
	if err := x.w.Memory.Spend(xzBuffer + x.need); err != nil {
		return err
	}
	x.size, x.inBlock = x.need, false
	x.chunks = &lzma2Chunks{in: x.in, state: func() error { return x.w.Memory.Spend(lzmaState) }, end: x.endBlock}
	var err error
	x.out, err = lzma.Reader2Config{DictCap: int(x.size)}.NewReader2(x.chunks)
	if err != nil {
		return xzDamage("%w", err)
	}
	return nil
}

// endBlock reads what is between the chunks of two blocks. After an error the
// decoder ends.
func (x *xzReader) endBlock() error {
	x.stop = x.skip(-x.chunks.n&3 + x.check)
	if x.stop == nil {
		x.stop = x.next()
	}
	if x.stop == nil && x.need > x.size {
		x.stop = errLarger
	}
	if x.stop == nil {
		x.inBlock, x.chunks.n = false, 0
	}
	return x.stop
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
	x.need, x.inBlock = max(lzma.MinDictCap, dictionary), true
	if x.need > x.size {
		x.need = x.fit(x.need)
	}
	return nil
}

// fit returns the part of a dictionary that the next block can use, if its end
// can be seen.
func (x *xzReader) fit(dictionary int64) int64 {
	for _, ahead := range []int{x.in.Buffered(), x.in.Size()} {
		b, _ := x.in.Peek(ahead)
		if size, ok := lzma2Size(b); ok {
			return fitting(dictionary, size)
		}
	}
	return dictionary
}

// dictionary2 decodes the size of an LZMA2 dictionary.
func dictionary2(c byte) (int64, bool) {
	if c >= 40 {
		return 1<<32 - 1, c == 40
	}
	return int64(2|c&1) << (c/2 + 11), true
}
