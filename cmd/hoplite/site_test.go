package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// entries returns the files and folders below dir.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names[1:]
}

// A configuration with mistakes may name the wrong data folder, so commands
// that work on it stop.
func TestBrokenConfigurationStops(t *testing.T) {
	for text, want := range map[string]string{
		"data = \"elsewhere\"\nsmtp \"x\" {\n": "relay.hcl:",
		"dat = \"elsewhere\"\n":                "relay.hcl:1:1: ",
	} {
		t.Chdir(t.TempDir())
		if err := os.WriteFile("relay.hcl", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{
			"user add ann@example.org", "user list", "queue", "queue list", "box list", "dkim keygen example.org",
			"dkim record example.org", "trace --to ann@example.org", "trace -",
		} {
			out, code := runLine(t, "Subject: x\n\nsecret\n", strings.Fields(line)...)
			if code != 2 || !strings.Contains(out, want) {
				t.Errorf("%s: exit %d:\n%s", line, code, out)
			}
		}
		if names := entries(t, "."); len(names) != 1 {
			t.Errorf("created %v", names)
		}
	}
}

// Without a configuration, commands work only where a server with the built-in
// one has run.
func TestBuiltInOnlyWhereItRan(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, line := range []string{"user add ann", "user list", "queue", "box list", "dkim keygen example.org"} {
		if out, code := runLine(t, "secret\n", strings.Fields(line)...); code != 2 || !strings.Contains(out, "no configuration") {
			t.Errorf("%s: exit %d:\n%s", line, code, out)
		}
	}
	if names := entries(t, "."); len(names) != 0 {
		t.Errorf("created %v", names)
	}
	if err := os.MkdirAll("var/state", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("var/state/built-in", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := runLine(t, "secret\n", "user", "add", "ann")
	if code != 0 || !strings.Contains(out, "configuration: built-in relay.hcl\n") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// Commands that only read create nothing, and files that root creates belong to
// the owner of the data folder.
func TestFilesBelongToTheOwner(t *testing.T) {
	inConfig(t)
	if err := os.Mkdir("var", 0o750); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"user list", "queue", "queue list", "box list", "box check", "queue delete --all"} {
		if out, code := runLine(t, "", strings.Fields(line)...); code != 0 && !strings.Contains(out, "no maildrop") {
			t.Errorf("%s: exit %d:\n%s", line, code, out)
		}
		if names := entries(t, "var"); len(names) > 0 {
			t.Fatalf("%s created %v", line, names)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("the rest needs root")
	}
	const id = 4711
	config := "hostname = \"mail.example.org\"\nmaildrop \"boxes\" {\n}\n"
	if err := os.WriteFile("relay.hcl", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("in.mbox", []byte("From x Thu Jan  1 00:00:00 2026\nSubject: a\n\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown("var", id, id); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"user add ann@example.org", "box list ann@example.org", "box import ann@example.org in.mbox", "box list", "box check --fix", "box reindex",
		"dkim keygen example.org",
	} {
		if out, code := runLine(t, "secret\n", strings.Fields(line)...); code != 0 {
			t.Errorf("%s: exit %d:\n%s", line, code, out)
		}
	}
	if err := os.MkdirAll("var/queue", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown("var/queue", id, id); err != nil {
		t.Fatal(err)
	}
	if out, code := runLine(t, "", "queue"); code != 0 {
		t.Errorf("queue: exit %d:\n%s", code, out)
	}
	for _, name := range entries(t, "var") {
		st, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if owner := st.Sys().(*syscall.Stat_t); owner.Uid != id || owner.Gid != id {
			t.Errorf("%s belongs to %d:%d", name, owner.Uid, owner.Gid)
		}
	}
}

func TestUnknownSubcommand(t *testing.T) {
	for line, want := range map[string]string{
		"user rm":           `unknown command "hoplite user rm": did you mean "hoplite user remove"?`,
		"queue lst":         `unknown command "hoplite queue lst": did you mean "hoplite queue list"?`,
		"sreve":             `unknown command "hoplite sreve": did you mean "hoplite serve"?`,
		"queue --jsn":       `unknown flag: --jsn: did you mean --json?`,
		"box list --xyzzy":  `unknown flag: --xyzzy (see hoplite box list --help)`,
		"check -z":          `unknown shorthand flag: 'z' in -z (see hoplite check --help)`,
		"check -c none.hcl": `none.hcl: file does not exist; name the configuration file with -c or $HOPLITE_CONFIG`,
		"box xyzzy":         `unknown command "hoplite box xyzzy": see hoplite box --help`,
	} {
		if out, code := runLine(t, "", strings.Fields(line)...); code != 2 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d: %s", line, code, out)
		}
	}
	if out, code := runLine(t, "", "user"); code != 0 || !strings.Contains(out, "Available Commands") {
		t.Errorf("user: exit %d: %s", code, out)
	}
}
