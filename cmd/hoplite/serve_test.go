package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeConfig writes a configuration with a data folder and returns its path.
func writeConfig(t *testing.T, config string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["../relay.hcl"] = config
	for name, text := range files {
		path := filepath.Join(dir, "var", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "relay.hcl")
}

// tree lists all files below a folder.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&out, path, info.Mode(), info.ModTime())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The server does not start if a filter can't be read: it would silently be
// missing.
func TestServeRefusesAMistakeInAFilter(t *testing.T) {
	config := writeConfig(t, `smtp "in" {
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
`, map[string]string{})
	cmd := rootCommand()
	cmd.SetArgs([]string{"serve", "-c", config})
	cmd.SetContext(t.Context())
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), `has no attribute "maxx"`) {
		t.Errorf("serve: %v", err)
	}
}

// A dry run leaves nothing behind, not even the mailboxes of a server that was
// never started: they would belong to the wrong user.
func TestExplainMakesNothing(t *testing.T) {
	config := writeConfig(t, `smtp "in" {
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
	before := tree(t, filepath.Dir(config))
	cmd := rootCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"explain", "-c", config, "--ip", "192.0.2.1", "--from", "bob@example.com", "--to", "ann@localhost"})
	cmd.SetContext(t.Context())
	err := cmd.Execute()
	if after := tree(t, filepath.Dir(config)); after != before {
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
		cmd := rootCommand()
		cmd.SetArgs(append([]string{"explain", "-c", config, "--to", "ann@localhost"}, strings.Fields(args)...))
		cmd.SetContext(t.Context())
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("explain %s: %v", args, err)
		}
	}
}
