package forward

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// pace limits the number of messages sent within any interval of a given
// length. A nil *pace has no limit.
type pace struct {
	limit conf.Rate

	mu   sync.Mutex
	last []time.Time // ring of the times at which the last messages are sent
	next int         // index of the oldest time
}

func newPace(limit conf.Rate) *pace {
	if limit.Count == 0 {
		return nil
	}
	return &pace{limit: limit, last: make([]time.Time, limit.Count)}
}

// wait waits until the next message may be sent. If ctx is done first, it
// returns the reply.
func (p *pace) wait(ctx context.Context, upstream string) *mail.Reply {
	if p == nil {
		return nil
	}
	for {
		pause := p.take(time.Now())
		if pause <= 0 {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return &mail.Reply{Code: 451, Enhanced: "4.3.2", Text: fmt.Sprintf("upstream %s has reached its rate of %s", upstream, p.limit)}
		}
	}
}

// take reserves a slot if one is free. Otherwise it returns the time until the
// next slot.
func (p *pace) take(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if oldest := p.last[p.next]; !oldest.IsZero() && now.Sub(oldest) < p.limit.Per {
		return p.limit.Per - now.Sub(oldest)
	}
	p.last[p.next] = now
	p.next = (p.next + 1) % len(p.last)
	return 0
}
