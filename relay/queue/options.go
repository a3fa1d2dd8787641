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

// Settings holds options that can be changed while the queue is running.
type Settings struct {
	Hostname string // this server's name in reports
	// Postmaster receives the reports that cannot be sent to the original
	// sender. If it is empty, they are only logged.
	Postmaster mail.Address
	// Workers is the maximum number of concurrent attempts across all
	// destinations; 0 means 200.
	Workers int
	// HoldTime is how long a held message is kept; 0 means 30 days.
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
	// Free returns the disk's free space in octets. If it is nil, the space is
	// never checked.
	Free func() (int64, error)
	// Inject is the folder data/queue/inject; empty disables injection.
	Inject string
	// Sender returns the reverse path for mail to r. It differs from the from
	// argument if bounces of forwarded mail must return to this server (SRS).
	// If Sender is nil, from is always used.
	Sender func(from mail.Address, r mail.Rcpt) mail.Address
	// Sign signs a report or notice composed by the queue for an upstream, or
	// returns it unchanged. If it is nil, nothing is signed.
	Sign func(upstream string, m *mail.Message) *mail.Message
	// Attempted is called after each attempt.
	Attempted func(a Attempt)
	// Resized is called with the number of queued messages whenever it has
	// changed. It must return immediately and must not call the queue.
	Resized func(messages int)
	Log     zerolog.Logger
}

// Attempt is the result of one attempt, as stored in history.
type Attempt = story.Attempt

// Router is the name of the upstream that receives mail without a specific
// upstream. Its hop routes by recipient.
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
	// Ping, if not nil, checks whether a server can be reached: one of the
	// upstream's, or one of the domain's if the upstream is PerDomain. It is
	// called every few seconds while mail waits because no server could be
	// reached.
	Ping func(ctx context.Context, domain string) error
	// AcceptsAll, if not nil, reports whether the upstream is known to accept
	// every recipient at a domain, even nonexistent ones.
	AcceptsAll func(domain string) bool
	// Unchecked is set if Check accepts every recipient without asking anyone.
	Unchecked bool
	schedule.Policy
}

// RouteFinder is implemented by a Router's hop that can determine a recipient's
// upstream without delivering. It also returns the recipient as passed to that
// upstream. An error is the reply to RCPT.
type RouteFinder interface {
	Route(tx *mail.Transaction, r mail.Rcpt) (upstream string, to mail.Rcpt, err error)
}
