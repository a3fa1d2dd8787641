// Package report decides which reports are due for a queued message, and who
// receives them: bounces, delay notices, delivery confirmations, and copies and
// summaries for the postmaster. mail/dsn composes the reports; relay/queue
// stores and sends them.
//
// Start with For. The package uses no lock, disk or clock.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/mail/dsn"
	"hoplite/relay/queue/schedule"
)

// Sender identifies this server in reports. It also holds the address of the
// postmaster, who receives reports that have no other recipient.
type Sender struct {
	Hostname string
	// Postmaster may be empty. Reports without another recipient are then only
	// logged.
	Postmaster mail.Address
}

// About is the information that a report needs in addition to the message.
type About struct {
	Now      time.Time
	Lifetime time.Duration // how long delivery is attempted
	// InLine is set for a message that is not queued: it was refused by a hop,
	// not by an administrator.
	InLine bool
}

// For returns the reports that are due for a message after an attempt or an
// administrator's order. The reports in unsent have no recipient.
func (s *Sender) For(msg *schedule.Message, owed schedule.Owed, about About) (due, unsent []dsn.Report) {
	for _, part := range []struct {
		kind  dsn.Kind
		tag   string
		rcpts []int
	}{{dsn.Failed, "f", owed.Failed}, {dsn.Delayed, "d", owed.Delayed}, {successKind(msg, owed), "s", owed.Delivered}} {
		if len(part.rcpts) == 0 {
			continue
		}
		// The id is derived from the content of the report, so that a report
		// already queued before a crash is not queued again.
		first := part.rcpts[0]
		id := fmt.Sprintf("%s-%s%d", msg.ID, part.tag, msg.Rcpts[first].Attempts)
		if first > 0 {
			id += fmt.Sprintf("-%d", first)
		}
		r := s.About(id, msg, part.kind, part.rcpts, about)
		if r.To == "" {
			unsent = append(unsent, r)
			continue
		}
		due = append(due, r)
	}
	return due, unsent
}

// About returns a report about some recipients of a message, without the
// original message. To is empty if the report has no recipient.
func (s *Sender) About(id string, msg *schedule.Message, kind dsn.Kind, rcpts []int, about About) dsn.Report {
	r := dsn.Report{
		ID: id, Hostname: s.Hostname, At: about.Now, Kind: kind,
		Original: msg.ID, Arrived: msg.At, EnvID: msg.Envelope.EnvID, Ret: msg.Envelope.Ret, UTF8: msg.Envelope.UTF8,
	}
	r.To, r.Why = s.recipient(msg, kind, rcpts, about.InLine)
	for _, i := range rcpts {
		rc := dsn.Rcpt{Rcpt: msg.Envelope.Rcpts[i], At: msg.Rcpts[i].Tried, Until: msg.Since().Add(about.Lifetime)}
		if msg.Rcpts[i].Last != nil {
			rc.Reply = *msg.Rcpts[i].Last
		}
		r.Rcpts = append(r.Rcpts, rc)
	}
	return r
}

// successKind returns Delivered if the message reached a mailbox, and Relayed
// if it reached another server.
func successKind(msg *schedule.Message, owed schedule.Owed) dsn.Kind {
	for _, i := range owed.Delivered {
		if msg.Rcpts[i].Last.Host != "" {
			return dsn.Relayed
		}
	}
	return dsn.Delivered
}

// recipient returns the recipient of a report about some of a message's
// recipients and, if it is the postmaster, the reason. A message without a
// reverse path is itself a report, and reports about reports would never end
// (RFC 5321, 4.5.5). The owner of a forged address did not send the message.
// Failures that cannot be reported to the sender go to the postmaster, except
// for failures of mail to the postmaster.
//
// A remote client's sender may be forged. A refusal therefore goes to the
// postmaster if a recipient could not be checked before the message was
// accepted, for example because the upstream accepts every recipient, or if
// other recipients received the message first.
func (s *Sender) recipient(msg *schedule.Message, kind dsn.Kind, rcpts []int, inLine bool) (to mail.Address, why string) {
	late := msg.Unverified && kind == dsn.Failed && (inLine || slices.ContainsFunc(rcpts, func(i int) bool {
		r := msg.Rcpts[i].Last
		return r != nil && r.Permanent() && r.Host != "" // a server's refusal, not an administrator's order
	}))
	returned := cmp.Or(msg.Envelope.Owner, msg.Envelope.From)
	switch {
	case msg.Envelope.From != "" && !msg.Forged && !late && (msg.Envelope.Owner == "" || returned.Key() != s.Postmaster.Key()):
		return returned, ""
	case kind != dsn.Failed, s.Postmaster == "",
		strings.Count(msg.ID, "-f") > 1, // a report about a report
		slices.ContainsFunc(rcpts, func(i int) bool { return s.isPostmaster(msg.Envelope.Rcpts[i]) }):
		return "", ""
	case msg.Envelope.Owner != "":
		return s.Postmaster, "The message below could not be delivered. It was sent on behalf of a device or\n" +
			"program that has no mailbox, so this report was sent to you as postmaster."
	case msg.Forged:
		return s.Postmaster, "The message below could not be delivered. Its sender failed SPF or DMARC and is\n" +
			"probably forged, so the report was sent to you as postmaster instead."
	case late:
		return s.Postmaster, "The message below was refused for a recipient after it had been accepted here, and\n" +
			"nothing proves that its sender sent it. Reports about such mail would reach people\n" +
			"whose addresses were forged, so this report was sent to you as postmaster instead."
	}
	return s.Postmaster, "The message below could not be delivered, and it has no sender to return it to\n" +
		"(it is probably a report itself), so this report was sent to you as postmaster."
}

func (s *Sender) isPostmaster(r mail.Rcpt) bool {
	key := s.Postmaster.Key()
	return r.To.Key() == key || r.Orig.Key() == key
}

// Authenticated reports whether SPF or DMARC proves that a message was sent by
// the domain of its sender.
func Authenticated(t *mail.Trail) bool {
	return t != nil && slices.ContainsFunc(t.Auth, func(a mail.AuthResult) bool {
		return (a.Method == "spf" || a.Method == "dmarc") && strings.EqualFold(a.Value, "pass")
	})
}

// Forged reports whether SPF or DMARC failed for a message, so that a report
// might go to an uninvolved third party.
func Forged(t *mail.Trail) bool {
	if t == nil {
		return false
	}
	return slices.ContainsFunc(t.Auth, func(a mail.AuthResult) bool {
		return (a.Method == "spf" || a.Method == "dmarc") && strings.EqualFold(a.Value, "fail")
	})
}
