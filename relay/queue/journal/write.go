package journal

import (
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"time"
)

// write makes b durable in the last segment, or in a new one. On an error the
// segment is poisoned.
func (l *Log) write(b *batch) error {
	start := time.Now()
	s, cuts, err := l.target(b.size)
	if err != nil {
		return err
	}
	s.reserve(b.size)
	written, err := l.writeOps(s.file, b, cuts)
	if err == nil {
		err = l.opt.sync(s.file)
	}
	if cap(b.out) > maxBatch {
		b.out = nil
	}
	if err != nil {
		l.poison(s, err)
		return fmt.Errorf("write segment %d: %w", s.num, err)
	}
	l.mu.Lock()
	b.size = written // for apply: what lies between the old end and the new one
	l.cuts = l.cuts[len(cuts):]
	l.mu.Unlock()
	l.opt.Synced(b.records, time.Since(start))
	return nil
}

// writeOps writes cut marks and the records of b, small ones collected in one
// call, and returns their octets.
func (l *Log) writeOps(f *os.File, b *batch, cuts []cutMark) (int64, error) {
	b.out = b.out[:0]
	for _, c := range cuts {
		b.out = appendCut(b.out, c, l.salt)
	}
	b.out = endRecord(beginRecord(b.out, first, ""), len(b.out), 0, l.salt)
	total := int64(len(b.out))
	for o := range b.ops() {
		rec := o.rec
		total += int64(len(rec))
		if len(rec) < 64<<10 {
			b.out = append(b.out, rec...)
			continue
		}
		if err := l.opt.write(f, b.out); err != nil {
			return 0, err
		}
		b.out = b.out[:0]
		if err := l.opt.write(f, rec); err != nil {
			return 0, err
		}
	}
	return total, l.opt.write(f, b.out)
}

// ops walks the records of b in the order of the file.
func (b *batch) ops() iter.Seq[*op] {
	return func(yield func(*op) bool) {
		for _, c := range b.commits {
			for i := range c.ops {
				if o := &c.ops[i]; !o.skip && !yield(o) {
					return
				}
			}
		}
		for i := range b.marks {
			if !yield(&b.marks[i]) {
				return
			}
		}
	}
}

// target is the segment that takes a batch of size octets, and what must stand
// first in it.
func (l *Log) target(size int64) (*segment, []cutMark, error) {
	l.mu.Lock()
	var last *segment
	next := uint64(1)
	if n := len(l.segs); n > 0 {
		last = l.segs[n-1]
		next = last.num + 1
	}
	fits := last != nil && !last.sealed && !l.rotate &&
		(last.size == segmentHead || last.size+size <= l.opt.Segment)
	cuts := l.cuts
	l.mu.Unlock()
	if fits {
		return last, cuts, nil
	}
	s, err := l.createSegment(next)
	if err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last != nil {
		last.seal()
	}
	l.segs = append(l.segs, s)
	l.rotate = false
	l.wantTidy()
	return s, cuts, nil
}

// poison gives up a segment in which a write or a sync failed. What the kernel
// says of that file from now on is not to be believed (fsync forgets its
// errors), so it is never written to again.
func (l *Log) poison(s *segment, err error) {
	l.mu.Lock()
	s.sealed = true
	l.cuts = append(l.cuts, cutMark{s.num, s.size})
	end := s.size
	l.mu.Unlock()
	cutErr := os.Truncate(s.path, end)
	l.opt.Log.Error().Err(err).AnErr("truncate", cutErr).Str("segment", s.path).Int64("synced", end).
		Msg("segment given up after a failed write; the next mail opens a new one")
}

func appendCut(b []byte, c cutMark, salt uint64) []byte {
	start := len(b)
	b = beginRecord(b, cut, "")
	b = binary.LittleEndian.AppendUint64(b, c.num)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.off))
	return endRecord(b, start, 0, salt)
}
