package listen

import "sync"

// Sessions are the sessions of a door that run at this moment, so that they
// can be told when the server stops. The zero value has none.
type Sessions[S comparable] struct {
	mu      sync.Mutex
	running map[S]struct{}
	closing bool
}

// Enter adds a session; false means that the server is stopping and it must
// not begin.
func (x *Sessions[S]) Enter(s S) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closing {
		return false
	}
	if x.running == nil {
		x.running = map[S]struct{}{}
	}
	x.running[s] = struct{}{}
	return true
}

// Leave removes a session that has ended.
func (x *Sessions[S]) Leave(s S) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.running, s)
}

// Shutdown calls stop for each session and lets no more in.
func (x *Sessions[S]) Shutdown(stop func(S)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closing = true
	for s := range x.running {
		stop(s)
	}
}

// Tally counts the sessions of each account. Listeners that share one count
// together, and a reload that hands it on goes on counting. The zero value has
// counted none.
type Tally struct {
	mu    sync.Mutex
	count map[string]int
}

// Enter counts a session of an account; false means that it has most already.
func (t *Tally) Enter(account string, most int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count[account] >= most {
		return false
	}
	if t.count == nil {
		t.count = map[string]int{}
	}
	t.count[account]++
	return true
}

// Leave is the other end of Enter.
func (t *Tally) Leave(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count[account]--; t.count[account] <= 0 {
		delete(t.count, account)
	}
}
