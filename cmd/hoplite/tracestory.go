package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hoplite/internal/history"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/arc"
	"hoplite/mail/dkim"
	"hoplite/mail/trace"
)

// attempt is what history keeps of one attempt of the queue.
type attempt struct {
	Upstream string
	Queued   time.Time
	Started  time.Time
	Outcomes []mail.Outcome
	Final    bool
}

// search looks in history, by id or by who and when.
func (f *traceFlags) search(cmd *cobra.Command, id string) error {
	cfg, _, err := f.config()
	if err != nil {
		return err
	}
	since, err := sinceTime(f.since, time.Now())
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	found, err := findHistory(cmd.Context(), history.NewReader(cfg.under("history")), id, f.from, f.to, since)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		what := "message"
		if id != "" {
			what = fmt.Sprintf("file, id or Message-ID %q", id)
		}
		return &exitError{exitUsage, fmt.Errorf("no such %s here, and none in the history of %s", what, cfg.Data)}
	}
	out := cmd.OutOrStdout()
	if f.json {
		j := (&trace.Trace{}).JSON()
		j.Verdict = fmt.Sprintf("%d records of history", len(found))
		j.History = found
		return writeJSON(out, j, func(s string) string { return s })
	}
	s := newScreen(out, nil)
	if id == "" && transactions(found) > 1 {
		s.list(found)
		return nil
	}
	bad := false
	for _, r := range found {
		bad = s.story(r) || bad
	}
	if bad {
		return findings
	}
	return nil
}

// findHistory finds records by our id, by Message-ID, or by address and time.
// What was found by Message-ID or address is joined with the queue's attempts.
func findHistory(ctx context.Context, h *history.Reader, id, from, to string, since time.Time) ([]history.Record, error) {
	if id == "" {
		return h.Find(ctx, history.Query{From: from, To: to, Since: since})
	}
	found, err := h.Find(ctx, history.Query{ID: id})
	if err != nil || len(found) > 0 || !strings.Contains(id, "@") {
		return found, err
	}
	byMessage, err := h.Find(ctx, history.Query{MessageID: id})
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, r := range byMessage {
		if seen[r.ID] {
			continue
		}
		seen[r.ID] = true
		all, err := h.Find(ctx, history.Query{ID: r.ID})
		if err != nil {
			return nil, err
		}
		found = append(found, all...)
	}
	return found, nil
}

func transactions(found []history.Record) int {
	ids := map[string]bool{}
	for _, r := range found {
		ids[r.ID] = true
	}
	return len(ids)
}

// list prints a line for each record.
func (s *screen) list(found []history.Record) {
	for _, r := range found {
		verdict, reply := r.Kind, ""
		var st mail.Story
		if json.Unmarshal(r.Data, &st) == nil && st.Verdict != "" {
			verdict, reply = st.Verdict, st.Reply.String()
		}
		to := "nobody"
		if len(r.To) > 0 {
			to = r.To[0]
		}
		if len(r.To) > 1 {
			to += fmt.Sprintf(" +%d", len(r.To)-1)
		}
		s.wrapped(fmt.Sprintf("%s %s %-9s ", r.At.Local().Format("2006-01-02 15:04:05"), s.words(r.ID), s.words(verdict)), 30, fmt.Sprintf("<%s> %s %s: %s", r.From, s.arrow(), to, reply))
	}
}

// story tells what this server did with one message; it reports whether
// something went wrong.
func (s *screen) story(r history.Record) (bad bool) {
	if r.Kind == "attempt" {
		return s.attempt(r)
	}
	var st mail.Story
	if err := json.Unmarshal(r.Data, &st); err != nil || st.Transaction == nil {
		fmt.Fprintf(s.w, "%s %s %s\n%s\n", r.At.Local().Format("2006-01-02 15:04:05"), s.words(r.ID), s.words(r.Kind), s.words(string(r.Data)))
		return false
	}
	fmt.Fprintln(s.w, s.paint(bold, s.words(fmt.Sprintf("%s %s: %s", st.ID, st.Verdict, st.Reply.String()))))
	at := st.At.Local().Format("2006-01-02 15:04:05 -0700")
	client := "a socket file"
	if st.Client.Addr.IsValid() {
		client = st.Client.Addr.Addr().String()
	}
	if st.Client.Name != "" {
		client = st.Client.Name + " [" + client + "]"
	}
	s.wrapped("  came     ", 11, fmt.Sprintf("%s, from %s (%s) at %s, took %s", at, client, orWord(st.Client.Helo, "no HELO"), orWord(st.Client.Listener, "a listener"), trace.Words(st.Took)))
	if st.Client.User != "" {
		s.wrapped("  login    ", 11, st.Client.User)
	}
	s.wrapped("  from     ", 11, "<"+string(st.Envelope.From)+">")
	for _, rc := range st.Envelope.Rcpts {
		line := "<" + string(rc.To) + ">"
		if rc.Orig != rc.To && rc.Orig != "" {
			line += " (was <" + string(rc.Orig) + ">)"
		}
		s.wrapped("  to       ", 11, line)
	}
	if st.Header.MessageID != "" {
		s.wrapped("  message  ", 11, fmt.Sprintf("%s, %d octets, %d hops before us", st.Header.MessageID, st.Header.Size, st.Header.Hops))
	}
	bad = st.Verdict != "accepted"
	if st.Trail == nil {
		return bad
	}
	for _, e := range st.Trail.Events {
		s.event(e, st.At)
	}
	for _, a := range st.Trail.Auth {
		s.wrapped("  "+fmt.Sprintf("%-8s ", a.Method), 11, strings.TrimSpace(a.Value+" "+a.Reason))
	}
	for _, o := range st.Trail.Outcomes {
		bad = s.outcome(o) || bad
	}
	return bad
}

func (s *screen) event(e mail.Event, start time.Time) {
	text := fmt.Sprintf("%s %s: %s", e.Stage, e.By, e.Verdict)
	if e.Rcpt != "" {
		text += " for <" + string(e.Rcpt) + ">"
	}
	if e.Reply != nil {
		text += ", " + e.Reply.String()
	}
	if e.Reason != "" {
		text += ", " + e.Reason
	}
	for _, f := range e.Facts {
		text += fmt.Sprintf(" [%s %s]", f.Key, f.Value)
	}
	if e.Took >= time.Millisecond {
		text += " in " + trace.Words(e.Took)
	}
	if e.Shadow {
		text += " (shadow: changed nothing)"
	}
	s.wrapped(fmt.Sprintf("  +%-7s ", short(max(0, e.At.Sub(start)).Round(time.Millisecond))), 11, text)
}

// outcome prints what the next server said, and what that means.
func (s *screen) outcome(o mail.Outcome) (bad bool) {
	text := fmt.Sprintf("<%s> %s %s", o.Rcpt, s.arrow(), o.Hop)
	if o.Host != "" {
		text += " at " + o.Host
		if o.Addr != "" {
			text += " [" + o.Addr + "]"
		}
	}
	text += ": " + o.Reply.String()
	if o.RemoteID != "" {
		text += ", there called " + o.RemoteID
	}
	if o.TLS != "" {
		text += ", " + o.TLS
	}
	s.wrapped("  sent     ", 11, text+", took "+trace.Words(o.Took))
	if o.Reply.Positive() {
		return false
	}
	for _, m := range mail.LookupCode(o.Reply.String()) {
		s.meaning(m)
	}
	return true
}

func (s *screen) attempt(r history.Record) (bad bool) {
	var a attempt
	if json.Unmarshal(r.Data, &a) != nil {
		return false
	}
	final := "others wait"
	if a.Final {
		final = "nobody waits any more"
	}
	fmt.Fprintln(s.w, s.paint(bold, s.words(fmt.Sprintf("%s attempt at %s, %s after it came, upstream %s, %s", r.ID, a.Started.Local().Format("2006-01-02 15:04:05"), trace.Words(a.Started.Sub(a.Queued)), a.Upstream, final))))
	for _, o := range a.Outcomes {
		bad = s.outcome(o) || bad
	}
	return bad
}

// verify checks the message's DKIM signatures and its ARC chain now, and puts the results among
// those that others claim. Lines that a good signature covers are sealed.
func (f *traceFlags) verify(ctx context.Context, raw []byte) ([]trace.AuthClaim, []trace.Seal, error) {
	dns, err := f.resolver()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// Files hold LF, signatures are over CRLF.
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

// resolver asks whom the configuration names, or the system's resolvers.
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
