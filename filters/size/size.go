// Package size is the filter that limits the size of messages.
//
// It rejects a message at MAIL if the client announces too large a size, at
// RCPT if a recipient's limit is lower, and at the end of DATA if the message
// is too large. The server stops storing a message at Limit and reads and
// discards the rest, so that the session can continue.
package size

import (
	"context"
	"errors"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
)

// Config is the filter "size" { ... } block of a chain.
type Config struct {
	// Max is the maximum size of a message, including its header.
	Max conf.Bytes `hcl:"max,optional" default:"25MiB"`
	// Limits holds different limits for some recipients or senders.
	Limits []Limit `hcl:"limit,block" was:"for|from"`
}

// Limit is the limit { ... } block: a different limit for some recipients or
// some senders. It replaces the max of the filter and may be higher or lower.
// The first block that matches an address applies. If both the sender and a
// recipient match a block, the lower limit applies to that recipient. A message
// for several recipients is subject to the lowest of their limits.
type Limit struct {
	// To lists the recipients: addresses or domains; ".example.org" matches
	// every domain below example.org.
	To []string `hcl:"to,optional" was:"names"`
	// From lists the senders, in the same form as to.
	From []string `hcl:"from,optional"`
	// Max is the maximum size of a message.
	Max conf.Bytes `hcl:"max"`
}

// Check requires either recipients or senders.
func (l *Limit) Check() error {
	if (len(l.To) == 0) == (len(l.From) == 0) {
		return errors.New("limit requires either to or from, but not both")
	}
	_, errTo := mail.ParsePatterns(l.To)
	_, errFrom := mail.ParsePatterns(l.From)
	return errors.Join(conf.Field("to", errTo), conf.Field("from", errFrom))
}

// Filter rejects messages above its limits.
type Filter struct {
	max                 int64
	recipients, senders []limit
}

// limit is a size for the addresses that match its patterns.
type limit struct {
	patterns mail.Patterns
	max      int64
}

// New returns the filter.
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

// AtMail rejects a message whose announced size is too large for every
// recipient.
func (f *Filter) AtMail(_ context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	return verdict(tx.Envelope.Size, f.highest(tx.Envelope.From)), nil
}

// AtRcpt rejects a recipient whose limit is below the announced size.
func (f *Filter) AtRcpt(_ context.Context, tx *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	return verdict(tx.Envelope.Size, f.between(tx.Envelope.From, r.To)), nil
}

// Limit returns the size limit for the message of tx, in octets.
func (f *Filter) Limit(tx *mail.Transaction) int64 {
	limit := f.highest(tx.Envelope.From)
	for _, r := range tx.Envelope.Rcpts {
		limit = min(limit, f.between(tx.Envelope.From, r.To))
	}
	return limit
}

// AtData checks the actual size of the message, regardless of the announced
// one.
func (f *Filter) AtData(_ context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	return verdict(m.Base.Size(), f.Limit(tx)), nil
}

// highest returns the highest limit that any recipient can have for a sender.
func (f *Filter) highest(from mail.Address) int64 {
	if limit, ok := pick(f.senders, from); ok {
		return limit
	}
	highest := f.max
	for _, l := range f.recipients {
		highest = max(highest, l.max)
	}
	return highest
}

// between returns the limit for mail from a sender to a recipient.
func (f *Filter) between(from, to mail.Address) int64 {
	sender, known := pick(f.senders, from)
	recipient, ok := pick(f.recipients, to)
	switch {
	case known && ok:
		return min(sender, recipient)
	case known:
		return sender
	case ok:
		return recipient
	}
	return f.max
}

// pick returns the first limit whose patterns match the address.
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
	return filters.Rejected(552, "5.3.4", "Message size exceeds limit of %s", conf.Bytes(max))
}
