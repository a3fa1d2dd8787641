// Package filters says what a filter is, what a verdict is, and runs the
// chain of them that a listener names.
//
// A filter looks and answers; it knows neither the session nor the hop. Each
// filter has a folder of its own; filters/all is the list that turns a name in
// relay.hcl into one.
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

// Filter is anything with at least one of the stages below. A filter serves
// many transactions at once.
type Filter any

// Connecter judges a connection, at its first MAIL and again when the client
// has become another one (EHLO, login): by then its names, TLS and login are
// known, and clients that send nothing cost no look-ups. tx has its Client.
type Connecter interface {
	AtConnect(ctx context.Context, tx *mail.Transaction) (Verdict, error)
}

// Mailer judges the reverse path.
type Mailer interface {
	AtMail(ctx context.Context, tx *mail.Transaction) (Verdict, error)
}

// Rcpter judges one recipient. tx.Envelope.Rcpts holds those before it.
type Rcpter interface {
	AtRcpt(ctx context.Context, tx *mail.Transaction, r *mail.Rcpt) (Verdict, error)
}

// Dataer judges the message as the sender sent it: none of our fields are on
// it, other than those that filters before this one put on top.
type Dataer interface {
	AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (Verdict, error)
}

// Limiter is a Dataer that need not wait for the end of the message: Limit
// gives the most octets that it will let in for the recipients of tx, 0 for
// any number. The door stops keeping what is beyond it while it flows.
type Limiter interface {
	Limit(tx *mail.Transaction) int64
}

// Keeper is a filter that remembers over a restart: Keep writes what it knows to
// disk. It is called before a new configuration makes its own filters, and at
// the end.
type Keeper interface {
	Keep() error
}

// Prober is a filter that needs another program or service: Probe asks it
// whether it is there, for hoplite check --probe.
type Prober interface {
	Probe(ctx context.Context) error
}

// Finisher is a route's last stage, after every edit: it signs or seals what
// goes out and returns the fields to put on top.
type Finisher interface {
	AtSend(ctx context.Context, tx *mail.Transaction, m *mail.Message) ([]byte, error)
}

// Env is what a filter is given besides its own configuration.
type Env struct {
	Hostname string // our name, the authserv-id
	// Names are the names of this server: those of the pattern "local".
	Names []string
	// Data is the data folder; a filter keeps its state in state/NAME-PLACE below.
	Data string
	// Place tells it from others of its kind, fit for the name of a file.
	Place   string
	Log     zerolog.Logger
	Trusted []netip.Prefix // whose Received lines we believe
	// DNS answers questions; it remembers what it heard.
	DNS resolve.Resolver
}

// Action is what becomes of a message.
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

// Verdict is a filter's answer. The zero Verdict lets the message pass.
type Verdict struct {
	Action Action
	// Reply is the answer to the client for Reject and Defer.
	Reply *mail.Reply
	// Reason says why in a person's words; Facts are the evidence. Both go on
	// the trail.
	Reason string
	Facts  []mail.Fact
	// Auth are results for Authentication-Results.
	Auth []mail.AuthResult
	// Edits, with any action that lets the message go on.
	Edits
}

// Edits are the changes that a verdict makes.
type Edits struct {
	// Top are complete fields, CRLF at the end of each, to put above all
	// others; Drop are fields of the message's Head to leave out.
	Top  []byte
	Drop []mail.Span
	// Message replaces the octets altogether; only filters that say so in
	// their documentation do that (DESIGN D10).
	Message *mail.Message
	// To replaces the recipient (at RCPT) or all of them (at DATA) with
	// Redirect.
	To mail.Address
	// From replaces the reverse path; AddRcpts and DropRcpts change the
	// recipients. All of them at DATA only.
	From      *mail.Address
	AddRcpts  []mail.Address
	DropRcpts []mail.Address
}

// Rejected refuses for good.
func Rejected(code int, enhanced, format string, args ...any) Verdict {
	return Verdict{Action: Reject, Reply: mail.NewReply(code, enhanced, format, args...)}
}

// Deferred refuses for now.
func Deferred(code int, enhanced, format string, args ...any) Verdict {
	return Verdict{Action: Defer, Reply: mail.NewReply(code, enhanced, format, args...)}
}

// Tagged lets the message pass with a note on its trail.
func Tagged(reason string, facts ...mail.Fact) Verdict {
	return Verdict{Action: Tag, Reason: reason, Facts: facts}
}

// Quarantined lets the message pass into Junk, or into a queue's held mail.
func Quarantined(reason string, facts ...mail.Fact) Verdict {
	return Verdict{Action: Quarantine, Reason: reason, Facts: facts}
}

// Acted does what a rule's action says with a finding: Tag and Quarantine let
// the message pass with the words as their reason, Reject and Defer refuse with
// them (5xx and enhanced become 4xx for Defer).
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

// Known says that a client is one of ours, or in front of us: what authenticates
// strangers passes it by.
func Known(c *mail.Client) bool { return c.Trusted || c.MayRelay || c.User != "" }
