package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/tracetext"
	"hoplite/internal/history"
	"hoplite/mail"
	"hoplite/mail/story"
	"hoplite/mail/trace"
	"hoplite/mail/trace/inspect"
)

// search searches history by id, or by addresses and time.
func (f *traceFlags) search(cmd *cobra.Command, id string) error {
	cfg, _, err := f.config()
	if err != nil {
		return err
	}
	since, err := sinceTime(f.since, time.Now())
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	reader := history.NewReader(cfg.Under("history"))
	find := func(ctx context.Context) ([]history.Record, error) {
		return findHistory(ctx, reader, id, f.from, f.to, since)
	}
	found, err := find(cmd.Context())
	if err == nil && len(found) == 0 {
		found, err = awaitRecord(cmd.Context(), id, find)
	}
	if err != nil {
		return err
	}
	if len(found) == 0 {
		what := "message"
		if id != "" {
			what = fmt.Sprintf("file, id or Message-ID %q", id)
		}
		return fmt.Errorf("no such %s, and none in the history of %s", what, cfg.Data)
	}
	stories := story.Tell(historyEntries(found), story.Everything)
	out := cmd.OutOrStdout()
	if f.json.On() {
		j := (&trace.Trace{}).JSON()
		j.Verdict = fmt.Sprintf("%d records of history", len(found))
		return writeJSON(out, f.json, struct {
			trace.JSON
			History []history.Record `json:"history"`
			Story   []story.Story    `json:"story"`
		}{j, found, stories}, func(s string) string { return s })
	}
	screen := tracetext.New(out, nil)
	if id == "" && transactions(found) > 1 {
		tracetext.List(screen, historyEntries(found))
		return nil
	}
	bad := false
	for i := range stories {
		tracetext.Story(screen, &stories[i])
		bad = bad || !stories[i].Good
	}
	if bad {
		return command.Findings
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

// addressQuery returns the query for patterns over sender and recipient. The
// index is used to find a complete ASCII address; any other pattern requires
// reading all records.
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

// historyEntries converts records to the form that mail/story reads.
func historyEntries(found []history.Record) []story.Entry {
	list := make([]story.Entry, len(found))
	for i := range found {
		list[i] = story.Entry(found[i])
	}
	return list
}

// recordTime is the time within which a record appears after the reply to the
// client.
const recordTime = time.Second

// awaitRecord repeats a search for a message that may have been accepted a moment
// ago, because the client receives the reply before the record is written. It
// does not wait for the record of an older id.
func awaitRecord(ctx context.Context, id string, find func(context.Context) ([]history.Record, error)) ([]history.Record, error) {
	if begun, ours := mail.IDTime(id); ours && time.Since(begun) > time.Hour {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(50 * time.Millisecond):
		}
		if found, err := find(ctx); len(found) > 0 || err != nil && ctx.Err() == nil {
			return found, err
		}
	}
}

// records returns a function that searches this server's history, or nil if
// there is no configuration to locate it or it cannot be read.
func (f *traceFlags) records() inspect.Records {
	cfg, told, err := f.config()
	if err != nil || !told {
		return nil
	}
	reader := history.NewReader(cfg.Under("history"))
	return func(ctx context.Context, k inspect.Key) ([]story.Entry, error) {
		q := history.Query{ID: k.ID, MessageID: k.MessageID, Limit: 20, Join: true}
		if k.EnvID != "" {
			q.Match = func(r *history.Record) bool { return (*story.Entry)(r).HasEnvID(k.EnvID) }
		}
		found, err := reader.Find(ctx, q)
		if errors.Is(err, os.ErrPermission) {
			return nil, nil
		}
		return historyEntries(found), err
	}
}
