package relay

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// senders enforces the policy on a login's reverse paths and the limit on its
// messages.
type senders struct {
	policy    string    // as in the configuration: own, domain or any
	addresses Addresses // may be nil
	limit     conf.Rate

	mu      sync.Mutex
	buckets map[string]*rate.Limiter // by login
}

func newSenders(cfg *Config, addresses Addresses) *senders {
	return &senders{policy: cfg.Senders, addresses: addresses, limit: cfg.LoginRate, buckets: make(map[string]*rate.Limiter)}
}

// check returns the refusal of a message sent by user from a reverse path, or
// nil.
func (s *senders) check(user string, from mail.Address, now time.Time) *mail.Reply {
	switch {
	case user == "":
		return nil
	case !s.owns(user, from):
		return mail.NewReply(553, "5.7.1", "Sender address rejected: <%s> is not owned by user %s", from, user)
	case !s.allow(user, now):
		return mail.NewReply(450, "4.7.1", "Rate limit exceeded: %s may send %s, try again later", user, s.limit)
	}
	return nil
}

// owns reports whether a login may use a reverse path. Every login may use the
// null path, because receipts are sent from it.
func (s *senders) owns(user string, from mail.Address) bool {
	switch {
	case from == "" || s.policy == "any" || from.Key() == mail.Key(user):
		return true
	case s.policy == "domain":
		return from.ASCIIDomain() == mail.Address(user).ASCIIDomain()
	case s.addresses == nil:
		return false
	}
	res, err := s.addresses.Resolve(string(from))
	if err != nil {
		return false
	}
	for _, f := range res.Finals {
		if f.Account == user {
			return true
		}
	}
	return false
}

// allow counts a message sent by a login. A login may use its whole limit in
// one burst; the limit is then refilled evenly over its period.
func (s *senders) allow(user string, now time.Time) bool {
	if !s.limit.Limited() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket, ok := s.buckets[user]
	if !ok {
		perSecond := float64(s.limit.Count) / s.limit.Per.Seconds()
		bucket = rate.NewLimiter(rate.Limit(perSecond), s.limit.Count)
		s.buckets[user] = bucket
	}
	return bucket.AllowN(now, 1)
}
