package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hoplite/internal/handles"
)

// logMagic is the beginning of a log; its last digit is the version of the
// format. The octet after it is logOpen or logClosed.
const logMagic = "hoplite index 1\n"

const (
	logHead   = len(logMagic) + 1
	logOpen   = 'o'
	logClosed = 'c'
)

// Place is the location of one folder's index. Dir is relative to Root. The
// log's descriptor counts towards Owner in Pool.
type Place struct {
	Root  *os.Root
	Dir   string
	Pool  *handles.Pool
	Owner *handles.Owner
}

func (p Place) open(name string, flags int) (*os.File, error) {
	return p.Root.OpenFile(filepath.Join(p.Dir, name), os.O_RDWR|flags, 0o600)
}

// Log is one folder's log, open for appending. Its descriptor may be closed
// while it is not in use. All methods of a nil Log do nothing.
type Log struct {
	place  Place
	handle *handles.Handle
	size   int64 // size of the file
	live   int64 // approximate size after compaction
	enc    encoder

	file    os.FileInfo // the file that was read; nil before that
	guarded bool        // the mark logOpen is durable
}

// Errors returned when another process uses the log.
var (
	ErrLocked  = errors.New("index is in use by another process")
	errChanged = errors.New("index was changed by another process")
)

// OpenLog opens the log at p and returns its state. If the log is missing,
// damaged or in an unknown format, the state contains as much as could be read.
func OpenLog(p Place) (*Log, *State, error) {
	l := &Log{place: p}
	l.handle = p.Pool.New(p.Owner, l.open)
	state, err := l.read()
	if err != nil {
		l.handle.Close()
		return nil, nil, fmt.Errorf("open index: %w", err)
	}
	return l, state, nil
}

// open opens the file for the first time or again.
func (l *Log) open() (*os.File, error) {
	file, err := l.place.open("log", os.O_CREATE)
	if err != nil {
		return nil, err
	}
	st, err := file.Stat()
	if err == nil {
		err = lock(file)
	}
	if err == nil && l.file != nil && (!os.SameFile(st, l.file) || st.Size() != l.size) {
		err = errChanged
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	l.file = st
	return file, nil
}

// read reads the whole log and truncates a damaged end.
func (l *Log) read() (*State, error) {
	file, err := l.handle.Acquire()
	if err != nil {
		return nil, err
	}
	defer l.handle.Release()
	state := &State{}
	text := make([]byte, min(l.file.Size(), maxBatch))
	if _, err := file.ReadAt(text, 0); err != nil {
		return nil, err
	}
	if len(text) < logHead || string(text[:len(logMagic)]) != logMagic {
		return state, l.reset(file)
	}
	state.Doubtful = text[len(logMagic)] != logClosed
	// All file names in the folder share one string.
	all := string(text)
	good := logHead
	for rest := text[good:]; len(rest) > 0; {
		payload, after, err := cutFrame(rest)
		if err != nil {
			break
		}
		if err := state.apply(all[good+8 : good+8+len(payload)]); err != nil {
			break
		}
		good, rest = len(text)-len(after), after
	}
	state.finish()
	l.size = int64(good)
	l.live = liveSize(state)
	if l.size < l.file.Size() {
		state.Doubtful = true
		if err := file.Truncate(l.size); err != nil {
			return nil, err
		}
	}
	return state, mark(file, logOpen)
}

// reset makes file an empty log.
func (l *Log) reset(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(logMagic+string(rune(logOpen))), 0)
	l.size, l.live = int64(logHead), int64(logHead)
	return err
}

// Guard makes it durable that the log is open. Otherwise, a power failure could
// leave behind a closed log without the changes written since it was opened.
func (l *Log) Guard() error {
	if l == nil || l.guarded {
		return nil
	}
	file, err := l.handle.Acquire()
	if err != nil {
		return fmt.Errorf("sync index: %w", err)
	}
	defer l.handle.Release()
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync index: %w", err)
	}
	l.guarded = true
	return nil
}

func mark(file *os.File, c byte) error {
	_, err := file.WriteAt([]byte{c}, int64(len(logMagic)))
	return err
}

// liveSize returns the approximate size of a log that holds s.
func liveSize(s *State) int64 {
	n := int64(256 + 12*len(s.Gone))
	for _, m := range s.Messages {
		n += messageSize(m)
	}
	return n
}

func messageSize(m *Message) int64 { return int64(36 + len(m.File) + len(m.Ext)) }

// Batch is a set of changes that are written together.
type Batch struct {
	Head     Head
	Keywords []string // nil means unchanged
	Other    []string // nil means unchanged
	Added    []*Message
	Flagged  []*Message
	Gone     []Gone
}

// Write appends a batch.
func (l *Log) Write(b Batch) error {
	if l == nil {
		return nil
	}
	file, err := l.handle.Acquire()
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	defer l.handle.Release()
	return l.write(file, b)
}

func (l *Log) write(file *os.File, b Batch) error {
	e := &l.enc
	e.b = e.b[:0]
	if b.Keywords != nil {
		e.texts(kindKeywords, b.Keywords)
	}
	if b.Other != nil {
		e.texts(kindOther, b.Other)
	}
	for _, m := range b.Added {
		e.message(m)
		l.live += messageSize(m)
	}
	for _, m := range b.Flagged {
		e.flags(m)
	}
	for _, g := range b.Gone {
		e.byte(kindGone)
		e.uint(uint64(g.UID))
		e.uint(g.ModSeq)
		l.live -= 64
	}
	e.head(&b.Head)
	frame := appendFrame(nil, e.b)
	if cap(e.b) > 1<<20 {
		e.b = nil
	}
	n, err := file.WriteAt(frame, l.size)
	if err != nil {
		return fmt.Errorf("write index: %w", errors.Join(err, file.Truncate(l.size)))
	}
	l.size += int64(n)
	return nil
}

// Wasteful reports whether most of the log has been superseded.
func (l *Log) Wasteful() bool {
	return l != nil && l.size > 64<<10 && l.size > 2*max(l.live, 0)
}

// Rewrite replaces the log with one that contains only s.
func (l *Log) Rewrite(s *State) error {
	if l == nil {
		return nil
	}
	// The lock on the current file protects the rewrite.
	if _, err := l.handle.Acquire(); err != nil {
		return fmt.Errorf("rewrite index: %w", err)
	}
	defer l.handle.Rest()
	defer l.handle.Release()
	if err := l.replace(s); err != nil {
		return fmt.Errorf("rewrite index: %w", err)
	}
	return nil
}

// replace syncs nothing: an index that a power failure damages is rebuilt from
// the folder.
func (l *Log) replace(s *State) error {
	file, err := l.place.open("log.tmp", os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer file.Close()
	next := &Log{}
	if err := next.reset(file); err != nil {
		return err
	}
	if err := next.write(file, Batch{Head: s.Head, Keywords: s.Keywords, Other: s.Other, Added: s.Messages, Gone: s.Gone}); err != nil {
		return err
	}
	st, err := file.Stat()
	if err != nil {
		return err
	}
	dir := l.place.Dir
	if err := l.place.Root.Rename(filepath.Join(dir, "log.tmp"), filepath.Join(dir, "log")); err != nil {
		return err
	}
	l.file, l.size, l.live = st, next.size, liveSize(s)
	return nil
}

// Close closes the log.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	defer l.handle.Close()
	file, err := l.handle.Acquire()
	if err != nil {
		return err
	}
	defer l.handle.Release()
	return mark(file, logClosed)
}
