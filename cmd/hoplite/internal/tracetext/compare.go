package tracetext

import (
	"fmt"

	"hoplite/mail/trace"
)

// Comparison prints the differences between two copies.
func Comparison(s *Screen, c *trace.Comparison) {
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
