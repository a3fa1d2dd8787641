package tracetext

import (
	"fmt"
	"strconv"
	"strings"

	"hoplite/mail/trace/inspect"
	"hoplite/mail/trace/intake"
)

// Report prints the report about a message; for a bounce or complaint, the
// original message comes first.
func Report(s *Screen, r *inspect.Report) {
	repairs(s, r.Repairs)
	if r.Bounce != nil {
		bounce(s, r)
	}
	Trace(s, r.Trace)
	content(s, r.Content)
	if r.Bounce == nil {
		known(s, r.Known)
	}
}

// bounce explains a report and shows the path of its original message.
func bounce(s *Screen, r *inspect.Report) {
	b := r.Bounce
	if b.Complaint != nil {
		complaint(s, b.Complaint)
	} else {
		s.wrapped("", 0, "a report about another message, by "+orWord(b.Reporter, "an unnamed server"))
	}
	if o := r.Original; o != nil {
		s.labelled("message", o.MessageID)
		s.labelled("written", o.Date)
	}
	for i := range b.Recipients {
		r := &b.Recipients[i]
		s.wrapped("  ", 2, fmt.Sprintf("%s: %s %s", orWord(r.Rcpt, "a recipient"), orWord(r.Action, "failed"), r.Status))
		if r.Original != "" {
			s.wrapped("    ", 4, "addressed as "+r.Original)
		}
		if r.Diagnostic != "" {
			s.wrapped("    ", 4, orWord(r.Remote, "the server")+" said: "+r.Diagnostic)
		}
		for _, m := range r.Meanings() {
			meaning(s, m)
		}
	}
	known(s, r.Known)
	if r.Original != nil && len(r.Original.Steps) > 0 {
		s.heading("Path of the original message")
		Trace(s, r.Original)
	}
	s.heading("Path of the report")
}

// known prints the message's records in this server's history.
func known(s *Screen, k *inspect.Known) {
	if k == nil {
		return
	}
	s.heading("In our own history, by " + s.words(k.By.String()))
	for i := range k.Stories {
		Story(s, &k.Stories[i])
	}
}

// complaint prints the details of a feedback report.
func complaint(s *Screen, c *intake.Complaint) {
	s.wrapped("", 0, fmt.Sprintf("a complaint (%s) about another message, by %s", c.Type, orWord(c.Reporter, "an unnamed program")))
	for _, l := range [][2]string{
		{"sender", c.MailFrom}, {"recipient", strings.Join(c.Rcpts, ", ")}, {"address", c.SourceIP},
		{"domain", strings.Join(c.Domains, ", ")}, {"arrived", c.Arrived},
	} {
		s.labelled(l[0], l[1])
	}
	if c.Incidents > 1 {
		s.wrapped("  incidents ", storyIndent, strconv.Itoa(c.Incidents))
	}
}

// labelled prints a detail of a report, unless it is empty.
func (s *Screen) labelled(label, text string) {
	if text != "" {
		s.wrapped(fmt.Sprintf("  %-9s ", label), storyIndent, text)
	}
}
