package users

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// ErrThrottled says that too many wrong passwords came from there, or for that
// name: come back later.
var ErrThrottled = errors.New("too many failed logins, try again later")

// How guessing is slowed down. Everybody has some tries for free; each further
// one waits twice as long, and once that is more than patience it is refused
// unheard. What is counted halves every forgive.
const (
	freeByAddr    = 6
	freeByAccount = 10
	firstDelay    = 500 * time.Millisecond
	longestDelay  = 2 * time.Minute
	patience      = 8 * time.Second
	forgive       = 10 * time.Minute
	throttleSize  = 50_000 // names and nets remembered, about 10 MiB at most
)

// Throttle slows guessing of passwords down, per client net (an IPv4 address or
// an IPv6 /64) and per account. One is shared by all doors. The zero Throttle is
// not usable; see NewThrottle.
type Throttle struct {
	mu    sync.Mutex
	fails *lru.Cache[throttleKey, *penalty]
	// Where an account was logged in from lately: a guesser elsewhere cannot
	// lock its owner out.
	good *lru.Cache[throttleKey, time.Time]
}

type throttleKey struct {
	net     netip.Prefix
	account string
}

type penalty struct {
	fails float64
	at    time.Time // when fails was right
	next  time.Time // before this, the next try has to wait
}

// NewThrottle returns a Throttle that knows no failures.
func NewThrottle() *Throttle {
	t := &Throttle{}
	t.fails, _ = lru.New[throttleKey, *penalty](throttleSize) // only a size below 1 fails
	t.good, _ = lru.New[throttleKey, time.Time](throttleSize)
	return t
}

// Wait delays a try as long as earlier failures ask for. Tries made at once
// queue up behind each other. It returns ErrThrottled when the wait would be too
// long, or the context's error.
func (t *Throttle) Wait(ctx context.Context, from netip.Addr, account string) error {
	now := time.Now()
	until := now
	net := clientNet(from)
	t.mu.Lock()
	keys := []throttleKey{{net: net}}
	if at, ok := t.good.Get(throttleKey{net, account}); account != "" && (!ok || now.Sub(at) > 30*24*time.Hour) {
		keys = append(keys, throttleKey{account: account})
	}
	for _, k := range keys {
		if p, ok := t.fails.Get(k); ok && p.next.After(until) {
			until = p.next
		}
	}
	if until.Sub(now) > patience {
		t.mu.Unlock()
		return ErrThrottled
	}
	for _, k := range keys {
		if p, ok := t.fails.Get(k); ok {
			p.next = until.Add(p.delay(k, now))
		}
	}
	t.mu.Unlock()
	if until == now {
		return nil
	}
	timer := time.NewTimer(until.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Failed counts a wrong password.
func (t *Throttle) Failed(from netip.Addr, account string) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range []throttleKey{{net: clientNet(from)}, {account: account}} {
		if k == (throttleKey{}) {
			continue
		}
		p, ok := t.fails.Get(k)
		if !ok {
			p = &penalty{at: now}
			t.fails.Add(k, p)
		}
		p.decay(now)
		p.fails++
		if next := now.Add(p.delay(k, now)); next.After(p.next) {
			p.next = next
		}
	}
}

// Succeeded forgives the client's net what it did on the way to the right
// password of this account, and remembers it as the account's own.
func (t *Throttle) Succeeded(from netip.Addr, account string) {
	net := clientNet(from)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.good.Add(throttleKey{net, account}, time.Now())
	// Only some: who has one account of his own could guess for ever between
	// two logins to it.
	if p, ok := t.fails.Peek(throttleKey{net: net}); ok {
		p.fails = max(0, p.fails-1)
		if p.fails < freeByAddr {
			p.next = time.Time{}
		}
	}
}

// decay halves the count every forgive.
func (p *penalty) decay(now time.Time) {
	for ; now.Sub(p.at) >= forgive && p.fails >= 0.5; p.at = p.at.Add(forgive) {
		p.fails /= 2
	}
	if now.Sub(p.at) >= forgive {
		p.fails, p.at = 0, now
	}
}

// delay is the wait that so many failures earn.
func (p *penalty) delay(k throttleKey, now time.Time) time.Duration {
	p.decay(now)
	free := freeByAddr
	if k.account != "" {
		free = freeByAccount
	}
	over := int(p.fails) - free
	if over < 0 {
		return 0
	}
	return min(longestDelay, firstDelay<<min(over, 10))
}

// clientNet is what one client is known by: an IPv6 host has a whole /64.
func clientNet(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // an invalid address has the invalid net
	return p
}
