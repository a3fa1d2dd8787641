package imap

import (
	"context"
	"sync"
	"time"
)

// bucket is a budget of octets that a client may make the server read from
// files without sending them. It refills over time.
type bucket struct {
	size, perSecond int64

	mu   sync.Mutex
	left int64
	at   time.Time // time at which left was computed; zero means full
}

// has reports whether any budget is left.
func (b *bucket) has(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	return b.left > 0
}

// spend deducts n octets. They have already been read, so the budget may become
// negative.
func (b *bucket) spend(n int64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	b.left -= n
}

func (b *bucket) refill(now time.Time) {
	if b.at.IsZero() {
		b.left, b.at = b.size, now
		return
	}
	if d := now.Sub(b.at); d > 0 {
		b.left += int64(min(d.Seconds(), 3600) * float64(b.perSecond))
		b.left, b.at = min(b.left, b.size), now
	}
}

// The budgets of a connection and of an account. A client that uses a mailbox
// normally stays far below them: the server reads more than it sends only to
// find a part, or an offset, in a large message.
const (
	connectionBudget, connectionRefill = 4 << 30, 50 << 20
	accountBudget, accountRefill       = 8 << 30, 100 << 20
)

// freeWork is the number of octets that may be read from one message without
// being deducted from a budget.
const freeWork = 64 << 10

// maxSearches is the maximum number of searches in files that one account may
// run at the same time. Each uses all cores.
const maxSearches = 2

// Works holds the budgets of connected accounts across all listeners. The zero
// value is ready to use.
type Works struct {
	mu       sync.Mutex
	accounts map[string]*accountWork
}

// accountWork is the budget of one account.
type accountWork struct {
	bucket
	searches chan struct{} // one element per running search
	users    int           // number of connections; guarded by Works.mu
}

// enter returns an account's budget for a new connection.
func (w *Works) enter(account string) *accountWork {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.accounts == nil {
		w.accounts = map[string]*accountWork{}
	}
	a := w.accounts[account]
	if a == nil {
		a = &accountWork{bucket: bucket{size: accountBudget, perSecond: accountRefill}, searches: make(chan struct{}, maxSearches)}
		w.accounts[account] = a
	}
	a.users++
	return a
}

// leave undoes enter. A budget that is not full is kept, because otherwise a
// client could get a new one by reconnecting.
func (w *Works) leave(account string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.accounts[account]; a != nil {
		a.users--
	}
	for name, a := range w.accounts {
		if a.users == 0 && a.full(now) {
			delete(w.accounts, name)
		}
	}
}

func (b *bucket) full(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	return b.left == b.size
}

// work holds the budgets that apply to a connection.
type work struct {
	own     bucket
	account *accountWork
}

// check returns an error if the budget of the connection or its account is
// exhausted.
func (w *work) check() error {
	now := time.Now()
	if !w.own.has(now) || !w.account.has(now) {
		return errWork
	}
	return nil
}

// spend deducts n octets that were read from one message but not sent.
func (w *work) spend(n int64) {
	if n -= freeWork; n > 0 {
		now := time.Now()
		w.own.spend(n, now)
		w.account.spend(n, now)
	}
}

// search waits until the account may run another search in files. The caller
// must call done after the search.
func (w *work) search(ctx context.Context) (done func(), err error) {
	select {
	case w.account.searches <- struct{}{}:
		return func() { <-w.account.searches }, nil
	case <-ctx.Done():
		return nil, errSearches
	}
}
