package schedule

import (
	"math/rand/v2"
	"time"
)

// Policy sets how often and for how long delivery of an upstream's mail is
// attempted.
type Policy struct {
	// RetryMin is the wait after the first temporary failure. Each further wait
	// is twice as long, varied by up to a sixth.
	RetryMin time.Duration
	// RetryMax is the maximum wait between two attempts.
	RetryMax time.Duration
	// Lifetime is how long delivery is attempted before the sender is sent a
	// failure report.
	Lifetime time.Duration
	// DelayWarning is the age at which a queued message's sender is sent a
	// single delay notice. 0 disables the notice.
	DelayWarning time.Duration
	// Concurrency is the maximum number of connections to one destination. The
	// scheduler starts with five and adds more while the destination keeps up.
	Concurrency int
}

// DefaultPolicy is the policy of upstreams that do not set one.
var DefaultPolicy = Policy{
	RetryMin: 5 * time.Minute, RetryMax: 4 * time.Hour, Lifetime: 5 * 24 * time.Hour,
	DelayWarning: 4 * time.Hour, Concurrency: 20,
}

// defaults fills in unset values, and corrects a policy that would retry
// forever.
func (p *Policy) defaults() {
	if *p == (Policy{}) {
		*p = DefaultPolicy
	}
	if p.RetryMin <= 0 {
		p.RetryMin = DefaultPolicy.RetryMin
	}
	if p.Lifetime <= 0 {
		p.Lifetime = DefaultPolicy.Lifetime
	}
	if p.Concurrency <= 0 {
		p.Concurrency = DefaultPolicy.Concurrency
	}
	p.RetryMax = max(p.RetryMax, p.RetryMin)
}

// wait returns the wait after the n-th attempt, counted from 1, without jitter.
func (p *Policy) wait(n int) time.Duration { return Doubled(p.RetryMin, n, p.RetryMax) }

// Doubled returns d for n = 1, and doubles it for each further n, up to limit.
func Doubled(d time.Duration, n int, limit time.Duration) time.Duration {
	for ; n > 1 && d < limit; n-- {
		d *= 2
	}
	return min(d, limit)
}

// vary randomly changes d by up to a sixth, so that messages deferred together
// are not retried together.
func vary(d time.Duration) time.Duration {
	return d - d/6 + rand.N(d/3+1)
}
