package filters

import (
	"context"
	"sync"
	"time"
)

// limited is a context.WithTimeout that costs nothing until Done or Err is
// called. Most filters return immediately; for them, no timer is set and no
// child is registered with the parent.
type limited struct {
	context.Context // the parent
	end             time.Time

	mu   sync.Mutex
	real context.Context // set by the first call to wait
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

// wait returns the real context, which is created on first use.
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

// Deadline returns the end of the time limit.
func (l *limited) Deadline() (time.Time, bool) { return l.end, true }

// Done returns a channel that is closed at the deadline or when the filter has
// returned.
func (l *limited) Done() <-chan struct{} { return l.wait().Done() }

// Err returns the reason that Done is closed.
func (l *limited) Err() error { return l.wait().Err() }
