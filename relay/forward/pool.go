package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"hoplite/mail"
)

// pieces are buffers for messages that are not in memory.
var pieces = sync.Pool{New: func() any {
	b := make([]byte, 64<<10)
	return &b
}}

// A server that fails is left alone for a while, longer each time.
const (
	restMin = time.Second
	restMax = time.Minute
)

// pool is the connections to one server.
type pool struct {
	server *server
	max    int // messages on one connection
	keep   time.Duration
	places chan struct{} // one for each open connection

	mu     sync.Mutex
	idle   []*conn   // the last one used is taken first
	rest   time.Time // not before
	pause  time.Duration
	why    error // the last failure
	caps   caps  // as last seen
	seen   bool
	closed bool
}

func newPool(s *server, connections, messages int, keep time.Duration) *pool {
	return &pool{server: s, max: messages, keep: keep, places: make(chan struct{}, connections)}
}

// errResting is a server that failed a moment ago and is not asked again yet.
var errResting = errors.New("it failed a moment ago")

// take gives an idle connection, or makes one. reused tells which.
func (p *pool) take(ctx context.Context, d *dialer, from mail.Client, fresh bool) (c *conn, reused bool, err error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, false, &step{"wait for a free connection", ctx.Err()}
	}
	if !fresh {
		if c := p.pop(); c != nil {
			if err := d.reuse(ctx, c, from); err == nil {
				return c, true, nil
			}
			c.quit()
		}
	}
	c, err = d.open(ctx, p.server, from)
	if errors.Is(err, errTLSFailed) && d.policy == "may" {
		clear := *d
		clear.policy = "off"
		c, err = clear.open(ctx, p.server, from)
	}
	if err != nil {
		<-p.places
		return nil, false, err
	}
	p.worked(c)
	return c, false, nil
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

// give takes a connection back.
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

// resting tells why the server is not to be asked now.
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
	p.why = err
}

func (p *pool) worked(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause, p.rest, p.why = 0, time.Time{}, nil
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

// order is the pools in the order in which they are tried: by weight at
// random, those that rest behind the others, reserves last.
func order(pools []*pool) []*pool {
	if len(pools) < 2 {
		return pools
	}
	type ranked struct {
		p    *pool
		rank float64
	}
	list := make([]ranked, 0, len(pools))
	for _, p := range pools {
		r := ranked{p, 2}
		if w := p.server.weight; w > 0 {
			// The smallest of exponential variates falls on each with a chance
			// that is its weight's share.
			r.rank = 1 - 1/(1+rand.ExpFloat64()/float64(w))
		}
		if p.resting() != nil {
			r.rank += 4
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	out := make([]*pool, len(list))
	for i, r := range list {
		out[i] = r.p
	}
	return out
}
