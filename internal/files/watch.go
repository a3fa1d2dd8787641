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

// recheck is how long a change may go unnoticed. It is measured with the
// monotonic clock, which a step of the wall clock does not move.
const recheck = time.Second

var started = time.Now()

// Changes notices that a file was replaced or edited. It asks the disk at most
// once per second, so that it can be asked for every message.
type Changes struct {
	path string
	next atomic.Int64 // when to look again, as time since started
	last fs.FileInfo  // as of the last call of Changed
}

// NewChanges watches the file at path as it is now.
func NewChanges(path string) *Changes {
	c := &Changes{path: path}
	c.Changed()
	return c
}

// Due reports to one caller that it is time to call Changed again.
func (c *Changes) Due() bool {
	now, next := time.Since(started), c.next.Load()
	return int64(now) >= next && c.next.CompareAndSwap(next, int64(now+recheck))
}

// Changed reports whether the file differs from the one at the last call. Calls
// must not overlap.
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

// Watched is the parsed content of a file, which is read again after a change.
// It may be used by many goroutines.
type Watched[T any] struct {
	path  string
	parse func(r io.Reader, name string) (T, error)
	log   zerolog.Logger

	changes *Changes
	reading sync.Mutex
	value   atomic.Pointer[T]
}

// Watch parses the file at path; a file that does not exist is empty. The value
// is usable even with an error, as far as parse could read the file. An empty
// path stands for a file that never exists.
func Watch[T any](path string, parse func(r io.Reader, name string) (T, error), log zerolog.Logger) (*Watched[T], error) {
	w := &Watched[T]{path: path, parse: parse, log: log, changes: NewChanges(path)}
	v, err := w.read()
	w.value.Store(&v)
	return w, err
}

// Get returns the content as it was at most about a second ago. A file with
// mistakes changes nothing and is logged.
func (w *Watched[T]) Get() T {
	if w.path != "" && w.changes.Due() {
		if err := w.Reload(); err != nil {
			w.log.Error().Err(err).Str("file", w.path).Msg("file not reloaded; keeping its previous content")
		}
	}
	return *w.value.Load()
}

// Reload reads the file now if it has changed. After an error the previous
// content stays.
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
