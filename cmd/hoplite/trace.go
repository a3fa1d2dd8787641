package main

import (
	"encoding/csv"
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

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/mail/safe"
	"hoplite/mail/trace"
	"hoplite/mail/trace/intake"
)

// traceFlags are the flags of hoplite trace.
type traceFlags struct {
	received, json, csv bool
	explain             int
	explaining          bool
	anonymise, dns      bool
	diff                string
	trusted, ours       []string
	mailbox             string
	from, to, since     string
	// config reads relay.hcl; told is false for the built-in one, which says
	// nothing about this site.
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
Nothing is sent anywhere.

Instead of a file it accepts a transaction id or a Message-ID, or --from, --to
and --since, and shows from history what this server did with the message.

Exit status: 0 if there are no findings, 1 with findings, 2 if nothing can be
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
	fl.BoolVar(&f.json, "json", false, "print JSON")
	fl.BoolVar(&f.csv, "csv", false, "print the hops as CSV")
	fl.IntVar(&f.explain, "explain", 0, "show line `N` verbatim, with its parts marked")
	fl.BoolVar(&f.anonymise, "anonymise", false, "replace names and addresses with stable pseudonyms")
	fl.StringVar(&f.diff, "diff", "", "compare message `A` with FILE")
	fl.StringVar(&f.mailbox, "mailbox", "", "the `PROVIDER` of the mailbox that the message was read in: "+strings.Join(trace.Mailboxes(), ", "))
	fl.StringSliceVar(&f.trusted, "trusted", nil, "`NETS` whose Received lines are trusted")
	fl.StringSliceVar(&f.ours, "ours", nil, "`NAMES` of our own hosts; .example.org matches all below it")
	fl.BoolVar(&f.dns, "dns", false, "verify DKIM signatures and ARC seals now, using DNS")
	fl.StringVar(&f.from, "from", "", "search history for a sender: `PATTERN` is an address, domain, .domain or <>")
	fl.StringVar(&f.to, "to", "", "search history for a recipient: an address, domain or .domain as `PATTERN`")
	fl.StringVar(&f.since, "since", "", "search history since a `TIME`, or the last 2h or 3d")
	read := configFlag(cmd)
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
	if err != nil && !errors.Is(err, os.ErrPermission) { // a message can be traced by everybody
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
	in, err := intake.Read(raw)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	var verified []trace.AuthClaim
	if f.dns {
		if verified, o.Seals, err = f.verify(cmd.Context(), raw); err != nil {
			return err
		}
	}
	t := trace.Read(in.Head, o)
	t.Auth = append(verified, t.Auth...)
	dangers, err := in.Dangers(cmd.Context())
	if err != nil {
		return err
	}
	t.Findings = append(t.Findings, dangers...)
	t.Findings = append(t.Findings, brokenSignatures(verified)...)
	text := func(s string) string { return s }
	if f.anonymise {
		text = trace.NewAnonymiser(t).Text
	}
	var carried *inside
	if !f.anonymise {
		if carried, err = lookInside(cmd.Context(), raw); err != nil {
			return err
		}
	}
	out := cmd.OutOrStdout()
	if f.explaining {
		if f.explain < 1 || f.explain > len(t.Steps) {
			return fmt.Errorf("there is no line %d: the message has %d", f.explain, len(t.Steps))
		}
		newScreen(out, text).explain(&t.Steps[f.explain-1])
		return nil
	}
	if err := f.show(out, in, t, carried, o, text); err != nil {
		return err
	}
	if in.Bounce != nil {
		return findings
	}
	return outcome(t)
}

// brokenSignatures returns a finding for each signature that does not verify now.
func brokenSignatures(verified []trace.AuthClaim) []trace.Finding {
	var list []trace.Finding
	for _, c := range verified {
		if c.Result == "fail" {
			list = append(list, trace.Finding{Code: c.Method + "-fail", Severity: trace.Warning, Text: fmt.Sprintf("a %s signature does not verify: %s", strings.ToUpper(c.Method), c.Detail),
				Advice: "the message was changed on the way, or the sender's key was"})
		}
	}
	return list
}

// show prints a trace and the contents of the message, in the requested form.
func (f *traceFlags) show(out io.Writer, in *intake.Input, t *trace.Trace, carried *inside, o trace.Options, text func(string) string) error {
	switch {
	case f.json:
		j := t.JSON()
		j.Repairs = in.Repairs
		if in.Bounce != nil {
			j.Bounce = bounceJSON(in.Bounce, o)
		}
		return writeJSON(out, struct {
			*trace.JSON
			*inside
		}{&j, carried}, text)
	case f.csv:
		return writeCSV(out, t, text)
	}
	s := newScreen(out, text)
	s.repairs(in.Repairs)
	if in.Bounce != nil {
		s.bounce(in.Bounce, o)
	}
	s.trace(t)
	s.inside(carried)
	return nil
}

// outcome returns the exit status: notes alone are success.
func outcome(t *trace.Trace) error {
	for _, fd := range t.Findings {
		if fd.Severity != trace.Note {
			return findings
		}
	}
	return nil
}

func writeJSON(w io.Writer, v any, text func(string) string) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err = fmt.Fprintln(w, text(string(b)))
	return err
}

func writeCSV(w io.Writer, t *trace.Trace, text func(string) string) error {
	c := csv.NewWriter(w)
	c.Write([]string{"index", "trust", "from", "from_ip", "from_rdns", "helo", "by", "with", "tls_version", "tls_cipher", "id", "for", "date", "corrected_time", "delay_s", "delay_low_s", "delay_high_s", "reasons"})
	for _, h := range t.JSON().Hops {
		num := func(v *float64) string {
			if v == nil {
				return ""
			}
			return strconv.FormatFloat(*v, 'f', -1, 64)
		}
		row := []string{strconv.Itoa(h.Index), string(h.Trust), h.From, h.FromIP, h.FromRDNS, h.Helo, h.By, h.With, h.TLSVersion, h.TLSCipher, h.ID, h.For, h.Date, h.CorrectedTime,
			num(h.DelayS), num(h.DelayLowS), num(h.DelayHighS), strings.Join(h.Reasons, "; ")}
		for i := range row {
			row[i] = text(safe.Line(row[i]))
			// A spreadsheet must not interpret remote text as a formula.
			if len(row[i]) > 0 && strings.IndexByte("=+-@", row[i][0]) >= 0 {
				if _, err := strconv.ParseFloat(row[i], 64); err != nil {
					row[i] = "'" + row[i]
				}
			}
		}
		c.Write(row)
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
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
	if f.json {
		if err := writeJSON(cmd.OutOrStdout(), c, func(s string) string { return s }); err != nil {
			return err
		}
	} else {
		newScreen(cmd.OutOrStdout(), nil).comparison(c)
	}
	if c.Same {
		return nil
	}
	return findings
}

// BounceJSON is the part of --json about the original message of a report.
type BounceJSON struct {
	Reporter   string           `json:"reporter,omitempty"`
	Recipients []BounceRcptJSON `json:"recipients"`
	Complaint  *ComplaintJSON   `json:"complaint,omitempty"`
	Original   *trace.JSON      `json:"original,omitempty"`
}

// BounceRcptJSON is one recipient of a report.
type BounceRcptJSON struct {
	Rcpt       string   `json:"rcpt"`
	Action     string   `json:"action,omitempty"`
	Status     string   `json:"status,omitempty"`
	Diagnostic string   `json:"diagnostic,omitempty"`
	Remote     string   `json:"remote,omitempty"`
	Means      []string `json:"means,omitempty"`
	Next       []string `json:"next,omitempty"`
}

// ComplaintJSON is a feedback report (RFC 5965).
type ComplaintJSON struct {
	Type      string   `json:"type"`
	Reporter  string   `json:"reporter,omitempty"`
	SourceIP  string   `json:"source_ip,omitempty"`
	MailFrom  string   `json:"mail_from,omitempty"`
	Rcpts     []string `json:"rcpts,omitempty"`
	Domains   []string `json:"domains,omitempty"`
	Arrived   string   `json:"arrived,omitempty"`
	Incidents int      `json:"incidents"`
}

func bounceJSON(b *intake.Bounce, o trace.Options) BounceJSON {
	j := BounceJSON{Reporter: b.Reporter, Recipients: []BounceRcptJSON{}}
	for i := range b.Recipients {
		r := &b.Recipients[i]
		rj := BounceRcptJSON{Rcpt: r.Rcpt, Action: r.Action, Status: r.Status, Diagnostic: r.Diagnostic, Remote: r.Remote}
		for _, m := range r.Meanings() {
			rj.Means = append(rj.Means, m.Title)
			rj.Next = append(rj.Next, m.Next)
		}
		j.Recipients = append(j.Recipients, rj)
	}
	if b.Complaint != nil {
		j.Complaint = (*ComplaintJSON)(b.Complaint)
	}
	if len(b.Original) > 0 {
		t := trace.Read(b.Original, o).JSON()
		j.Original = &t
	}
	return j
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
	return parseTime(s)
}
