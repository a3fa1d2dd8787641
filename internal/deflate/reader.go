package deflate

import (
	"errors"
	"io"
)

// ErrCorrupt is returned for data that is not a valid deflate stream.
var ErrCorrupt = errors.New("invalid compressed data")

// Sizes of buffers.
const (
	inputSize = 4 << 10  // compressed input; a block's header always fits
	window    = 32 << 10 // the farthest distance of a copy
	slack     = 8 << 10  // decompressed at a time in addition to the window
	maxCopy   = 258      // the longest copy
)

// Reader decompresses a stream. An error from the source, such as an expired
// deadline, is returned and does not affect later calls.
type Reader struct {
	src io.Reader
	in  input
	err error // sticky: end of the stream, or ErrCorrupt

	hist []byte // decompressed data, with the window that copies refer to
	out  int    // start of the data in hist that has not been returned

	state         state
	final         bool // the current block is the last one
	stored        int  // octets left in a stored block
	lits, dists   *table
	dynLits, dynD table // of the current dynamic block
}

// state is the position in the grammar of the stream.
type state uint8

const (
	atBlock  state = iota // before a block's header
	inStored              // in an uncompressed block
	inCodes               // in a compressed block
)

// NewReader returns a reader for the compressed data from src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// Read implements io.Reader. It reads from the source only if it has nothing
// else to return.
func (r *Reader) Read(b []byte) (int, error) {
	for {
		if r.out < len(r.hist) {
			n := copy(b, r.hist[r.out:])
			r.out += n
			return n, nil
		}
		if r.err != nil {
			return 0, r.err
		}
		if len(r.hist) > window {
			r.hist = r.hist[:copy(r.hist, r.hist[len(r.hist)-window:])]
			r.out = len(r.hist)
		}
		short := r.decompress()
		if r.out < len(r.hist) || !short {
			continue
		}
		if err := r.in.fill(r.src); err != nil {
			return 0, err
		}
	}
}

// decompress decompresses input until enough data is in hist, or an error has
// occurred. It reports whether it stopped because the input is short. A step
// for which the input is short is undone and repeated later.
func (r *Reader) decompress() (short bool) {
	for r.err == nil && len(r.hist) < window+slack-maxCopy && len(r.hist)-r.out < slack {
		before := r.in
		if r.err = r.step(); r.err == errShort {
			r.err = nil
			r.in = before
			return true
		}
	}
	return false
}

// errShort means that more input is required.
var errShort = errors.New("more input required")

// step decodes a block's header, a piece of a stored block, or one symbol.
func (r *Reader) step() error {
	switch r.state {
	case inStored:
		b, err := r.in.octets(min(r.stored, slack-maxCopy))
		if err != nil {
			return err
		}
		r.hist = append(r.hist, b...)
		if r.stored -= len(b); r.stored == 0 {
			return r.endBlock()
		}
		return nil
	case inCodes:
		return r.symbol()
	}
	return r.block()
}

// endBlock ends a block, and the stream after its last block.
func (r *Reader) endBlock() error {
	r.state = atBlock
	if r.final {
		return io.EOF
	}
	return nil
}

// block reads the header of a block (RFC 1951, 3.2.3).
func (r *Reader) block() error {
	h, err := r.in.bits(3)
	if err != nil {
		return err
	}
	final := h&1 != 0
	switch h >> 1 {
	case 0:
		r.in.align()
		n, err := r.in.bits(16)
		if err != nil {
			return err
		}
		inverse, err := r.in.bits(16)
		if err != nil {
			return err
		}
		if n != inverse^0xffff {
			return ErrCorrupt
		}
		r.final, r.stored, r.state = final, int(n), inStored
		if n == 0 {
			return r.endBlock()
		}
		return nil
	case 1:
		r.lits, r.dists = &fixedLits, &fixedDists
	case 2:
		if err := r.dynamic(); err != nil {
			return err
		}
		r.lits, r.dists = &r.dynLits, &r.dynD
	default:
		return ErrCorrupt
	}
	r.final, r.state = final, inCodes
	return nil
}

// codeOrder is the order in which the lengths of the code length codes are sent
// (RFC 1951, 3.2.7).
var codeOrder = [19]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a dynamic block (RFC 1951, 3.2.7).
func (r *Reader) dynamic() error {
	h, err := r.in.bits(14)
	if err != nil {
		return err
	}
	lits, dists, codes := int(h&31)+257, int(h>>5&31)+1, int(h>>10)+4
	if lits > 286 || dists > 30 {
		return ErrCorrupt
	}
	var lengths [286 + 30]byte
	for _, i := range codeOrder[:codes] {
		n, err := r.in.bits(3)
		if err != nil {
			return err
		}
		lengths[i] = byte(n)
	}
	var t table
	if !t.build(lengths[:19]) {
		return ErrCorrupt
	}
	clear(lengths[:19])
	for i := 0; i < lits+dists; {
		sym, err := r.in.decode(&t)
		if err != nil {
			return err
		}
		if sym < 16 {
			lengths[i] = byte(sym)
			i++
			continue
		}
		value, n, err := r.repeat(sym, lengths[:i])
		if err != nil {
			return err
		}
		if i+n > lits+dists {
			return ErrCorrupt
		}
		for range n {
			lengths[i] = value
			i++
		}
	}
	if lengths[256] == 0 || !r.dynLits.build(lengths[:lits]) || !r.dynD.build(lengths[lits:lits+dists]) {
		return ErrCorrupt
	}
	return nil
}

// repeat reads the argument of a code that repeats a code length.
func (r *Reader) repeat(sym int, before []byte) (value byte, n int, err error) {
	extra, base := uint(2), 3
	switch {
	case sym == 17:
		extra = 3
	case sym == 18:
		extra, base = 7, 11
	case len(before) == 0:
		return 0, 0, ErrCorrupt
	default:
		value = before[len(before)-1]
	}
	more, err := r.in.bits(extra)
	return value, base + int(more), err
}

// The lengths and distances of copies (RFC 1951, 3.2.5).
var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
		4097, 6145, 8193, 12289, 16385, 24577}
	distExtra = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbol decodes a literal octet, a copy or the end of the block.
func (r *Reader) symbol() error {
	sym, err := r.in.decode(r.lits)
	switch {
	case err != nil:
		return err
	case sym < 256:
		r.hist = append(r.hist, byte(sym))
		return nil
	case sym == 256:
		return r.endBlock()
	case sym-257 >= len(lengthBase):
		return ErrCorrupt
	}
	more, err := r.in.bits(uint(lengthExtra[sym-257]))
	if err != nil {
		return err
	}
	n := int(lengthBase[sym-257]) + int(more)
	if sym, err = r.in.decode(r.dists); err != nil {
		return err
	}
	if sym >= len(distBase) {
		return ErrCorrupt
	}
	if more, err = r.in.bits(uint(distExtra[sym])); err != nil {
		return err
	}
	from := len(r.hist) - int(distBase[sym]) - int(more)
	if from < 0 {
		return ErrCorrupt
	}
	// The source and the result may overlap.
	for range n {
		r.hist = append(r.hist, r.hist[from])
		from++
	}
	return nil
}
