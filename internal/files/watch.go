package files

import (
	"errors"
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
	unread  bool                  // the file could not be read the last time
	err     atomic.Pointer[error] // of the last attempt to read the file
	value   atomic.Pointer[T]
}

// Watch parses the file at path; a missing file is treated as empty. If parse
// returns an error, the value holds the part that could be read. A file that
// cannot be opened is a reader that returns the error. An empty path means a file
// that never exists.
func Watch[T any](path string, parse func(r io.Reader, name string) (T, error), log zerolog.Logger) (*Watched[T], error) {
	w := &Watched[T]{path: path, parse: parse, log: log, changes: NewChanges(path)}
	v, err := w.read()
	w.err.Store(&err)
	w.value.Store(&v)
	return w, err
}

// Keep replaces the content until the file has been read again.
func (w *Watched[T]) Keep(v T) { w.value.Store(&v) }

// Get returns the content, which is at most about a second old. Mistakes in a
// changed file are logged, and the previous content is kept.
func (w *Watched[T]) Get() T {
	if w.path != "" && w.changes.Due() {
		if again, err := w.reload(); err != nil && !again {
			w.log.Error().Err(err).Str("file", w.path).Msg("file not reloaded; keeping its previous content")
		}
	}
	return *w.value.Load()
}

// Err returns the error from the last time that the file was read.
func (w *Watched[T]) Err() error { return *w.err.Load() }

// Reload reads the file now if it has changed or could not be read before. After
// an error the previous content is kept.
func (w *Watched[T]) Reload() error {
	_, err := w.reload()
	return err
}

// reload is like Reload. again is set if an unchanged file was tried again: a
// change of its permissions cannot be seen.
func (w *Watched[T]) reload() (again bool, err error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	changed := w.changes.Changed()
	if w.path == "" || !changed && !w.unread {
		return false, nil
	}
	v, err := w.read()
	w.err.Store(&err)
	if err != nil {
		return !changed, err
	}
	w.value.Store(&v)
	return false, nil
}

func (w *Watched[T]) read() (v T, err error) {
	f, err := os.Open(w.path)
	switch {
	case w.path == "", errors.Is(err, fs.ErrNotExist):
		v, err = w.parse(failing{io.EOF}, w.path)
	case err != nil:
		v, err = w.parse(failing{err}, w.path)
	default:
		defer f.Close()
		v, err = w.parse(f, w.path)
	}
	failed := (*fs.PathError)(nil)
	w.unread = errors.As(err, &failed)
	return v, err
}

// failing is a file of which no octet can be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
