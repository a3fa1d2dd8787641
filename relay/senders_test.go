package relay

import (
	"testing"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/mail/alias"
)

func TestWhoseSender(t *testing.T) {
	addresses := book{"sales@example.org": {Finals: []alias.Final{{Address: "ann@example.org", Account: "ann@example.org"}}}}
	for name, tt := range map[string]struct {
		policy, user string
		from         mail.Address
		code         int
	}{
		"no login":                    {"own", "", "anyone@example.net", 0},
		"own address":                 {"own", "ann@example.org", "ann@example.org", 0},
		"own address, in upper case":  {"own", "ann@example.org", "Ann@Example.Org", 0},
		"null path":                   {"own", "ann@example.org", "", 0},
		"an alias":                    {"own", "ann@example.org", "sales@example.org", 0},
		"the alias of another":        {"own", "bob@example.org", "sales@example.org", 553},
		"another address":             {"own", "ann@example.org", "bob@example.org", 553},
		"domain, another address":     {"domain", "ann@example.org", "bob@example.org", 0},
		"domain, another domain":      {"domain", "ann@example.org", "ann@example.net", 553},
		"domain, a login without one": {"domain", "ann", "ann@example.net", 553},
		"any":                         {"any", "ann@example.org", "x@example.net", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSenders(&Config{listenAccess: listenAccess{Senders: tt.policy}}, addresses)
			r := s.check(tt.user, tt.from, time.Now())
			if (r != nil) != (tt.code != 0) || r != nil && r.Code != tt.code {
				t.Errorf("got %v, want %d", r, tt.code)
			}
		})
	}
}

// A login may use its whole limit at once, and may send more as the bucket is
// refilled.
func TestSenderRate(t *testing.T) {
	s := newSenders(&Config{listenAccess: listenAccess{Senders: "any", LoginRate: conf.Rate{Count: 3, Per: time.Hour}}}, nil)
	now := time.Now()
	for i, tt := range []struct {
		user  string
		after time.Duration
		ok    bool
	}{
		{"ann", 0, true}, {"ann", 0, true}, {"ann", 0, true}, {"ann", 0, false},
		{"bob", 0, true},
		{"ann", 19 * time.Minute, false}, {"ann", 21 * time.Minute, true}, {"ann", 21 * time.Minute, false},
		{"ann", 10 * time.Hour, true}, {"ann", 10 * time.Hour, true}, {"ann", 10 * time.Hour, true}, {"ann", 10 * time.Hour, false},
	} {
		r := s.check(tt.user, "x@example.net", now.Add(tt.after))
		if (r == nil) != tt.ok || r != nil && r.Code != 450 {
			t.Errorf("%d, %s after %s: %v, want %v", i, tt.user, tt.after, r, tt.ok)
		}
	}
	none := newSenders(&Config{listenAccess: listenAccess{Senders: "any"}}, nil)
	for range 10000 {
		if !none.allow("ann", now) {
			t.Fatal("a limit where there is none")
		}
	}
}
