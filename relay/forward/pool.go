package forward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"hoplite/mail"
)

// A server that fails is not tried for a while. The pause grows with each
// failure.
const (
	restMin = time.Second
	restMax = time.Minute
)

// pool holds connections to one server that meet the same requirement.
type pool struct {
	server *server
	need   requirement
	max    int // maximum messages per connection
	keep   time.Duration
	places chan struct{} // one for each open connection

	mu     sync.Mutex
	broken offerError // extensions that the server offers but refuses
	idle   []*conn    // the most recently used one is reused first
	rest   time.Time  // when the server may be tried again
	pause  time.Duration
	why    error     // the last failure
	down   time.Time // time of the first of the consecutive failures
	caps   caps      // as last seen
	seen   bool
	closed bool
}

func newPool(s *server, need requirement, connections, messages int, keep time.Duration) *pool {
	return &pool{server: s, need: need, max: messages, keep: keep, places: make(chan struct{}, connections)}
}

// errResting means that the server failed recently and is not tried again yet.
var errResting = errors.New("the server failed a moment ago")

// take returns an idle connection or opens a new one; reused distinguishes the
// two.
func (p *pool) take(ctx context.Context, d *dialer, from mail.Client, fresh bool) (c *conn, reused bool, err error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, false, &stageError{stage: "wait for a free connection", host: p.server.name(), err: ctx.Err()}
	}
	if !fresh {
		if c := p.pop(); c != nil {
			if err := d.reuse(ctx, c, from); err == nil {
				p.restrict(c)
				return c, true, nil
			}
			c.quit()
		}
	}
	if c, err = d.open(ctx, p.server, p.need, from); err != nil {
		<-p.places
		return nil, false, err
	}
	p.worked(c)
	p.restrict(c)
	return c, false, nil
}

// restrict disables extensions that the server offers on a connection but is
// known to refuse.
func (p *pool) restrict(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.caps.chunking = c.caps.chunking && !p.broken.chunking
	c.caps.eightBit = c.caps.eightBit && !p.broken.eightBit
}

// remember records an extension that the server offered but refused.
func (p *pool) remember(e *offerError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken.chunking = p.broken.chunking || e.chunking
	p.broken.eightBit = p.broken.eightBit || e.eightBit
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle); n > 0; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if c.expire.Stop() {
			return c
		}
	}
	return nil
}

// give returns a connection to the pool.
func (p *pool) give(c *conn) {
	defer func() { <-p.places }()
	if c.broken || c.used >= p.max || c.spent() || c.r.Buffered() > 0 {
		c.quit()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.quit()
		return
	}
	if c.expire == nil {
		c.expire = time.AfterFunc(p.keep, func() { p.expire(c) })
	} else {
		c.expire.Reset(p.keep)
	}
	p.idle = append(p.idle, c)
}

func (p *pool) expire(old *conn) {
	p.mu.Lock()
	if n := slices.Index(p.idle, old); n >= 0 {
		p.idle = slices.Delete(p.idle, n, n+1)
	}
	p.mu.Unlock()
	old.quit()
}

// resting returns the reason for not trying the server now, or nil if it may be
// tried.
func (p *pool) resting() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.rest) {
		return fmt.Errorf("%w: %w", errResting, p.why)
	}
	return nil
}

func (p *pool) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause = min(max(2*p.pause, restMin), restMax)
	p.rest = time.Now().Add(p.pause/2 + rand.N(p.pause))
	p.noteDown(err)
}

// unreached records a failure after which the server may still be tried
// immediately.
func (p *pool) unreached(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noteDown(err)
}

// noteDown records the last failure and the time of the first. The lock must be
// held.
func (p *pool) noteDown(err error) {
	p.why = err
	if p.down.IsZero() {
		p.down = time.Now()
	}
}

func (p *pool) worked(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause, p.rest, p.why, p.down = 0, time.Time{}, nil, time.Time{}
	p.caps, p.seen = c.caps, true
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		if c.expire.Stop() {
			c.quit()
		}
	}
}
