// Package size is the filter that bounds how large a message may be.
//
// It refuses at MAIL when the client announces too much, at RCPT where a
// recipient's domain allows less, and while DATA flows: the door stops keeping
// what is beyond Limit and the session stays in step.
package size

import (
	"context"
	"errors"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
)

// Config is the block filter "size" { ... } of a chain.
type Config struct {
	// Max is the largest message that is let in, in octets with its header.
	Max conf.Bytes `hcl:"max,optional" default:"25MiB"`
	// Limits are other limits for some recipients or senders.
	Limits []Limit `hcl:"limit,block" was:"for|from"`
}

// Limit is the block limit { ... }: another limit for some recipients or some
// senders. The first block that matches an address counts. A sender's limit
// replaces the filter's max; a message to several recipients must also keep to
// the smallest of their limits.
type Limit struct {
	// To are the recipients: addresses, or domains; ".example.org" is every domain
	// below example.org.
	To []string `hcl:"to,optional" was:"names"`
	// From are the senders, written like to.
	From []string `hcl:"from,optional"`
	// Max is the largest message.
	Max conf.Bytes `hcl:"max"`
}

// Check refuses a limit for nobody, or for recipients and senders at once.
func (l *Limit) Check() error {
	if (len(l.To) == 0) == (len(l.From) == 0) {
		return errors.New("limit needs either to or from: recipients and senders are limited apart")
	}
	_, errTo := mail.ParsePatterns(l.To)
	_, errFrom := mail.ParsePatterns(l.From)
	return errors.Join(conf.Field("to", errTo), conf.Field("from", errFrom))
}

// Filter refuses messages larger than its limits.
type Filter struct {
	max                 int64
	recipients, senders []limit
}

// limit is the largest size for the addresses that its patterns match.
type limit struct {
	patterns mail.Patterns
	max      int64
}

// New makes the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{max: int64(cfg.Max)}
	var errs []error
	for _, l := range cfg.Limits {
		add := func(list *[]limit, patterns []string) {
			if len(patterns) > 0 {
				p, err := mail.ParsePatterns(patterns, env.Names...)
				errs = append(errs, err)
				*list = append(*list, limit{p, int64(l.Max)})
			}
		}
		add(&f.recipients, l.To)
		add(&f.senders, l.From)
	}
	return f, errors.Join(errs...)
}

// AtMail refuses early when the client announces more than its limit.
func (f *Filter) AtMail(_ context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	return verdict(tx.Envelope.Size, f.forSender(tx.Envelope.From)), nil
}

// AtRcpt refuses a recipient for whom the announced size is too large.
func (f *Filter) AtRcpt(_ context.Context, tx *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	if max, ok := pick(f.recipients, r.To); ok {
		return verdict(tx.Envelope.Size, max), nil
	}
	return filters.Verdict{}, nil
}

// Limit is the most octets that the message of tx may have.
func (f *Filter) Limit(tx *mail.Transaction) int64 {
	limit := f.forSender(tx.Envelope.From)
	for _, r := range tx.Envelope.Rcpts {
		if max, ok := pick(f.recipients, r.To); ok {
			limit = min(limit, max)
		}
	}
	return limit
}

// AtData judges the message that came, whatever was announced.
func (f *Filter) AtData(_ context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	return verdict(m.Base.Size(), f.Limit(tx)), nil
}

func (f *Filter) forSender(from mail.Address) int64 {
	if max, ok := pick(f.senders, from); ok {
		return max
	}
	return f.max
}

// pick finds the first limit whose patterns match the address.
func pick(limits []limit, a mail.Address) (int64, bool) {
	for i := range limits {
		if limits[i].patterns.Match(a) {
			return limits[i].max, true
		}
	}
	return 0, false
}

func verdict(size, max int64) filters.Verdict {
	if size <= max {
		return filters.Verdict{}
	}
	return filters.Rejected(552, "5.3.4", "message larger than %s", conf.Bytes(max))
}
