package wire

import (
	"cmp"
	"slices"
	"strconv"
)

// Range is a range of message numbers or UIDs, in which Star represents "*".
type Range struct{ Lo, Hi uint32 }

// Star represents "*" in a Range.
const Star = 0

// Set is a sequence set (RFC 9051, 9) in the order sent by the client.
type Set struct {
	Ranges []Range
	Saved  bool // "$", the result saved by a SEARCH
}

// Set reads a sequence set or "$".
func (p *Parser) Set() Set {
	if p.take('$') {
		p.need(SearchRes, "$")
		return Set{Saved: true}
	}
	return Set{Ranges: p.ranges(true)}
}

// ranges reads numbers and ranges separated by commas.
func (p *Parser) ranges(star bool) []Range {
	out := make([]Range, 0, 1)
	for p.err == nil {
		if len(out) == maxRanges {
			p.fail("Set too long")
			return nil
		}
		r := Range{Lo: p.setNumber(star)}
		r.Hi = r.Lo
		if p.take(':') {
			r.Hi = p.setNumber(star)
		}
		out = append(out, r)
		if !p.take(',') {
			return out
		}
	}
	return nil
}

// setNumber reads a number in a set, or "*" if star is set.
func (p *Parser) setNumber(star bool) uint32 {
	if star && p.take('*') {
		return Star
	}
	n := p.Number()
	if n == 0 {
		p.fail("Numbers begin at 1")
	}
	return n
}

// Resolve returns the set as ascending, disjoint ranges, with "*" replaced by
// last. If last is 0, "*" refers to no message: n:* is n, and * alone is
// omitted.
func (s Set) Resolve(last uint32) []Range {
	out := make([]Range, 0, len(s.Ranges))
	for _, r := range s.Ranges {
		if r.Lo == Star {
			r.Lo = last
		}
		if r.Hi == Star {
			r.Hi = last
		}
		if r.Lo > r.Hi {
			r.Lo, r.Hi = r.Hi, r.Lo
		}
		if r.Hi != 0 {
			r.Lo = max(r.Lo, 1)
			out = append(out, r)
		}
	}
	if len(out) < 2 {
		return out
	}
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.Lo, b.Lo) })
	merged := out[:1]
	for _, r := range out[1:] {
		top := &merged[len(merged)-1]
		if r.Lo > top.Hi && r.Lo-top.Hi > 1 {
			merged = append(merged, r)
			continue
		}
		top.Hi = max(top.Hi, r.Hi)
	}
	return merged
}

// AppendNumbers appends ascending numbers as a sequence set.
func AppendNumbers(dst []byte, n []uint32) []byte {
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendRange(dst, n[i], n[j])
		i = j + 1
	}
	return dst
}

// AppendRange appends lo:hi, or lo if they are equal.
func AppendRange(dst []byte, lo, hi uint32) []byte {
	dst = strconv.AppendUint(dst, uint64(lo), 10)
	if hi != lo {
		dst = append(dst, ':')
		dst = strconv.AppendUint(dst, uint64(hi), 10)
	}
	return dst
}
