package disk

import (
	"os"
	"runtime"
	"sync"
	"time"

	"hoplite/relay/queue/journal"
)

// maxBatch is the maximum size of a batch in octets, unless a single commit is
// larger.
const maxBatch = 8 << 20

// commit is the set of changes made by one caller, which waits for the result.
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
	kind    kind
	id      string
	rec     []byte  // the record
	buf     *[]byte // its pooled buffer; nil for done marks
	entry   *entry  // put and keep: the entry to be added to the catalog
	version uint32  // keep: version of the state in the record
	file    string  // put and keep: the file written for the record, removed if the commit fails
	skip    bool    // keep: superseded by another change
}

// free returns c and its buffers to their pools.
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

// discard removes the files of a commit that failed, and frees it.
func (c *commit) discard() {
	for _, o := range c.ops {
		if o.file != "" {
			os.Remove(o.file)
		}
	}
	c.free()
}

// committer collects commits and done marks and writes them in batches. A batch
// holds everything that arrived during the previous sync. There is no timer,
// except for done marks, which are written asynchronously.
type committer struct {
	catalog *catalog
	writer  *writer
	flush   time.Duration

	mu      sync.Mutex
	pending []*commit
	writing bool     // a goroutine is writing, and owns batch
	grouped bool     // the last batch contained several commits
	dones   []string // marks for the next batch
	armed   bool     // a timer will flush dones
	due     bool     // the timer has fired
	closed  bool     // no more changes are accepted

	batch batch
	wake  chan struct{} // holds a token when there is work
	idle  chan struct{} // closed when loop has ended
}

func newCommitter(c *catalog, w *writer, flush time.Duration) *committer {
	return &committer{catalog: c, writer: w, flush: flush, wake: make(chan struct{}, 1), idle: make(chan struct{})}
}

// submit queues c and waits until it is written. A lone writer writes its batch
// in its own goroutine: with a single client, switching goroutines would
// account for half the cost of a commit, excluding the disk. If there are many
// writers, loop writes the batches.
func (m *committer) submit(c *commit) error {
	for i := range c.ops {
		c.size += int64(len(c.ops[i].rec))
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return journal.ErrClosed
	}
	m.pending = append(m.pending, c)
	alone := !m.writing && !m.grouped
	if alone {
		m.writing = true
	} else if !m.writing {
		m.kick()
	}
	m.mu.Unlock()
	if alone {
		m.turn()
	}
	return <-c.result
}

// done queues done marks for the next batch.
func (m *committer) done(ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dones = append(m.dones, ids...)
	m.arm(m.flush)
}

// kick wakes loop.
func (m *committer) kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// arm ensures that done marks are written within d. The caller holds m.mu.
func (m *committer) arm(d time.Duration) {
	if m.armed || m.closed {
		return
	}
	m.armed = true
	time.AfterFunc(d, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.armed, m.due = false, true
		m.kick()
	})
}

// loop writes the commits and marks that arrived while another batch was being
// written.
func (m *committer) loop() {
	defer close(m.idle)
	for range m.wake {
		runtime.Gosched() // let callers that are about to commit join the batch
		m.mu.Lock()
		busy := m.writing // the goroutine that is writing kicks if there is more
		m.writing = true
		m.mu.Unlock()
		if !busy && m.turn() {
			return
		}
	}
}

// turn writes one batch. The caller has set writing. turn reports whether the
// committer is closed and has nothing left to write.
func (m *committer) turn() (end bool) {
	b := &m.batch
	if m.collect(b) {
		m.finish(b, m.writer.write(b))
	}
	grouped := len(b.commits) > 1
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writing, m.grouped = false, grouped
	if len(m.pending) > 0 || m.due || m.closed {
		m.kick()
	}
	return m.closed && len(m.pending) == 0
}

// collect fills the next batch and reports whether it contains anything.
func (m *committer) collect(b *batch) bool {
	b.reset()
	m.mu.Lock()
	n, size := 0, int64(0)
	for n < len(m.pending) && (n == 0 || size < maxBatch) {
		size += m.pending[n].size
		n++
	}
	b.taken = append(b.taken, m.pending[:n]...)
	rest := copy(m.pending, m.pending[n:])
	clear(m.pending[rest:])
	m.pending = m.pending[:rest]
	if n > 0 || m.due || m.closed {
		m.due = false
		b.dones = append(b.dones, m.dones...)
		m.dones = m.dones[:0]
	}
	m.mu.Unlock()

	m.catalog.admit(b, b.taken, b.dones, m.writer.salt)
	for _, c := range b.taken {
		if c.err != nil {
			c.result <- c.err
		}
	}
	return len(b.commits)+len(b.marks) > 0
}

// finish updates the catalog and wakes the callers that are waiting for the
// batch. The done marks of a failed batch are retried a second later, because
// the disk may be full.
func (m *committer) finish(b *batch, err error) {
	if err == nil {
		m.catalog.settle(b)
	} else {
		dones := m.catalog.undo(b)
		m.mu.Lock()
		m.dones = append(m.dones, dones...)
		m.arm(time.Second)
		m.mu.Unlock()
	}
	for _, c := range b.commits {
		c.result <- err
	}
}

// close refuses further changes. It returns false if the committer was already
// closed.
func (m *committer) close() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.closed
	m.closed = true
	return !was
}

// drain writes the remaining changes after close, and returns the number of
// done marks that could not be written within a few seconds.
func (m *committer) drain() (lost int) {
	m.kick()
	<-m.idle
	lost = m.unwritten()
	for try := 0; lost > 0 && try < 20; try++ {
		time.Sleep(250 * time.Millisecond)
		m.turn()
		lost = m.unwritten()
	}
	return lost
}

// unwritten returns the number of done marks that are not yet on disk.
func (m *committer) unwritten() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.dones)
}
