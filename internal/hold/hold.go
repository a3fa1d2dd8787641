// Package hold keeps a stream for a second reading: in memory while it is
// small, in a file without a name when it is not. Unlike a spool it serves one
// reader at a time and has no common budget: it is for what is unpacked or
// decoded while one message is judged.
package hold

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// InMemory is how many octets stay out of a file.
const InMemory = 1 << 20

// Hold is written first and read afterwards.
type Hold struct {
	dir string
	b   []byte
	f   *os.File
	n   int64
}

// New makes an empty one. Its file, if it needs one, is in dir, which is made
// if it is not there; in the system's folder for such files if dir is empty.
func New(dir string) *Hold { return &Hold{dir: dir} }

// Write adds to what is held.
func (h *Hold) Write(p []byte) (int, error) {
	if h.f == nil && len(h.b)+len(p) > InMemory {
		f, err := os.CreateTemp(h.dir, "hold-*")
		if errors.Is(err, fs.ErrNotExist) && h.dir != "" && os.MkdirAll(h.dir, 0o700) == nil {
			f, err = os.CreateTemp(h.dir, "hold-*")
		}
		if err != nil {
			return 0, fmt.Errorf("hold content: %w", err)
		}
		os.Remove(f.Name()) // it lives as long as it is open
		h.f = f
		if _, err := f.Write(h.b); err != nil {
			return 0, fmt.Errorf("hold content: %w", err)
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
		err = fmt.Errorf("hold content: %w", err)
	}
	return n, err
}

// Size is the number of octets held.
func (h *Hold) Size() int64 { return h.n }

// ReadAt is io.ReaderAt.
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

// Close lets go of it.
func (h *Hold) Close() {
	if h.f != nil {
		h.f.Close()
	}
	h.b, h.f = nil, nil
}
