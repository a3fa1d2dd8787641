package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/filters"
	"hoplite/mail"
	"hoplite/mail/story"
)

// If some addresses of an alias are refused, no copy is lost: either the client
// is refused, or the others are queued or reported once one member has received
// the message.
func TestAliasWithRefusedMembers(t *testing.T) {
	everything := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, tt := range map[string]struct {
		mayRelay, noQueue bool
		alias, rcpt       string // the reply to RCPT
		box               string // recipients that received the message
		queued, reported  string
	}{
		"the others receive a remote client's mail": {alias: "half", rcpt: "250", box: "bob", reported: "no"},
		"a filter refuses a remote client":          {alias: "judged", rcpt: "550 5.7.1 not from you"},
		"a filter refuses a client that may relay":  {mayRelay: true, alias: "judged", rcpt: "250", box: "bob", reported: "eve"},
		"a member without a route":                  {alias: "lost", rcpt: "250", box: "bob", reported: "x"},
		"a relay client's sender gets a report":     {mayRelay: true, alias: "half", rcpt: "250", box: "bob", reported: "no"},
		"who cannot be reported is refused":         {mayRelay: true, noQueue: true, alias: "half", rcpt: "550"},
		"a temporary refusal waits in the queue":    {alias: "slow", rcpt: "250", box: "bob", queued: "late"},
		"or the client waits":                       {noQueue: true, alias: "slow", rcpt: "451"},
		"temporary before permanent":                {noQueue: true, alias: "mixed", rcpt: "451"},
		"both kinds for a remote client":            {alias: "mixed", rcpt: "250", box: "bob", queued: "late", reported: "no"},
		"both kinds for a relay client":             {mayRelay: true, alias: "mixed", rcpt: "250", box: "bob", queued: "late", reported: "no"},
		"a route's own temporary reply":             {alias: "moved", rcpt: "450 4.7.0 closed for a week"},
	} {
		t.Run(name, func(t *testing.T) {
			later := &hop{waiting: true}
			var reported []string
			d := open(t, "smtp", func(c *Config, e *Env) {
				e.Chain.Filters = chainOf(filters.Entry{Name: "judge", Filter: gate{}})
				e.Chain.Routes = slices.Insert(e.Chain.Routes, 1, NewRoute(&RouteConfig{Name: "lost", To: []string{"lost.example"}, Reply: "550 5.1.6 moved"}, nil, nil, nil))
				e.Chain.Routes = slices.Insert(e.Chain.Routes, 1, NewRoute(&RouteConfig{Name: "closed", To: []string{"closed.example"}, Reply: "450 4.7.0 closed for a week"}, nil, nil, nil))
				if tt.mayRelay {
					c.RelayFrom = everything
				}
				if tt.noQueue {
					return
				}
				e.Later = func(hop string, checked bool) mail.Hop {
					if hop != "boxes" || checked {
						t.Errorf("queued for %q, checked %v", hop, checked)
					}
					return later
				}
				e.Bounce = func(_ context.Context, tx *mail.Transaction, _ *mail.Message, failed []mail.Outcome) (mail.Address, error) {
					for _, o := range failed {
						reported = append(reported, o.Rcpt.Local())
					}
					return tx.Envelope.From, nil
				}
			})
			c := d.hello(t)
			c.say("MAIL FROM:<sender@example.net>", "250")
			if got := c.say("RCPT TO:<"+tt.alias+"@example.org>", tt.rcpt); !strings.HasPrefix(got, "250") {
				c.say("DATA", "503")
			} else {
				c.say("DATA", "354")
				c.say(hi+".", "250")
			}
			c.settle()
			c.say("QUIT", "221")
			if got := locals(d.boxes); got != tt.box {
				t.Errorf("delivered to %q, want %q", got, tt.box)
			}
			if got := locals(later); got != tt.queued {
				t.Errorf("queued for %q, want %q", got, tt.queued)
			}
			if got := strings.Join(reported, " "); got != tt.reported {
				t.Errorf("reported %q, want %q", got, tt.reported)
			}
			// In every case, the history record names the refused address.
			if !refusedMember(t, d, tt.alias+"@example.org") {
				t.Errorf("the refused address is not in the story: %s", d.records()[0].Data)
			}
		})
	}
}

// gate refuses mail to eve.
type gate struct{}

func (gate) AtRcpt(_ context.Context, _ *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	if r.To.Local() == "eve" {
		return filters.Verdict{Action: filters.Reject, Reply: mail.NewReply(550, "5.7.1", "not from you")}, nil
	}
	return filters.Verdict{}, nil
}

// locals returns the local parts of all recipients that a hop has delivered to.
func locals(h *hop) string {
	var all []string
	for _, s := range h.all() {
		for _, to := range s.to {
			all = append(all, mail.Address(to).Local())
		}
	}
	return strings.Join(all, " ")
}

// refusedMember reports whether the only record mentions a refused address of
// an alias.
func refusedMember(t *testing.T, d *testServer, of string) bool {
	t.Helper()
	recs := d.records()
	for end := time.Now().Add(10 * time.Second); len(recs) == 0 && time.Now().Before(end); recs = d.records() {
		time.Sleep(time.Millisecond) // the record is written after QUIT has been answered
	}
	if len(recs) != 1 {
		t.Fatalf("history %+v", recs)
	}
	var told story.Summary
	if err := json.Unmarshal(recs[0].Data, &told); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(told.Trail.Events, func(e mail.Event) bool {
		return e.Rcpt != "" && string(e.Rcpt) != of && e.Reply != nil && strings.Contains(e.Reason, of)
	})
}

// If an alias is refused, the addresses that its hop had accepted are
// withdrawn, and no others.
func TestWithdrawnMembers(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("RCPT TO:<half@example.org>", "550")
	c.say("DATA", "354")
	c.say(hi+".", "250 2.0.0 kept for ann")
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<half@example.org>", "550")
	c.say("RCPT TO:<bob@example.org>", "250")
	c.say("RCPT TO:<list@example.org>", "250")
	c.say("DATA", "354")
	c.say(hi+".", "250 2.0.0 Accepted for 2")
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<half@example.org>", "550")
	c.say("DATA", "503")
	c.say("QUIT", "221")
	if got := locals(d.boxes); got != "ann bob ann" {
		t.Errorf("delivered to %q", got)
	}
}

// An address that was refused as a member of an alias is refused again as a
// recipient, and reported once. The copy that waits in the queue is shared.
func TestRefusedMemberAsRecipient(t *testing.T) {
	for _, protocol := range []string{"smtp", "lmtp"} {
		t.Run(protocol, func(t *testing.T) {
			waiting := &hop{waiting: true}
			var reported []string
			d := open(t, protocol, func(_ *Config, e *Env) {
				e.Later = func(string, bool) mail.Hop { return waiting }
				e.Bounce = func(_ context.Context, _ *mail.Transaction, _ *mail.Message, failed []mail.Outcome) (mail.Address, error) {
					for _, o := range failed {
						reported = append(reported, o.Rcpt.Local())
					}
					return "", nil
				}
			})
			c := d.hello(t)
			c.say("MAIL FROM:<sender@example.net>", "250")
			replies := 1
			for _, r := range []struct{ to, want string }{
				{"mixed", "250"}, {"half", "250"}, {"slow", "250"}, {"no", "550 5.1.1"}, {"late", "250"},
			} {
				if c.say("RCPT TO:<"+r.to+"@example.org>", r.want); r.want == "250" && protocol == "lmtp" {
					replies++
				}
			}
			c.say("DATA", "354")
			c.say(hi+".", "250")
			for range replies - 2 {
				c.want("250")
			}
			c.settle()
			c.say("QUIT", "221")
			if got := locals(waiting); got != "late" {
				t.Errorf("queued for %q", got)
			}
			if got := strings.Join(reported, " "); got != "no" {
				t.Errorf("reported %q", got)
			}
		})
	}
}

// A restarted handoff may refuse a recipient that it accepted before.
func TestReopenedHandoff(t *testing.T) {
	tx := mail.NewTransaction(mail.Client{}, "sender@example.net")
	tx.Envelope.Rcpts = []mail.Rcpt{{To: "no@example.org"}, {To: "bob@example.org"}}
	m, err := mail.NewMessage(mail.Bytes(strings.ReplaceAll(hi, "\r\n", "\n")))
	if err != nil {
		t.Fatal(err)
	}
	send := func(h mail.Hop) string {
		d := deliveries{t: &transaction{Transaction: tx}}
		d.list = []*delivery{{route: &Route{HopName: "boxes", Hop: h}, tx: tx, handoff: refusing{}, rcpts: []int{0, 1}, stale: true}}
		var codes []string
		for _, o := range d.send(t.Context(), m) {
			codes = append(codes, fmt.Sprint(o.Reply.Code, " ", o.Rcpt.Local()))
		}
		return strings.Join(codes, ", ")
	}
	if got := send(&hop{}); got != "550 no, 250 bob" {
		t.Error(got)
	}
	if got := send(closedHop{}); got != "451 no, 451 bob" {
		t.Error(got)
	}
}

// closedHop refuses to begin a handoff.
type closedHop struct{}

func (closedHop) Open(context.Context, *mail.Transaction) (mail.Handoff, error) {
	return nil, mail.NewReply(451, "4.3.2", "closed")
}

// later is a filter that defers every recipient but ann. With delay it behaves
// like greylisting.
type later struct{ delay bool }

func (l later) AtRcpt(_ context.Context, _ *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	if r.To.Local() == "ann" {
		return filters.Verdict{}, nil
	}
	v := filters.Deferred(450, "4.7.1", "come back later")
	v.Delay = l.delay
	return v, nil
}

// A recipient that does not exist is refused at once instead of greylisted. Other
// filters are not overruled.
func TestGreylistedUnknownRecipient(t *testing.T) {
	for filter, want := range map[string]string{"greylist": "550 5.1.1 no such mailbox", "rate": "450 4.7.1 come back later"} {
		t.Run(filter, func(t *testing.T) {
			d := open(t, "smtp", func(_ *Config, e *Env) {
				e.Chain.Filters = chainOf(filters.Entry{Name: filter, Filter: later{delay: filter == "greylist"}})
			})
			c := d.hello(t)
			c.say("MAIL FROM:<sender@example.net>", "250")
			c.say("RCPT TO:<no@example.org>", want)
			c.say("RCPT TO:<ann@example.org>", "250")
			c.say("RCPT TO:<bob@example.org>", "450 4.7.1 come back later")
			c.say("RCPT TO:<late@example.org>", "450 4.7.1 come back later")
			c.say("DATA", "354")
			c.say(hi+".", "250")
			c.say("QUIT", "221")
			if got := locals(d.boxes); got != "ann" {
				t.Errorf("delivered to %q", got)
			}
		})
	}
}
