//go:build unix

// Package handles keeps files and directories open between uses, within a
// budget of descriptors. A handle that has not been used for a while, or whose
// descriptor is needed elsewhere, is closed and reopened by its next user.
// Finding and identifying files is left to the owner of the handle.
package handles

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// rest is the age at which an unused handle is closed.
const rest = 3 * time.Second

// Pool limits the number of descriptors of its handles. Handles in use are never
// closed, so the limits can be exceeded by the number of concurrent users.
type Pool struct {
	total, each int

	mu    sync.Mutex
	open  []*Handle // handles with a descriptor
	hand  int       // index at which the search for a handle to evict continues
	armed bool      // whether sweep is scheduled
}

// NewPool returns a pool that keeps up to total descriptors open, up to each of
// them for one owner.
func NewPool(total, each int) *Pool { return &Pool{total: total, each: each} }

// Share returns a pool with a share of the descriptors that the process may
// have: an eighth, of which one owner gets a quarter. Most of the rest is for
// connections.
func Share() *Pool {
	files := 1024
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err == nil {
		files = int(min(uint64(lim.Cur), 1<<16))
	}
	total := max(files/8, 8)
	return NewPool(total, max(total/4, 4))
}

// Owner counts the descriptors of one account.
type Owner struct{ open int } // guarded by Pool.mu

// Handle is a file that is kept open while it is in use, and for some time
// afterwards.
type Handle struct {
	pool  *Pool
	owner *Owner
	again func() (*os.File, error)

	// users is the number of users, or closed. It changes to and from closed
	// only while pool.mu is held.
	users atomic.Int32
	used  atomic.Bool // used since the last sweep
	ended atomic.Bool
	file  *os.File // valid unless users is closed

	mu sync.Mutex // held while the file is being opened
	at int        // index in pool.open; guarded by pool.mu
}

const closed = -1

// New returns a handle without a descriptor. again opens the file and may use
// other handles in the pool.
func (p *Pool) New(owner *Owner, again func() (*os.File, error)) *Handle {
	h := &Handle{pool: p, owner: owner, again: again}
	h.users.Store(closed)
	return h
}

// Acquire returns the file, which stays open until Release.
func (h *Handle) Acquire() (*os.File, error) {
	if h.enter() {
		return h.file, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.enter() {
		return h.file, nil
	}
	if h.ended.Load() {
		return nil, os.ErrClosed
	}
	file, err := h.again()
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		h.pool.Relieve()
		file, err = h.again()
	}
	if err != nil {
		return nil, err
	}
	h.pool.add(h, file)
	return file, nil
}

// enter increments the number of users if the file is open.
func (h *Handle) enter() bool {
	for {
		n := h.users.Load()
		if n == closed {
			return false
		}
		if h.users.CompareAndSwap(n, n+1) {
			if !h.used.Load() {
				h.used.Store(true)
			}
			return true
		}
	}
}

// Release ends the use that Acquire began.
func (h *Handle) Release() {
	if h.users.Add(-1) == 0 && h.ended.Load() {
		h.shut()
	}
}

// Close closes the file as soon as it is no longer in use. It cannot be
// acquired afterwards.
func (h *Handle) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended.Store(true)
	h.shut()
}

// Rest closes the file immediately, unless it is in use.
func (h *Handle) Rest() { h.shut() }

func (h *Handle) shut() {
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	h.pool.drop(h)
}

// add registers a file that was opened for its first user, and closes other
// files if there are too many.
func (p *Pool) add(h *Handle, file *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for h.owner.open >= p.each && p.evict(h.owner) {
	}
	for len(p.open) >= p.total && p.evict(nil) {
	}
	h.at = len(p.open)
	p.open = append(p.open, h)
	h.owner.open++
	h.file = file
	h.used.Store(true)
	h.users.Store(1)
	if !p.armed {
		p.armed = true
		time.AfterFunc(rest, p.sweep)
	}
}

// evict closes one handle that is not in use. If owner is not nil, it considers
// only that owner's handles. Recently used handles get a second chance.
func (p *Pool) evict(owner *Owner) bool {
	for range 2 * len(p.open) {
		if p.hand >= len(p.open) {
			p.hand = 0
		}
		h := p.open[p.hand]
		if owner != nil && h.owner != owner || h.used.Swap(false) || !p.drop(h) {
			p.hand++
			continue
		}
		return true
	}
	return false
}

// drop closes a handle unless it is in use or already closed.
func (p *Pool) drop(h *Handle) bool {
	if !h.users.CompareAndSwap(0, closed) {
		return false
	}
	last := len(p.open) - 1
	p.open[h.at] = p.open[last]
	p.open[h.at].at = h.at
	p.open[last] = nil
	p.open = p.open[:last]
	h.owner.open--
	h.file.Close()
	h.file = nil
	return true
}

// sweep closes the handles that have not been used since the previous sweep.
func (p *Pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; i < len(p.open); {
		if h := p.open[i]; h.used.Swap(false) || !p.drop(h) {
			i++
		}
	}
	if p.armed = len(p.open) > 0; p.armed {
		time.AfterFunc(rest, p.sweep)
	}
}

// Relieve closes all handles that are not in use. It is called when the process
// has run out of descriptors.
func (p *Pool) Relieve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; i < len(p.open); {
		if !p.drop(p.open[i]) {
			i++
		}
	}
}

// Open returns the number of descriptors in use.
func (p *Pool) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}
