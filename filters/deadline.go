package filters

import (
	"context"
	"sync"
	"time"
)

// limited is context.WithTimeout for those who mostly don't look: most filters
// answer without waiting for anything, and then neither a timer is set nor
// anybody told of the child.
type limited struct {
	context.Context // the parent
	end             time.Time

	mu   sync.Mutex
	real context.Context // once somebody waits
	stop context.CancelFunc
	done bool
}

func within(ctx context.Context, timeout time.Duration) *limited {
	end := time.Now().Add(timeout)
	if at, ok := ctx.Deadline(); ok && at.Before(end) {
		end = at
	}
	return &limited{Context: ctx, end: end}
}

// wait makes the real context.
func (l *limited) wait() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.real == nil {
		l.real, l.stop = context.WithDeadline(l.Context, l.end)
		if l.done {
			l.stop()
		}
	}
	return l.real
}

// cancel ends the context.
func (l *limited) cancel() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done = true; l.stop != nil {
		l.stop()
	}
}

// Deadline is the end of the time.
func (l *limited) Deadline() (time.Time, bool) { return l.end, true }

// Done is closed at the deadline, or when the filter has answered.
func (l *limited) Done() <-chan struct{} { return l.wait().Done() }

// Err says why Done is closed.
func (l *limited) Err() error { return l.wait().Err() }
