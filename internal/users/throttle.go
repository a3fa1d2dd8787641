package users

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// ErrThrottled means that too many logins from a network or for an account have
// failed. The password was not checked.
var ErrThrottled = errors.New("too many failed logins, try again later")

// The limits on guessing. The first failures cause no delay; each further one
// doubles the delay of the next attempt, and an attempt that would be delayed
// for longer than patience is refused without being checked. Counts are halved
// every forgive.
const (
	freeByAddr    = 6
	freeByAccount = 10
	firstDelay    = 500 * time.Millisecond
	longestDelay  = 2 * time.Minute
	patience      = 8 * time.Second
	forgive       = 10 * time.Minute
	maxFails      = 30     // maximum count, so that failures can be forgiven
	throttleSize  = 50_000 // maximum number of networks and accounts, about 10 MiB
	goodFor       = 30 * 24 * time.Hour
	maxHeld       = 4 // maximum number of concurrent failures of known pairs whose replies are delayed
)

// Throttle limits how fast passwords can be guessed: for each client network
// (an IPv4 address or an IPv6 /64) and for each account. All servers in the
// process share one Throttle, which is created by NewThrottle.
//
// An attempt counts from its start. Concurrent attempts are counted as failures
// until they have been judged, so a hundred parallel guesses are subject to the
// same limits as a hundred successive ones. A correct password only waits until
// the others have been checked.
type Throttle struct {
	mu      sync.Mutex
	fails   *lru.Cache[throttleKey, *penalty]
	good    *lru.Cache[throttleKey, time.Time] // time of the last login of each pair
	running map[throttleKey]*running
	lines   *lru.Cache[netip.Prefix, *lineCount]
}

// throttleKey is a network, an account, or a pair of both.
type throttleKey struct {
	net     netip.Prefix
	account string
}

func (k throttleKey) isPair() bool { return k.net.IsValid() && k.account != "" }

// penalty records the failures of a key.
type penalty struct {
	fails float64
	at    time.Time // when fails was last halved
	next  time.Time // when the next attempt may begin
}

// running counts the attempts for a key that have not been judged yet.
type running struct {
	n     int
	ended chan struct{} // closed when one of them ends
}

// NewThrottle returns a Throttle without recorded failures.
func NewThrottle() *Throttle {
	t := &Throttle{running: map[throttleKey]*running{}}
	t.fails, _ = lru.New[throttleKey, *penalty](throttleSize) // fails only if the size is below 1
	t.good, _ = lru.New[throttleKey, time.Time](throttleSize)
	t.lines, _ = lru.New[netip.Prefix, *lineCount](throttleSize)
	return t
}

// Attempt is one login, from Begin until Succeeded, Failed or Cancel.
type Attempt struct {
	t    *Throttle
	pair throttleKey
	keys []throttleKey // keys that limit the attempt
}

// Begin starts an attempt as soon as earlier failures allow it. It returns
// ErrThrottled if the delay would be too long, or the context's error.
func (t *Throttle) Begin(ctx context.Context, from netip.Addr, account string) (*Attempt, error) {
	start := time.Now()
	a := &Attempt{t: t, pair: throttleKey{clientNet(from), account}}
	for {
		now := time.Now()
		wait, ended, ok := a.start(now)
		if ok {
			return a, nil
		}
		left := start.Add(patience).Sub(now)
		if wait > left || left <= 0 {
			a.refused(now)
			return nil, ErrThrottled
		}
		if ended != nil {
			wait = left
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ended:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		timer.Stop()
	}
}

// Refused reports whether an attempt would be refused now because of earlier
// failures. It counts nothing.
func (t *Throttle) Refused(from netip.Addr, account string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, k := range t.keys(throttleKey{clientNet(from), account}, now) {
		if p, ok := t.fails.Get(k); ok && !k.isPair() && p.next.Sub(now) > patience {
			return true
		}
	}
	return false
}

// keys returns the keys that limit an attempt. If the pair has logged in
// before, only the pair does.
func (t *Throttle) keys(pair throttleKey, now time.Time) []throttleKey {
	if at, ok := t.good.Get(pair); ok && pair.isPair() && now.Sub(at) < goodFor {
		return []throttleKey{pair}
	}
	keys := []throttleKey{{net: pair.net}}
	if pair.account != "" {
		keys = append(keys, throttleKey{account: pair.account})
	}
	return keys
}

// start counts the attempt as running if every key allows it. Otherwise it
// returns the time to wait, or a channel that is closed when start should be
// called again.
func (a *Attempt) start(now time.Time) (wait time.Duration, ended <-chan struct{}, ok bool) {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	a.keys = t.keys(a.pair, now)
	for _, k := range a.keys {
		r, n := t.running[k], 0
		if r != nil {
			n = r.n
		}
		var fails int
		if p, found := t.fails.Get(k); found && !k.isPair() {
			if p.next.After(now) {
				return p.next.Sub(now), nil, false
			}
			p.decay(now)
			fails = int(p.fails)
		}
		if n > 0 && fails+n >= k.free() {
			return 0, r.ended, false
		}
	}
	for _, k := range a.keys {
		r := t.running[k]
		if r == nil {
			r = &running{ended: make(chan struct{})}
			t.running[k] = r
		}
		r.n++
	}
	return 0, nil, true
}

// free returns the number of attempts that may run concurrently.
func (k throttleKey) free() int {
	switch {
	case k.isPair():
		return maxHeld
	case k.account != "":
		return freeByAccount
	}
	return freeByAddr
}

// refused counts an attempt that was refused without a check.
func (a *Attempt) refused(now time.Time) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	for _, k := range a.keys {
		if p, ok := a.t.fails.Get(k); ok && !k.isPair() {
			p.decay(now)
			p.fails = min(maxFails, p.fails+1)
		}
	}
}

// Succeeded ends the attempt after a correct password. From then on, the pair
// of network and account is known, and one of the network's failures is
// forgiven. Only one is forgiven because a client with its own account could
// otherwise guess without limit by logging in to it from time to time.
func (a *Attempt) Succeeded() {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	a.end()
	if a.pair.isPair() {
		t.good.Add(a.pair, time.Now())
	}
	if p, ok := t.fails.Peek(throttleKey{net: a.pair.net}); ok {
		p.fails = max(0, p.fails-1)
		if p.fails < freeByAddr {
			p.next = time.Time{}
		}
	}
}

// Failed counts a wrong password and ends the attempt. For a known pair, it
// waits for the delay that other attempts have before their check.
func (a *Attempt) Failed(ctx context.Context) {
	t := a.t
	now := time.Now()
	t.mu.Lock()
	var hold time.Duration
	for _, k := range a.counted() {
		p, ok := t.fails.Get(k)
		if !ok {
			p = &penalty{at: now}
			t.fails.Add(k, p)
		}
		p.decay(now)
		p.fails = min(maxFails, p.fails+1)
		delay := p.delay(k)
		if next := now.Add(delay); next.After(p.next) {
			p.next = next
		}
		if k.isPair() {
			hold = min(delay, patience)
		}
	}
	if hold == 0 {
		a.end()
	}
	t.mu.Unlock()
	if hold == 0 {
		return
	}
	timer := time.NewTimer(hold)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	a.Cancel()
}

// counted returns the keys to which a failure is added. A failure of a known
// pair is also added to the network, but not to the account, so that it does
// not affect logins from elsewhere.
func (a *Attempt) counted() []throttleKey {
	if len(a.keys) == 1 && a.keys[0].isPair() {
		return []throttleKey{a.pair, {net: a.pair.net}}
	}
	return a.keys
}

// Cancel ends an attempt without a result.
func (a *Attempt) Cancel() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.end()
}

// end stops counting the attempt as running. The caller must hold the lock.
func (a *Attempt) end() {
	for _, k := range a.keys {
		r := a.t.running[k]
		close(r.ended)
		r.ended = make(chan struct{})
		if r.n--; r.n == 0 {
			delete(a.t.running, k)
		}
	}
	a.keys = nil
}

// decay halves the count once for each period of forgive that has passed.
func (p *penalty) decay(now time.Time) {
	for ; now.Sub(p.at) >= forgive && p.fails >= 0.5; p.at = p.at.Add(forgive) {
		p.fails /= 2
	}
	if now.Sub(p.at) >= forgive {
		p.fails, p.at = 0, now
	}
}

// delay returns the delay that results from the failures so far.
func (p *penalty) delay(k throttleKey) time.Duration {
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

// clientNet returns the network that identifies a client. An IPv6 host has a
// whole /64.
func clientNet(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // the zero Prefix for an invalid address
	return p
}

// Limits on the log lines about failed logins from one network.
const (
	linesPer    = time.Minute
	linesAtOnce = 10
)

// lineCount counts the lines about one network in the current period.
type lineCount struct {
	since      time.Time
	n          int
	suppressed int
}

// LogFailure reports whether a failed login from a client should be logged, and
// how many failures were suppressed since the last one logged. Otherwise, a
// brute-force client would fill the log.
func (t *Throttle) LogFailure(from netip.Addr) (suppressed int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	c, found := t.lines.Get(clientNet(from))
	if !found {
		c = &lineCount{since: now}
		t.lines.Add(clientNet(from), c)
	}
	if now.Sub(c.since) >= linesPer {
		c.since, c.n = now, 0
	}
	if c.n >= linesAtOnce {
		c.suppressed++
		return 0, false
	}
	c.n++
	suppressed, c.suppressed = c.suppressed, 0
	return suppressed, true
}
