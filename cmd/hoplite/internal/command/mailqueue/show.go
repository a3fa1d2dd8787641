package mailqueue

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/queueadmin"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
	"hoplite/mail/safe"
	"hoplite/mail/story"
	"hoplite/relay/queue"
)

// totals prints the queue by domain and age, like Postfix's qshape.
func (c *queueCmd) totals(cmd *cobra.Command, a queueadmin.Admin, _ []string) error {
	f, err := c.filter(nil)
	if err != nil {
		return err
	}
	totals, err := a.Totals(cmd.Context(), f)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if c.json.On() {
		return command.List(out, c.json, totals)
	}
	if len(totals) == 0 {
		fmt.Fprintln(out, "the queue is empty")
		return nil
	}
	return printTotals(out, totals)
}

// printTotals prints a line of numbers for each destination, followed by the
// last reply.
func printTotals(out io.Writer, totals []queue.Total) error {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 1, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "total\theld\t")
	for _, age := range queue.Ages {
		fmt.Fprintf(w, "<%s\t", conf.FormatDuration(age))
	}
	fmt.Fprintln(w, "more\toldest\tnext\t  destination")
	now := time.Now()
	rows := totals
	if len(totals) > 1 {
		rows = append(rows, sum(totals))
	}
	for i := range rows {
		t := &rows[i]
		fmt.Fprintf(w, "%d\t%s\t", t.Messages, figure(t.Held))
		for _, n := range t.Ages {
			fmt.Fprintf(w, "%s\t", figure(n))
		}
		fmt.Fprintf(w, "%s\t%s\t  %s\n", span(now.Sub(t.Oldest)), until(t.Next, now), safe.Line(t.Destination))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	n := -1 // do not count the heading
	for line := range strings.Lines(table.String()) {
		io.WriteString(out, line)
		if n >= 0 && rows[n].Reply != "" {
			terminal.Wrap(out, "      ", shown(rows[n].Reply, 200))
		}
		n++
	}
	return nil
}

// sum returns the sum over all destinations. A message to two domains is
// counted twice.
func sum(totals []queue.Total) queue.Total {
	all := queue.Total{Destination: "(all)", Ages: make([]int, len(totals[0].Ages)), Oldest: totals[0].Oldest}
	for i := range totals {
		t := &totals[i]
		all.Messages += t.Messages
		all.Held += t.Held
		for k, n := range t.Ages {
			all.Ages[k] += n
		}
		if t.Oldest.Before(all.Oldest) {
			all.Oldest = t.Oldest
		}
		if !t.Next.IsZero() && (all.Next.IsZero() || t.Next.Before(all.Next)) {
			all.Next = t.Next
		}
	}
	return all
}

// figure formats a number for a table in which most numbers are 0.
func figure(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func printList(w io.Writer, all []queue.Info) {
	now := time.Now()
	for i := range all {
		in := &all[i]
		line := fmt.Sprintf("%-8s  %s old  %s  by %s", in.State, span(now.Sub(in.At)), conf.Bytes(in.Size), named(in.Upstream))
		if !in.Next.IsZero() {
			line += "  next " + until(in.Next, now)
		}
		terminal.Columned(w, in.ID+"  ", line)
		terminal.Columned(w, "    from       ", "<"+safe.Line(in.From)+">")
		for _, r := range in.Rcpts {
			text := "<" + safe.Line(r.To) + ">"
			if r.Attempts > 0 {
				text += "  " + terminal.Count(r.Attempts, "attempt")
			}
			terminal.Columned(w, fmt.Sprintf("    %-9s  ", r.State), text)
			if r.Reply != "" {
				terminal.Wrap(w, "               ", shown(r.Reply, 200))
			}
		}
		if in.Held != "" {
			terminal.Wrap(w, "    held: ", shown(in.Held, 200))
		}
	}
}

// printDetail prints one message and, if trail is set, its history before it
// was queued.
func printDetail(w io.Writer, d queue.Detail, trail bool) {
	printList(w, []queue.Info{d.Info})
	origin := "arrived"
	if d.Client.Listener == "" { // a delivery report, or an injected message
		origin = "created"
	}
	printLine(w, origin, d.At.Format(time.RFC3339))
	if d.Header.Subject != "" {
		printLine(w, "subject", shown(d.Header.Subject, 200))
	}
	if d.Unverified {
		printLine(w, "reports", "a refusal is reported to the postmaster: the upstream accepts every recipient")
	}
	lines := story.Arrival(&d.Client, &d.Header)
	if trail {
		lines = append(lines, story.Trail(d.Trail, d.At)...)
	}
	for _, l := range lines {
		printLine(w, l.Label, l.Text)
	}
}

func printLine(w io.Writer, label, text string) {
	terminal.Wrap(w, fmt.Sprintf("    %-10s ", label), safe.Line(text))
}

// named returns a name, or a placeholder if it is empty.
func named(s string) string {
	if s == "" {
		return "(routed)"
	}
	return s
}

// shown makes text from remote systems safe to print and clips it.
func shown(s string, limit int) string { return safe.Clip(safe.Line(s), limit) }

// span formats a duration in its two largest units.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return conf.FormatDuration(d.Round(time.Hour))
	case d >= time.Hour:
		return conf.FormatDuration(d.Round(time.Minute))
	}
	return conf.FormatDuration(d.Round(time.Second))
}

func until(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case !t.After(now):
		return "now"
	}
	return "in " + span(t.Sub(now))
}
