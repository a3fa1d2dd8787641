package imap

import (
	"context"
	"sync"
	"time"
)

// bucket is a budget of octets that a client may make the server read from
// files without sending them. It refills with time.
type bucket struct {
	size, perSecond int64

	mu   sync.Mutex
	left int64
	at   time.Time // when left was computed; zero: full
}

// has reports whether something is left.
func (b *bucket) has(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	return b.left > 0
}

// spend takes n octets, which have already been read, even if the budget is
// smaller.
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

// The budgets of a connection and of an account. A client that reads a mailbox
// in an ordinary way stays far below: the server reads more than it sends only
// to find a part, or a place, in a large message.
const (
	connectionBudget, connectionRefill = 4 << 30, 50 << 20
	accountBudget, accountRefill       = 8 << 30, 100 << 20
)

// freeWork is how much may be read of one message at no cost.
const freeWork = 64 << 10

// maxSearches is the number of searches in files that one account may run at a
// time. Each uses all cores.
const maxSearches = 2

// Works are the budgets of accounts that have connections, over all listeners.
// The zero value is ready.
type Works struct {
	mu       sync.Mutex
	accounts map[string]*accountWork
}

// accountWork is the budget of one account.
type accountWork struct {
	bucket
	searches chan struct{} // has an element for each running search
	users    int           // connections; guarded by Works.mu
}

// enter returns the budget of an account for one more connection.
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

// leave undoes enter. A budget that is not full is kept, or a client could get a
// new one by connecting again.
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

// work is what a connection may still do.
type work struct {
	own     bucket
	account *accountWork
}

// check fails if the budget of the connection or of its account is used up.
func (w *work) check() error {
	now := time.Now()
	if !w.own.has(now) || !w.account.has(now) {
		return errWork
	}
	return nil
}

// spend counts octets that were read of one message and not sent.
func (w *work) spend(n int64) {
	if n -= freeWork; n > 0 {
		now := time.Now()
		w.own.spend(n, now)
		w.account.spend(n, now)
	}
}

// search waits until the account may run one more search in files. The caller
// calls done after the search.
func (w *work) search(ctx context.Context) (done func(), err error) {
	select {
	case w.account.searches <- struct{}{}:
		return func() { <-w.account.searches }, nil
	case <-ctx.Done():
		return nil, errSearches
	}
}
