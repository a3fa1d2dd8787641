package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/cmd/hoplite/internal/sitetest"
)

// The server does not start if a filter cannot be read, because it would
// otherwise run without the filter.
func TestServeRefusesAMistakeInAFilter(t *testing.T) {
	config := sitetest.Write(t, `smtp "in" {
  listen = ["127.0.0.1:0"]
  chain  = "in"
}
chain "in" {
  filter "size" {
    maxx = "1MiB"
  }
  route "here" {
    hop = "boxes"
  }
}
maildrop "boxes" {}
`, nil)
	cmd := rootCommand()
	cmd.SetArgs([]string{"serve", "-c", config})
	cmd.SetContext(t.Context())
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), `has no attribute "maxx"`) {
		t.Errorf("serve: %v", err)
	}
}

// A dry run leaves nothing behind, not even the mailboxes of a server that was
// never started, because they would belong to the wrong user.
func TestExplainMakesNothing(t *testing.T) {
	config := sitetest.Write(t, `smtp "in" {
  listen = ["127.0.0.1:0"]
  chain  = "in"
}
chain "in" {
  filter "greylist" {}
  route "here" {
    to  = ["local"]
    hop = "boxes"
  }
}
maildrop "boxes" {}
`, map[string]string{"users": "ann@localhost\n"})
	before := sitetest.Tree(t, filepath.Dir(config))
	cmd := rootCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"explain", "-c", config, "--ip", "192.0.2.1", "--from", "bob@example.com", "--to", "ann@localhost"})
	cmd.SetContext(t.Context())
	err := cmd.Execute()
	if after := sitetest.Tree(t, filepath.Dir(config)); after != before {
		t.Errorf("it changed something: before\n%s\nafter\n%s", before, after)
	}
	if !strings.Contains(out.String(), "Greylisted") {
		t.Errorf("%v\n%s", err, &out)
	}
	for args, want := range map[string]string{
		"--user bob":       `there is no account "bob"`,
		"--listener out":   `no smtp or lmtp listener is called "out". Known: in.`,
		"--ip example.org": `"example.org" is not an address`,
	} {
		out, code := hopliteRun(t, "", append([]string{"explain", "-c", config, "--to", "ann@localhost"}, strings.Fields(args)...)...)
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("explain %s: exit %d: %s", args, code, out)
		}
	}
	if err := os.WriteFile(config, []byte("hostname = \"a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := hopliteRun(t, "", "explain", "-c", config, "--to", "ann@localhost"); code != 2 || !strings.Contains(out, "a quote is not closed") {
		t.Errorf("explain with mistakes: exit %d: %s", code, out)
	}
}
