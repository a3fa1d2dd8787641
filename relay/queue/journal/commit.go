package journal

import (
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"sync"
	"time"
)

// maxBatch bounds how much one sync waits for; a batch holds at least one
// commit whatever its size.
const maxBatch = 8 << 20

// commit is what one caller waits for.
type commit struct {
	ops    []op
	size   int64
	result chan error
	err    error
}

var commits = sync.Pool{New: func() any { return &commit{result: make(chan error, 1)} }}

func newCommit() *commit { return commits.Get().(*commit) }

// op is one encoded change.
type op struct {
	kind    Kind
	id      string
	buf     *[]byte
	entry   *entry // put and keep: as the index will have it
	version uint32 // keep: of the state that it holds
	file    string // put: written for it, removed if the commit fails
	skip    bool   // keep: overtaken by another change
}

// free gives back what c was made of.
func (c *commit) free() {
	for _, o := range c.ops {
		if cap(*o.buf) <= 1<<20 {
			buffers.Put(o.buf)
		}
	}
	clear(c.ops)
	c.ops, c.size, c.err = c.ops[:0], 0, nil
	commits.Put(c)
}

// forget undoes what encode left behind for a commit that failed.
func (l *Log) forget(c *commit) {
	for _, o := range c.ops {
		if o.file != "" {
			os.Remove(o.file)
		}
	}
	c.free()
}

// encode makes the record of ch. Large messages get their file here, so that
// many may be written at once.
func (l *Log) encode(ch Change) (op, error) {
	if !validID(ch.ID) {
		return op{}, fmt.Errorf("id %q cannot be a file name", ch.ID)
	}
	if len(ch.Meta) > maxMeta || len(ch.State) > maxMeta {
		return op{}, fmt.Errorf("envelope of %s is larger than 1 MiB", ch.ID)
	}
	o := op{kind: ch.Kind, id: ch.ID, buf: buffers.Get().(*[]byte)}
	b := beginRecord((*o.buf)[:0], ch.Kind, ch.ID)
	switch ch.Kind {
	case Put:
		m := ch.Message
		o.entry = &entry{
			meta: int64(len(ch.Meta)), kept: int64(len(ch.State)),
			head: m.Size() - m.Body().Size(), size: m.Size(),
			eightBit: m.EightBit, longLine: uint32(m.LongLine),
		}
		if o.entry.size > l.opt.Inline {
			o.entry.place, o.file = large, l.path(large, ch.ID)
			if err := l.writeLarge(ch.ID, o.file, m); err != nil {
				buffers.Put(o.buf)
				return op{}, err
			}
		}
		b = append(append(appendPutHead(b, o.entry), ch.Meta...), ch.State...)
		if o.entry.place == inline {
			var err error
			if b, err = appendMessage(b, m); err != nil {
				return op{}, err
			}
		}
	case Set:
		b = append(b, ch.State...)
	}
	*o.buf = endRecord(b, 0, len(ch.ID), l.salt)
	if o.entry != nil {
		o.entry.rec = int64(len(*o.buf))
	}
	return o, nil
}

// submit has c written and waits until it is. Whoever comes alone does it at
// once, without a change of goroutines: with one client that is half of what a
// commit costs beside the disk. In a crowd it is left to the committer.
func (l *Log) submit(c *commit) error {
	for _, o := range c.ops {
		c.size += int64(len(*o.buf))
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.pending = append(l.pending, c)
	lead := !l.writing && !l.crowd
	if lead {
		l.writing = true
	} else if !l.writing {
		l.kick()
	}
	l.mu.Unlock()
	if lead {
		l.turn()
	}
	return <-c.result
}

// kick gives the committer a token, unless it has one.
func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// armFlush makes sure that done marks are written within d.
func (l *Log) armFlush(d time.Duration) {
	if l.armed || l.closed {
		return
	}
	l.armed = true
	time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.armed, l.due = false, true
		l.kick()
	})
}

// batch is what one write and one sync make durable.
type batch struct {
	commits []*commit
	marks   []op // done marks that nobody waits for
	size    int64
	records int
	out     []byte // small records, collected
}

// commitLoop writes what came while others wrote, and done marks.
func (l *Log) commitLoop() {
	defer close(l.idle)
	for range l.wake {
		l.mu.Lock()
		busy := l.writing // who writes kicks us when there is more
		l.writing = true
		l.mu.Unlock()
		if !busy && l.turn() {
			return
		}
	}
}

// turn writes one batch. The end is when nothing will come any more.
func (l *Log) turn() (end bool) {
	b := &l.batch
	if l.take(b) {
		l.apply(b, l.write(b))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = false
	if len(l.pending) > 0 || l.due || l.closed {
		l.kick()
	}
	return l.closed && len(l.pending) == 0
}

// take collects the next batch; false means that nothing waits.
func (l *Log) take(b *batch) bool {
	b.commits, b.marks, b.size, b.records = b.commits[:0], b.marks[:0], 0, 0
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.pending) && (n == 0 || b.size < maxBatch) {
		c := l.pending[n]
		n++
		if c.err = l.admit(c); c.err != nil {
			c.result <- c.err
			continue
		}
		b.commits = append(b.commits, c)
		b.size += c.size
		b.records += len(c.ops)
	}
	rest := copy(l.pending, l.pending[n:])
	clear(l.pending[rest:])
	l.pending = l.pending[:rest]
	if len(b.commits) > 0 || l.due || l.closed {
		l.due = false
		l.takeMarks(b)
	}
	l.crowd = len(b.commits) > 1
	return len(b.commits)+len(b.marks) > 0
}

func (l *Log) takeMarks(b *batch) {
	for _, id := range l.dones {
		e := l.index[id]
		if e == nil || e.dead {
			continue
		}
		e.dead = true
		buf := buffers.Get().(*[]byte)
		*buf = endRecord(beginRecord((*buf)[:0], Done, id), 0, len(id), l.salt)
		b.marks = append(b.marks, op{kind: Done, id: id, buf: buf})
		b.size += int64(len(*buf))
		b.records++
	}
	l.dones = l.dones[:0]
}

// admit checks a commit against all that is written before it, and counts it
// as written for those behind it.
func (l *Log) admit(c *commit) error {
	for _, o := range c.ops {
		e := l.index[o.id]
		switch {
		case o.kind == Put && e != nil:
			return fmt.Errorf("put %s: %w", o.id, ErrExists)
		case o.kind == Set && (e == nil || e.dead):
			return fmt.Errorf("set %s: %w", o.id, ErrUnknown)
		}
	}
	for i := range c.ops {
		o := &c.ops[i]
		e := l.index[o.id]
		switch o.kind {
		case Put:
			l.index[o.id] = o.entry
		case Set:
			e.version++
		case Done:
			if e != nil {
				e.dead = true
			}
		case keep:
			o.skip = e == nil || e.dead || e.version != o.version
		}
	}
	return nil
}

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
		rec := *o.buf
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

// apply brings the index up to date and wakes everyone.
func (l *Log) apply(b *batch, err error) {
	l.mu.Lock()
	if err != nil {
		l.undo(b)
	} else {
		l.settle(b)
	}
	l.mu.Unlock()
	for _, c := range b.commits {
		c.result <- err
	}
	for _, o := range b.marks {
		buffers.Put(o.buf)
	}
}

// undo forgets a failed batch, except for its done marks: they are written
// again, a second later, for the disk may be full.
func (l *Log) undo(b *batch) {
	for _, c := range b.commits {
		for _, o := range c.ops {
			switch o.kind {
			case Put:
				delete(l.index, o.id)
			case Done:
				l.undoDone(o.id)
			}
		}
	}
	for _, o := range b.marks {
		l.undoDone(o.id)
	}
	l.armFlush(time.Second)
}

func (l *Log) undoDone(id string) {
	if e := l.index[id]; e != nil {
		e.dead = false
		l.dones = append(l.dones, id)
	}
}

// settle notes where each record of a synced batch lies.
func (l *Log) settle(b *batch) {
	s := l.segs[len(l.segs)-1]
	var n int64
	for o := range b.ops() {
		n += int64(len(*o.buf))
	}
	off := s.size + b.size - n // cut marks, if any, stand before
	s.size += b.size
	for o := range b.ops() {
		l.settleOne(s, off, o)
		off += int64(len(*o.buf))
	}
}

func (l *Log) settleOne(s *segment, off int64, o *op) {
	e := l.index[o.id]
	size := int64(len(*o.buf))
	switch o.kind {
	case Put:
		e.seg, e.off = s, off
		s.add(size, e.place == inline)
	case Set:
		if e != nil {
			l.replaceSet(e, s, off, size)
		}
	case keep:
		l.unplace(e)
		e.seg, e.off, e.rec = s, off, size
		e.kept, e.place = o.entry.kept, o.entry.place
		s.add(size, false)
	case Done:
		if e == nil {
			return
		}
		l.unplace(e)
		delete(l.index, o.id)
		if e.place != inline {
			l.drop = append(l.drop, l.path(e.place, o.id))
		}
		l.wantTidy()
	}
}

func (l *Log) replaceSet(e *entry, s *segment, off, size int64) {
	if e.set != nil {
		e.set.take(e.setLen, false)
	}
	e.set, e.setOff, e.setLen = s, off, size
	s.add(size, false)
}

// unplace takes an entry's records out of the accounts.
func (l *Log) unplace(e *entry) {
	if e.seg != nil {
		e.seg.take(e.rec, e.place == inline)
	}
	if e.set != nil {
		e.set.take(e.setLen, false)
		e.set = nil
	}
}
