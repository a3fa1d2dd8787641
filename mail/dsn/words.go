package dsn

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"hoplite/mail"
	"hoplite/mail/safe"
	"hoplite/mail/story"
)

// words returns the human-readable text: the outcome, the other server's reply
// in the format of mail/story, and the next step.
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
	for _, l := range story.Outcomes([]mail.Outcome{{Rcpt: rc.To, Host: rc.Reply.Host, Reply: rc.Reply}}) {
		wrap(b, "    reply   ", l.Text)
		for _, m := range l.Means {
			wrap(b, fmt.Sprintf("    %-7s ", m.Code), m.Title)
			wrap(b, "            ", strings.Join(m.Why, "; "))
			wrap(b, "    next    ", m.Next)
		}
	}
	if r.Kind == Failed && !rc.Reply.Permanent() {
		b.WriteString("    This is a temporary failure, but it has persisted for too long.\n")
	}
	if r.Kind == Delayed && !rc.Until.IsZero() {
		fmt.Fprintf(b, "    Delivery is tried until %s.\n", rc.Until.Format("2 January 2006 at 15:04 -0700"))
	}
}

// textWidth is the column at which report text is wrapped.
const textWidth = 76

// wrap adds wrapped text after a label. It does nothing if text is empty.
func wrap(b *strings.Builder, label, text string) {
	if text == "" {
		return
	}
	line, n := label, len(label)
	for word := range strings.FieldsSeq(text) {
		w := utf8.RuneCountInString(word)
		if n > len(label) && n+1+w > textWidth {
			b.WriteString(line + "\n")
			line, n = strings.Repeat(" ", len(label)), len(label)
		}
		if n > len(label) {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+w
	}
	b.WriteString(line + "\n")
}
