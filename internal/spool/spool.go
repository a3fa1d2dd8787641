// Package spool holds messages while they are received and passed on: small
// ones in memory, large ones in a file, within a shared memory budget.
//
// A spool need not be durable, because a message is acknowledged only after a
// hop has stored it. Files left by a crash are removed at the next start. Start
// with Dir.New and Spool.Write.
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

// The default limits of a Dir.
const (
	DefaultBudget = 64 << 20 // octets in memory, across all spools
	inMemory      = 8 << 20  // octets of one spool in memory
	inOnePiece    = 1 << 20  // octets of a spool in one piece
)

// ErrFull is returned if the disk has too little free space.
var ErrFull = errors.New("not enough space for the spool")

const prefix = "spool-"

// Dir is a folder of spools that share a memory budget.
type Dir struct {
	path   string
	budget int64
	used   atomic.Int64 // memory

	mu   sync.Mutex
	free uint64 // octets on the disk at the last check
	low  bool
	at   time.Time
}

// Open creates the folder if necessary, and removes files left in it by a
// crash. A budget of 0 means DefaultBudget.
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

// Used returns the amount of memory that spools hold, in octets.
func (d *Dir) Used() int64 { return d.used.Load() }

// reserve is the disk space that spools leave free.
const reserve = 32 << 20

// Room returns ErrFull unless there is space for n more octets. It checks the disk
// at most once a second.
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

// New returns an empty spool for about size octets; 0 means unknown.
func (d *Dir) New(size int64) *Spool {
	s := &Spool{dir: d}
	if size > 0 {
		s.hint = min(size, inOnePiece)
	}
	if s.limit = inMemory; size > inMemory {
		s.limit = inOnePiece // it will end up in a file
	}
	return s
}

// Spool is a buffer that is written once and then read, possibly by several
// concurrent readers.
type Spool struct {
	dir   *Dir
	hint  int64
	limit int64    // maximum octets in memory
	mem   []byte   // the first octets
	more  [][]byte // the following octets, in pieces of pieceSize
	paid  int64    // share of the budget
	file  *os.File
	size  int64
	buf   []byte // collects small writes to the file
}

const fileBuffer = 64 << 10

// Write appends to the spool.
func (s *Spool) Write(p []byte) (int, error) {
	if s.file == nil && !s.keep(p) {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	s.size += int64(len(p))
	if s.file == nil {
		return len(p), nil
	}
	if len(s.buf)+len(p) > cap(s.buf) {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > cap(s.buf) {
		return s.file.Write(p)
	}
	s.buf = append(s.buf, p...)
	return len(p), nil
}

// keep appends p to the memory. It returns false without appending if the
// contents must be moved to a file.
func (s *Spool) keep(p []byte) bool {
	if len(s.more) == 0 && s.grow(len(p)) {
		s.mem = append(s.mem, p...)
		return true
	}
	room := 0
	if n := len(s.more); n > 0 {
		room = cap(s.more[n-1]) - len(s.more[n-1])
	}
	for ; room < len(p); room += pieceSize {
		if s.paid+pieceSize > s.limit || !s.pay(pieceSize) {
			return false
		}
		s.more = append(s.more, takeBlock(pieceSize))
	}
	for i := range s.more {
		piece := &s.more[i]
		n := min(len(p), cap(*piece)-len(*piece))
		*piece, p = append(*piece, p[:n]...), p[n:]
	}
	return true
}

// grow makes room for n more octets in the first piece, if possible.
func (s *Spool) grow(n int) bool {
	need := int64(len(s.mem) + n)
	if need <= int64(cap(s.mem)) {
		return true
	}
	if need > inOnePiece {
		return false
	}
	next := takeBlock(int(max(need, s.hint)))
	if !s.pay(int64(cap(next)) - s.paid) {
		giveBlock(next)
		return false
	}
	next = append(next, s.mem...)
	giveBlock(s.mem)
	s.mem = next
	return true
}

// pay reserves n octets of the budget, if enough are left.
func (s *Spool) pay(n int64) bool {
	if s.dir.used.Add(n) > s.dir.budget {
		s.dir.used.Add(-n)
		return false
	}
	s.paid += n
	return true
}

// spill moves the contents to a file.
func (s *Spool) spill() error {
	f, err := os.CreateTemp(s.dir.path, prefix)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.buf = make([]byte, 0, fileBuffer)
	if _, err := s.copyMemory(f, 0); err != nil {
		f.Close()
		os.Remove(f.Name())
		return fmt.Errorf("spool: %w", err)
	}
	s.giveBack()
	s.file = f
	return nil
}

// copyMemory writes the octets in memory, starting at off.
func (s *Spool) copyMemory(w io.Writer, off int64) (written int64, err error) {
	for i := -1; i < len(s.more); i++ {
		piece := s.mem
		if i >= 0 {
			piece = s.more[i]
		}
		skip := min(off, int64(len(piece)))
		off -= skip
		n, err := w.Write(piece[skip:])
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// giveBack releases the memory and returns its share of the budget.
func (s *Spool) giveBack() {
	s.dir.used.Add(-s.paid)
	giveBlock(s.mem)
	for _, piece := range s.more {
		giveBlock(piece)
	}
	s.mem, s.more, s.paid = nil, nil, 0
}

func (s *Spool) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.file.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// Done ends writing. The spool can then be read.
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

// Bytes returns the contents if they are in memory and in one piece.
func (s *Spool) Bytes() (b []byte, ok bool) { return s.mem, s.file == nil && len(s.more) == 0 }

// Size returns the number of octets written.
func (s *Spool) Size() int64 { return s.size }

// ReadAt implements io.ReaderAt. It may be called after Done.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	if off < 0 || off >= s.size {
		return 0, io.EOF
	}
	n := 0
	if off < int64(len(s.mem)) {
		n = copy(p, s.mem[off:])
	}
	for n < len(p) && off+int64(n) < s.size {
		at := off + int64(n) - int64(len(s.mem))
		n += copy(p[n:], s.more[at/pieceSize][at%pieceSize:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// CopyTo writes all octets starting at off to w. It opens the file again, so
// that the kernel can copy the data without affecting other readers.
func (s *Spool) CopyTo(w io.Writer, off int64) (int64, error) {
	if s.file == nil {
		return s.copyMemory(w, off)
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

// Close releases the memory and the file. The slice returned by Bytes must not
// be used afterwards. Close may be called more than once.
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
