// Package journal keeps queued mail on disk: a log of segments with group
// commit, a file each for what is large or old, and an index in memory.
//
// It knows messages, and two opaque byte strings beside each: meta, which never
// changes, and state, of which the latest counts. Schedules, recipients and
// reports are the business of relay/queue. docs/queue.md says which files
// exist when, and what a crash leaves; the tests follow that table.
package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

// The errors that callers tell apart.
var (
	ErrExists  = errors.New("id is already in the journal")
	ErrUnknown = errors.New("id is not in the journal")
	ErrClosed  = errors.New("journal is closed")
	// ErrVersion says that another binary wrote the log. Nothing was touched.
	ErrVersion = errors.New("log was written by a newer version of this program, or before its first release")
)

// Kind is what a Change does.
type Kind uint8

// The kinds of change. Their numbers are on disk.
const (
	Put   Kind = 1 + iota // a new message: Meta and Message
	Set                   // a new State
	Done                  // the message is gone
	keep                  // a survivor of a reclaimed segment
	first                 // a batch begins
)

// Change is one step in the life of one message.
type Change struct {
	Kind    Kind
	ID      string // 1 to 64 octets of a-z, 0-9, "-" and "."
	Meta    []byte
	State   []byte
	Message *mail.Message
}

// Entry is a live message as Load finds it.
type Entry struct {
	ID          string
	Meta, State []byte // State is nil as long as nobody set it
	Size        int64  // octets of the message
}

// Options say where and how. The zero value of every field but Dir is good.
type Options struct {
	Dir     string        // data/queue
	Segment int64         // octets after which a segment is full; 32 MiB
	Inline  int64         // largest message inside the log; 256 KiB
	Age     time.Duration // of the oldest mail that stays inside the log; 1 h
	Flush   time.Duration // how long a done mark may wait for company; 100 ms
	// Spare keeps the file of another segment ready, full of zeros: octets that are
	// overwritten are synced faster than new ones, which need metadata beside them.
	// It takes a segment's space, and none where the disk is small or nearly full.
	Spare bool
	// Envelope makes the text of the .json file beside a deferred message.
	Envelope func(id string, meta, state []byte) []byte
	Log      zerolog.Logger
	// Synced hears of each batch: how many records, and the time it took.
	Synced func(records int, took time.Duration)

	// In tests, faults: these stand in for the system calls.
	write func(f *os.File, p []byte) error
	sync  func(f *os.File) error
}

func (o *Options) defaults() {
	if o.Segment <= 0 {
		o.Segment = 32 << 20
	}
	if o.Inline <= 0 {
		o.Inline = 256 << 10
	}
	if o.Age <= 0 {
		o.Age = time.Hour
	}
	if o.Flush <= 0 {
		o.Flush = 100 * time.Millisecond
	}
	if o.Envelope == nil {
		o.Envelope = func(_ string, meta, _ []byte) []byte { return meta }
	}
	if o.Synced == nil {
		o.Synced = func(int, time.Duration) {}
	}
	if o.write == nil {
		o.write = func(f *os.File, p []byte) error { _, err := f.Write(p); return err }
	}
	if o.sync == nil {
		o.sync = datasync
	}
}

// Log is the journal on disk. It is safe for concurrent use.
type Log struct {
	opt  Options
	salt uint64 // of the segments that this run writes

	tidying sync.Mutex // held by whoever reclaims; taken before mu

	mu      sync.Mutex
	index   map[string]*entry
	segs    []*segment // oldest first; the last one is written to unless it is sealed
	pending []*commit
	writing bool          // somebody does; what is pending then is the committer's
	crowd   bool          // the last batch was of several
	dones   []string      // marks that wait for the next batch
	spare   bool          // a dead segment waits to be used again
	batch   batch         // of whoever is writing
	drop    []string      // files of messages that are gone
	armed   bool          // a timer will flush dones
	due     bool          // it has fired
	rotate  bool          // the next batch opens a new segment
	closed  bool          // no more changes
	wake    chan struct{} // holds one token when there is work
	idle    chan struct{} // closed when the committer has ended
	tidy    chan struct{} // holds one token when a reclaim may pay
	quit    chan struct{}
	tidied  chan struct{} // closed when the reclaimer has ended
	copies  *slab         // of what Load gives; nil afterwards
}

// place says where a message's octets are. The numbers are on disk.
type place uint8

const (
	inline   place = iota // behind the record
	large                 // body/xx/ID
	deferred              // deferred/xx/ID.eml
)

// entry is what the index knows of one live message.
type entry struct {
	seg      *segment // of the put or keep record; nil until it is synced
	off      int64    // of that record
	rec      int64    // its size
	meta     int64    // length
	head     int64    // length of the message's header block
	size     int64    // of the message
	longLine uint32
	place    place
	eightBit bool
	dead     bool // a done mark waits or is written

	set     *segment // of the latest set record, nil if none counts
	setOff  int64
	setLen  int64 // of the whole record
	kept    int64 // length of the state inside that record
	version uint32

	loadMeta, loadState []byte // between recovery and Load
}

// Open recovers the journal of opt.Dir, which is made if it is not there, and
// starts to write to a new segment. The caller holds data/lock.
func Open(opt Options) (*Log, error) {
	opt.defaults()
	for _, dir := range []string{"log", "body", "deferred", "inject"} {
		if err := os.MkdirAll(filepath.Join(opt.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("make queue folder: %w", err)
		}
	}
	l := &Log{
		opt: opt, salt: newSalt(), index: map[string]*entry{},
		wake: make(chan struct{}, 1), idle: make(chan struct{}),
		tidy: make(chan struct{}, 1), quit: make(chan struct{}), tidied: make(chan struct{}),
		copies: &slab{},
	}
	if err := l.recover(); err != nil {
		l.closeSegments()
		return nil, err
	}
	l.prepare(false) // filled later, it would come too late for the first segment
	go l.commitLoop()
	go l.reclaimLoop(len(l.segs) == 0)
	return l, nil
}

// Load yields every live message in the order of their ids. It is complete or an error, and is
// called once, before any change.
func (l *Log) Load(yield func(Entry) error) error {
	l.copies = nil
	for _, id := range sortedKeys(l.index) {
		e := l.index[id]
		err := yield(Entry{ID: id, Meta: e.loadMeta, State: e.loadState, Size: e.size})
		e.loadMeta, e.loadState = nil, nil
		if err != nil {
			return fmt.Errorf("load %s: %w", id, err)
		}
	}
	return nil
}

// small is the size up to which a message is read as a whole.
const small = 16 << 10

// Message opens the octets of a live message. The error is fs.ErrNotExist
// when its file was removed, ErrUnknown when the journal has no such id.
func (l *Log) Message(id string) (*mail.Message, io.Closer, error) {
	l.mu.Lock()
	e := l.index[id]
	if e == nil || e.seg == nil {
		l.mu.Unlock()
		return nil, nil, ErrUnknown
	}
	v := *e
	if v.place == inline {
		v.seg.refs++
	}
	l.mu.Unlock()

	src, off, closer, err := l.source(id, &v)
	if err != nil {
		return nil, nil, err
	}
	m := &mail.Message{EightBit: v.eightBit, LongLine: int(v.longLine)}
	b := make([]byte, v.head)
	if v.size <= small { // read once, not the header and then the body
		b = make([]byte, v.size)
	}
	if n, err := src.ReadAt(b, off); n < len(b) {
		closer.Close()
		return nil, nil, fmt.Errorf("read %s: %w", id, err)
	}
	m.Head = b[:v.head:v.head]
	if m.Base = mail.Bytes(b); v.size > small {
		m.Base = io.NewSectionReader(src, off, v.size)
	}
	return m, closer, nil
}

// source finds the file and the offset of a message's octets. An inline one
// comes with a reference to its segment.
func (l *Log) source(id string, e *entry) (io.ReaderAt, int64, io.Closer, error) {
	if e.place == inline {
		return e.seg.file, e.off + recordHead + int64(len(id)) + putHead + e.meta + e.kept, closeFunc(func() { l.release(e.seg) }), nil
	}
	f, err := os.Open(l.path(e.place, id))
	if err != nil {
		return nil, 0, nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() != e.size {
		f.Close()
		return nil, 0, nil, fmt.Errorf("%s: size differs from the %d octets in the log", f.Name(), e.size)
	}
	return f, 0, f, nil
}

type closeFunc func()

func (f closeFunc) Close() error { f(); return nil }

// path is the file of a message that is not inside the log.
func (l *Log) path(p place, id string) string {
	if p == large {
		return filepath.Join(l.opt.Dir, "body", fan(id), id)
	}
	return filepath.Join(l.opt.Dir, "deferred", fan(id), id+".eml")
}

// Commit makes the changes durable, all in one batch and in order, and returns
// when they are. An error means that none of them counts, but for Done, which
// is tried again.
func (l *Log) Commit(ctx context.Context, changes ...Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := newCommit()
	for _, ch := range changes {
		o, err := l.encode(ch)
		if err != nil {
			l.forget(c)
			return err
		}
		c.ops = append(c.ops, o)
	}
	err := l.submit(c)
	if err != nil {
		l.forget(c)
		return err
	}
	c.free()
	return nil
}

// Done marks messages as gone with the next batch. Nobody waits for it, and
// doing it twice is the same as once.
func (l *Log) Done(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dones = append(l.dones, ids...)
	l.armFlush(l.opt.Flush)
}

// Close writes what waits and ends; on a full disk it waits some seconds for
// space. Messages that are still open stay readable.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.quit)
	<-l.tidied
	l.kick()
	<-l.idle
	lost := l.owed()
	for try := 0; lost > 0 && try < 20; try++ {
		time.Sleep(250 * time.Millisecond)
		l.turn()
		lost = l.owed()
	}
	l.removeDropped()
	l.closeSegments()
	if lost > 0 {
		return fmt.Errorf("%d done marks could not be written: those messages will be delivered again", lost)
	}
	return nil
}

// owed is how many done marks are not on disk.
func (l *Log) owed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.dones)
}

// Usage is what the journal holds, in octets but for Messages.
type Usage struct {
	Messages  int
	Log, Live int64 // of segments, and of the records in them that count
	Segments  int
}

// Usage tells how full the log is.
func (l *Log) Usage() Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := Usage{Messages: len(l.index), Segments: len(l.segs)}
	for _, s := range l.segs {
		u.Log += s.size
		u.Live += s.live
	}
	return u
}
