// Package size is the filter that bounds how large a message may be.
//
// It refuses at MAIL when the client announces too much, at RCPT where a
// recipient's domain allows less, and while DATA flows: the door stops keeping
// what is beyond Limit and the session stays in step.
package size

import (
	"context"
	"strings"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
)

// Config is the block filter "size" { ... } of a chain.
type Config struct {
	// Max is the largest message that is let in, in octets with its header.
	Max conf.Bytes `hcl:"max,optional" default:"25MiB"`
	// For is a smaller or larger limit for the recipients of some domains.
	// A message to several recipients must keep to the smallest of theirs.
	For []Rule `hcl:"for,block"`
	// From is another limit for senders: addresses, or domains. It counts
	// instead of max, not instead of the recipients' limits.
	From []Rule `hcl:"from,block"`
}

// Rule is a limit for some.
type Rule struct {
	// Names are whole addresses or domains; ".example.org" is every domain
	// below example.org.
	Names []string `hcl:"names"`
	// Max is the largest message for them.
	Max conf.Bytes `hcl:"max"`
}

// Filter keeps to a Config.
type Filter struct{ cfg Config }

// New makes the filter.
func New(cfg Config, _ filters.Env) (filters.Filter, error) { return &Filter{cfg}, nil }

// AtMail refuses early when the client announces more than its limit.
func (f *Filter) AtMail(_ context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	return verdict(tx.Envelope.Size, f.forSender(tx.Envelope.From)), nil
}

// AtRcpt refuses a recipient for whom the announced size is too large.
func (f *Filter) AtRcpt(_ context.Context, tx *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	if max, ok := pick(f.cfg.For, r.To); ok {
		return verdict(tx.Envelope.Size, max), nil
	}
	return filters.Verdict{}, nil
}

// Limit is the most octets that the message of tx may have.
func (f *Filter) Limit(tx *mail.Transaction) int64 {
	limit := f.forSender(tx.Envelope.From)
	if len(f.cfg.For) == 0 {
		return int64(limit)
	}
	for _, r := range tx.Envelope.Rcpts {
		if max, ok := pick(f.cfg.For, r.To); ok {
			limit = min(limit, max)
		}
	}
	return int64(limit)
}

// AtData judges the message that came, whatever was announced.
func (f *Filter) AtData(_ context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	return verdict(m.Base.Size(), conf.Bytes(f.Limit(tx))), nil
}

func (f *Filter) forSender(from mail.Address) conf.Bytes {
	if max, ok := pick(f.cfg.From, from); ok {
		return max
	}
	return f.cfg.Max
}

// pick finds the limit of the first rule that names the address.
func pick(rules []Rule, a mail.Address) (conf.Bytes, bool) {
	if len(rules) == 0 || a == "" {
		return 0, false
	}
	key, domain := a.Key(), a.ASCIIDomain()
	for _, r := range rules {
		for _, name := range r.Names {
			name = strings.ToLower(name)
			if name == key || name == domain || strings.HasPrefix(name, ".") && strings.HasSuffix(domain, name) {
				return r.Max, true
			}
		}
	}
	return 0, false
}

func verdict(size int64, max conf.Bytes) filters.Verdict {
	if size <= int64(max) {
		return filters.Verdict{}
	}
	return filters.Rejected(552, "5.3.4", "message larger than %s", max)
}
