// Package memory divides a fixed amount of memory among the readers of message
// content: archives, OLE and TNEF files, S/MIME objects and MIME structures.
// The sender controls the amount of memory that such content needs, and many
// messages are read at the same time.
//
// Each reader has a [Share] of a [Budget]. It reserves memory from the share
// before allocating it, and closes the share at the end. The budget only counts
// the reservations; it does not allocate.
package memory

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// The default limits, in octets.
const (
	// Total is the size of Content.
	Total = 160 << 20
	// PerReader is the most that one reader should reserve, so that a single
	// message cannot occupy the whole budget.
	PerReader = 80 << 20
)

// Content is the budget for all content that is read from messages.
var Content = New(Total)

// maxWait is the maximum time a reader waits for others to finish.
const maxWait = 10 * time.Second

// ErrFull is returned if the memory is not available.
var ErrFull = errors.New("needs too much memory")

// ErrSpent is returned if a reader has allocated too much, even if not at once.
var ErrSpent = errors.New("needs too much memory, one part after another")

// work is how many times its maximum a share may allocate in total.
const work = 8

// Budget is an amount of memory.
type Budget struct {
	limit int64

	mu      sync.Mutex
	used    int64
	changed chan struct{} // closed when memory is returned; nil if nothing is waiting
}

// New returns a budget of limit octets.
func New(limit int64) *Budget { return &Budget{limit: limit} }

// Used returns the number of octets in use.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Share returns an empty share of at most max octets; 0 means PerReader.
func (b *Budget) Share(max int64) *Share {
	if max <= 0 {
		max = PerReader
	}
	return &Share{budget: b, max: min(max, b.limit)}
}

// take reserves n octets, or returns a channel that is closed when memory is
// returned.
func (b *Budget) take(n int64) (wait <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n <= b.limit-b.used {
		b.used += n
		return nil
	}
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

func (b *Budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Share is the part of a budget that one reader has reserved. It is used by one
// goroutine at a time. A nil Share permits everything.
type Share struct {
	budget *Budget
	max    int64
	held   int64
	spent  int64 // allocated in total
	recent int64 // the part of spent since garbage was collected for it
}

// Take reserves n octets, or returns ErrFull. An empty share waits for other
// readers to finish. A share that is not empty never waits, because two shares
// could wait for each other.
func (s *Share) Take(ctx context.Context, n int64) error {
	if s.TryTake(n) {
		return nil
	}
	if s.held > 0 || n < 0 || n > s.max {
		return ErrFull
	}
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	for {
		wait := s.budget.take(n)
		if wait == nil {
			s.held += n
			return nil
		}
		select {
		case <-wait:
		case <-timeout.C:
			return ErrFull
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// TryTake reserves n octets if they are available now.
func (s *Share) TryTake(n int64) bool {
	if s == nil {
		return true
	}
	if n < 0 || n > s.max-s.held || s.budget.take(n) != nil {
		return false
	}
	s.held += n
	return true
}

// Spend counts n octets that are allocated next, also if memory that was taken
// before is used for them, or returns ErrSpent: to allocate and clear memory is
// work. After an error nothing more is permitted. What was allocated before may be garbage that occupies memory which the
// budget believes to be free, so it is collected from time to time.
func (s *Share) Spend(n int64) error {
	if s == nil {
		return nil
	}
	if n < 0 || n > work*s.max-s.spent {
		s.spent = work * s.max
		return ErrSpent
	}
	s.spent += n
	if s.recent += n; s.recent > s.max && s.recent > n {
		runtime.GC()
		s.recent = n
	}
	return nil
}

// Held returns how much is taken, a mark for Return.
func (s *Share) Held() int64 {
	if s == nil {
		return 0
	}
	return s.held
}

// Left returns the number of octets that the share may still reserve, ignoring
// other readers.
func (s *Share) Left() int64 {
	if s == nil {
		return PerReader
	}
	return s.max - s.held
}

// Return releases all but the first held octets.
func (s *Share) Return(held int64) {
	if s == nil || s.held <= held {
		return
	}
	s.budget.give(s.held - held)
	s.held = held
}

// Close releases all octets.
func (s *Share) Close() { s.Return(0) }
