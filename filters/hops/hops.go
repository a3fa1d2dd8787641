// Package hops is the filter that ends mail loops. It limits the number of
// servers that have handled a message (RFC 5321, 6.3), and ends a loop sooner
// if one of our own Received lines shows that the message has already passed
// through this server.
package hops

import (
	"context"
	"fmt"
	"strings"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/mail/received"
)

// Config is the filter "hops" { ... } block of a chain.
type Config struct {
	// Max is the maximum number of Received fields in an incoming message. RFC
	// 5321 (6.3) requires at least 100 if loops are not detected in another
	// way, but this filter detects them, and real mail stays far below 50.
	Max int `hcl:"max,optional" default:"50"`
	// Visits is the maximum number of times a message may pass through this
	// server. A message that returns for a recipient it already had on an
	// earlier pass is rejected immediately.
	Visits int `hcl:"visits,optional" default:"2"`
}

// Check rejects limits that would refuse all mail.
func (c *Config) Check() error {
	if c.Max < 1 {
		return conf.Fieldf("max", "%d would reject all mail from other servers: 50 is usual", c.Max)
	}
	if c.Visits < 1 {
		return conf.Fieldf("visits", "%d would reject mail that returns from a mailing list: 2 is usual", c.Visits)
	}
	return nil
}

// Filter applies a Config.
type Filter struct {
	cfg  Config
	host string
}

// New returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	return &Filter{cfg, env.Hostname}, nil
}

// AtData counts the hops and looks for our own Received lines.
func (f *Filter) AtData(_ context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	count := 0
	var ours []received.Line
	for field := range mail.Fields(m.Head) {
		if !field.Is("Received") {
			continue
		}
		count++
		if hop := received.Parse(field.Value()); f.wrote(&hop) {
			ours = append(ours, hop)
		}
	}
	if len(ours) > 0 {
		if v, looped := f.looped(tx, ours); looped {
			return v, nil
		}
	}
	if count > f.cfg.Max {
		return filters.Rejected(554, "5.4.6", "Too many hops: %d servers have handled this message, %d are allowed; "+
			"two of them may be forwarding to each other", count, f.cfg.Max), nil
	}
	return filters.Verdict{}, nil
}

// wrote reports whether this server wrote a line: the line contains its name
// and one of its ids.
func (f *Filter) wrote(h *received.Line) bool {
	if !strings.EqualFold(h.By.Name, f.host) {
		return false
	}
	_, ok := mail.IDTime(h.ID)
	return ok
}

// looped reports whether the message is in a loop. The verdict names the server
// that sends it back.
func (f *Filter) looped(tx *mail.Transaction, ours []received.Line) (filters.Verdict, bool) {
	for i := range ours {
		for j := range tx.Envelope.Rcpts {
			r := &tx.Envelope.Rcpts[j]
			if sameMailbox(ours[i].For, r) {
				return f.refuse(tx, r, ours[i].ID, len(ours)), true
			}
		}
	}
	if len(ours) > f.cfg.Visits && len(tx.Envelope.Rcpts) > 0 {
		return f.refuse(tx, &tx.Envelope.Rcpts[0], ours[0].ID, len(ours)), true
	}
	return filters.Verdict{}, false
}

func sameMailbox(written string, r *mail.Rcpt) bool {
	a, err := mail.ParseAddress(strings.Trim(written, "<>"))
	return err == nil && a != "" && (a.Key() == r.To.Key() || a.Key() == r.Orig.Key())
}

// refuse names the two servers and the rule that sends the message back.
func (f *Filter) refuse(tx *mail.Transaction, r *mail.Rcpt, id string, visits int) filters.Verdict {
	other := tx.Client.Name
	if other == "" {
		other = tx.Client.Helo
	}
	v := filters.Rejected(554, "5.4.6", "Mail loop: %s accepted this message for <%s> as %s, and %s sent it back; %s",
		f.host, r.To, id, other, rule(r))
	v.Reason = fmt.Sprintf("already passed through here %d times", visits)
	v.Facts = []mail.Fact{{Key: "first_id", Value: id}, {Key: "other", Value: other}, {Key: "hop", Value: r.Hop}}
	return v
}

func rule(r *mail.Rcpt) string {
	if r.Hop == "" {
		return "check the forwarding rules of both"
	}
	where := fmt.Sprintf("here hop %q accepts mail for %s", r.Hop, r.To.Domain())
	if r.Orig != r.To && r.Orig != "" {
		where += fmt.Sprintf(", reached from <%s>", r.Orig)
	}
	return where
}
