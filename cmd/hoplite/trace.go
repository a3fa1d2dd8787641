package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/tracetext"
	"hoplite/mail/story"
	"hoplite/mail/trace"
	"hoplite/mail/trace/inspect"
)

// traceFlags holds the flags of hoplite trace.
type traceFlags struct {
	received, csv   bool
	json            *command.JSON
	explain         string
	explaining      bool
	anonymise, dns  bool
	diff            string
	trusted, ours   []string
	mailbox         string
	from, to, since string
	// config reads relay.hcl; told is false for the built-in one, which does
	// not describe this site.
	config func() (cfg *config.Config, told bool, err error)
}

func traceCommand() *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use:   "trace FILE|-|ID",
		Short: "Show a message's path, its delays, and which lines can be trusted",
		Long: `Trace reads a message, or a header copied from anywhere, and shows its path hop
by hop: delays corrected for wrong clocks, encryption, which lines were written
by trusted servers, loops, and findings with advice. It reads files, mbox,
Maildir files, Outlook .msg, bounces, and headers that lost their folding.
Nothing is sent anywhere, except DNS queries with --dns.

Instead of a file it accepts a transaction id or a Message-ID, or --from, --to
and --since, and shows from history what this server did with the message.

Exit status: 0 if there are no findings or only notes, also for a bounce; 1 with
warnings or problems, and if --diff finds a difference; 2 if nothing can be
read.`,
		Example: `  hoplite trace mail.eml
  hoplite trace - < pasted-header.txt
  hoplite trace --ours mx.example.org --trusted 192.0.2.0/24 mail.eml
  hoplite trace --explain 3 mail.eml
  hoplite trace --anonymise mail.eml
  hoplite trace --diff sent.eml received.eml
  hoplite trace --to ann@example.org --since 2h
  hoplite trace --received < received-values.jsonl`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.received, "received", false, "read Received values from stdin, one JSON string per line,\nand print a JSON object for each")
	f.json = command.JSONFlag(fl)
	fl.BoolVar(&f.csv, "csv", false, "print the hops as CSV")
	fl.StringVar(&f.explain, "explain", "", "show line `N` verbatim, with its parts marked")
	fl.BoolVar(&f.anonymise, "anonymise", false, "replace names and addresses with stable pseudonyms")
	fl.StringVar(&f.diff, "diff", "", "compare message `A` with FILE")
	fl.StringVar(&f.mailbox, "mailbox", "", "the `PROVIDER` of the mailbox that the message was read in: "+strings.Join(trace.Mailboxes(), ", "))
	fl.StringSliceVar(&f.trusted, "trusted", nil, "`NETS` whose Received lines are trusted")
	fl.StringSliceVar(&f.ours, "ours", nil, "`NAMES` of our own hosts; .example.org matches all below it")
	fl.BoolVar(&f.dns, "dns", false, "evaluate SPF, DKIM, ARC and DMARC now, and look up the origin\nin the DNS lists of relay.hcl")
	fl.StringVar(&f.from, "from", "", "search history for a sender: `PATTERN` is an address, domain, .domain or <>")
	fl.StringVar(&f.to, "to", "", "search history for a recipient: an address, domain or .domain as `PATTERN`")
	fl.StringVar(&f.since, "since", "", "search history since a `TIME`, or the last 2h or 3d")
	read := command.ConfigFlag(cmd)
	f.config = func() (*config.Config, bool, error) {
		cfg, file, err := read()
		if err != nil {
			return nil, false, err
		}
		if err := file.Diags.Err(); err != nil {
			return nil, false, fmt.Errorf("read configuration: %w", err)
		}
		return cfg, file.Name != config.BuiltIn, nil
	}
	return cmd
}

func (f *traceFlags) run(cmd *cobra.Command, args []string) error {
	f.explaining = cmd.Flags().Changed("explain")
	switch {
	case f.received:
		return receivedLines(cmd.InOrStdin(), cmd.OutOrStdout())
	case f.diff != "":
		if len(args) != 1 {
			return errors.New("--diff A needs a second file to compare with")
		}
		return f.compare(cmd, f.diff, args[0])
	case len(args) == 0 && (f.from != "" || f.to != "" || f.since != ""):
		return f.search(cmd, "")
	case len(args) != 1:
		return errors.New("no message given: give a file, - for stdin, an id, or --from, --to, --since")
	}
	if args[0] != "-" {
		if _, err := os.Stat(args[0]); errors.Is(err, os.ErrNotExist) {
			return f.search(cmd, args[0])
		}
	}
	return f.message(cmd, args[0])
}

// options combines the flags with the configuration.
func (f *traceFlags) options() (trace.Options, error) {
	o := trace.Options{Ours: f.ours, Mailbox: f.mailbox}
	if f.mailbox != "" && !trace.KnownMailbox(f.mailbox) {
		return o, fmt.Errorf("--mailbox: unknown provider %q; known are %s", f.mailbox, strings.Join(trace.Mailboxes(), ", "))
	}
	for _, t := range f.trusted {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			a, err2 := netip.ParseAddr(t)
			if err2 != nil {
				return o, fmt.Errorf("--trusted: %q is not a network: write it as 192.0.2.0/24", t)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		o.Trusted = append(o.Trusted, p.Masked())
	}
	cfg, told, err := f.config()
	if err != nil && !errors.Is(err, os.ErrPermission) { // tracing a message needs no privileges
		return o, err
	}
	if told {
		o.Trusted = append(o.Trusted, cfg.Trusted...)
		if cfg.Hostname != "localhost" {
			o.Ours = append(o.Ours, cfg.Hostname)
		}
		o.Known = trace.LoadClocks(cfg.Under("state/clocks.json")).Known
	}
	return o, nil
}

// message traces a file or stdin.
func (f *traceFlags) message(cmd *cobra.Command, name string) error {
	raw, err := readInput(cmd.InOrStdin(), name)
	if err != nil {
		return err
	}
	inspector := inspect.Inspector{Viewer: story.Everything}
	if inspector.Options, err = f.options(); err != nil {
		return err
	}
	if f.dns {
		if inspector.Checks, err = f.checks(); err != nil {
			return err
		}
	}
	if !f.anonymise {
		inspector.Records = f.records()
	}
	r, err := inspector.Inspect(cmd.Context(), raw)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	text := func(s string) string { return s }
	if f.anonymise {
		text = trace.NewAnonymiser(r.Trace).Text
		r.Content = nil
	}
	return f.show(cmd.OutOrStdout(), r, text)
}

// show prints a report in the requested form.
func (f *traceFlags) show(out io.Writer, r *inspect.Report, text func(string) string) error {
	var err error
	switch {
	case f.explaining:
		n, err := strconv.Atoi(f.explain)
		if err != nil {
			return fmt.Errorf("--explain: %q is not a number: give that of a line, for example 3", f.explain)
		}
		if n < 1 || n > len(r.Trace.Steps) {
			return fmt.Errorf("there is no line %d: the message has %d", n, len(r.Trace.Steps))
		}
		tracetext.Explain(tracetext.New(out, text), &r.Trace.Steps[n-1])
		return nil
	case f.json.On():
		err = writeJSON(out, f.json, r.JSON(), text)
	case f.csv:
		err = tracetext.CSV(out, r.Trace, text)
	default:
		tracetext.Report(tracetext.New(out, text), r)
	}
	if err == nil && !r.Clean() {
		return command.Findings
	}
	return err
}

func writeJSON(w io.Writer, form *command.JSON, v any, text func(string) string) error {
	b, err := json.Marshal(v)
	if !form.Lines() {
		b, err = json.MarshalIndent(v, "", "  ")
	}
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err = fmt.Fprintln(w, text(string(b)))
	return err
}

// compare prints the differences between two copies of a message.
func (f *traceFlags) compare(cmd *cobra.Command, first, second string) error {
	a, err := readInput(cmd.InOrStdin(), first)
	if err != nil {
		return err
	}
	b, err := readInput(cmd.InOrStdin(), second)
	if err != nil {
		return err
	}
	c := trace.Compare(a, b)
	if f.json.On() {
		if err := writeJSON(cmd.OutOrStdout(), f.json, c, func(s string) string { return s }); err != nil {
			return err
		}
	} else {
		tracetext.Comparison(tracetext.New(cmd.OutOrStdout(), nil), c)
	}
	if c.Same {
		return nil
	}
	return command.Findings
}

// sinceTime parses --since: a time, or a duration before now.
func sinceTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.Atoi(n); err == nil {
			return now.Add(-time.Duration(days) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	t, err := parseTime(s)
	if err != nil {
		err = fmt.Errorf("%q is neither a time nor a period: write 2h, 3d, 2026-05-01 or 2026-05-01T12:00:00Z", s)
	}
	return t, err
}
