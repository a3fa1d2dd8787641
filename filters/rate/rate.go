// Package rate is the filter that limits the rate of mail from a client
// address, network, login or sender, or to a recipient.
//
// Each key of a limit has a token bucket that refills evenly, so a burst up to
// the limit is accepted but a steady stream above it is not. Buckets are kept
// in memory: a reload keeps those of unchanged limits, a restart clears them
// all.
package rate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
)

// maxBuckets bounds the memory of one limit to about 15 MiB.
const maxBuckets = 50_000

// Config is the filter "rate" { ... } block of a chain.
type Config struct {
	// Limits holds the limits, all of which apply.
	Limits []Limit `hcl:"limit,block"`
	// Action is the action for mail above a limit.
	Action string `hcl:"action,optional" enum:"tag|quarantine|defer|reject" default:"defer"`
}

// Limit is one limit.
type Limit struct {
	// Of selects the key of the limit: the "address" of the client, its
	// "network" (IPv4 /24, IPv6 /48), the "login", the "sender" (reverse path),
	// the sender's "domain", or the "recipient".
	Of string `hcl:"of,label"`
	// Messages is the maximum number of messages, for example "30/1m"; for
	// "recipient", the maximum number of messages to that recipient.
	Messages conf.Rate `hcl:"messages,optional"`
	// Recipients is the maximum total number of recipients in all messages, for
	// example "100/1h".
	Recipients conf.Rate `hcl:"recipients,optional"`
	// Except lists addresses, networks, logins or domains that are exempt.
	Except []string `hcl:"except,optional"`
}

var kinds = []string{"address", "network", "login", "sender", "domain", "recipient"}

// Check reports limits that have no effect.
func (c *Config) Check() error {
	var errs []error
	for _, l := range c.Limits {
		switch {
		case !slices.Contains(kinds, l.Of):
			errs = append(errs, conf.Fieldf("limit", "%q: want one of %s", l.Of, strings.Join(kinds, ", ")))
		case !l.Messages.Limited() && !l.Recipients.Limited():
			errs = append(errs, conf.Fieldf("limit", "%q: messages or recipients is required", l.Of))
		case l.Of == "recipient" && l.Recipients.Limited():
			errs = append(errs, conf.Fieldf("limit", `"recipient" counts messages only`))
		}
	}
	if len(c.Limits) == 0 {
		errs = append(errs, errors.New(`no limits: want limit "address" { messages = "100/1h" }`))
	}
	return errors.Join(errs...)
}

// Filter applies a Config.
type Filter struct {
	cfg    Config
	except []exceptions // exceptions of each limit
	*buckets
}

// buckets holds the token buckets of each limit by its key.
type buckets struct {
	mu                   sync.Mutex
	messages, recipients []*lru.Cache[string, *rate.Limiter]
}

// New returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg, buckets: &buckets{}}
	for i := range cfg.Limits {
		f.except = append(f.except, newExceptions(cfg.Limits[i].Except, env.Names))
		m, err1 := lru.New[string, *rate.Limiter](maxBuckets)
		r, err2 := lru.New[string, *rate.Limiter](maxBuckets)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		f.messages, f.recipients = append(f.messages, m), append(f.recipients, r)
	}
	return f, nil
}

// Inherit takes over the buckets of another filter.
func (f *Filter) Inherit(from filters.Filter) { f.buckets = from.(*Filter).buckets }

// AtMail counts a message.
func (f *Filter) AtMail(_ context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	return f.count(tx, func(l *Limit) (conf.Rate, string) {
		if l.Of == "recipient" {
			return conf.Rate{}, ""
		}
		return l.Messages, l.key(tx)
	}, f.messages, "messages"), nil
}

// AtRcpt counts a recipient, and the message to that recipient.
func (f *Filter) AtRcpt(_ context.Context, tx *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	v := f.count(tx, func(l *Limit) (conf.Rate, string) { return l.Recipients, l.key(tx) }, f.recipients, "recipients")
	if v.Action != "" {
		return v, nil
	}
	return f.count(tx, func(l *Limit) (conf.Rate, string) {
		if l.Of != "recipient" {
			return conf.Rate{}, ""
		}
		return l.Messages, r.To.Key()
	}, f.messages, "messages"), nil
}

// count takes a token from the bucket of every limit selected by pick, or none
// if one of them is empty.
func (f *Filter) count(tx *mail.Transaction, pick func(*Limit) (conf.Rate, string), buckets []*lru.Cache[string, *rate.Limiter], what string) filters.Verdict {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := make([]*rate.Reservation, 0, len(f.cfg.Limits))
	for i := range f.cfg.Limits {
		l := &f.cfg.Limits[i]
		limit, key := pick(l)
		if !limit.Limited() || key == "" || f.except[i].match(tx, l.Of, key) {
			continue
		}
		bucket, ok := buckets[i].Get(key)
		if !ok {
			bucket = rate.NewLimiter(rate.Every(limit.Per/time.Duration(limit.Count)), limit.Count)
			buckets[i].Add(key, bucket)
		}
		r := bucket.ReserveN(now, 1)
		taken = append(taken, r)
		if wait := r.DelayFrom(now); wait > 0 {
			for _, r := range taken {
				r.CancelAt(now)
			}
			return f.exceeded(l, limit, key, what, wait)
		}
	}
	return filters.Verdict{}
}

// exceeded returns the verdict for mail above a limit; wait is the time until
// the next token.
func (f *Filter) exceeded(l *Limit, limit conf.Rate, key, what string, wait time.Duration) filters.Verdict {
	v := filters.Acted(filters.Action(f.cfg.Action), 550, "5.7.1", "Too many %s for the %s %s: the limit is %d in %s, try again in %s",
		what, l.Of, key, limit.Count, conf.FormatDuration(limit.Per), wait.Round(time.Second))
	v.Facts = []mail.Fact{{Key: l.Of, Value: key}, {Key: "limit", Value: fmt.Sprintf("%d %s in %s", limit.Count, what, limit.Per)}}
	return v
}

// key returns the key of a limit for a transaction, or "" if the limit does not
// apply.
func (l *Limit) key(tx *mail.Transaction) string {
	ip := tx.Client.Addr.Addr().Unmap()
	switch l.Of {
	case "address":
		if ip.Is6() { // a single host usually has a whole /64
			return prefix(ip, 64)
		}
		return prefix(ip, 32)
	case "network":
		if ip.Is6() {
			return prefix(ip, 48)
		}
		return prefix(ip, 24)
	case "login":
		return tx.Client.User
	case "sender":
		return tx.Envelope.From.Key()
	case "domain":
		return tx.Envelope.From.ASCIIDomain()
	}
	return ""
}

func prefix(ip netip.Addr, bits int) string {
	p, err := ip.Prefix(bits)
	switch {
	case err != nil:
		return ""
	case bits == 32:
		return ip.String()
	}
	return p.String()
}

// exceptions holds the clients, logins and addresses that a limit does not
// apply to.
type exceptions struct {
	nets     []netip.Prefix
	patterns mail.Patterns
	logins   map[string]bool // keyed by mail.Key
}

func newExceptions(list, names []string) exceptions {
	e := exceptions{logins: map[string]bool{}}
	var patterns []string
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			e.nets = append(e.nets, p)
		} else if a, err := netip.ParseAddr(s); err == nil {
			e.nets = append(e.nets, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		} else {
			patterns = append(patterns, s)
			e.logins[mail.Key(s)] = true
		}
	}
	e.patterns, _ = mail.ParsePatterns(patterns, names...) // a login without a domain is not a pattern
	return e
}

// match reports whether a transaction is exempt; key is its key for a limit of
// that kind.
func (e *exceptions) match(tx *mail.Transaction, kind, key string) bool {
	ip := tx.Client.Addr.Addr().Unmap()
	switch {
	case slices.ContainsFunc(e.nets, func(n netip.Prefix) bool { return n.Contains(ip) }):
		return true
	case tx.Client.User != "" && e.logins[mail.Key(tx.Client.User)]:
		return true
	case kind == "domain":
		return e.patterns.MatchDomain(key)
	}
	return strings.Contains(key, "@") && e.patterns.Match(mail.Address(key))
}
