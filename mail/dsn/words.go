package dsn

import (
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// words is the part for people: what happened, in whose words, what now.
func (r *Report) words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail server %s.\n\n", safe.Header(r.Hostname))
	switch {
	case r.Why != "":
		b.WriteString(r.Why)
	case r.Kind == Failed:
		b.WriteString("Your message could not be delivered to the recipients below. It will not be\ntried again.")
	case r.Kind == Delayed:
		b.WriteString("Your message has not been delivered yet to the recipients below. We keep\ntrying; you need not send it again.")
	case r.Kind == Relayed:
		b.WriteString("Your message was passed on. The servers from here on may not report\nits delivery.")
	default:
		b.WriteString("Your message was delivered, as you asked to be told.")
	}
	b.WriteString("\n")
	for i := range r.Rcpts {
		r.wordsFor(&b, &r.Rcpts[i])
	}
	fmt.Fprintf(&b, "\nYour message came to us on %s. Our name for it is\n\n    %s\n\n", r.Arrived.Format("2 January 2006 at 15:04:05 -0700"), r.Original)
	b.WriteString("Please quote that if you ask your mail administrator about it.\n")
	return b.String()
}

func (r *Report) wordsFor(b *strings.Builder, rc *Rcpt) {
	fmt.Fprintf(b, "\n  %s\n", safe.Header(string(rc.To)))
	if rc.Orig != "" && rc.Orig != rc.To {
		fmt.Fprintf(b, "    (you wrote to %s, whose mail goes there)\n", safe.Header(string(rc.Orig)))
	}
	if r.Kind != Failed && r.Kind != Delayed {
		return
	}
	said := "our own note"
	if rc.Reply.Host != "" {
		said = safe.Header(rc.Reply.Host) + " said"
	}
	fmt.Fprintf(b, "    %s: %s\n", said, safe.Header(strings.ReplaceAll(rc.Reply.String(), "\n", " ")))
	if r.Kind == Failed && !rc.Reply.Permanent() {
		b.WriteString("    That is a temporary answer, but it has lasted too long.\n")
	}
	if r.Kind == Delayed && !rc.Until.IsZero() {
		fmt.Fprintf(b, "    We try until %s.\n", rc.Until.Format("2 January 2006 at 15:04 -0700"))
	}
	if next := nextStep(rc.Reply); next != "" {
		fmt.Fprintf(b, "    What to do: %s\n", next)
	}
}

// nextStep is what our table of codes advises, the enhanced code first.
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
