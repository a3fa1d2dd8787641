package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hoplite/internal/history"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/arc"
	"hoplite/mail/dkim"
	"hoplite/mail/story"
	"hoplite/mail/trace"
)

// search looks in history by id, or by addresses and time.
func (f *traceFlags) search(cmd *cobra.Command, id string) error {
	cfg, _, err := f.config()
	if err != nil {
		return err
	}
	since, err := sinceTime(f.since, time.Now())
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	found, err := findHistory(cmd.Context(), history.NewReader(cfg.Under("history")), id, f.from, f.to, since)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		what := "message"
		if id != "" {
			what = fmt.Sprintf("file, id or Message-ID %q", id)
		}
		return &exitError{exitUsage, fmt.Errorf("no such %s, and none in the history of %s", what, cfg.Data)}
	}
	out := cmd.OutOrStdout()
	if f.json {
		j := (&trace.Trace{}).JSON()
		j.Verdict = fmt.Sprintf("%d records of history", len(found))
		j.History, j.Story = found, told(found)
		return writeJSON(out, j, func(s string) string { return s })
	}
	s := newScreen(out, nil)
	if id == "" && transactions(found) > 1 {
		s.list(found)
		return nil
	}
	bad := false
	for _, t := range told(found) {
		bad = s.story(t) || bad
	}
	if bad {
		return findings
	}
	return nil
}

// findHistory finds records by transaction id, by Message-ID, or by addresses and
// time. Those found by Message-ID include the queue's attempts.
func findHistory(ctx context.Context, h *history.Reader, id, from, to string, since time.Time) ([]history.Record, error) {
	if id == "" {
		q, err := addressQuery(from, to)
		if err != nil {
			return nil, err
		}
		q.Since = since
		return h.Find(ctx, q)
	}
	found, err := h.Find(ctx, history.Query{ID: id})
	if err != nil || len(found) > 0 || !strings.Contains(id, "@") {
		return found, err
	}
	return h.Find(ctx, history.Query{MessageID: id, Join: true})
}

// addressQuery returns the query for patterns over sender and recipient. A whole
// address in ASCII is found by the index, everything else by reading all records.
func addressQuery(from, to string) (history.Query, error) {
	var q history.Query
	var match []func(*history.Record) bool
	add := func(flag, text string, exact *string, addresses func(*history.Record) []string) error {
		if text == "" {
			return nil
		}
		p, err := mail.ParsePattern(text)
		if err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
		if a := mail.Address(p); strings.Contains(string(p), "@") && !a.NeedsUTF8() && !strings.Contains(a.Domain(), "xn--") {
			*exact = string(p)
			return nil
		}
		set, err := mail.NewPatterns([]mail.Pattern{p})
		match = append(match, func(r *history.Record) bool {
			return slices.ContainsFunc(addresses(r), func(s string) bool { return set.Match(mail.Address(s)) })
		})
		return err
	}
	err := errors.Join(
		add("from", from, &q.From, func(r *history.Record) []string { return []string{r.From} }),
		add("to", to, &q.To, func(r *history.Record) []string { return r.To }))
	if len(match) > 0 {
		q.Match = func(r *history.Record) bool {
			return !slices.ContainsFunc(match, func(m func(*history.Record) bool) bool { return !m(r) })
		}
	}
	return q, err
}

func transactions(found []history.Record) int {
	ids := map[string]bool{}
	for _, r := range found {
		ids[r.ID] = true
	}
	return len(ids)
}

// told returns the records as lines. A user who may read the data folder may see
// everything.
func told(found []history.Record) []story.Story {
	entries := make([]story.Entry, len(found))
	for i := range found {
		entries[i] = story.Entry(found[i])
	}
	return story.Tell(entries, story.Everything)
}

// list prints one line per record.
func (s *screen) list(found []history.Record) {
	for i, t := range told(found) {
		r := &found[i]
		to := "(no recipient)"
		if len(r.To) > 0 {
			to = "<" + r.To[0] + ">"
		}
		if len(r.To) > 1 {
			to += fmt.Sprintf(" +%d", len(r.To)-1)
		}
		s.wrapped(fmt.Sprintf("%s %s ", r.At.Local().Format("2006-01-02 15:04:05"), s.words(t.ID)), 20, fmt.Sprintf("<%s> %s %s %s", r.From, s.arrow(), to, t.Title))
	}
}

// story prints what this server did with one message; it reports whether
// something went wrong.
func (s *screen) story(t story.Story) (bad bool) {
	fmt.Fprintln(s.w, s.paint(bold, s.words(t.ID+" "+t.Title)))
	s.wrapped("  at        ", storyIndent, t.At.Local().Format("2006-01-02 15:04:05 -0700"))
	s.storyLines(t.Lines)
	return !t.Good
}

// storyIndent is the width of the labels of a story.
const storyIndent = 12

func (s *screen) storyLines(lines []story.Line) {
	for _, l := range lines {
		colour := map[story.State]string{story.Good: green, story.Bad: red}[l.State]
		s.wrapped("  "+s.paint(colour, s.words(fmt.Sprintf("%-9s", l.Label)))+" ", storyIndent, l.Text)
		for _, m := range l.Means {
			s.meaning(mail.Meaning{Code: m.Code, Title: m.Title, Why: m.Why, Next: m.Next})
		}
	}
}

// verify verifies the message's DKIM signatures and its ARC chain now. The results
// are added to those that other servers claim; lines that a good signature covers
// are sealed.
func (f *traceFlags) verify(ctx context.Context, raw []byte) ([]trace.AuthClaim, []trace.Seal, error) {
	dns, err := f.resolver()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// Files contain LF, signatures cover CRLF.
	wire := bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	m, err := mail.NewMessage(mail.Bytes(wire))
	if err != nil {
		return nil, nil, fmt.Errorf("verify DKIM: %w", err)
	}
	lookup := resolve.TXTRecords(dns)
	results, _, err := dkim.Verify(ctx, m, lookup)
	if err != nil {
		return nil, nil, fmt.Errorf("verify DKIM: %w", err)
	}
	var claims []trace.AuthClaim
	var seals []trace.Seal
	for i := range results {
		r := &results[i]
		if r.Signature == nil {
			claims = append(claims, trace.AuthClaim{By: "this program, now", Field: "DKIM-Signature", Method: "dkim", Result: r.Value, Detail: r.Reason, Believed: true})
			continue
		}
		claims = append(claims, trace.AuthClaim{By: "this program, now", Field: "DKIM-Signature", Method: "dkim", Result: r.Value, Detail: strings.TrimSpace(r.Domain + " " + r.Reason), Believed: true})
		lines := 0
		for _, h := range r.Headers {
			if strings.EqualFold(h, "received") {
				lines++
			}
		}
		if r.Value == "pass" && lines > 0 {
			seals = append(seals, trace.Seal{Kind: "dkim", Domain: r.Domain, Lines: lines})
		}
	}
	chain, err := arc.Validate(ctx, m, lookup)
	if err != nil {
		return nil, nil, fmt.Errorf("verify ARC: %w", err)
	}
	if chain.CV != "none" {
		claims = append(claims, trace.AuthClaim{By: "this program, now", Field: "ARC-Seal", Method: "arc", Result: chain.CV, Detail: strings.TrimSpace(chain.Sealer() + " " + chain.Reason), Believed: true})
	}
	if lines := chain.Signed("Received"); chain.CV == "pass" && lines > 0 {
		seals = append(seals, trace.Seal{Kind: "arc", Domain: chain.Sealer(), Lines: lines})
	}
	return claims, seals, nil
}

// resolver returns the resolver of the configuration, or the system's.
func (f *traceFlags) resolver() (resolve.Resolver, error) {
	if cfg, _, err := f.config(); err == nil && cfg.DNS != nil {
		return resolve.NewClient(cfg.DNS.Validates, cfg.DNS.Server), nil
	}
	r, err := resolve.System("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("--dns: no resolver configured")
	}
	return r, err
}
