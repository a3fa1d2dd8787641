package resolve

import (
	"context"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// Limits on the time that answers are kept, regardless of their TTL. Failures
// are kept briefly, so that a thousand recipients at an unreachable domain
// cause only one query.
const (
	longestTTL   = time.Hour
	longestNoTTL = 15 * time.Minute
	defaultNoTTL = time.Minute
	failureTTL   = 5 * time.Second
	maxCached    = 16 << 10 // maximum octets of an answer that is kept
	lookupTime   = 20 * time.Second
)

// Cached caches the answers of another resolver. Identical concurrent queries
// are sent only once.
type Cached struct {
	from   Resolver
	flight singleflight.Group
	kept   *lru.Cache[question, keptAnswer]
}

type question struct {
	name string
	typ  Type
}

type keptAnswer struct {
	answer  Answer
	err     error
	expires time.Time
}

// NewCached returns a cache for up to size answers (at least 1) from another
// resolver.
func NewCached(from Resolver, size int) *Cached {
	kept, _ := lru.New[question, keptAnswer](max(size, 1)) // only a size below 1 fails
	return &Cached{from: from, kept: kept}
}

// Lookup answers from the cache or with a query. A query may continue for up to
// 20 s after ctx is done, because other callers may be waiting for it.
func (c *Cached) Lookup(ctx context.Context, name string, t Type) (Answer, error) {
	name, err := Canonical(name)
	if err != nil {
		return Answer{}, &Error{Name: name, Type: t, NoDomain: true, Cause: err}
	}
	q := question{name, t}
	if k, ok := c.kept.Get(q); ok {
		if left := time.Until(k.expires); left > 0 {
			k.answer.TTL = left
			return k.answer, k.err
		}
	}
	done := c.flight.DoChan(t.String()+" "+name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
		defer cancel()
		a, err := c.from.Lookup(ctx, name, t)
		c.keep(q, a, err)
		return a, err
	})
	select {
	case r := <-done:
		a, _ := r.Val.(Answer)
		return a, r.Err
	case <-ctx.Done():
		return Answer{}, &Error{Name: name, Type: t, Temporary: true, Cause: ctx.Err()}
	}
}

func (c *Cached) keep(q question, a Answer, err error) {
	ttl := min(a.TTL, longestTTL)
	if e := (*Error)(nil); errors.As(err, &e) {
		switch {
		case e.Temporary:
			ttl = failureTTL
		case e.ttl > 0:
			ttl = min(e.ttl, longestNoTTL)
		default:
			ttl = defaultNoTTL
		}
	}
	size := 0
	for _, r := range a.Records {
		size += 64 + len(r.Text) + len(r.Data)
	}
	if ttl > 0 && size <= maxCached {
		c.kept.Add(q, keptAnswer{a, err, time.Now().Add(ttl)})
	}
}
