package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/internal/history"
	"hoplite/mail"
	"hoplite/mail/received"
	"hoplite/mail/story"
	"hoplite/relay/queue"
)

const synthetic = "../../mail/trace/testdata/received/synthetic/"

// hopliteRun runs a command line and returns its output and exit code.
func hopliteRun(t *testing.T, stdin string, args ...string) (out string, code int) {
	t.Helper()
	var b bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	code = command.Run(context.Background(), cmd)
	return b.String(), code
}

func TestTraceCommand(t *testing.T) {
	t.Setenv("LANG", "C.UTF-8")
	t.Setenv("LC_ALL", "")
	t.Setenv("COLUMNS", "80")
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"clean", []string{synthetic + "clean-4hops.eml"}, 0, []string{"4 hops, 6 s, origin 203.0.113.5", "laptop.lan → smtp.source.example", "ESMTPS 1.3", "◆ boundary"}},
		{"clock", []string{synthetic + "skew-one-slow.eml"}, 1, []string{"-1h00m", "1 h slow", "daylight saving"}},
		{"forged", []string{"--trusted", "192.0.2.0/24", synthetic + "forged-prefix.eml"}, 1, []string{"✗", "198.51.100.144 vouched by mx1.dest.example", "belongs to another organisation"}},
		{"csv", []string{"--csv", synthetic + "clean-4hops.eml"}, 0, []string{"index,trust,from", "4,boundary,mx.transit.example,203.0.113.5"}},
		{"explain", []string{"--explain", "3", synthetic + "clean-4hops.eml"}, 0, []string{"line 3", "tls_version    TLSv1.3"}},
		{"explain too far", []string{"--explain", "9", synthetic + "clean-4hops.eml"}, 2, []string{"there is no line 9"}},
		{"explain nothing", []string{"--explain", "0", synthetic + "clean-4hops.eml"}, 2, []string{"there is no line 0"}},
		{"explain a word", []string{"--explain", "x", synthetic + "clean-4hops.eml"}, 2, []string{`--explain: "x" is not a number: give that of a line, for example 3`}},
		{"since a wrong unit", []string{"-c", "../../relay.hcl", "--since", "2x"}, 2, []string{`--since: "2x" is neither a time nor a period: write 2h, 3d,`}},
		{"anonymous", []string{"--anonymise", synthetic + "clean-4hops.eml"}, 0, []string{"4 hops, 6 s, origin 192.0.2.1 vouched by h"}},
		{"diff", []string{"--diff", synthetic + "clean-4hops.eml", synthetic + "skew-one-fast.eml"}, 1, []string{"changed Subject", "added"}},
		{"no network", []string{"--trusted", "nonsense", synthetic + "clean-4hops.eml"}, 2, []string{"is not a network"}},
		{"not there", []string{"-c", "../../relay.hcl", "no-such-file.eml"}, 2, []string{"no such file, id or Message-ID"}},
		{"nothing said", nil, 2, []string{"no message given"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, code := hopliteRun(t, "", append([]string{"trace"}, c.args...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("%q is missing in\n%s", w, out)
				}
			}
			for line := range strings.Lines(out) {
				if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 && c.name != "csv" && c.code != 2 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		})
	}
}

func TestTraceASCII(t *testing.T) {
	t.Setenv("LANG", "C")
	t.Setenv("LC_ALL", "C")
	out, _ := hopliteRun(t, "", "trace", synthetic+"forged-own-name.eml")
	for i := range len(out) {
		if out[i] >= 128 {
			t.Fatalf("not ASCII: %q", out[max(0, i-20):min(len(out), i+20)])
		}
	}
}

// The text of a message must not control the terminal.
func TestTraceHostile(t *testing.T) {
	t.Setenv("LANG", "C.UTF-8")
	msg := "Received: from \x1b]0;owned\x07 (\x1b[2J [192.0.2.1]) by a\u202eb.example with SMTP; Tue, 12 May 2026 08:30:00 +0000\nFrom: \x1b[31m\nSubject: =cmd\n\n"
	for _, args := range [][]string{{"trace", "-"}, {"trace", "--explain", "1", "-"}, {"trace", "--csv", "-"}, {"trace", "--json", "-"}} {
		out, _ := hopliteRun(t, msg, args...)
		if strings.ContainsAny(out, "\x1b\x07\u202e") && args[1] != "--json" || strings.ContainsAny(out, "\x1b\x07") {
			t.Errorf("%v: %q", args, out)
		}
	}
}

// With --json=lines a report is one line; both forms have the same content.
func TestJSONLines(t *testing.T) {
	eml := synthetic + "clean-4hops.eml"
	for _, args := range [][]string{{"trace", eml}, {"trace", "--diff", eml, synthetic + "skew-one-fast.eml"}, {"smime", eml}} {
		line, code := hopliteRun(t, "", append(args, "--json=lines")...)
		many, same := hopliteRun(t, "", append(args, "--json")...)
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(many)); err != nil || code != same || code == 2 || line != strings.TrimSpace(compact.String())+"\n" {
			t.Errorf("%v: exit %d and %d, %v:\n%s\n%s", args, code, same, err, line, many)
		}
	}
}

func TestTraceJSONContract(t *testing.T) {
	out, _ := hopliteRun(t, "", "trace", "--json", synthetic+"skew-one-fast.eml")
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"hops", "clocks", "origin", "loops", "auth", "findings", "total_s"} {
		if _, ok := got[k]; !ok {
			t.Errorf("no %s", k)
		}
	}
	hop := got["hops"].([]any)[2].(map[string]any)
	for _, k := range []string{"index", "from", "from_ip", "by", "time", "corrected_time", "delay_s", "delay_low_s", "delay_high_s", "trust", "reasons"} {
		if _, ok := hop[k]; !ok {
			t.Errorf("no hops[].%s", k)
		}
	}
	clock := got["clocks"].([]any)[0].(map[string]any)
	for _, k := range []string{"host", "offset_s", "low_s", "high_s", "cause", "certain"} {
		if _, ok := clock[k]; !ok {
			t.Errorf("no clocks[].%s", k)
		}
	}
}

func TestTraceReceived(t *testing.T) {
	var in strings.Builder
	const n = 5000
	for i := range n {
		v, _ := json.Marshal(fmt.Sprintf("from h%d.example\r\n\tby \"mx\".example with ESMTP id x%d; Tue, 12 May 2026 08:30:00 +0000", i, i))
		fmt.Fprintf(&in, "%s\n", v)
	}
	in.WriteString(`"from \u00fc.example by b.example"`) // no final newline
	out, code := hopliteRun(t, in.String(), "trace", "--received")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != n+1 {
		t.Fatalf("code %d, %d lines", code, len(lines))
	}
	for i, l := range lines {
		var r received.JSON
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("h%d.example", i); i < n && (r.From != want || r.ID != fmt.Sprintf("x%d", i) || r.Date != "2026-05-12T08:30:00+00:00") || i == n && r.From != "ü.example" {
			t.Fatalf("line %d: %s", i, l)
		}
	}
}

func TestTraceHistory(t *testing.T) {
	t.Setenv("LANG", "C.UTF-8")
	dir := t.TempDir()
	conf := filepath.Join(dir, "relay.hcl")
	if err := os.WriteFile(conf, []byte("hostname = \"mx.example.org\"\ndata = \"var\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := history.Open(filepath.Join(dir, "var/history"), 0, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	tx := mail.NewTransaction(mail.Client{Helo: "client.example", Listener: "inbound"}, "ann@a.example")
	tx.Envelope.Rcpts = []mail.Rcpt{{To: "bob@example.org", Orig: "bob@example.org"}}
	tx.Trail.Add(mail.Event{Stage: mail.StageData, By: "size", Verdict: "pass"})
	story := &story.Summary{Transaction: tx, Verdict: "accepted", Reply: *mail.NewReply(250, "2.0.0", "queued as %s", tx.ID)}
	store.Add(history.Record{ID: tx.ID, At: tx.At, Kind: "transaction", MessageID: "<m1@a.example>", From: "ann@a.example", To: []string{"bob@example.org"}}, story)
	tried := &queue.Attempt{Upstream: "old", Queued: tx.At, Started: tx.At.Add(time.Second), Final: true,
		Outcomes: []mail.Outcome{{Rcpt: "bob@example.org", Hop: "old", Host: "up.example", Reply: *mail.NewReply(550, "5.1.1", "no such user")}}}
	store.Add(history.Record{ID: tx.ID, At: tx.At.Add(time.Second), Kind: "attempt", From: "ann@a.example", To: []string{"bob@example.org"}}, tried)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{tx.ID}, {"<m1@a.example>"}, {"--to", "bob@example.org", "--since", "1h"}} {
		out, code := hopliteRun(t, "", append([]string{"trace", "-c", conf}, args...)...)
		for _, w := range []string{tx.ID + " accepted", "client.example", "size: pass", "up.example: 550 5.1.1 no such user", "5.1.1"} {
			if !strings.Contains(out, w) {
				t.Errorf("%v: %q is missing in\n%s", args, w, out)
			}
		}
		if code != 1 {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
	if out, code := hopliteRun(t, "", "trace", "-c", conf, "--from", "nobody@a.example"); code != 2 || !strings.Contains(out, "no such message") {
		t.Errorf("code %d: %s", code, out)
	}
}
