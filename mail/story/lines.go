package story

import (
	"fmt"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/mail/refusal"
	"hoplite/mail/safe"
	"hoplite/mail/trace"
)

func (t *teller) transaction(s *Summary) {
	t.story.Good = s.Verdict == "accepted"
	title := s.Verdict
	// The reply may mention any recipient.
	if s.Reply.Code != 0 && (t.whole || len(s.Envelope.Rcpts) == 1) {
		title += ": " + s.Reply.String()
	}
	t.story.Title = safe.Line(title)
	t.envelope(s)
	if s.Trail != nil {
		t.trail(s.Trail, s.At)
	}
}

// envelope adds the sender, the recipients and how the message was received.
func (t *teller) envelope(s *Summary) {
	t.add("from", bracketed(s.Envelope.From))
	for i := range s.Envelope.Rcpts {
		r := &s.Envelope.Rcpts[i]
		switch {
		case !t.may(r.To) && !t.may(r.Orig):
		case r.Orig != "" && r.Orig != r.To:
			t.add("to", bracketed(r.To)+", addressed as "+bracketed(r.Orig))
		default:
			t.add("to", bracketed(r.To))
		}
	}
	t.arrival(&s.Client, &s.Header)
	if s.Took > 0 {
		t.add("took", trace.Words(s.Took))
	}
}

func (t *teller) arrival(c *mail.Client, h *mail.HeaderInfo) {
	t.add("client", clientText(c))
	t.add("login", c.User)
	t.add("TLS", tlsText(c.TLS))
	t.add("message", h.MessageID)
	if h.Size > 0 {
		t.add("size", fmt.Sprintf("%d bytes, %s before this server", h.Size, count(h.Hops, "hop")))
	}
}

func (t *teller) attempt(a *Attempt) {
	t.story.Good = true
	t.story.Title = safe.Line("attempt at " + a.Upstream)
	if wait := a.Started.Sub(a.Queued); wait > 0 && !a.Queued.IsZero() {
		t.add("waited", trace.Words(wait)+" in the queue")
	}
	t.outcomes(a.Outcomes)
	if t.whole && !a.Final {
		t.add("queue", "the message is still in the queue")
	}
}

// trail adds the events of filters and hops, with the time elapsed since start.
func (t *teller) trail(trail *mail.Trail, start time.Time) {
	for i := range trail.Events {
		if e := &trail.Events[i]; e.Rcpt == "" || t.may(e.Rcpt) {
			after := max(0, e.At.Sub(start)).Round(time.Millisecond)
			line := t.add("+"+after.String(), t.eventText(e))
			if e.Verdict == "reject" || e.Verdict == "defer" {
				line.State = Bad
			}
		}
	}
	for _, a := range trail.Auth {
		line := t.add(a.Method, strings.TrimSpace(a.Value+" "+a.Reason))
		switch a.Value {
		case "pass":
			line.State = Good
		case "fail", "permerror":
			line.State = Bad
		}
	}
	t.outcomes(trail.Outcomes)
}

// eventText describes one event of the trail. It includes evidence only if the
// viewer may see the whole record.
func (t *teller) eventText(e *mail.Event) string {
	text := fmt.Sprintf("%s, %s: %s", e.Stage, e.By, e.Verdict)
	if e.Rcpt != "" {
		text += " for " + bracketed(e.Rcpt)
	}
	if e.Reply != nil {
		text += ", " + e.Reply.String()
	}
	if e.Reason != "" {
		text += ", " + e.Reason
	}
	if t.whole {
		for _, f := range e.Facts {
			text += fmt.Sprintf(" [%s %s]", f.Key, f.Value)
		}
	}
	if e.Took >= time.Millisecond {
		text += ", took " + trace.Words(e.Took)
	}
	if e.Shadow {
		text += " (shadow mode: without effect)"
	}
	return text
}

// outcomes adds the replies from the next servers.
func (t *teller) outcomes(list []mail.Outcome) {
	for i := range list {
		o := &list[i]
		if !t.may(o.Rcpt) {
			continue
		}
		line := t.add("sent", outcomeText(o))
		if o.Reply.Positive() {
			line.State = Good
			continue
		}
		t.story.Good = false
		line.State = Bad
		for _, m := range refusal.Explain(o.Reply.String()) {
			line.Means = append(line.Means, Meaning{m.Code, m.Title, m.Why, m.Next})
		}
	}
}

func outcomeText(o *mail.Outcome) string {
	text := bracketed(o.Rcpt)
	if o.Hop != "" {
		text += " → " + o.Hop
	}
	if o.Host != "" {
		text += " at " + o.Host
		if o.Addr != "" {
			text += " [" + o.Addr + "]"
		}
	}
	text += ": " + o.Reply.String()
	if o.RemoteID != "" {
		text += ", remote id " + o.RemoteID
	}
	switch {
	case o.Proof != "":
		text += ", " + o.Proof
	case o.TLS != "":
		text += ", " + o.TLS
	}
	if o.Took >= time.Millisecond {
		text += ", took " + trace.Words(o.Took)
	}
	return text
}

func bracketed(a mail.Address) string { return "<" + string(a) + ">" }

// clientText describes the client and the listener to which it connected.
func clientText(c *mail.Client) string {
	if c.Listener == "" && c.Helo == "" {
		return "" // composed by this server
	}
	text := "a Unix socket"
	if c.Addr.IsValid() {
		text = c.Addr.Addr().String()
	}
	if c.Name != "" {
		text = c.Name + " [" + text + "]"
	}
	if c.Helo != "" {
		text += ", HELO " + c.Helo
	}
	if c.Listener != "" {
		text += ", at listener " + c.Listener
	}
	return text
}

func tlsText(t *mail.TLS) string {
	if t == nil {
		return ""
	}
	text := t.Version + " " + t.Cipher
	if t.Name != "" {
		text += ", for the name " + t.Name
	}
	if t.Verified {
		text += ", certificate verified"
	}
	if t.Legacy {
		text += ", allowed only by the legacy profile"
	}
	return text
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Trail returns only the lines of a trail, for a message that arrived at start
// and is still queued.
func Trail(trail *mail.Trail, start time.Time) []Line {
	if trail == nil {
		return nil
	}
	t := teller{whole: true}
	t.trail(trail, start)
	return t.story.Lines
}

// Arrival returns the lines about the arrival of a message that is still
// queued.
func Arrival(c *mail.Client, h *mail.HeaderInfo) []Line {
	t := teller{whole: true}
	t.arrival(c, h)
	return t.story.Lines
}

// Outcomes returns the lines about the replies for some recipients, for a delivery
// report.
func Outcomes(list []mail.Outcome) []Line {
	t := teller{whole: true}
	t.outcomes(list)
	return t.story.Lines
}
