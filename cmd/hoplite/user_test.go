package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/cmd/hoplite/internal/command"
)

// runLine runs one command line and returns its output and exit code.
func runLine(t *testing.T, stdin string, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	cmd := rootCommand()
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	code := command.Run(context.Background(), cmd)
	return out.String(), code
}

// inConfig creates a folder with a configuration and makes it the current
// folder.
func inConfig(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("relay.hcl", []byte("hostname = \"mail.example.org\"\ndata = \"var\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUserCommands(t *testing.T) {
	inConfig(t)
	passwd := "bob:{PLAIN}x\neve:{SSHA}y\n"
	for _, c := range []struct {
		stdin, line string
		code        int
		want        string
	}{
		{"secret\n", "user add Ann@Example.org --quota 5GiB --admin", 0, "added ann@example.org\n"},
		{"secret\n", "user add ann@example.org", 1, "already exists"},
		{"", "user add new@example.org", 2, "no password on stdin"},
		{"x\n", "user add a/b@example.org", 1, "cannot be part of a name"},
		{"x\n", "user add x@example.org --quota much", 1, "quota"},
		{"x\n", "user add x@example.org --forward nobody", 1, "want a full address"},
		{"x", "user add carl --forward c@example.com,carl@localhost", 0, "added carl@localhost"},
		{"other\n", "user passwd ann@example.org", 0, "password set for ann@example.org"},
		{"other\n", "user app-password add ann@example.org phone --stdin", 0, "added app password phone for ann@example.org"},
		{"other\n", "user app-password add ann@example.org phone", 1, "already has an app password"},
		{"", "user app-password add eve@example.org phone", 1, "no such account"},
		{"", "user app-password add ann@example.org a b", 2, "wrong number of arguments"},
		{"", "user app-password list", 0, "ann@example.org  phone\n"},
		{"", "user app-password list carl --json", 0, "[]\n"},
		{"", "user app-password list carl --json=lines", 0, ""},
		{"", "user app-password list ann@example.org --json=lines", 0, `{"account":"ann@example.org","name":"phone"}`},
		{"other\n", "user passwd eve@example.org", 1, "no such account"},
		{"", "user list", 0, "ann@example.org  admin; quota 5GiB\ncarl@localhost  -> c@example.com, carl@localhost\n"},
		{"", "user list --json=lines", 0, `{"account":"ann@example.org","roles":["admin"],"quota":5368709120,"passwords":["main","phone"]}`},
		{"", "user show carl", 0, "forward    c@example.com, carl@localhost"},
		{"", "user show eve", 1, "no such account"},
		{"", "user set ann@example.org --admin=false --quota 0", 0, "changed ann@example.org"},
		{"", "user set carl --forward=", 0, "changed carl@localhost"},
		{"", "user list", 0, "ann@example.org\ncarl@localhost\n"},
		{"", "user app-password revoke ann@example.org tablet", 1, "no app password"},
		{"", "user app-password revoke ann@example.org phone", 0, "revoked app password phone of ann@example.org"},
		{"", "user remove ann@example.org", 0, "removed"},
		{passwd, "user import - --domain example.com", 1, "added 1 account\nhoplite: not added:\n-:2: eve@example.com: {SSHA}"},
		{"", "user list", 0, "carl@localhost\nbob@example.com\n"},
		{"", "user import /nowhere", 2, "no such file"},
	} {
		if out, code := runLine(t, c.stdin, strings.Fields(c.line)...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d:\n%s\nwant %d with %q", c.line, code, out, c.code, c.want)
		}
	}
}

func TestDKIMCommands(t *testing.T) {
	dir := inConfig(t)
	out, code := runLine(t, "", "dkim", "keygen", "Example.org", "--selector", "s2026")
	if code != 0 || !strings.Contains(out, "s2026._domainkey.example.org. IN TXT (\n\t\"v=DKIM1; k=rsa; p=MII") {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	file := filepath.Join(dir, "var/dkim/example.org/s2026.pem")
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", st, err)
	}
	before, _ := os.ReadFile(file)
	if out, code := runLine(t, "", "dkim", "keygen", "example.org", "--selector", "s2026"); code != 1 {
		t.Errorf("a second key of the same name: exit %d: %s", code, out)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	runLine(t, "", "dkim", "keygen", "example.org", "--selector", "e", "--type", "ed25519")
	if out, code := runLine(t, "", "dkim", "record", "example.org"); code != 0 || strings.Count(out, "IN TXT") != 2 || !strings.Contains(out, "k=ed25519") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	for _, bad := range [][]string{
		{"dkim", "keygen", "../x"}, {"dkim", "keygen", "example.org", "--selector", "../x"}, {"dkim", "keygen", "example.org", "--bits", "512", "--selector", "w"},
		{"dkim", "keygen", "example.org", "--type", "dsa", "--selector", "d"}, {"dkim", "record", "example.net"},
	} {
		if out, code := runLine(t, "", bad...); code != 1 {
			t.Errorf("%v: exit %d: %s", bad, code, out)
		}
	}
}
