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
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/queueadmin"
	"hoplite/internal/control"
	"hoplite/mail"
	"hoplite/mail/safe"
	"hoplite/relay/queue"
)

// queueFixture is a configuration with three messages in its queue: one to
// example.net, one to example.com, and one in quarantine.
func queueFixture(t *testing.T) (path string, ids []string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "relay.hcl")
	if err := os.WriteFile(path, []byte("hostname = \"mail.example.org\"\ndata = \"var\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	q := openTestQueue(t, path)
	defer q.Close()
	for i, to := range []mail.Address{"a@example.net", "b@example.com", "c@example.net"} {
		tx := mail.NewTransaction(mail.Client{Listener: "inbound", Helo: "client.example"}, "ann@example.org")
		tx.Header.Subject = "hello"
		tx.Trail.Add(mail.Event{Stage: mail.StageData, By: "size", Verdict: "pass"})
		if i == 2 {
			tx.Quarantine = "looks like a virus"
		}
		enqueue(t, q, tx, to)
		ids = append(ids, tx.ID)
	}
	return path, ids
}

// enqueue adds a message to the queue.
func enqueue(t *testing.T, q *queue.Queue, tx *mail.Transaction, to mail.Address) {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nthe body\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := q.Hop("out").Open(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Rcpt(t.Context(), mail.Rcpt{To: to, Orig: to}); err != nil {
		t.Fatal(err)
	}
	if out := h.Send(t.Context(), m); !out[0].Reply.Positive() {
		t.Fatal(&out[0].Reply)
	}
}

// Text from a remote client is never printed unchanged: U+202E reverses the
// text after it, and U+200B makes different addresses look the same.
func TestQueuePrintsNothingHidden(t *testing.T) {
	const evil = "\u202e\u200b\u0085\x1b[2J\xff"
	path, _ := queueFixture(t)
	q := openTestQueue(t, path)
	tx := mail.NewTransaction(mail.Client{Listener: "inbound", Helo: "helo" + evil, Name: "name" + evil}, "from"+evil+"@example.org")
	tx.Header.Subject, tx.Header.MessageID, tx.Quarantine = "subject"+evil, "<id"+evil+"@x>", "held"+evil
	tx.Trail.Add(mail.Event{
		Stage: mail.StageData, By: "size", Verdict: "tag", Reason: "reason" + evil,
		Facts: []mail.Fact{{Key: "fact", Value: evil}}, Reply: mail.NewReply(450, "4.0.0", "reply%s", evil),
	})
	tx.Trail.Auth = []mail.AuthResult{{Method: "spf", Value: "fail", Reason: "auth" + evil}}
	enqueue(t, q, tx, "to"+evil+"@example"+evil+".net")
	q.Close()
	for _, line := range []string{"queue", "queue list", "queue show " + tx.ID + " --trail"} {
		code, out := queueLine(t, append(strings.Fields(line), "-c", path)...)
		if code != 0 || !strings.Contains(out, "example") {
			t.Errorf("%s: exit %d\n%s", line, code, out)
		}
		for _, r := range out {
			if r != '\n' && safe.Hidden(r) {
				t.Errorf("%s prints %U:\n%q", line, r, out)
				break
			}
		}
	}
}

func openTestQueue(t *testing.T, path string) *queue.Queue {
	t.Helper()
	cfg, _, err := config.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	q, err := queueadmin.Open(cfg, zerolog.Nop(), queueadmin.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// queueLine runs a command line and returns its exit code and output.
func queueLine(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	return command.Run(t.Context(), cmd), out.String()
}

// The commands have the same results with the files of a stopped server and
// with a running server.
func TestQueueCommand(t *testing.T) {
	for _, mode := range []string{"stopped", "running"} {
		t.Run(mode, func(t *testing.T) {
			path, ids := queueFixture(t)
			if mode == "running" {
				serveQueue(t, path)
			}
			export := t.TempDir()
			for _, tc := range []struct {
				line string // $0, $1, ... are the ids
				code int
				has  string
				not  string
			}{
				{line: "queue", has: "example.com"},
				{line: "queue list", has: "$1"},
				{line: "queue list --to example.net", has: "held: looks like a virus", not: "$1"},
				{line: "queue list --state held --json", has: `"held": "looks like a virus"`},
				{line: "queue list --older 1h", not: "$0"},
				{line: "queue list --state lost", code: 2, has: "unknown state"},
				{line: "queue list --to ann@", code: 2, has: "--to: pattern"},
				{line: "queue list --older soon", code: 2, has: "soon"},
				{line: "queue show $0 --trail --body", has: "the body"},
				{line: "queue show $0 --trail", has: "size: pass", not: "the body"},
				{line: "queue show nobody", code: 1, has: "no such message"},
				{line: "queue export $0", has: "Subject: hello"},
				{line: "queue export --dir " + export, code: 2, has: "no messages selected"},
				{line: "queue export --all --dir " + export, has: "3 messages exported"},
				{line: "queue export nobody", code: 1, has: "nobody: no such message in the queue"},
				{line: "queue retry $2", has: "1 more are held until they are released"},
				{line: "queue list --limit 1", has: "the oldest 1; --limit 0 lists all"},
				{line: "queue list --limit 3", has: "$2", not: "--limit 0"},
				{line: "queue delete", code: 2, has: "no messages selected"},
				{line: "queue hold $0 --text later", has: "hold: 1 message\n"},
				{line: "queue list $0", has: "held: later"},
				{line: "queue release --state held --to a@example.net", has: "release: 1 message\n"},
				{line: "queue list $0", not: "held"},
				{line: "queue retry --to EXAMPLE.COM", has: "retry: 1 message\n"},
				{line: "queue reroute backup $1", has: "reroute: 1 message\n"},
				{line: "queue list $1", has: "by backup"},
				{line: "queue delete $1 nobody", code: 1, has: "1 of 2 ids are not in the queue"},
				{line: "queue bounce $0 --text no --json", has: `"done": 1`},
				{line: "queue list", has: "<ann@example.org>", not: "$1"},
				{line: "queue delete --all", has: "delete: 2 messages"}, // including the report
				{line: "queue", has: "the queue is empty"},
			} {
				line := tc.line
				for i, id := range ids {
					line = strings.ReplaceAll(line, fmt.Sprint("$", i), id)
					tc.has = strings.ReplaceAll(tc.has, fmt.Sprint("$", i), id)
					tc.not = strings.ReplaceAll(tc.not, fmt.Sprint("$", i), id)
				}
				code, out := queueLine(t, append(strings.Fields(line), "-c", path)...)
				for deadline := time.Now().Add(10 * time.Second); strings.Contains(out, `"busy"`) && time.Now().Before(deadline); {
					time.Sleep(10 * time.Millisecond) // it was being delivered
					code, out = queueLine(t, append(strings.Fields(line), "-c", path)...)
				}
				if code != tc.code || !strings.Contains(out, tc.has) || tc.not != "" && strings.Contains(out, tc.not) {
					t.Errorf("%s: exit %d\n%s", tc.line, code, out)
				}
			}
			if eml, err := os.ReadFile(filepath.Join(export, ids[0]+".eml")); err != nil || !strings.HasSuffix(string(eml), "the body\r\n") {
				t.Errorf("exported %q, %v", eml, err)
			}
			text, err := os.ReadFile(filepath.Join(export, ids[0]+".json"))
			if err != nil || !json.Valid(text) || !bytes.Contains(text, []byte("a@example.net")) {
				t.Errorf("exported %s, %v", text, err)
			}
		})
	}
}

// serveQueue serves the control socket like a running server whose upstreams
// cannot be reached.
func serveQueue(t *testing.T, path string) {
	t.Helper()
	cfg, _, err := config.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := control.Lock(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	q := openTestQueue(t, path)
	for _, name := range []string{"out", "backup", queue.Router} {
		q.Add(queue.Upstream{Name: name, Hop: deaf{}})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- q.Run(ctx, time.Second) }()
	go func() { done <- control.Serve(ctx, cfg.Data, queueadmin.Handler(q)) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		q.Close()
		lock.Close()
	})
	client := control.NewClient(cfg.Data)
	deadline := time.Now().Add(10 * time.Second)
	for client.Do(ctx, "POST", "/queue/totals", queue.Filter{}, nil) != nil && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
}

// deaf is a hop that can never be reached.
type deaf struct{}

func (deaf) Open(context.Context, *mail.Transaction) (mail.Handoff, error) {
	return nil, mail.NewReply(451, "4.4.1", "nobody there")
}
