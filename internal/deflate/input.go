package deflate

import (
	"io"
	"math/bits"
)

// input is compressed input that has been read but not decoded. Copying the
// value saves a position, to which it can return until the next fill.
type input struct {
	buf    *[inputSize]byte
	lo, hi int
	acc    uint64 // the next n bits, the first one lowest
	n      uint
}

// fill reads more input.
func (in *input) fill(src io.Reader) error {
	if in.buf == nil {
		in.buf = new([inputSize]byte)
	}
	in.unload()
	in.hi = copy(in.buf[:], in.buf[in.lo:in.hi])
	in.lo = 0
	n, err := src.Read(in.buf[in.hi:])
	in.hi += n
	switch {
	case n > 0:
		return nil
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// load moves octets to the accumulator.
func (in *input) load() {
	for in.n <= 56 && in.lo < in.hi {
		in.acc |= uint64(in.buf[in.lo]) << in.n
		in.lo++
		in.n += 8
	}
}

// unload returns whole octets from the accumulator to the buffer, from which they
// have been loaded since the last fill.
func (in *input) unload() {
	in.lo -= int(in.n / 8)
	in.n &= 7
	in.acc &= 1<<in.n - 1
}

// bits reads n bits, at most 16.
func (in *input) bits(n uint) (uint, error) {
	if in.n < n {
		if in.load(); in.n < n {
			return 0, errShort
		}
	}
	v := uint(in.acc) & (1<<n - 1)
	in.acc >>= n
	in.n -= n
	return v, nil
}

// align skips the rest of an octet.
func (in *input) align() {
	in.acc >>= in.n & 7
	in.n &^= 7
}

// octets reads between one and n octets. The position must be aligned.
func (in *input) octets(n int) ([]byte, error) {
	in.unload()
	if n = min(n, in.hi-in.lo); n == 0 {
		return nil, errShort
	}
	b := in.buf[in.lo : in.lo+n]
	in.lo += n
	return b, nil
}

// decode reads one symbol.
func (in *input) decode(t *table) (int, error) {
	if in.n < maxBits {
		in.load()
	}
	if e := t.short[in.acc&(1<<shortBits-1)]; e != 0 {
		if n := uint(e & 15); n <= in.n {
			in.acc >>= n
			in.n -= n
			return int(e >> 4), nil
		}
		return 0, errShort
	}
	code, first, index := 0, 0, 0
	for n := uint(1); n <= maxBits; n++ {
		if n > in.n {
			return 0, errShort
		}
		code |= int(in.acc >> (n - 1) & 1)
		count := int(t.count[n])
		if code-first < count {
			in.acc >>= n
			in.n -= n
			return int(t.symbols[index+code-first]), nil
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, ErrCorrupt
}

const (
	maxBits   = 15 // the longest code
	shortBits = 9  // codes that are found by one look-up
)

// table is a Huffman code (RFC 1951, 3.2.2).
type table struct {
	short   [1 << shortBits]uint16 // by the next bits: symbol and length of a short code, or 0
	count   [maxBits + 1]uint16    // the number of codes of each length
	symbols [288]uint16            // ordered by code
}

// build computes the code from the length of each symbol's code. It returns
// false if there is no such code.
func (t *table) build(lengths []byte) bool {
	*t = table{}
	for _, n := range lengths {
		t.count[n]++
	}
	t.count[0] = 0
	var next, at [maxBits + 2]uint16 // the next code, and its place in symbols
	left := 1
	for n := 1; n <= maxBits; n++ {
		left = left<<1 - int(t.count[n])
		if left < 0 {
			return false
		}
		next[n+1] = (next[n] + t.count[n]) << 1
		at[n+1] = at[n] + t.count[n]
	}
	for sym, n := range lengths {
		if n == 0 {
			continue
		}
		t.symbols[at[n]] = uint16(sym)
		at[n]++
		code := next[n]
		next[n]++
		if n > shortBits {
			continue
		}
		// Codes are sent with the highest bit first.
		for i := int(bits.Reverse16(code) >> (16 - n)); i < len(t.short); i += 1 << n {
			t.short[i] = uint16(sym)<<4 | uint16(n)
		}
	}
	return true
}

// The codes of fixed blocks (RFC 1951, 3.2.6).
var fixedLits, fixedDists = func() (lits, dists table) {
	var n [288]byte
	for i := range n {
		switch {
		case i < 144:
			n[i] = 8
		case i < 256:
			n[i] = 9
		case i < 280:
			n[i] = 7
		default:
			n[i] = 8
		}
	}
	lits.build(n[:])
	for i := range 30 {
		n[i] = 5
	}
	dists.build(n[:30])
	return lits, dists
}()
