package listen

import "sync"

// Sessions is the set of a server's running sessions, which allows them to be
// stopped. The zero value is empty.
type Sessions[S comparable] struct {
	mu      sync.Mutex
	running map[S]struct{}
	closing bool
}

// Enter adds a session. It returns false if the server is stopping and must not
// start the session.
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

// Shutdown calls stop for each session and admits no more.
func (x *Sessions[S]) Shutdown(stop func(S)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closing = true
	for s := range x.running {
		stop(s)
	}
}

// Tally counts the sessions of each account. Listeners may share one, and it
// may be kept across a reload. The zero value is ready to use.
type Tally struct {
	mu    sync.Mutex
	count map[string]int
}

// Enter counts a session of an account. It returns false if the account already
// has the maximum number of sessions.
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

// Leave undoes Enter.
func (t *Tally) Leave(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count[account]--; t.count[account] <= 0 {
		delete(t.count, account)
	}
}
