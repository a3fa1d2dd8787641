package dsn

import (
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// words returns the human-readable text: the outcome, the server that reported
// it, and the next step.
func (r *Report) words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail server %s.\n\n", safe.Header(r.Hostname))
	switch {
	case r.Why != "":
		b.WriteString(r.Why)
	case r.Kind == Failed:
		b.WriteString("Your message could not be delivered to the recipients below. It will not be\ntried again.")
	case r.Kind == Delayed:
		b.WriteString("Your message has not yet been delivered to the recipients below. This server\nkeeps trying; you need not send it again.")
	case r.Kind == Relayed:
		b.WriteString("Your message was passed on to the next server, which may not report its\ndelivery.")
	default:
		b.WriteString("Your message was delivered. You asked for this confirmation.")
	}
	b.WriteString("\n")
	for i := range r.Rcpts {
		r.wordsFor(&b, &r.Rcpts[i])
	}
	fmt.Fprintf(&b, "\nYour message was received on %s. Its id is\n\n    %s\n\n", r.Arrived.Format("2 January 2006 at 15:04:05 -0700"), r.Original)
	b.WriteString("Please quote this id if you ask your mail administrator about it.\n")
	return b.String()
}

// wordsFor adds the text about one recipient.
func (r *Report) wordsFor(b *strings.Builder, rc *Rcpt) {
	fmt.Fprintf(b, "\n  %s\n", safe.Header(string(rc.To)))
	if rc.Orig != "" && rc.Orig != rc.To {
		fmt.Fprintf(b, "    (you wrote to %s, which forwards to this address)\n", safe.Header(string(rc.Orig)))
	}
	if r.Kind != Failed && r.Kind != Delayed {
		return
	}
	said := "reason"
	if rc.Reply.Host != "" {
		said = safe.Header(rc.Reply.Host) + " said"
	}
	fmt.Fprintf(b, "    %s: %s\n", said, safe.Header(strings.ReplaceAll(rc.Reply.String(), "\n", " ")))
	if r.Kind == Failed && !rc.Reply.Permanent() {
		b.WriteString("    This is a temporary failure, but it has persisted for too long.\n")
	}
	if r.Kind == Delayed && !rc.Until.IsZero() {
		fmt.Fprintf(b, "    Delivery is tried until %s.\n", rc.Until.Format("2 January 2006 at 15:04 -0700"))
	}
	if next := nextStep(rc.Reply); next != "" {
		fmt.Fprintf(b, "    What to do: %s\n", next)
	}
}

// nextStep returns the advice for a reply's codes, the enhanced code first.
func nextStep(r mail.Reply) string {
	for _, code := range []string{r.Enhanced, fmt.Sprint(r.Code)} {
		if code == "" {
			continue
		}
		for _, m := range mail.LookupCode(code) {
			if m.Next != "" {
				return m.Next
			}
		}
	}
	return ""
}
