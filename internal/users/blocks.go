package users

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Block is a network or an account with so many failed logins that further ones
// are delayed or refused.
type Block struct {
	// Either Network or Account is set, depending on which the failures are
	// counted for.
	Network string `json:"network,omitempty"`
	Account string `json:"account,omitempty"`
	// Failures is the number of failed logins. It is halved every 10 minutes.
	Failures int `json:"failures"`
	// Until is the time when the next attempt may begin.
	Until time.Time `json:"until"`
	// Refused is set if attempts are refused until then; otherwise they are
	// delayed.
	Refused bool `json:"refused"`
}

// Name returns the network or account.
func (b *Block) Name() string { return cmp.Or(b.Account, b.Network) }

// Blocks returns the networks and accounts whose next login is delayed, longest
// delay first. Known clients of an account are not affected.
func (t *Throttle) Blocks() []Block {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var list []Block
	for _, k := range t.fails.Keys() {
		p, ok := t.fails.Peek(k)
		if !ok || k.isPair() || !p.next.After(now) {
			continue
		}
		b := Block{Account: k.account, Failures: int(p.fails), Until: p.next, Refused: p.next.Sub(now) > patience}
		if k.net.IsValid() {
			b.Network = k.net.String()
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b Block) int {
		return cmp.Or(b.Until.Compare(a.Until), cmp.Compare(a.Name(), b.Name()))
	})
	return list
}

// UnblockAccount forgets the failures for an account and reports whether there
// were any.
func (t *Throttle) UnblockAccount(account string) bool {
	return account != "" && t.forget(func(k throttleKey) bool { return k.account == account })
}

// UnblockNetwork forgets the failures from all clients in a network and reports
// whether there were any.
func (t *Throttle) UnblockNetwork(p netip.Prefix) bool {
	return t.forget(func(k throttleKey) bool { return k.net.IsValid() && p.Overlaps(k.net) })
}

// UnblockAll forgets all failures and returns the number of networks and
// accounts that had any.
func (t *Throttle) UnblockAll() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, k := range t.fails.Keys() {
		if !k.isPair() {
			n++
		}
	}
	t.fails.Purge()
	return n
}

// forget removes the failures for the selected keys and reports whether there
// were any.
func (t *Throttle) forget(these func(throttleKey) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := false
	for _, k := range t.fails.Keys() {
		if these(k) {
			t.fails.Remove(k)
			found = true
		}
	}
	return found
}
