package relay

import (
	"sync"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// checkSender holds a login to reverse paths of its own, and to its rate.
func (s *session) checkSender(t *transaction) *mail.Reply {
	user := t.Client.User
	if user == "" {
		return nil
	}
	if !s.owns(user, t.Envelope.From) {
		return mail.NewReply(553, "5.7.1", "%s may not send as <%s>", user, t.Envelope.From)
	}
	if !s.srv.rates.take(user, time.Now()) {
		return mail.NewReply(450, "4.7.1", "%s has sent too many messages (%s), try again later", user, s.srv.rates.limit)
	}
	return nil
}

// owns tells whether a login may use a reverse path. The null path belongs to
// everybody: receipts have it.
func (s *session) owns(user string, from mail.Address) bool {
	if from == "" || s.srv.cfg.Senders == "any" || from.Key() == mail.Key(user) {
		return true
	}
	if s.srv.cfg.Senders == "domain" {
		return from.ASCIIDomain() == mail.Address(user).ASCIIDomain()
	}
	if s.srv.env.Addresses == nil {
		return false
	}
	res, err := s.srv.env.Addresses.Resolve(string(from))
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

// rates counts the messages of each login: a full rate at once, refilled evenly
// over its time.
type rates struct {
	limit conf.Rate

	mu   sync.Mutex
	left map[string]bucket
}

type bucket struct {
	n  float64
	at time.Time
}

func newRates(limit conf.Rate) *rates { return &rates{limit: limit, left: make(map[string]bucket)} }

func (r *rates) take(user string, now time.Time) bool {
	if !r.limit.Limited() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	full := float64(r.limit.Count)
	b, ok := r.left[user]
	if !ok {
		b = bucket{n: full, at: now}
	}
	b.n = min(full, b.n+full*float64(now.Sub(b.at))/float64(r.limit.Per))
	b.at = now
	allowed := b.n >= 1
	if allowed {
		b.n--
	}
	r.left[user] = b
	return allowed
}
