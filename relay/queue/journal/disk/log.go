// Package disk implements the journal on a local disk: a segmented log with
// group commit, separate files for large or old messages, and an index in
// memory. docs/queue.md lists which files exist at each stage, and the
// possible states after a crash; the tests follow that table.
//
// Log is the journal. Each of its parts owns one piece of the state:
//
//   - committer: the changes waiting to be written, and the goroutine that
//     writes them in batches
//   - writer: the newest segment, to which a batch is written and synced
//   - catalog: the index of live messages and the amount of live data in each
//     segment, in memory only
//   - reclaimer: the removal of segments that are no longer needed
//   - spare: the file that the next segment will use
//   - folder: the paths of all files, and the code that writes them durably
//   - recovery: reads the segments into a catalog when the log is opened
//
// Start with Log.Commit. The format is defined in record.go.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// Options configures a Log. The zero value of every field except Dir is usable.
type Options struct {
	Dir     string        // data/queue
	Segment int64         // size at which a segment is considered full; default 32 MiB
	Inline  int64         // largest message stored inside the log; default 256 KiB
	Age     time.Duration // age at which messages are moved from the log to files; default 1 h
	Flush   time.Duration // maximum delay of a done mark; default 100 ms
	// Spare keeps a zero-filled file ready for the next segment, because
	// syncing overwritten blocks is faster than syncing appended ones, which
	// also changes metadata. The file occupies the space of one segment. It is
	// not created if the disk is small or nearly full.
	Spare bool
	// Envelope returns the contents of the .json file next to a deferred
	// message.
	Envelope func(id string, meta, state []byte) []byte
	Log      zerolog.Logger
	// Synced is called after each batch with its number of records and the time
	// taken to write and sync it.
	Synced func(records int, took time.Duration)

	// Tests inject faults by replacing these system calls.
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

// Log is the journal on disk. It is safe for concurrent use. data/lock excludes
// other processes, so the journal is never fenced.
type Log struct {
	opt     Options
	salt    uint64 // for the segments written by this process
	folder  *folder
	catalog *catalog
	commits *committer
	reclaim *reclaimer
}

var _ journal.Journal = (*Log)(nil)

// Open recovers the journal in opt.Dir, creating the folder if necessary. New
// changes go to a new segment. The caller holds data/lock.
func Open(opt Options) (*Log, error) {
	opt.defaults()
	dir := &folder{path: opt.Dir, write: opt.write, sync: opt.sync}
	if err := dir.create(); err != nil {
		return nil, err
	}
	l := &Log{opt: opt, salt: newSalt(), folder: dir, catalog: newCatalog()}
	r := &recovery{folder: dir, catalog: l.catalog, log: opt.Log}
	if err := r.run(); err != nil {
		l.catalog.closeSegments()
		return nil, err
	}
	spare := &spare{folder: dir, size: opt.Segment, enabled: opt.Spare, log: opt.Log}
	spare.find()
	if l.catalog.fewSegments() {
		spare.prepare(nil) // must be ready before the first segment is created
	}
	w := &writer{folder: dir, catalog: l.catalog, spare: spare, salt: l.salt, size: opt.Segment, synced: opt.Synced, log: opt.Log}
	l.commits = newCommitter(l.catalog, w, opt.Flush)
	l.reclaim = newReclaimer(l, spare)
	fresh := len(l.catalog.segs) == 0
	go l.commits.loop()
	go l.reclaim.loop(fresh)
	return l, nil
}

// Load calls yield for every live message, in order of ids.
func (l *Log) Load(yield func(journal.Entry) error) error { return l.catalog.load(yield) }

// Commit makes the changes durable in order, in one batch.
func (l *Log) Commit(ctx context.Context, changes ...journal.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := newCommit()
	for _, ch := range changes {
		o, err := l.encode(ch)
		if err != nil {
			c.discard()
			return err
		}
		c.ops = append(c.ops, o)
	}
	if err := l.commits.submit(c); err != nil {
		c.discard()
		return err
	}
	c.free()
	return nil
}

// Done marks messages as finished with the next batch, or after Options.Flush
// at the latest.
func (l *Log) Done(ids ...string) { l.commits.done(ids) }

// encode returns the record of ch. A large message is written to its file here,
// so that several can be written concurrently.
func (l *Log) encode(ch journal.Change) (op, error) {
	if !journal.ValidID(ch.ID) {
		return op{}, fmt.Errorf("invalid message id %q", ch.ID)
	}
	if len(ch.Meta) > maxMeta || len(ch.State) > maxMeta {
		return op{}, fmt.Errorf("envelope of %s is larger than 1 MiB", ch.ID)
	}
	o := op{kind: kind(ch.Kind), id: ch.ID, buf: buffers.Get().(*[]byte)}
	b := beginRecord((*o.buf)[:0], o.kind, ch.ID)
	switch o.kind {
	case kindPut:
		m := ch.Message
		o.entry = &entry{
			meta: int64(len(ch.Meta)), kept: int64(len(ch.State)),
			head: m.Size() - m.Body().Size(), size: m.Size(),
			eightBit: m.EightBit, longLine: uint32(m.LongLine),
		}
		if o.entry.size > l.opt.Inline {
			o.entry.place, o.file = large, l.folder.message(large, ch.ID)
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
	case kindSet:
		b = append(b, ch.State...)
	}
	o.rec = endRecord(b, 0, len(ch.ID), l.salt)
	*o.buf = o.rec
	if o.entry != nil {
		o.entry.rec = int64(len(o.rec))
	}
	return o, nil
}

// writeLarge streams a message to its own file. The file and its directory
// entry are durable when it returns.
func (l *Log) writeLarge(id, file string, m *mail.Message) error {
	if l.catalog.knows(id) {
		return fmt.Errorf("put %s: %w", id, journal.ErrExists)
	}
	return l.folder.writeNew(file, func(f *os.File) error {
		n, err := m.WriteTo(f)
		if err == nil && n != m.Size() {
			err = fmt.Errorf("message has %d octets, not %d", n, m.Size())
		}
		return err
	})
}

// small is the maximum size of a message that is read in one piece.
const small = 16 << 10

// Message opens the content of a live message. The error is journal.ErrGone if
// its file was removed.
func (l *Log) Message(id string) (*mail.Message, io.Closer, error) {
	e, err := l.catalog.open(id)
	if err != nil {
		return nil, nil, err
	}
	src, off, closer, err := l.source(id, &e)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", journal.ErrGone, err)
	}
	if err != nil {
		return nil, nil, err
	}
	m := &mail.Message{EightBit: e.eightBit, LongLine: int(e.longLine)}
	b := make([]byte, e.head)
	if e.size <= small { // header and body in one read
		b = make([]byte, e.size)
	}
	if n, err := src.ReadAt(b, off); n < len(b) {
		closer.Close()
		return nil, nil, fmt.Errorf("read %s: %w", id, err)
	}
	m.Head = b[:e.head:e.head]
	if m.Base = mail.Bytes(b); e.size > small {
		m.Base = io.NewSectionReader(src, off, e.size)
	}
	return m, closer, nil
}

// source returns the file that holds a message's content, and the content's
// offset in it. For an inline message it acquires a reference to the segment.
func (l *Log) source(id string, e *entry) (io.ReaderAt, int64, io.Closer, error) {
	if e.place == inline {
		seg := e.seg
		return seg.file, e.octets(id), closeFunc(func() { l.catalog.release(seg) }), nil
	}
	f, err := os.Open(l.folder.message(e.place, id))
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

// Meta returns the meta and the latest state of a live message.
func (l *Log) Meta(id string) (meta, state []byte, err error) {
	v, err := l.catalog.openRecords(id)
	if err != nil {
		return nil, nil, err
	}
	defer l.catalog.releaseRecords(&v)
	return v.read()
}

// Usage returns the size of the log.
func (l *Log) Usage() journal.Usage { return l.catalog.usage() }

// Close writes pending changes and closes the files. If the disk is full, it
// waits a few seconds for space. Messages that are being read remain readable.
func (l *Log) Close() error {
	if !l.commits.close() {
		return nil
	}
	l.reclaim.stop()
	lost := l.commits.drain()
	l.reclaim.removeDropped()
	l.catalog.closeSegments()
	if lost > 0 {
		return fmt.Errorf("%d done marks could not be written: those messages will be delivered again", lost)
	}
	return nil
}
