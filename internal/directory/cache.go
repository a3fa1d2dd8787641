package directory

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// cache holds answers of the directory. A found value is fresh for known, and
// may be used for stale while the directory cannot be asked. That an address
// does not exist is known for unknown only: afterwards it may have been added.
type cache[V any] struct {
	known, unknown, stale time.Duration
	answers               *lru.Cache[string, answer[V]]
}

// answer is one answer of the directory.
type answer[V any] struct {
	value V
	found bool
	at    time.Time
}

func newCache[V any](c *Config) *cache[V] {
	answers, _ := lru.New[string, answer[V]](max(1, c.KnownMax)) // fails only if the size is below 1
	return &cache[V]{c.KnownFor, c.UnknownFor, c.StaleFor, answers}
}

// add stores an answer.
func (c *cache[V]) add(key string, value V, found bool, now time.Time) {
	c.answers.Add(key, answer[V]{value, found, now})
}

// fresh returns an answer that is valid without asking.
func (c *cache[V]) fresh(key string, now time.Time) (a answer[V], ok bool) {
	a, ok = c.answers.Get(key)
	limit := c.unknown
	if a.found {
		limit = c.known
	}
	return a, ok && now.Sub(a.at) < limit
}

// usable returns a value that may be used because the directory cannot be
// asked.
func (c *cache[V]) usable(key string, now time.Time) (value V, ok bool) {
	a, ok := c.answers.Peek(key)
	return a.value, ok && a.found && now.Sub(a.at) < max(c.known, c.stale)
}

func (c *cache[V]) len() int { return c.answers.Len() }
