// Package hold buffers a stream so that it can be read again: in memory while
// it is small, otherwise in an unnamed file. Unlike a spool, it has one reader;
// it is used for data that is unpacked or decoded while a message is filtered.
// Its memory is part of the budget of package memory; a stream that does not
// fit is written to a file.
package hold

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"hoplite/internal/memory"
)

// InMemory is the size above which a Hold uses a file.
const InMemory = 1 << 20

// step is the minimum amount by which the memory of a Hold grows.
const step = 16 << 10

// Hold is a buffered stream. All writes precede all reads.
type Hold struct {
	dir   string
	share *memory.Share
	b     []byte
	f     *os.File
	n     int64
}

// New returns an empty Hold, which must be closed after use. If it needs a
// file, it creates one in dir, and dir itself if necessary; an empty dir means
// the system's temporary folder.
func New(dir string) *Hold {
	return &Hold{dir: dir, share: memory.Content.Share(2 * InMemory)}
}

// Write appends p.
func (h *Hold) Write(p []byte) (int, error) {
	if h.f == nil && h.grow(len(p)) {
		h.b = append(h.b, p...)
		h.n += int64(len(p))
		return len(p), nil
	}
	if h.f == nil {
		if err := h.toFile(); err != nil {
			return 0, err
		}
	}
	n, err := h.f.Write(p)
	h.n += int64(n)
	if err != nil {
		err = fmt.Errorf("buffer content: %w", err)
	}
	return n, err
}

// grow allocates memory for n more octets and reports whether the budget
// permits it.
func (h *Hold) grow(n int) bool {
	need := len(h.b) + n
	if need <= cap(h.b) {
		return true
	}
	size := min(max(need, 2*cap(h.b), step), InMemory)
	if need > InMemory || !h.share.TryTake(int64(size)) {
		return false
	}
	h.b = append(make([]byte, 0, size), h.b...)
	h.share.Return(int64(size)) // the old buffer is no longer used
	return true
}

// toFile moves the content to a file.
func (h *Hold) toFile() error {
	f, err := os.CreateTemp(h.dir, "hold-*")
	if errors.Is(err, fs.ErrNotExist) && h.dir != "" && os.MkdirAll(h.dir, 0o700) == nil {
		f, err = os.CreateTemp(h.dir, "hold-*")
	}
	if err != nil {
		return fmt.Errorf("buffer content: %w", err)
	}
	os.Remove(f.Name()) // the content remains available while the file is open
	h.f = f
	if _, err := f.Write(h.b); err != nil {
		return fmt.Errorf("buffer content: %w", err)
	}
	h.b = nil
	h.share.Close()
	return nil
}

// Size returns the number of octets written.
func (h *Hold) Size() int64 { return h.n }

// ReadAt implements io.ReaderAt.
func (h *Hold) ReadAt(p []byte, off int64) (int, error) {
	if h.f != nil {
		return h.f.ReadAt(p, off)
	}
	if off < 0 || off >= int64(len(h.b)) {
		return 0, io.EOF
	}
	n := copy(p, h.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close releases the memory and the file.
func (h *Hold) Close() {
	if h.f != nil {
		h.f.Close()
	}
	h.b, h.f = nil, nil
	h.share.Close()
}
