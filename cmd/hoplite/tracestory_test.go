package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/history"
	"hoplite/mail"
	"hoplite/mail/story"
)

// The sender and recipient of a search are patterns, as in other commands.
func TestAddressQuery(t *testing.T) {
	for _, c := range []struct {
		from, to string
		exact    bool // found by the index
		yes, no  []history.Record
	}{
		{"Ann@example.org", "", true, nil, nil},
		{"", "bob@example.net", true, nil, nil},
		{"example.org", "", false, []history.Record{{From: "ann@example.org"}}, []history.Record{{From: "ann@example.net"}, {}}},
		{"", ".example.org", false, []history.Record{{To: []string{"x@y", "ann@sub.example.org"}}}, []history.Record{{To: []string{"ann@example.org"}}, {}}},
		{"<>", "", false, []history.Record{{}}, []history.Record{{From: "ann@example.net"}}},
		{"ann@bücher.example", "", false, []history.Record{{From: "ann@xn--bcher-kva.example"}, {From: "Ann@bücher.example"}}, []history.Record{{From: "bob@bücher.example"}}},
		{"example.org", "example.net", false, []history.Record{{From: "a@example.org", To: []string{"b@example.net"}}},
			[]history.Record{{From: "a@example.org"}, {To: []string{"b@example.net"}}}},
	} {
		q, err := addressQuery(c.from, c.to)
		if err != nil || (q.Match == nil) != c.exact || c.exact && q.From+q.To == "" {
			t.Errorf("%q, %q: %+v, %v", c.from, c.to, q, err)
			continue
		}
		for i := range c.yes {
			if !q.Match(&c.yes[i]) {
				t.Errorf("%q, %q does not match %+v", c.from, c.to, c.yes[i])
			}
		}
		for i := range c.no {
			if q.Match(&c.no[i]) {
				t.Errorf("%q, %q matches %+v", c.from, c.to, c.no[i])
			}
		}
	}
	for _, bad := range []string{"a b", "ann@", "*.example.org"} {
		if _, err := addressQuery(bad, ""); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The client receives the id of its message before the record is written.
func TestTraceWaitsForRecord(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "relay.hcl")
	if err := os.WriteFile(conf, []byte("hostname = \"mx.example.org\"\ndata = \"var\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := history.Open(filepath.Join(dir, "var/history"), 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	tx := mail.NewTransaction(mail.Client{Helo: "client.example"}, "ann@a.example")
	sum := &story.Summary{Transaction: tx, Verdict: "accepted", Reply: *mail.NewReply(250, "2.0.0", "queued as %s", tx.ID)}
	store.Add(history.Record{ID: tx.ID, At: tx.At, Kind: "transaction", From: "ann@a.example"}, sum)
	if out, code := hopliteRun(t, "", "trace", "-c", conf, tx.ID); code != 0 || !strings.Contains(out, "accepted") {
		t.Errorf("code %d: %s", code, out)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		late := mail.NewTransaction(mail.Client{}, "eve@a.example")
		store.Add(history.Record{ID: late.ID, At: late.At, Kind: "transaction", From: "eve@a.example"}, &story.Summary{Transaction: late, Verdict: "accepted", Reply: *mail.NewReply(250, "2.0.0", "queued")})
	}()
	if out, code := hopliteRun(t, "", "trace", "-c", conf, "--from", "eve@a.example"); code != 0 || !strings.Contains(out, "accepted") {
		t.Errorf("code %d: %s", code, out)
	}
	begun := time.Now()
	if out, code := hopliteRun(t, "", "trace", "-c", conf, "01m83cchqfy872as"); code != 2 || !strings.Contains(out, "no such file, id or Message-ID") || time.Since(begun) > recordTime {
		t.Errorf("code %d after %s: %s", code, time.Since(begun), out)
	}
}

// TestTraceBounceOfOurs joins a bounce with history by each key that it may contain.
func TestTraceBounceOfOurs(t *testing.T) {
	t.Setenv("LANG", "C.UTF-8")
	dir := t.TempDir()
	conf := filepath.Join(dir, "relay.hcl")
	if err := os.WriteFile(conf, []byte("hostname = \"mx.a.example\"\ndata = \"var\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := history.Open(filepath.Join(dir, "var/history"), 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	tx := mail.NewTransaction(mail.Client{Helo: "client.example", Listener: "submission", User: "ann@a.example"}, "ann@a.example")
	tx.Envelope.EnvID = "env7"
	tx.Envelope.Rcpts = []mail.Rcpt{{To: "bob@b.example", Orig: "bob@b.example"}}
	sum := &story.Summary{Transaction: tx, Verdict: "accepted", Reply: *mail.NewReply(250, "2.0.0", "queued as %s", tx.ID)}
	store.Add(history.Record{ID: tx.ID, At: tx.At, Kind: "transaction", MessageID: "<m1@a.example>", From: "ann@a.example", To: []string{"bob@b.example"}}, sum)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	const arf = "From: abuse@b.example\nContent-Type: multipart/report; report-type=feedback-report; boundary=B\n\n--B\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nSource-IP: 192.0.2.7\n%s\n--B\nContent-Type: message/rfc822\n\n%s\nhi\n--B--\n"
	for _, c := range []struct{ name, fields, original, by string }{
		{"our id", "", "Received: from client.example by mx.a.example with ESMTPSA id " + tx.ID + "; Tue, 12 May 2026 08:30:05 +0000\n", "our id " + tx.ID},
		{"Message-ID", "", "Message-ID: <m1@a.example>\n", "the Message-ID <m1@a.example>"},
		{"ENVID", "Original-Envelope-Id: env7\n", "Subject: hi\n", "the envelope id env7"},
		{"another message", "Original-Envelope-Id: env8\n", "Message-ID: <m2@a.example>\n", ""},
	} {
		out, code := hopliteRun(t, fmt.Sprintf(arf, c.fields, c.original), "trace", "-c", conf, "-")
		if code != 1 || !strings.Contains(out, "a complaint (abuse)") || !strings.Contains(out, "address   192.0.2.7") {
			t.Errorf("%s: code %d\n%s", c.name, code, out)
		}
		if found := strings.Contains(out, "In our own history, by "+c.by) && strings.Contains(out, tx.ID+" accepted") && strings.Contains(out, "login     ann@a.example"); found != (c.by != "") {
			t.Errorf("%s: not joined by %q\n%s", c.name, c.by, out)
		}
	}
}
