package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// recheck is the maximum time for which a change may go unnoticed. It is
// measured with the monotonic clock, so steps of the wall clock do not matter.
const recheck = time.Second

var started = time.Now()

// Changes detects that a file was replaced or edited. It checks the disk at
// most once per second, so it is cheap enough to use for every message.
type Changes struct {
	path string
	next atomic.Int64 // time of the next check, as the time since started
	last fs.FileInfo  // as of the last call of Changed
}

// NewChanges starts watching the file at path for changes.
func NewChanges(path string) *Changes {
	c := &Changes{path: path}
	c.Changed()
	return c
}

// Due reports whether it is time to call Changed again. It returns true to only
// one of several concurrent callers.
func (c *Changes) Due() bool {
	now, next := time.Since(started), c.next.Load()
	return int64(now) >= next && c.next.CompareAndSwap(next, int64(now+recheck))
}

// Changed reports whether the file has changed since the last call. Calls must
// not overlap.
func (c *Changes) Changed() bool {
	c.next.Store(int64(time.Since(started) + recheck))
	now, err := os.Stat(c.path)
	if err != nil {
		now = nil
	}
	old := c.last
	c.last = now
	switch {
	case old == nil || now == nil:
		return old != now
	case !os.SameFile(old, now):
		return true
	}
	return !old.ModTime().Equal(now.ModTime()) || old.Size() != now.Size()
}

// Watched holds the parsed content of a file and reads it again after a change.
// It is safe for concurrent use.
type Watched[T any] struct {
	path  string
	parse func(r io.Reader, name string) (T, error)
	log   zerolog.Logger

	changes *Changes
	reading sync.Mutex
	value   atomic.Pointer[T]
}

// Watch parses the file at path; a missing file is treated as empty. If parse
// returns an error, the value holds the part that could be read. An empty path
// means a file that never exists.
func Watch[T any](path string, parse func(r io.Reader, name string) (T, error), log zerolog.Logger) (*Watched[T], error) {
	w := &Watched[T]{path: path, parse: parse, log: log, changes: NewChanges(path)}
	v, err := w.read()
	w.value.Store(&v)
	return w, err
}

// Get returns the content, which is at most about a second old. Mistakes in a
// changed file are logged, and the previous content is kept.
func (w *Watched[T]) Get() T {
	if w.path != "" && w.changes.Due() {
		if err := w.Reload(); err != nil {
			w.log.Error().Err(err).Str("file", w.path).Msg("file not reloaded; keeping its previous content")
		}
	}
	return *w.value.Load()
}

// Reload reads the file now if it has changed. After an error the previous
// content is kept.
func (w *Watched[T]) Reload() error {
	w.reading.Lock()
	defer w.reading.Unlock()
	if w.path == "" || !w.changes.Changed() {
		return nil
	}
	v, err := w.read()
	if err != nil {
		return err
	}
	w.value.Store(&v)
	return nil
}

func (w *Watched[T]) read() (T, error) {
	f, err := os.Open(w.path)
	if w.path == "" || errors.Is(err, fs.ErrNotExist) {
		return w.parse(eof{}, w.path)
	}
	if err != nil {
		v, _ := w.parse(eof{}, w.path)
		return v, fmt.Errorf("read file: %w", err)
	}
	defer f.Close()
	return w.parse(f, w.path)
}

// eof is an empty file.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
