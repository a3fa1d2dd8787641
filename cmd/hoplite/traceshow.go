package main

import (
	"fmt"
	"strconv"
	"strings"

	"hoplite/mail"
	"hoplite/mail/received"
	"hoplite/mail/trace"
	"hoplite/mail/trace/intake"
)

func (s *screen) heading(t string) { fmt.Fprintf(s.w, "\n%s\n", s.paint(bold, t)) }

// findings prints the findings, the worst first.
func (s *screen) findings(list []trace.Finding) {
	if len(list) == 0 {
		return
	}
	s.heading("Findings")
	for _, sev := range [...]string{trace.Problem, trace.Warning, trace.Note} {
		for _, f := range list {
			if f.Severity != sev {
				continue
			}
			colour := map[string]string{trace.Problem: red, trace.Warning: yellow}[sev]
			s.wrapped("  "+s.paint(colour, fmt.Sprintf("%-8s", sev)), 10, f.Text)
			if f.Advice != "" {
				arrow := "→ "
				if s.ascii {
					arrow = "> "
				}
				s.wrapped(strings.Repeat(" ", 10)+s.paint(dim, arrow), 12, f.Advice)
			}
		}
	}
}

// auth prints the authentication results, and which server claims them.
func (s *screen) auth(t *trace.Trace) {
	if len(t.Auth) == 0 {
		return
	}
	s.heading("Authentication results")
	for _, c := range t.Auth {
		who := c.By
		if who == "" {
			who = "(unnamed)"
		}
		if c.Instance > 0 {
			who += fmt.Sprintf(" (ARC %d)", c.Instance)
		}
		belief := "claimed"
		if c.Believed {
			belief = "believed"
		}
		colour := map[string]string{"pass": green, "fail": red}[c.Result]
		s.wrapped(fmt.Sprintf("  %-8s %s ", c.Method, s.paint(colour, fmt.Sprintf("%-9s", c.Result))), 21, fmt.Sprintf("%s says %s, %s. %s", c.Field, who, belief, c.Detail))
	}
}

func (s *screen) scores(list []trace.Score) {
	if len(list) == 0 {
		return
	}
	s.heading("Filter scores")
	for _, c := range list {
		s.wrapped(fmt.Sprintf("  %-10s ", s.words(c.Name)), 13, fmt.Sprintf("%s: %s", c.Value, c.Words))
	}
}

func (s *screen) repairs(list []string) {
	for _, r := range list {
		fmt.Fprintln(s.w, s.paint(dim, "repaired: "+s.words(r)))
	}
}

// explain prints one line verbatim, with letters under its parts.
func (s *screen) explain(st *trace.Step) {
	fmt.Fprintf(s.w, "line %d, %s\n\n", st.Index, st.Trust)
	letters := make([]byte, len(st.Raw))
	for i := range letters {
		letters[i] = ' '
	}
	type part struct {
		letter byte
		name   string
		text   string
	}
	var parts []part
	for _, f := range received.Parts() {
		span, ok := st.Span(f)
		if !ok {
			continue
		}
		letter := byte('a' + len(parts))
		parts = append(parts, part{letter, f.String(), st.Raw[span.Start:span.End]})
		for i := span.Start; i < span.End; i++ {
			letters[i] = letter
		}
	}
	pos := 0
	for _, line := range strings.SplitAfter(st.Raw, "\n") {
		var shown, under strings.Builder
		for i, r := range line {
			if r == '\r' || r == '\n' {
				continue
			}
			shown.WriteString(s.words(string(r)))
			under.WriteByte(letters[pos+i])
		}
		pos += len(line)
		fmt.Fprintln(s.w, shown.String())
		if u := strings.TrimRight(under.String(), " "); u != "" {
			fmt.Fprintln(s.w, s.paint(yellow, u))
		}
	}
	fmt.Fprintln(s.w)
	for _, p := range parts {
		s.wrapped(fmt.Sprintf("  %s %-14s ", s.paint(yellow, string(p.letter)), p.name), 19, p.text)
	}
	if st.Defects != 0 {
		s.wrapped("  odd: ", 7, strings.Join(st.Defects.List(), ", "))
	}
	for _, r := range st.Reasons {
		s.wrapped("  trust: ", 9, r)
	}
}

// bounce explains a report and the path of its original message.
func (s *screen) bounce(b *intake.Bounce, o trace.Options) {
	if b.Complaint != nil {
		s.complaint(b.Complaint)
	} else {
		s.wrapped("", 0, "a report about another message, by "+orWord(b.Reporter, "an unnamed server"))
	}
	for i := range b.Recipients {
		r := &b.Recipients[i]
		s.wrapped("  ", 2, fmt.Sprintf("%s: %s %s", orWord(r.Rcpt, "a recipient"), orWord(r.Action, "failed"), r.Status))
		if r.Diagnostic != "" {
			s.wrapped("    ", 4, orWord(r.Remote, "the server")+" said: "+r.Diagnostic)
		}
		for _, m := range r.Meanings() {
			s.meaning(m)
		}
	}
	if len(b.Original) > 0 {
		s.heading("Path of the original message")
		s.trace(trace.Read(b.Original, o))
	}
	s.heading("Path of the report")
}

// complaint prints who complains about what.
func (s *screen) complaint(c *intake.Complaint) {
	s.wrapped("", 0, fmt.Sprintf("a complaint (%s) about another message, by %s", c.Type, orWord(c.Reporter, "an unnamed program")))
	for _, l := range [][2]string{
		{"sender", c.MailFrom}, {"recipient", strings.Join(c.Rcpts, ", ")}, {"address", c.SourceIP},
		{"domain", strings.Join(c.Domains, ", ")}, {"arrived", c.Arrived},
	} {
		if l[1] != "" {
			s.wrapped(fmt.Sprintf("  %-9s ", l[0]), storyIndent, l[1])
		}
	}
	if c.Incidents > 1 {
		s.wrapped("  incidents ", storyIndent, strconv.Itoa(c.Incidents))
	}
}

func (s *screen) meaning(m mail.Meaning) {
	s.wrapped("    "+fmt.Sprintf("%-7s", m.Code), 11, m.Title+": "+strings.Join(m.Why, "; "))
	if m.Next != "" {
		s.wrapped("    next   ", 11, m.Next)
	}
}

func orWord(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

// comparison prints the differences between two copies.
func (s *screen) comparison(c *trace.Comparison) {
	if c.Same {
		fmt.Fprintln(s.w, "the two copies are identical")
	}
	show := func(title string, list []trace.Change) {
		if len(list) == 0 {
			return
		}
		s.heading(title)
		for _, ch := range list {
			colour := map[string]string{"added": green, "lost": red, "changed": yellow}[ch.What]
			line := ch.Where
			if ch.Means != "" {
				line += ": " + ch.Means
			}
			s.wrapped("  "+s.paint(colour, fmt.Sprintf("%-8s", ch.What)), 10, line)
			if ch.Before != "" {
				s.wrapped("          - ", 12, ch.Before)
			}
			if ch.After != "" {
				s.wrapped("          + ", 12, ch.After)
			}
		}
	}
	show("Header", c.Headers)
	show("Parts", c.Parts)
	if len(c.Signing) > 0 {
		s.heading("Signatures")
		for _, l := range c.Signing {
			s.wrapped("  ", 2, l)
		}
	}
}
