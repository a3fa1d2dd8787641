package authority

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxPairs limits the memory to about 2 MiB.
const maxPairs = 10_000

// pairs remembers correct passwords, hashed with a key that only this process
// has.
type pairs struct {
	fresh, stale time.Duration
	key          [32]byte
	known        *lru.Cache[[sha256.Size]byte, pair]
}

// pair is the account that a name and password belong to.
type pair struct {
	account string
	at      time.Time // when the server last confirmed it
}

func newPairs(fresh, stale time.Duration) *pairs {
	p := &pairs{fresh: fresh, stale: max(fresh, stale)}
	rand.Read(p.key[:])
	p.known, _ = lru.New[[sha256.Size]byte, pair](maxPairs) // fails only if the size is below 1
	return p
}

func (p *pairs) hash(name, password string) (h [sha256.Size]byte) {
	m := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(m, "%d:%s%s", len(name), name, password)
	m.Sum(h[:0])
	return h
}

// add remembers a pair that the server has confirmed.
func (p *pairs) add(name, password, account string, now time.Time) {
	p.known.Add(p.hash(name, password), pair{account, now})
}

// remove forgets a pair that the server has refused.
func (p *pairs) remove(name, password string) { p.known.Remove(p.hash(name, password)) }

// get returns the account of a pair that needs no confirmation. If the server
// is down, an older one does not need it either.
func (p *pairs) get(name, password string, down bool, now time.Time) (account string, ok bool) {
	limit := p.fresh
	if down {
		limit = p.stale
	}
	known, ok := p.known.Get(p.hash(name, password))
	return known.account, ok && now.Sub(known.at) < limit
}
