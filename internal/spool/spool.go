// Package spool keeps what comes in from a network until it is known what
// becomes of it: small things in memory, large ones in a file, and no more
// memory in all than a budget allows.
//
// Nothing here is durable. What a crash leaves in the folder is removed at the
// next start: nobody was told yet that it had been taken.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The defaults of a Dir.
const (
	DefaultBudget = 64 << 20 // octets in memory, over all spools
	inMemory      = 1 << 20  // octets in memory, of one spool
)

// ErrFull is returned when the disk is about to be full.
var ErrFull = errors.New("not enough space for the spool")

const prefix = "spool-"

// Dir is a folder of spools with their common budget.
type Dir struct {
	path   string
	budget int64
	used   atomic.Int64 // memory

	mu   sync.Mutex
	free uint64 // octets on the disk when it was last looked at
	low  bool
	at   time.Time
}

// Open makes the folder and removes what a crash has left in it. A budget of 0
// is the default.
func Open(path string, budget int64) (*Dir, error) {
	if budget <= 0 {
		budget = DefaultBudget
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	left, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	for _, f := range left {
		if strings.HasPrefix(f.Name(), prefix) {
			if err := os.Remove(filepath.Join(path, f.Name())); err != nil {
				return nil, fmt.Errorf("clean spool: %w", err)
			}
		}
	}
	return &Dir{path: path, budget: budget}, nil
}

// Used is the memory that spools hold at this moment.
func (d *Dir) Used() int64 { return d.used.Load() }

// reserve is what stays free on the disk for everything else.
const reserve = 32 << 20

// Room reports whether n more octets may be taken. The disk is asked once a
// second at most.
func (d *Dir) Room(n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.at) > time.Second {
		d.at, d.low, d.free = now, false, 1<<62
		var fs syscall.Statfs_t
		if syscall.Statfs(d.path, &fs) == nil {
			d.free = uint64(fs.Bavail) * uint64(fs.Bsize)
			keep := min(uint64(reserve), uint64(fs.Blocks)*uint64(fs.Bsize)/20)
			d.low = d.free < keep
		}
	}
	if d.low || n > 0 && uint64(n) > d.free {
		return ErrFull
	}
	return nil
}

// New starts a spool for about size octets, 0 if that is not known.
func (d *Dir) New(size int64) *Spool {
	s := &Spool{dir: d}
	if size > 0 {
		s.hint = min(size, inMemory)
	}
	return s
}

// Spool is written once, then read by as many as want to.
type Spool struct {
	dir  *Dir
	hint int64
	mem  []byte
	paid int64 // of the budget
	file *os.File
	size int64
	buf  []byte // for the file, so that small writes do not become system calls
}

const fileBuffer = 64 << 10

// Write adds to the spool.
func (s *Spool) Write(p []byte) (int, error) {
	if s.file == nil && !s.grow(len(p)) {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	if s.file == nil {
		s.mem = append(s.mem, p...)
		s.size += int64(len(p))
		return len(p), nil
	}
	if len(s.buf)+len(p) > cap(s.buf) {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	s.size += int64(len(p))
	if len(p) > cap(s.buf) {
		return s.file.Write(p)
	}
	s.buf = append(s.buf, p...)
	return len(p), nil
}

// grow makes room in memory for n more octets; false means that they have to
// go to a file.
func (s *Spool) grow(n int) bool {
	need := int64(len(s.mem) + n)
	if need <= int64(cap(s.mem)) {
		return true
	}
	if need > inMemory {
		return false
	}
	next := takeBlock(int(max(need, s.hint)))
	more := int64(cap(next)) - s.paid
	if s.dir.used.Add(more) > s.dir.budget {
		s.dir.used.Add(-more)
		giveBlock(next)
		return false
	}
	s.paid += more
	next = append(next, s.mem...)
	giveBlock(s.mem)
	s.mem = next
	return true
}

// spill moves what there is to a file.
func (s *Spool) spill() error {
	f, err := os.CreateTemp(s.dir.path, prefix)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.file = f
	s.buf = make([]byte, 0, fileBuffer)
	if _, err := f.Write(s.mem); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.giveBack()
	return nil
}

// giveBack lets others have the memory.
func (s *Spool) giveBack() {
	s.dir.used.Add(-s.paid)
	giveBlock(s.mem)
	s.mem, s.paid = nil, 0
}

func (s *Spool) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.file.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// Done ends the writing.
func (s *Spool) Done() error {
	if s.file == nil {
		return nil
	}
	err := s.flush()
	s.buf = nil
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Bytes is the content if it is in memory; ok is false for one in a file.
func (s *Spool) Bytes() (b []byte, ok bool) { return s.mem, s.file == nil }

// Path is the file's name, empty for a spool in memory. Whoever wants to keep
// the file links it elsewhere before Close.
func (s *Spool) Path() string {
	if s.file == nil {
		return ""
	}
	return s.file.Name()
}

// Size is the number of octets written.
func (s *Spool) Size() int64 { return s.size }

// ReadAt reads after Done.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	if off < 0 || off >= int64(len(s.mem)) {
		return 0, io.EOF
	}
	n := copy(p, s.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// CopyTo writes all octets from off on. The file is opened anew, so that the
// system can copy it by itself and other readers keep their places.
func (s *Spool) CopyTo(w io.Writer, off int64) (int64, error) {
	if s.file == nil {
		n, err := w.Write(s.mem[min(off, s.size):])
		return int64(n), err
	}
	f, err := os.Open(s.file.Name())
	if err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	return io.Copy(w, f)
}

// Close gives memory and file back: no reader may still hold what Bytes gave.
// It may be called more than once.
func (s *Spool) Close() error {
	s.giveBack()
	s.buf = nil
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), os.Remove(s.file.Name()))
	s.file = nil
	return err
}
