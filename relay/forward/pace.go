package forward

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// pace lets a number of messages pass in any interval of a length. A nil *pace
// has no limit.
type pace struct {
	limit conf.Rate

	mu   sync.Mutex
	last []time.Time // when the last messages pass, as a ring
	next int         // the oldest of them
}

func newPace(limit conf.Rate) *pace {
	if limit.Count == 0 {
		return nil
	}
	return &pace{limit: limit, last: make([]time.Time, limit.Count)}
}

// wait returns when the next message may pass, or the reply if ctx ends before.
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

// take takes a place if one is free, otherwise it returns how long until then.
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
