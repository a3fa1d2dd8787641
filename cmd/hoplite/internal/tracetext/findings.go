package tracetext

import (
	"fmt"
	"strings"

	"hoplite/mail/trace"
)

// findings prints the findings, worst first.
func findings(s *Screen, t *trace.Trace) {
	if len(t.Findings) == 0 {
		return
	}
	s.heading("Findings")
	for _, f := range t.BySeverity() {
		colour := map[string]string{trace.Problem: red, trace.Warning: yellow}[f.Severity]
		s.wrapped("  "+s.paint(colour, fmt.Sprintf("%-8s", f.Severity)), 10, f.Text)
		if f.Code == trace.OursCode && t.OursHint != nil {
			f.Advice += fmt.Sprintf(": --ours %s --trusted %s", t.OursHint.Names, t.OursHint.Addr)
		}
		if f.Advice == "" {
			continue
		}
		arrow := "→ "
		if s.ascii {
			arrow = "> "
		}
		s.wrapped(strings.Repeat(" ", 10)+s.paint(dim, arrow), 12, f.Advice)
	}
}

// auth prints the authentication results and the server that claims each of
// them.
func auth(s *Screen, t *trace.Trace) {
	if len(t.Auth) == 0 {
		return
	}
	s.heading("Authentication results")
	for _, c := range t.Auth {
		colour := map[string]string{"pass": green, "fail": red}[c.Result]
		s.wrapped(fmt.Sprintf("  %-8s %s ", s.words(c.Method), s.paint(colour, fmt.Sprintf("%-9s", s.words(c.Result)))), 21, source(&c)+" "+c.Detail)
	}
}

// source describes the server that produced a result, including whether it can
// be trusted.
func source(c *trace.AuthClaim) string {
	who := orWord(c.By, "(unnamed)")
	if c.Instance > 0 {
		who += fmt.Sprintf(" (ARC %d)", c.Instance)
	}
	switch {
	case c.Now && c.Field == "":
		return "evaluated now."
	case c.Now:
		return c.Field + ", verified now."
	case c.Trusted:
		return c.Field + " by " + who + ", trusted."
	}
	return c.Field + " by " + who + ", claimed."
}

func scores(s *Screen, list []trace.Score) {
	if len(list) == 0 {
		return
	}
	s.heading("Filter scores")
	for _, c := range list {
		s.wrapped(fmt.Sprintf("  %-10s ", s.words(c.Name)), 13, fmt.Sprintf("%s: %s", c.Value, c.Words))
	}
}

// repairs prints what had to be repaired in the input.
func repairs(s *Screen, list []string) {
	for _, r := range list {
		fmt.Fprintln(s.w, s.paint(dim, "repaired: "+s.words(r)))
	}
}
