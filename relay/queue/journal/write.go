package journal

import (
	"fmt"
	"iter"
	"os"
	"time"
)

// write makes b durable in the last segment, or in a new one. On an error the
// segment is poisoned.
func (l *Log) write(b *batch) error {
	start := time.Now()
	s, err := l.target(b.size)
	if err != nil {
		return err
	}
	err = l.writeOps(s, b)
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
	l.opt.Synced(b.records, time.Since(start))
	return nil
}

// writeOps writes the records of b behind the one that makes a batch of them,
// small ones collected in one call.
func (l *Log) writeOps(s *segment, b *batch) error {
	head := batchHead{num: s.num}
	for o := range b.ops() {
		head.add(o.rec)
	}
	b.size = firstSize + head.octets
	b.out = head.append(b.out[:0], l.salt)
	for o := range b.ops() {
		if len(o.rec) < 64<<10 {
			b.out = append(b.out, o.rec...)
			continue
		}
		if err := l.opt.write(s.file, b.out); err != nil {
			return err
		}
		b.out = b.out[:0]
		if err := l.opt.write(s.file, o.rec); err != nil {
			return err
		}
	}
	return l.opt.write(s.file, b.out)
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

// target is the segment that takes a batch of size octets.
func (l *Log) target(size int64) (*segment, error) {
	l.mu.Lock()
	var last *segment
	next, end := uint64(1), int64(0)
	if n := len(l.segs); n > 0 {
		last = l.segs[n-1]
		next, end = last.num+1, last.size
	}
	fits := last != nil && !last.sealed && !l.rotate &&
		(last.size == segmentHead || last.size+size <= l.opt.Segment)
	l.mu.Unlock()
	if fits {
		return last, nil
	}
	s, err := l.createSegment(next, end)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last != nil {
		last.sealed = true
	}
	l.segs = append(l.segs, s)
	l.rotate = false
	l.wantTidy()
	return s, nil
}

// poison gives up a segment in which a write or a sync failed. What the kernel
// says of that file from now on is not to be believed (fsync forgets its
// errors), so it is never written to again, and the next segment says where it
// ends.
func (l *Log) poison(s *segment, err error) {
	l.mu.Lock()
	s.sealed, s.failed = true, true
	end := s.size
	l.mu.Unlock()
	cutErr := os.Truncate(s.path, end)
	l.opt.Log.Error().Err(err).AnErr("truncate", cutErr).Str("segment", s.path).Int64("synced", end).
		Msg("segment given up after a failed write; the next mail opens a new one")
}
