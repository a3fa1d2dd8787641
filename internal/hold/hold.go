// Package hold buffers a stream so that it can be read again: in memory while it
// is small, else in an unnamed file. Unlike a spool it has one reader and no
// shared memory budget: it is for data that is unpacked or decoded while one
// message is filtered.
package hold

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// InMemory is the size above which a Hold uses a file.
const InMemory = 1 << 20

// Hold is a buffered stream: written first, read afterwards.
type Hold struct {
	dir string
	b   []byte
	f   *os.File
	n   int64
}

// New returns an empty Hold. If it needs a file, it creates one in dir, and dir
// itself if necessary; an empty dir means the system's temporary folder.
func New(dir string) *Hold { return &Hold{dir: dir} }

// Write appends p.
func (h *Hold) Write(p []byte) (int, error) {
	if h.f == nil && len(h.b)+len(p) > InMemory {
		f, err := os.CreateTemp(h.dir, "hold-*")
		if errors.Is(err, fs.ErrNotExist) && h.dir != "" && os.MkdirAll(h.dir, 0o700) == nil {
			f, err = os.CreateTemp(h.dir, "hold-*")
		}
		if err != nil {
			return 0, fmt.Errorf("buffer content: %w", err)
		}
		os.Remove(f.Name()) // the file exists as long as it is open
		h.f = f
		if _, err := f.Write(h.b); err != nil {
			return 0, fmt.Errorf("buffer content: %w", err)
		}
		h.b = nil
	}
	if h.f == nil {
		h.b = append(h.b, p...)
		h.n += int64(len(p))
		return len(p), nil
	}
	n, err := h.f.Write(p)
	h.n += int64(n)
	if err != nil {
		err = fmt.Errorf("buffer content: %w", err)
	}
	return n, err
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
}
