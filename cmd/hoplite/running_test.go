package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/sitetest"
	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/control"
)

const runningConfig = `hostname = "mail.example.org"
sandbox  = false
log {
  level = "error"
}
smtp "in" {
  listen = ["127.0.0.1:0"]
  chain  = "in"
}
imap "imap" {
  listen = ["127.0.0.1:0"]
}
chain "in" {
  filter "hops" {}
  route "here" {
    to  = ["local"]
    hop = "boxes"
  }
  route "up" {
    to  = ["up.example"]
    hop = "up"
  }
}
maildrop "boxes" {}
upstream "up" {
  servers = ["smtp://127.0.0.1:1"]
}
`

// startServer serves a configuration until the test ends.
func startServer(t *testing.T, path string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		cmd := rootCommand()
		cmd.SetArgs([]string{"serve", "-c", path})
		cmd.SetOut(new(strings.Builder))
		cmd.SetErr(os.Stderr)
		done <- command.Run(ctx, cmd)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != 0 {
			t.Errorf("serve: exit %d", code)
		}
	})
	client := control.NewClient(filepath.Join(filepath.Dir(path), "var"))
	for deadline := time.Now().Add(30 * time.Second); client.Do(ctx, "GET", "/status", nil, nil) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server does not answer")
		}
	}
}

// Commands that contact a running server wait for the outcome: when they
// return, a change to accounts or aliases has taken effect.
func TestRunningServer(t *testing.T) {
	path := sitetest.Write(t, runningConfig, nil)
	for _, line := range []string{"status", "reload", "user unblock --all"} {
		if out, code := runLine(t, "", append(strings.Fields(line), "-c", path)...); code != 1 || !strings.Contains(out, "no server is running") {
			t.Errorf("%s without a server: exit %d: %s", line, code, out)
		}
	}
	startServer(t, path)
	edit := func(old, now string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), old) {
			t.Fatalf("no %q in the configuration: %v", old, err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, now, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		old, now string // an edit before the command
		line     string
		code     int
		want     string
	}{
		{"", "", "status", 1, "upstream up is down"}, // nothing listens on port 1
		{"", "", "reload", 0, "Reloaded; nothing has changed."},
		{"", "", "status", 1, "upstream up is down"}, // still known after the reload
		{"", "", "reload --json=lines", 0, `"changed":[]`},
		{"hops\" {}", "hops\" {\n    max = 30\n  }", "reload", 0, "chain \"in\" changed: filter\nReloaded."},
		{"\"error\"", "\"warn\"", "reload", 0, "takes effect after a restart: log"},
		{"hop = \"up\"", "hop = \"nowhere\"", "reload", 1, `there is no hop "nowhere"`},
		{"", "", "reload --json", 1, `there is no hop \"nowhere\"`},
		{"", "", "status", 1, "the last reload failed"},
		{"", "", "status --json", 1, `"error": "`},
		{"hop = \"nowhere\"", "hopp = \"up\"", "reload", 1, "Not reloaded: a running server keeps its configuration"},
		{"", "", "reload --json=lines", 1, `"error":"` + path + `:23:5: route \"up\" has no attribute \"hopp\". Did you mean \"hop\"?","changed":[]`},
		{"hopp = \"up\"", "hop = \"up\"", "reload --json", 0, `"changed": []`},
		{"sandbox", "data = \"other\"\nsandbox", "reload", 1, "no server is running on this data folder: " + filepath.Join(filepath.Dir(path), "other") + ". If data was changed in the configuration, restart the server"},
		{"", "", "reload --json", 1, `"error": "no server is running`},
		{"data = \"other\"\nsandbox", "sandbox", "reload", 0, "nothing has changed"},
		{"", "", "user add ann@mail.example.org", 0, "added ann@mail.example.org"},
		{"", "", "user blocks", 0, "nothing is blocked"},
		{"", "", "user blocks --json", 0, "[]\n"},
		{"", "", "user unblock ann@mail.example.org 192.0.2.0/24 192.0.2.7", 1, "not blocked: 192.0.2.0/24\n"},
		{"", "", "user unblock --all", 0, "unblocked: 0\n"},
		{"", "", "user unblock", 2, "nothing to unblock"},
		{"", "", "alias add info@mail.example.org ann@mail.example.org", 0, "info@mail.example.org -> ann@mail.example.org"},
		{"", "", "explain --to info@mail.example.org", 0, "info@mail.example.org -> ann@mail.example.org (aliases:1)"},
	} {
		if c.old != "" {
			edit(c.old, c.now)
		}
		if out, code := runLine(t, "secret\n", append(strings.Fields(c.line), "-c", path)...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d:\n%s\nwant %d with %q", c.line, code, out, c.code, c.want)
		} else if strings.Contains(c.line, "--json") && (strings.Contains(out, `\n`) || strings.Contains(out, "shown")) {
			t.Errorf("%s: wrapped text in JSON: %s", c.line, out)
		}
	}
	out, _ := runLine(t, "", "status", "--json", "-c", path)
	var s state.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Listeners) != 2 || len(s.Upstreams) != 1 || len(s.Certificates) != 1 || s.Disk.Free == 0 || s.Config != path || !strings.Contains(out, `"blocks": []`) {
		t.Errorf("%v: %s", err, out)
	}
}

// Aliases are added to and removed from the file. An alias that would resolve
// to itself is refused.
func TestAliasCommands(t *testing.T) {
	path := sitetest.Write(t, runningConfig, map[string]string{
		"users":   "ann@mail.example.org\nbob@mail.example.org\n\tforward bob@up.example\n",
		"aliases": "# staff\ninfo@mail.example.org ann@mail.example.org\n",
	})
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"alias list", 0, "info@mail.example.org -> ann@mail.example.org\n"},
		{"alias list --json=lines", 0, `{"alias":"info@mail.example.org","to":["ann@mail.example.org"],"line":2}`},
		{"alias add info@mail.example.org bob@mail.example.org Ann@mail.example.org", 0, "info@mail.example.org -> ann@mail.example.org, bob@mail.example.org\n"},
		{"alias test info@mail.example.org", 0, "=> bob@up.example, by up\n"},
		{"alias test info@mail.example.org --json", 0, `"hops": [`},
		{"alias test nobody@mail.example.org", 1, "=> nobody@mail.example.org, by boxes: there is no account"},
		{"alias test x@nowhere.example", 1, "no route takes mail for x@nowhere.example"},
		{"alias add a@mail.example.org b@mail.example.org", 0, "warning: there is no account b@mail.example.org"},
		{"alias add b@mail.example.org a@mail.example.org", 1, "not changed: b@mail.example.org: address resolves to itself"},
		{"alias add @d1.test @d2.test", 0, "@d1.test -> @d2.test"},
		{"alias add @d2.test @d1.test", 1, "not changed: any-name@d2.test: address resolves to itself"},
		{"alias add c@d2.test c@d1.test", 1, "not changed: c@d2.test: address resolves to itself"},
		{"alias add @d2.test q@mail.example.org", 0, "@d2.test -> q@mail.example.org"},
		{"alias add q@mail.example.org z@d1.test", 1, "not changed: q@mail.example.org: address resolves to itself"},
		{"alias add z@d1.test ann@mail.example.org", 0, ""},
		{"alias add q@mail.example.org z@d1.test", 0, ""},
		{"alias remove z@d1.test", 1, "address resolves to itself"},
		{"alias remove q@mail.example.org", 0, "removed"},
		{"alias remove z@d1.test", 0, "removed"},
		{"alias remove @d1.test", 0, "removed"},
		{"alias remove @d2.test", 0, "removed"},
		{"alias add x\x01@mail.example.org ann@mail.example.org", 1, "control character U+0001"},
		{"alias add x@mail.example.org |/bin/sh", 1, "only addresses are allowed"},
		{"alias add part@mail.example.org ann@mail.example.org x@nowhere.example", 0, `chain "in" delivers mail for part@mail.example.org only in part`},
		{"alias test part@mail.example.org", 1, `chain "in" delivers mail for part@mail.example.org only in part`},
		{"alias remove part@mail.example.org", 0, "removed part@mail.example.org\n"},
		{"alias remove a@mail.example.org", 0, "removed a@mail.example.org\n"},
		{"alias remove a@mail.example.org", 1, "there is no alias a@mail.example.org"},
		{"alias remove info@mail.example.org eve@mail.example.org", 1, "info@mail.example.org does not lead to eve@mail.example.org"},
		{"alias remove info@mail.example.org ann@mail.example.org", 0, "info@mail.example.org -> bob@mail.example.org\n"},
		{"alias add @up.example", 2, "wrong number of arguments"},
	} {
		if out, code := runLine(t, "", append(strings.Fields(c.line), "-c", path)...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d:\n%s\nwant %d with %q", c.line, code, out, c.code, c.want)
		}
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "var", "aliases"))
	if want := "# staff\ninfo@mail.example.org\tbob@mail.example.org\n"; err != nil || string(text) != want {
		t.Errorf("the file is %q, %v, want %q", text, err, want)
	}
}

// A mistake in one alias stops neither the start nor a reload; check reports it.
func TestServeWithAliasMistakes(t *testing.T) {
	path := sitetest.Write(t, strings.Replace(runningConfig, `to  = ["local"]`, `to  = ["local", "d1.test", "d2.test"]`, 1), map[string]string{
		"users":   "ann@mail.example.org\n",
		"aliases": "@d1.test @d2.test\n@d2.test @d1.test\nbad@mail.example.org x@\ngood@mail.example.org ann@mail.example.org\n",
	})
	startServer(t, path)
	for _, c := range []struct {
		line string
		code int
		want []string
	}{
		{"reload", 0, []string{"aliases:1:1", "aliases:2:1", "aliases:3:1"}},
		{"check", 1, []string{"aliases:1:1: any-name@d1.test", "address resolves to itself", "aliases:3:1:", `bad@mail.example.org: "x@": no domain`, "3 errors"}},
		{"explain --to good@mail.example.org", 0, []string{"good@mail.example.org -> ann@mail.example.org (aliases:4)"}},
		{"explain --to bad@mail.example.org", 1, []string{"451"}},
		{"explain --to x@d1.test", 1, []string{"5.4.6"}},
	} {
		out, code := runLine(t, "", append(strings.Fields(c.line), "-c", path)...)
		for _, want := range c.want {
			if code != c.code || !strings.Contains(out, want) {
				t.Errorf("%s: exit %d, want %d with %q:\n%s", c.line, code, c.code, want, out)
			}
		}
	}
	if out, code := runLine(t, "", "user", "unblock", "eve\x1b[31m", "-c", path); code != 1 || !strings.Contains(out, "not blocked: eve·[31m\n") {
		t.Errorf("user unblock: exit %d: %q", code, out)
	}
}

// An aliases file that cannot be read stops neither the start nor a reload:
// addresses that it may contain wait, and a reload keeps the known aliases.
func TestServeWithUnreadableAliases(t *testing.T) {
	path := sitetest.Write(t, runningConfig, map[string]string{"users": "ann@mail.example.org\n", "aliases/x": ""})
	aliases := filepath.Join(filepath.Dir(path), "var", "aliases")
	startServer(t, path)
	for _, c := range []struct {
		do   func() error
		line string
		code int
		want string
	}{
		{nil, "check", 1, "Mail for addresses that the file may contain waits"},
		{nil, "explain --to ann@mail.example.org", 0, "250"},
		{nil, "explain --to info@mail.example.org", 1, "451"},
		{nil, "explain --to x@up.example", 1, "451"},
		{nil, "reload", 0, "Mail for addresses that the file may contain waits"},
		{nil, "alias list", 2, "is a directory"},
		{func() error { return os.RemoveAll(aliases) }, "explain --to info@mail.example.org", 1, "550"},
		{func() error {
			return os.WriteFile(aliases, []byte("info@mail.example.org ann@mail.example.org\n"), 0o600)
		}, "reload", 0, "Reloaded"},
		{nil, "explain --to info@mail.example.org", 0, "250"},
	} {
		if c.do != nil {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
		}
		if out, code := runLine(t, "", append(strings.Fields(c.line), "-c", path)...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d, want %d with %q:\n%s", c.line, code, c.code, c.want, out)
		}
	}
}

// check --json has the findings, or the plan.
func TestCheckJSON(t *testing.T) {
	path := sitetest.Write(t, runningConfig, nil)
	out, code := runLine(t, "", "check", "--json", "-c", path)
	var r struct {
		Mistakes, Warnings int
		Plan               []string
		Findings           []struct{ Severity, Text string }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Mistakes != 0 || len(r.Plan) == 0 || !slices.ContainsFunc(r.Plan, func(l string) bool { return len(l) > 80 }) {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	path = sitetest.Write(t, strings.Replace(runningConfig, `hop = "up"`, `hop = "down"`, 1), nil)
	out, code = runLine(t, "", "check", "--json", "-c", path)
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 || r.Mistakes != 1 || len(r.Findings) != 2 || len(r.Plan) != 0 || r.Findings[0].Severity != "mistake" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}
