package state

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
	"hoplite/mail/safe"
)

// Print prints the status for a terminal of 80 columns.
func (s *Status) Print(w io.Writer, now time.Time) {
	fmt.Fprintf(w, "hoplite %s, process %d, up %s\n", s.Version, s.PID, Span(time.Duration(s.UptimeS)*time.Second))
	terminal.Wrap(w, "host       ", s.Hostname)
	terminal.Wrap(w, "config     ", s.Config)
	terminal.Wrap(w, "data       ", fmt.Sprintf("%s; %s free, %s reserved", s.Data, space(s.Disk.Free), space(s.Disk.Reserve)))
	if r := s.Reload; r != nil {
		word := "succeeded"
		if r.Error != "" {
			word = "failed"
		}
		terminal.Wrap(w, "reload     ", fmt.Sprintf("%s %s ago", word, Span(now.Sub(r.At))))
	}
	s.printListeners(w)
	s.printQueue(w, now)
	s.printUpstreams(w, now)
	s.printDirectories(w, now)
	s.printAccounts(w, now)
	s.printCertificates(w)
	s.printBlocks(w, now)
	fmt.Fprintln(w)
	if len(s.Problems) == 0 {
		fmt.Fprintln(w, "Nothing needs attention.")
		return
	}
	fmt.Fprintln(w, "Needs attention")
	for _, p := range s.Problems {
		terminal.Indent(w, "  ", "    ", safe.Line(p))
	}
}

func (s *Status) printListeners(w io.Writer) {
	t := table(w, "Listeners")
	for _, l := range s.Listeners {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", l.Name, l.Address, tls[l.TLS], terminal.Count(l.Connections, "connection"))
	}
	t.Flush()
}

// space formats an amount of disk space, rounded.
func space(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1fGiB", float64(n)/(1<<30))
	}
	return conf.Bytes(n - n%(1<<20)).String()
}

// tls maps TLS modes to their printed names.
var tls = map[string]string{"starttls": "STARTTLS", "implicit": "TLS", "off": "no TLS"}

func (s *Status) printQueue(w io.Writer, now time.Time) {
	if len(s.Queue) == 0 {
		fmt.Fprintln(w, "\nQueue\n  empty")
		return
	}
	t := table(w, "Queue")
	for i := range s.Queue {
		l := &s.Queue[i]
		name := l.Upstream
		if name == "" {
			name = "(to be routed)"
		}
		fmt.Fprintf(t, "  %s\t%s, %s\t%d held\toldest %s\t%s\n", safe.Line(name), terminal.Count(l.Messages, "message"), conf.Bytes(l.Size), l.Held,
			Span(now.Sub(l.Oldest)), next(l.Next, now))
	}
	t.Flush()
}

func next(at, now time.Time) string {
	switch {
	case at.IsZero():
		return ""
	case !at.After(now):
		return "next attempt now"
	}
	return "next attempt in " + Span(at.Sub(now))
}

func (s *Status) printUpstreams(w io.Writer, now time.Time) {
	if len(s.Upstreams) == 0 {
		return
	}
	fmt.Fprintln(w, "\nUpstreams")
	for i := range s.Upstreams {
		u := &s.Upstreams[i]
		words := []string{u.Mode}
		switch u.State {
		case "down":
			words = append(words, fmt.Sprintf("down for %s (%s)", Span(now.Sub(u.Since)), u.Reason))
		case "unknown":
			if u.Check == "none" {
				words = append(words, "servers found by MX")
			} else {
				words = append(words, "no connection yet")
			}
		default:
			words = append(words, "up")
		}
		switch u.Check {
		case "call-ahead":
			words = append(words, fmt.Sprintf("recipients checked by call-ahead, %d remembered", u.Remembered))
		case "file":
			words = append(words, "recipients checked with a file")
		case "directory":
			words = append(words, "recipients checked with a directory")
		case "any":
			words = append(words, "recipients not checked")
		}
		if len(u.AcceptsAll) > 0 {
			words = append(words, "accepts every recipient of "+strings.Join(u.AcceptsAll, ", "))
		}
		terminal.Indent(w, "  "+u.Name+": ", "    ", safe.Line(strings.Join(words, "; ")))
	}
}

func (s *Status) printDirectories(w io.Writer, now time.Time) {
	if len(s.Directories) == 0 {
		return
	}
	fmt.Fprintln(w, "\nDirectories")
	for i := range s.Directories {
		d := &s.Directories[i]
		text := terminal.Count(d.Cached, "cached answer")
		if !d.Since.IsZero() {
			text = fmt.Sprintf("down for %s (%s); ", Span(now.Sub(d.Since)), d.Reason) + text
		}
		terminal.Indent(w, "  "+d.Name+": ", "    ", safe.Line(text))
	}
}

func (s *Status) printAccounts(w io.Writer, now time.Time) {
	if len(s.Accounts) == 0 {
		return
	}
	fmt.Fprintln(w, "\nAccounts on other servers")
	for i := range s.Accounts {
		a := &s.Accounts[i]
		text := "passwords checked by " + a.Login
		if a.Issuer != "" {
			text = "access tokens of " + a.Issuer
		}
		if !a.Since.IsZero() {
			text += fmt.Sprintf("; down for %s (%s)", Span(now.Sub(a.Since)), a.Reason)
		}
		terminal.Indent(w, "  "+a.Domain+": ", "    ", safe.Line(text))
	}
}

func (s *Status) printCertificates(w io.Writer) {
	if len(s.Certificates) == 0 {
		return
	}
	fmt.Fprintln(w, "\nCertificates")
	for i := range s.Certificates {
		c := &s.Certificates[i]
		text := fmt.Sprintf("expires on %s, in %s", c.Expires.Format(time.DateOnly), terminal.Count(c.DaysLeft, "day"))
		if c.SelfSigned {
			text += "; self-signed"
		}
		terminal.Indent(w, "  "+safe.Line(strings.Join(c.Names, ", "))+": ", "    ", text)
	}
}

func (s *Status) printBlocks(w io.Writer, now time.Time) {
	if len(s.Blocks) == 0 {
		return
	}
	fmt.Fprintln(w, "\nBlocked logins (hoplite user unblock)")
	PrintBlocks(w, "  ", s.Blocks, now)
}

// table prints a heading and returns a writer for its rows.
func table(w io.Writer, heading string) *tabwriter.Writer {
	fmt.Fprintf(w, "\n%s\n", heading)
	return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
}

// Print prints the outcome.
func (r *Reload) Print(w io.Writer) {
	shown := Shown{r.Error, r.Warnings}
	if r.Shown != nil {
		shown = *r.Shown
	}
	for _, text := range shown.Warnings {
		fmt.Fprintf(w, "%s\n\n", text)
	}
	if r.Error != "" {
		if strings.Contains(shown.Error, "\n") { // mistakes in the file, in lines
			fmt.Fprintln(w, shown.Error)
		} else {
			terminal.Indent(w, "", "  ", shown.Error)
		}
		fmt.Fprintln(w, "\nNot reloaded: the running configuration is kept.")
		return
	}
	for _, c := range r.Changed {
		terminal.Indent(w, "", "    ", c)
	}
	for _, c := range r.Restart {
		terminal.Indent(w, "takes effect after a restart: ", "    ", c)
	}
	if len(r.Changed) == 0 {
		fmt.Fprintln(w, "Reloaded; nothing has changed.")
		return
	}
	fmt.Fprintln(w, "Reloaded.")
}
