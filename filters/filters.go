// Package filters defines filters and their verdicts, and runs a listener's
// chain of filters.
//
// A filter examines a transaction and returns a verdict; it does not call the
// session or the hop. Each filter has its own folder; filters/all maps the
// names in relay.hcl to filters. Start with [Filter], [Verdict] and [Chain].
package filters

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/rs/zerolog"

	"hoplite/internal/resolve"
	"hoplite/mail"
)

// Filter implements at least one of the stages below. A filter serves many
// transactions concurrently.
type Filter any

// Connecter checks a connection at its first MAIL, and again after another EHLO
// or a login. At that point its names, TLS state and login are known, and
// clients that send no mail cause no look-ups. tx holds the Client.
type Connecter interface {
	AtConnect(ctx context.Context, tx *mail.Transaction) (Verdict, error)
}

// Mailer checks the reverse path.
type Mailer interface {
	AtMail(ctx context.Context, tx *mail.Transaction) (Verdict, error)
}

// Rcpter checks one recipient. tx.Envelope.Rcpts holds the earlier ones.
type Rcpter interface {
	AtRcpt(ctx context.Context, tx *mail.Transaction, r *mail.Rcpt) (Verdict, error)
}

// Dataer checks the message as the sender sent it, without our own fields
// except those that earlier filters have added at the top.
type Dataer interface {
	AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (Verdict, error)
}

// Limiter is a Dataer that can decide before the end of the message: Limit
// returns the size limit for the recipients of tx in octets, or 0 if there is
// none. The server stops storing a message at the limit.
type Limiter interface {
	Limit(tx *mail.Transaction) int64
}

// Keeper is a filter with state that survives a restart. Keep writes the state
// to disk; it is called before the filters of a new configuration are created,
// and at shutdown.
type Keeper interface {
	Keep() error
}

// Prober is a filter that needs another program or service: Probe reports
// whether it is available, for hoplite check --probe.
type Prober interface {
	Probe(ctx context.Context) error
}

// Finisher is the last stage of a route, after every edit: it signs or seals
// the outgoing message and returns the fields to add at the top.
type Finisher interface {
	AtSend(ctx context.Context, tx *mail.Transaction, m *mail.Message) ([]byte, error)
}

// Env holds what a filter needs in addition to its own configuration.
type Env struct {
	Hostname string // our name, used as authserv-id
	// Names lists the names of this server, which the pattern "local" matches.
	Names []string
	// Data is the data folder, in which a filter keeps its state as
	// state/NAME-PLACE.
	Data string
	// Place distinguishes filters of the same kind; it can be used in file
	// names.
	Place   string
	Log     zerolog.Logger
	Trusted []netip.Prefix // servers whose Received lines are trusted
	// DNS is the resolver; it caches answers.
	DNS resolve.Resolver
}

// Action is the action to take on a message.
type Action string

// The actions. The empty Action is Pass.
const (
	Pass       Action = "pass"
	Tag        Action = "tag"
	Reject     Action = "reject"
	Defer      Action = "defer"
	Quarantine Action = "quarantine"
	Discard    Action = "discard"
	Redirect   Action = "redirect"
)

// Verdict is the result of a filter. The zero Verdict lets the message pass.
type Verdict struct {
	Action Action
	// Reply is sent to the client for Reject and Defer.
	Reply *mail.Reply
	// Delay is set with Defer if the client only has to come back later, as in
	// greylisting. A recipient that does not exist is then refused at once.
	Delay bool
	// Reason explains the verdict as text; Facts holds the evidence. Both are
	// added to the trail.
	Reason string
	Facts  []mail.Fact
	// Auth holds results for Authentication-Results.
	Auth []mail.AuthResult
	// Edits is applied with any action that lets the message continue.
	Edits
}

// Edits holds the changes that a verdict makes to the message and its envelope.
type Edits struct {
	// Top holds complete fields, each ending in CRLF, to add above all others;
	// Drop lists fields of the message's Head to remove.
	Top  []byte
	Drop []mail.Span
	// Message replaces the whole message. Only filters that document it do
	// this.
	Message *mail.Message
	// To replaces the recipient (at RCPT) or all recipients (at DATA) if the
	// action is Redirect.
	To mail.Address
	// From replaces the reverse path; AddRcpts and DropRcpts change the
	// recipients. All three apply at DATA only.
	From      *mail.Address
	AddRcpts  []mail.Address
	DropRcpts []mail.Address
}

// Rejected returns a verdict that rejects permanently.
func Rejected(code int, enhanced, format string, args ...any) Verdict {
	return Verdict{Action: Reject, Reply: mail.NewReply(code, enhanced, format, args...)}
}

// Deferred returns a verdict that rejects temporarily.
func Deferred(code int, enhanced, format string, args ...any) Verdict {
	return Verdict{Action: Defer, Reply: mail.NewReply(code, enhanced, format, args...)}
}

// Tagged returns a verdict that lets the message pass and records the reason on
// its trail.
func Tagged(reason string, facts ...mail.Fact) Verdict {
	return Verdict{Action: Tag, Reason: reason, Facts: facts}
}

// Quarantined returns a verdict that delivers the message to Junk, or holds it
// in a queue.
func Quarantined(reason string, facts ...mail.Fact) Verdict {
	return Verdict{Action: Quarantine, Reason: reason, Facts: facts}
}

// Acted returns the verdict for a rule's action: Tag and Quarantine let the
// message pass with the text as their reason; Reject and Defer send it as the
// reply (for Defer, the code and the enhanced code become 4xx).
func Acted(a Action, code int, enhanced, format string, args ...any) Verdict {
	text := fmt.Sprintf(format, args...)
	switch a {
	case Reject:
		return Rejected(code, enhanced, "%s", text)
	case Defer:
		return Deferred(451, "4"+strings.TrimPrefix(enhanced, "5"), "%s", text)
	case Quarantine:
		return Quarantined(text)
	case Tag:
		return Tagged(text)
	}
	return Verdict{Reason: text}
}

// Known reports whether a client is one of our own users or servers, for which
// sender authentication is skipped.
func Known(c *mail.Client) bool { return c.Trusted || c.MayRelay || c.User != "" }
