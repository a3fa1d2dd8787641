// Package index stores information that is missing from the files of a Maildir
// or slow to obtain from them: sizes, dates, modification sequences, expunged
// messages, and a cache of pre-rendered items. The index is outside the Maildir
// and can be deleted at any time; package maildrop then rebuilds it.
//
// A folder's index has two files. The log is a sequence of batches, each with a
// checksum. Reading it from the beginning yields the folder's state; a torn or
// damaged end is truncated. The cache holds one blob for each message. Their
// contents are not synced to disk: lost data is read from the Maildir again.
// Start with Log, State and Cache.
package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"time"
)

// errDamaged stops reading. The records before the damage are valid.
var errDamaged = errors.New("damaged index")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maxBatch is the maximum size in octets of a batch or blob that is read.
const maxBatch = 1 << 30

// appendFrame appends a payload, given in pieces, with its length and checksum.
func appendFrame(b []byte, payload ...[]byte) []byte {
	size, sum := 0, uint32(0)
	for _, p := range payload {
		size += len(p)
		sum = crc32.Update(sum, castagnoli, p)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint32(b, sum)
	for _, p := range payload {
		b = append(b, p...)
	}
	return b
}

// cutFrame removes the first frame from b.
func cutFrame(b []byte) (payload, rest []byte, err error) {
	if len(b) < 8 {
		return nil, nil, errDamaged
	}
	n, sum := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	if n > maxBatch || int(n) > len(b)-8 {
		return nil, nil, errDamaged
	}
	payload = b[8 : 8+n]
	if crc32.Checksum(payload, castagnoli) != sum {
		return nil, nil, errDamaged
	}
	return payload, b[8+n:], nil
}

// encoder writes the fields of records.
type encoder struct{ b []byte }

func (e *encoder) byte(c byte)   { e.b = append(e.b, c) }
func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)   { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) text(s string) { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.int(math.MinInt64)
		return
	}
	e.int(t.UnixNano())
}

// decoder reads the fields of records. After an error it sets bad and returns
// zeros.
type decoder struct {
	b   string
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uint() uint64 {
	var n uint64
	for shift := uint(0); shift < 64; shift += 7 {
		c := d.byte()
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	d.bad = true
	return 0
}

func (d *decoder) uint32() uint32 {
	n := d.uint()
	if n > math.MaxUint32 {
		d.bad = true
	}
	return uint32(n)
}

func (d *decoder) int() int64 {
	n := d.uint()
	return int64(n>>1) ^ -int64(n&1)
}

func (d *decoder) text() string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

func (d *decoder) time() time.Time {
	n := d.int()
	if n == math.MinInt64 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
