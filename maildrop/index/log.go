package index

import (
	"errors"
	"fmt"
	"os"
)

// logMagic starts a log; its last digit is the version of the format. The
// following octet is logOpen or logClosed.
const logMagic = "hoplite index 1\n"

const (
	logHead   = len(logMagic) + 1
	logOpen   = 'o'
	logClosed = 'c'
)

// Log is the log of one folder, open for appending. All methods of a nil Log do
// nothing.
type Log struct {
	root *os.Root
	file *os.File
	size int64 // of the file
	live int64 // approximate size of a compacted file
	enc  encoder
}

// ErrLocked is returned when another process writes this log.
var ErrLocked = errors.New("index is in use by another process")

// OpenLog opens the log in root and returns its state. A missing, damaged or
// unknown log yields as much as could be read.
func OpenLog(root *os.Root) (*Log, *State, error) {
	file, err := root.OpenFile("log", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open index: %w", err)
	}
	if err := lock(file); err != nil {
		file.Close()
		return nil, nil, err
	}
	l := &Log{root: root, file: file}
	state, err := l.read()
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("read index: %w", err)
	}
	return l, state, nil
}

// read reads the whole log and cuts off a damaged end.
func (l *Log) read() (*State, error) {
	st, err := l.file.Stat()
	if err != nil {
		return nil, err
	}
	state := &State{}
	text := make([]byte, min(st.Size(), maxBatch))
	if _, err := l.file.ReadAt(text, 0); err != nil {
		return nil, err
	}
	if len(text) < logHead || string(text[:len(logMagic)]) != logMagic {
		return state, l.reset()
	}
	state.Doubtful = text[len(logMagic)] != logClosed
	// All file names of the folder share one string.
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
	if int64(good) < st.Size() {
		state.Doubtful = true
		if err := l.file.Truncate(l.size); err != nil {
			return nil, err
		}
	}
	return state, l.mark(logOpen)
}

func (l *Log) reset() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(logMagic+string(rune(logOpen))), 0)
	l.size, l.live = int64(logHead), int64(logHead)
	return err
}

func (l *Log) mark(c byte) error {
	_, err := l.file.WriteAt([]byte{c}, int64(len(logMagic)))
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
	Keywords []string // nil: unchanged
	Other    []string // nil: unchanged
	Added    []*Message
	Flagged  []*Message
	Gone     []Gone
}

// Write appends a batch.
func (l *Log) Write(b Batch) error {
	if l == nil {
		return nil
	}
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
	n, err := l.file.WriteAt(frame, l.size)
	if err != nil {
		return fmt.Errorf("write index: %w", errors.Join(err, l.file.Truncate(l.size)))
	}
	l.size += int64(n)
	return nil
}

// Wasteful reports whether most of the log is superseded.
func (l *Log) Wasteful() bool {
	return l != nil && l.size > 64<<10 && l.size > 2*max(l.live, 0)
}

// Rewrite replaces the log by one that holds s and nothing else.
func (l *Log) Rewrite(s *State) error {
	if l == nil {
		return nil
	}
	file, err := l.root.OpenFile("log.tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("rewrite index: %w", err)
	}
	next := &Log{root: l.root, file: file}
	err = errors.Join(lock(file), next.reset())
	if err == nil {
		err = next.Write(Batch{Head: s.Head, Keywords: s.Keywords, Other: s.Other, Added: s.Messages, Gone: s.Gone})
	}
	if err == nil {
		err = l.root.Rename("log.tmp", "log")
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("rewrite index: %w", err)
	}
	l.file.Close()
	next.live = liveSize(s)
	*l = *next
	return nil
}

// Close closes the log.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.mark(logClosed), l.file.Close())
}
