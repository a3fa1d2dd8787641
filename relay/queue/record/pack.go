package record

import (
	"encoding/binary"
	"errors"
	"time"
)

// packer writes the compact encoding of stored envelopes and states: numbers as
// varints, and strings preceded by their length. Every message is stored in
// this form, which is several times cheaper than JSON.
type packer struct{ b []byte }

func (p *packer) num(n int64)   { p.b = binary.AppendVarint(p.b, n) }
func (p *packer) count(n int)   { p.num(int64(n)) }
func (p *packer) text(s string) { p.count(len(s)); p.b = append(p.b, s...) }

func (p *packer) flag(f bool) {
	n := byte(0)
	if f {
		n = 1
	}
	p.b = append(p.b, n)
}

func (p *packer) time(t time.Time) {
	if t.IsZero() {
		p.num(0)
		return
	}
	p.num(t.UnixNano())
}

var errPacked = errors.New("record is damaged")

// unpacker reads the output of packer. After the first error it returns zero
// values, and err is set.
type unpacker struct {
	b   []byte
	err error
}

func (u *unpacker) num() int64 {
	n, size := binary.Varint(u.b)
	if size <= 0 {
		u.b, u.err = nil, errPacked
		return 0
	}
	u.b = u.b[size:]
	return n
}

// count reads the number of items that follow. Each item is at least one octet
// long.
func (u *unpacker) count() int {
	n := u.num()
	if n < 0 || n > int64(len(u.b)) {
		u.b, u.err = nil, errPacked
		return 0
	}
	return int(n)
}

func (u *unpacker) bytes() []byte {
	n := u.count()
	b := u.b[:n]
	u.b = u.b[n:]
	return b
}

func (u *unpacker) text() string { return string(u.bytes()) }

func (u *unpacker) flag() bool {
	if len(u.b) == 0 {
		u.err = errPacked
		return false
	}
	f := u.b[0] != 0
	u.b = u.b[1:]
	return f
}

func (u *unpacker) time() time.Time {
	n := u.num()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
