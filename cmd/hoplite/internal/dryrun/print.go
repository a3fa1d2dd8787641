package dryrun

import (
	"fmt"
	"io"
	"strings"
	"time"

	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/mail"
)

// Print prints the dialogue, the verdicts and the routes.
func (x *Explanation) Print(w io.Writer) {
	fmt.Fprintf(w, "Listener %s, chain %s. A dry run: nothing is sent.\n\n", x.Listener, x.Chain)
	for _, l := range x.Dialogue {
		if l.Client != "" {
			terminal.Wrap(w, "  C: ", withoutToken(l.Client))
		}
		for _, s := range l.Server {
			terminal.Wrap(w, "  S: ", s)
		}
	}
	if len(x.trail.Events)+len(x.Rules) > 0 {
		fmt.Fprintln(w, "\nRules")
		for i := range x.trail.Events {
			printEvent(w, &x.trail.Events[i])
		}
		for _, r := range x.Rules {
			terminal.Wrap(w, fmt.Sprintf("  %-7s %-12s ", r.Stage, r.Name), r.Text)
		}
	}
	if len(x.trail.Auth) > 0 {
		fmt.Fprintln(w, "\nAuthentication")
		for _, a := range x.trail.Auth {
			terminal.Indent(w, "  ", "    ", fmt.Sprintf("%s=%s %s", a.Method, a.Value, a.Reason))
		}
	}
	fmt.Fprintln(w, "\nAddresses")
	for _, p := range x.Paths {
		for _, s := range p.Steps {
			terminal.Indent(w, "  ", "    ", s)
		}
		terminal.Indent(w, "  ", "    ", fmt.Sprintf("%s resolves to %s", p.Address, strings.Join(p.Leads, "; ")))
	}
	if len(x.Ways) > 0 {
		fmt.Fprintln(w, "\nRoutes")
		for _, way := range x.Ways {
			terminal.Indent(w, "  ", "    ", fmt.Sprintf("%s: hop %q, %s", way.To, way.Hop, way.Words))
		}
	}
	fmt.Fprintf(w, "\nThe message would be %s.\n", x.Verdict())
}

// Verdict returns the result in a few words: "accepted", "accepted for 1 of 2
// recipients", "refused" or "deferred".
func (x *Explanation) Verdict() string {
	switch refused := len(x.Paths) - x.accepted; {
	case x.accepted > 0 && x.code < 400 && refused == 0:
		return "accepted"
	case x.accepted > 0 && (x.code < 400 || refused > 0):
		return fmt.Sprintf("accepted for %d of %d recipients", x.accepted, len(x.Paths))
	case x.code >= 500:
		return "refused"
	}
	return "deferred"
}

// withoutToken hides the token of an AUTH line.
func withoutToken(s string) string {
	if strings.HasPrefix(s, "AUTH PLAIN ") {
		return "AUTH PLAIN ..."
	}
	return s
}

func printEvent(w io.Writer, e *mail.Event) {
	head := fmt.Sprintf("  %-7s %-12s ", e.Stage, e.By)
	text := e.Verdict
	if e.Rcpt != "" {
		text += " for <" + string(e.Rcpt) + ">"
	}
	if e.Shadow {
		text += " (shadow: no effect)"
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	if e.Reply != nil {
		text += "; " + e.Reply.String()
	}
	for _, f := range e.Facts {
		text += "; " + f.Key + "=" + f.Value
	}
	if e.Took > 0 {
		text += fmt.Sprintf(" [%s]", e.Took.Round(time.Microsecond))
	}
	terminal.Wrap(w, head, text)
}
