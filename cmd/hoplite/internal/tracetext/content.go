package tracetext

import (
	"fmt"
	"strings"

	"hoplite/mail/trace/inspect"
)

// content lists the contents of a message other than text.
func content(s *Screen, c *inspect.Content) {
	if !c.Notable() {
		return
	}
	s.heading("Content")
	if c.SMIME != nil {
		text := c.SMIME.Verdict
		if len(c.Signers) > 0 {
			text += ", signed by " + strings.Join(c.Signers, " and by ")
		}
		s.wrapped("  S/MIME  ", 10, text+"; the signers' certificates are not verified here: see hoplite smime")
	}
	for _, p := range c.Parts {
		s.wrapped(fmt.Sprintf("  %-6s  ", s.words(p.Part)), 10, p.String())
	}
}
