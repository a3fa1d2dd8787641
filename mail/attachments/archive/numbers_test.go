package archive

import (
	"testing"
)

// TestSevenNumber decodes the integers of a 7-Zip directory. One that is read
// with a wrong length shifts everything after it.
func TestSevenNumber(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     uint64
		left     int
		ok       bool
	}{
		{"one octet", "\x05x", 5, 1, true},
		{"the largest of one octet", "\x7f", 127, 0, true},
		{"two octets, the high bits first", "\x81\x02x", 0x102, 1, true},
		{"three octets", "\xc1\x02\x03", 0x10302, 0, true},
		{"five octets", "\xf0\xff\xff\xff\x3f", 0x3fffffff, 0, true},
		{"eight octets", "\xfe\x01\x02\x03\x04\x05\x06\x07", 0x07060504030201, 0, true},
		{"nine octets", "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1<<64 - 1, 0, true},
		{"nothing", "", 0, 0, false},
		{"cut", "\xc1\x02", 0, 0, false},
	} {
		d := &sevenDir{b: []byte(c.in)}
		got := d.number()
		if ok := d.err == nil; ok != c.ok || c.ok && (got != c.want || len(d.b) != c.left) {
			t.Errorf("%s: %#x, %d octets left, %v", c.name, got, len(d.b), d.err)
		}
	}
}

// TestSevenCount checks that a count larger than its directory fails before
// anything is allocated for it.
func TestSevenCount(t *testing.T) {
	for _, c := range []struct {
		in   string
		most int
		want int
		ok   bool
	}{{"\x04", 4, 4, true}, {"\x05", 4, 0, false}, {"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1 << 30, 0, false}, {"\x00", 0, 0, true}} {
		d := &sevenDir{b: []byte(c.in)}
		if got := d.count(c.most); got != c.want || (d.err == nil) != c.ok {
			t.Errorf("%x of at most %d: %d, %v", c.in, c.most, got, d.err)
		}
	}
}

// TestLZMA2Chunks describes the chunks of LZMA2. The sizes in them decide how
// far the reader looks, and how much memory it takes.
func TestLZMA2Chunks(t *testing.T) {
	for _, c := range []struct {
		name, in     string
		packed, size int64
		properties   bool
		ok           bool
	}{
		{"end marker", "\x00", 1, 0, false, true},
		{"stored, with a new dictionary", "\x01\x00\x04", 8, 5, false, true},
		{"stored", "\x02\xff\xff", 3 + 65536, 65536, false, true},
		{"packed", "\x80\x00\x09\x00\x04", 10, 10, false, true},
		{"packed, more than 64 KiB", "\x9f\xff\xff\x00\x00", 6, 2 << 20, false, true},
		{"packed, with new properties", "\xc0\x00\x00\x00\x00", 7, 1, true, true},
		{"packed, with a new dictionary", "\xe0\x00\x00\x00\x00", 7, 1, true, true},
		{"a control octet that does not exist", "\x03\x00\x00", 0, 0, false, false},
		{"a cut header", "\x80\x00\x09", 0, 0, false, false},
		{"a cut stored header", "\x01\x00", 0, 0, false, false},
		{"nothing", "", 0, 0, false, false},
	} {
		packed, size, properties, ok := lzma2Chunk([]byte(c.in))
		if packed != c.packed || size != c.size || properties != c.properties || ok != c.ok {
			t.Errorf("%s: %d packed, %d unpacked, properties %v, %v", c.name, packed, size, properties, ok)
		}
	}
	for _, c := range []struct {
		name, in string
		want     uint64
		ok       bool
	}{
		{"two chunks", "\x01\x00\x01ab\x02\x00\x00c\x00", 3, true},
		{"without an end marker", "\x01\x00\x01ab", 0, false},
		{"cut inside a chunk", "\x01\x00\x05ab", 0, false},
		{"an end marker only", "\x00", 0, true},
	} {
		if got, ok := lzma2Size([]byte(c.in)); got != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v", c.name, got, ok)
		}
	}
}

// TestDictionarySizes decodes the size of a dictionary, and the part of it that
// content can use.
func TestDictionarySizes(t *testing.T) {
	for _, c := range []struct {
		code byte
		want int64
		ok   bool
	}{{0, 4 << 10, true}, {1, 6 << 10, true}, {18, 2 << 20, true}, {28, 64 << 20, true}, {39, 3 << 30, true}, {40, 1<<32 - 1, true}, {41, 1<<32 - 1, false}, {255, 1<<32 - 1, false}} {
		if got, ok := dictionary2(c.code); got != c.want || ok != c.ok {
			t.Errorf("code %d: %d, %v", c.code, got, ok)
		}
	}
	for _, c := range []struct {
		dictionary int64
		size       uint64
		want       int64
	}{{64 << 20, 1 << 20, 1 << 20}, {1 << 20, 64 << 20, 1 << 20}, {64 << 20, 10, 4096}, {1 << 20, 1 << 63, 1 << 20}} {
		if got := fitting(c.dictionary, c.size); got != c.want {
			t.Errorf("a dictionary of %d for %d octets: %d", c.dictionary, c.size, got)
		}
	}
}

// TestSevenCoders checks which coders of 7-Zip are permitted and that the
// memory they announce is bounded by the content where the format allows it.
func TestSevenCoders(t *testing.T) {
	lzmaProperties := []byte{0x5d, 0, 0, 0, 4} // 64 MiB
	for _, c := range []struct {
		name       string
		coder      sevenCoder
		size       uint64
		atLeast    int64
		atMost     int64
		permission bool
	}{
		{"stored", sevenCoder{id: coderCopy}, 1 << 40, 1, 1 << 20, true},
		{"LZMA of little content", sevenCoder{coderLZMA, lzmaProperties}, 1000, 1000, 2 << 20, true},
		{"LZMA of much content", sevenCoder{coderLZMA, lzmaProperties}, 1 << 30, 64 << 20, 70 << 20, true},
		{"LZMA without properties", sevenCoder{id: coderLZMA}, 1000, 0, 0, false},
		{"LZMA2 of 4 GiB for little content", sevenCoder{coderLZMA2, []byte{40}}, 1000, 1000, 4 << 20, true},
		{"LZMA2 with a size that does not exist", sevenCoder{coderLZMA2, []byte{41}}, 1000, 0, 1 << 40, false},
		{"PPMd takes what it announces", sevenCoder{coderPPMd, []byte{6, 0, 0, 0, 1}}, 10, 16 << 20, 18 << 20, true},
		{"bzip2", sevenCoder{id: coderBzip2}, 10, 1 << 20, 8 << 20, true},
		{"an unknown coder", sevenCoder{id: "\x7f"}, 10, 0, 0, false},
	} {
		n, ok := c.coder.need(c.size)
		if ok != c.permission || n < c.atLeast || n > c.atMost {
			t.Errorf("%s: %d octets, %v", c.name, n, ok)
		}
	}
}
