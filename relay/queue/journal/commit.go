package journal

import (
	"fmt"
	"os"
	"runtime"
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
	rec     []byte  // the record
	buf     *[]byte // its memory, from the pool; nil for done marks
	entry   *entry  // put and keep: as the index will have it
	version uint32  // keep: of the state that it holds
	file    string  // put: written for it, removed if the commit fails
	skip    bool    // keep: overtaken by another change
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

// submit has c written and waits until it is. Whoever comes alone does it at
// once, without a change of goroutines: with one client that is half of what a
// commit costs beside the disk. In a crowd it is left to the committer.
func (l *Log) submit(c *commit) error {
	for _, o := range c.ops {
		c.size += int64(len(o.rec))
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
	marks   []op   // done marks that nobody waits for
	done    []byte // their records
	size    int64
	records int
	out     []byte // small records, collected
}

// commitLoop writes what came while others wrote, and done marks.
func (l *Log) commitLoop() {
	defer close(l.idle)
	for range l.wake {
		runtime.Gosched() // others who are about to commit join this batch
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
	b.commits, b.marks, b.done, b.size, b.records = b.commits[:0], b.marks[:0], b.done[:0], 0, 0
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
		start := len(b.done)
		b.done = endRecord(beginRecord(b.done, Done, id), start, len(id), l.salt)
		b.marks = append(b.marks, op{kind: Done, id: id, rec: b.done[start:]})
		b.size += int64(len(b.done) - start)
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
