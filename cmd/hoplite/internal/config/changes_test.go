package config

import (
	"os"
	"strings"
	"testing"
)

const before = `hostname = "mail.example.org"
smtp "in" {
  listen   = ["127.0.0.1:2525"]
  chain    = "in"
  max_size = "10MiB"
}
smtp "old" {
  listen = ["127.0.0.1:2526"]
  chain  = "in"
}
chain "in" {
  filter "rate" {
    limit "address" {
      messages = "200/1h"
    }
  }
  route "here" {
    to  = ["example.org"]
    hop = "boxes"
  }
}
maildrop "boxes" {}
upstream "up" {
  servers = ["smtp://192.0.2.10"]
  auth {
    user     = "relay"
    password = "one"
  }
}
`

func TestChanges(t *testing.T) {
	t.Chdir(t.TempDir())
	load := func(text string) *Config {
		t.Helper()
		if err := os.WriteFile("relay.hcl", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, file, err := Read("relay.hcl")
		if err != nil || file.Diags.Err() != nil {
			t.Fatal(err, file.Diags.Err())
		}
		return cfg
	}
	for _, c := range []struct {
		name     string
		old, new string // a replacement in the file
		changed  string
		restart  string
	}{
		{"nothing", "", "", "", ""},
		{"only its lines", "smtp \"in\"", "# a comment\n\nsmtp \"in\"", "", ""},
		{"an attribute of the file", "\"mail.example.org\"", "\"mx.example.org\"", "hostname changed", ""},
		{"attributes of a block", "2525\"]", "2625\"]\n  tls = \"off\"", `smtp "in" changed: listen, tls`, ""},
		{"a default that is written down", "max_size = \"10MiB\"", "max_size = \"10MiB\"\n  auth = \"off\"", "", ""},
		{"a block renamed", "smtp \"old\"", "smtp \"new\"", `smtp "old" removed; smtp "new" added`, ""},
		{"a rule within a filter", "200/1h", "100/1h", `chain "in" changed: filter`, ""},
		{"a route", "[\"example.org\"]", "[\"example.net\"]", `chain "in" changed: route`, ""},
		{"a password", "\"one\"", "\"two\"", `upstream "up" changed: auth`, ""},
		{"the log", "smtp \"in\"", "log {\n  level = \"debug\"\n}\nsmtp \"in\"", "log changed: level", "log"},
		{"a single block", "smtp \"in\"", "dns {\n  server = \"127.0.0.1:53\"\n}\nsmtp \"in\"", "dns added", ""},
		{"the queue's files", "smtp \"in\"", "queue {\n  inline = \"1KiB\"\n  workers = 7\n}\nsmtp \"in\"", "queue changed: workers, inline", "queue: inline"},
		{"a folder outside the sandbox", "maildrop \"boxes\" {}", "maildrop \"boxes\" {\n  path = \"/srv/mail/{domain}/{user}\"\n}", `maildrop "boxes" changed: path`, "the sandbox, to write to /srv/mail"},
		{"no sandbox", "smtp \"in\"", "sandbox = false\nsmtp \"in\"", "sandbox changed", "sandbox"},
	} {
		old := load(before)
		changed, restart := Changes(old, load(strings.Replace(before, c.old, c.new, 1)))
		if got := strings.Join(changed, "; "); got != c.changed {
			t.Errorf("%s: %q, want %q", c.name, got, c.changed)
		}
		if got := strings.Join(restart, "; "); got != c.restart {
			t.Errorf("%s: restart for %q, want %q", c.name, got, c.restart)
		}
		if c.name == "nothing" || c.changed == "" {
			continue
		}
		if back, _ := Changes(load(strings.Replace(before, c.old, c.new, 1)), load(before)); len(back) == 0 {
			t.Errorf("%s: no changes on the way back", c.name)
		}
	}
}
