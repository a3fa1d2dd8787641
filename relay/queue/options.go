package queue

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/mail/story"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/report"
	"hoplite/relay/queue/schedule"
)

// Settings holds options that may be changed while the queue runs.
type Settings struct {
	Hostname string // this server's name in reports
	// Postmaster gets the reports that cannot be returned to a sender. If it is
	// empty, they are only logged.
	Postmaster mail.Address
	// Workers bounds the concurrent attempts over all destinations; 0 means 200.
	Workers int
	// HoldTime is the time for which a held message is kept; 0 means 30 days.
	HoldTime time.Duration
	// Reserve is the amount of free space, in octets, below which new mail is
	// refused.
	Reserve int64
}

// reporter returns the sender of reports.
func (s *Settings) reporter() report.Sender {
	return report.Sender{Hostname: s.Hostname, Postmaster: s.Postmaster}
}

// Options configures a Queue.
type Options struct {
	Journal journal.Journal
	Settings
	// Free returns the free space of the disk in octets; nil means that it is
	// never checked.
	Free func() (int64, error)
	// Inject is the folder data/queue/inject; empty disables injection.
	Inject string
	// Sender returns the reverse path for mail to r. It differs from from if
	// bounces of forwarded mail must return to this server (SRS). nil means
	// that from is always used.
	Sender func(from mail.Address, r mail.Rcpt) mail.Address
	// Attempted is called after each attempt.
	Attempted func(a Attempt)
	// Resized is called with the number of queued messages whenever it has
	// changed. It must return at once and must not call the queue.
	Resized func(messages int)
	Log     zerolog.Logger
}

// Attempt is the result of one attempt, as stored in history.
type Attempt = story.Attempt

// Router is the name of the upstream for mail without an upstream of its own.
// Its hop routes by recipient.
const Router = schedule.Router

// Upstream is one configured next hop for queued mail.
type Upstream struct {
	Name string
	Hop  mail.Hop // makes one attempt
	// PerDomain makes each recipient domain a separate destination, as for
	// delivery by MX; otherwise the whole upstream is one destination.
	PerDomain bool
	// Check, if not nil, is called for each recipient before the queue accepts
	// it; an error is the reply to RCPT.
	Check func(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error
	// Ping, if it is not nil, reports whether a server can be reached: of the
	// upstream, or of a domain if the upstream is PerDomain. It is called every few
	// seconds while mail waits because none could be.
	Ping func(ctx context.Context, domain string) error
	// AcceptsAll, if not nil, reports whether the upstream is known to accept
	// every recipient at a domain, even nonexistent ones.
	AcceptsAll func(domain string) bool
	// Unchecked is set if Check accepts every recipient without asking anyone.
	Unchecked bool
	schedule.Policy
}

// RouteFinder is implemented by a Router's hop that can determine the upstream
// of a recipient without delivering. It also returns the recipient as passed to
// that upstream. An error is the reply to RCPT.
type RouteFinder interface {
	Route(tx *mail.Transaction, r mail.Rcpt) (upstream string, to mail.Rcpt, err error)
}
