package journal

import "time"

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
		n += int64(len(o.rec))
	}
	off := s.size + b.size - n // the first record stands before
	s.size += b.size
	for o := range b.ops() {
		l.settleOne(s, off, o)
		off += int64(len(o.rec))
	}
}

func (l *Log) settleOne(s *segment, off int64, o *op) {
	e := l.index[o.id]
	size := int64(len(o.rec))
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
