package dryrun

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/relay/forward"
)

func TestOpening(t *testing.T) {
	for _, c := range []struct {
		name, protocol string
		q              Question
		want           []string
	}{
		{"smtp", "smtp", Question{Helo: "c.example", From: "bob@example.com"}, []string{"", "EHLO c.example", "MAIL FROM:<bob@example.com>"}},
		{"lmtp, null path", "lmtp", Question{Helo: "c.example"}, []string{"", "LHLO c.example", "MAIL FROM:<>"}},
		{"login", "smtp", Question{Helo: "c", User: "ann@example.org", From: "ann@example.org"},
			[]string{"", "EHLO c", "STARTTLS", "EHLO c", "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBkcnkgcnVu", "MAIL FROM:<ann@example.org>"}},
		{"login in clear text", "smtp off", Question{Helo: "c", User: "ann@example.org", From: "ann@example.org"},
			[]string{"", "EHLO c", "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBkcnkgcnVu", "MAIL FROM:<ann@example.org>"}},
		{"message", "smtp", Question{Helo: "c", From: "a@b.c", Message: []byte("12345")}, []string{"", "EHLO c", "MAIL FROM:<a@b.c> SIZE=5"}},
		{"UTF-8 recipient", "smtp", Question{Helo: "c", From: "a@b.c", To: []string{"jörg@example.org"}}, []string{"", "EHLO c", "MAIL FROM:<a@b.c> SMTPUTF8"}},
	} {
		protocol, mode, _ := strings.Cut(c.protocol, " ")
		if mode == "" {
			mode = "starttls"
		}
		if got := opening(protocol, mode, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		rcpts, accepted, code int
		want                  string
	}{
		{1, 1, 250, "accepted"},
		{2, 2, 250, "accepted"},
		{2, 1, 250, "accepted for 1 of 2 recipients"},
		{1, 0, 550, "refused"},
		{1, 0, 450, "deferred"},
		{1, 1, 552, "refused"},
		{1, 1, 451, "deferred"},
	} {
		x := Explanation{Paths: make([]path, c.rcpts), accepted: c.accepted, code: c.code}
		if got := x.Verdict(); got != c.want {
			t.Errorf("%d of %d, %d: %q, want %q", c.accepted, c.rcpts, c.code, got, c.want)
		}
	}
}

func TestWithoutToken(t *testing.T) {
	for in, want := range map[string]string{
		"AUTH PLAIN c2VjcmV0": "AUTH PLAIN ...", "EHLO client.example": "EHLO client.example", "": "",
	} {
		if got := withoutToken(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

const tried = `
hostname = "mail.example.org"
smtp "in" {
  listen = "127.0.0.1:0"
  chain  = "in"
}
lmtp "local" {
  listen = "unix:lmtp.sock"
  chain  = "in"
}
chain "in" {
  filter "size" {
    max = "100B"
  }
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
  servers    = ["smtp://127.0.0.1:1"]
  recipients = "any"
}
`

func TestRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "var"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"relay.hcl": tried, "var/users": "ann@mail.example.org\n", "var/aliases": "info@mail.example.org ann@mail.example.org\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(q Question) (string, string, error) {
		t.Helper()
		cfg, file, err := config.Read(filepath.Join(dir, "relay.hcl"))
		if err != nil {
			t.Fatal(err)
		}
		q.IP, q.Helo, q.From = netip.MustParseAddr("192.0.2.7"), "client.example.com", "bob@example.com"
		x, err := Run(t.Context(), cfg, file.Diags, q)
		if err != nil {
			return "", "", err
		}
		var out strings.Builder
		x.Print(&out)
		return x.Verdict(), out.String(), nil
	}
	large := []byte("Subject: x\n\n" + strings.Repeat("x", 200) + "\n")
	for _, c := range []struct {
		name    string
		q       Question
		verdict string
		has     string
	}{
		{"an account", Question{To: []string{"ann@mail.example.org"}}, "accepted", `hop "boxes", into its Maildir`},
		{"an alias", Question{To: []string{"info@mail.example.org"}}, "accepted", "info@mail.example.org -> ann@mail.example.org"},
		{"lmtp", Question{Listener: "local", To: []string{"ann@mail.example.org"}}, "accepted", "C: LHLO client.example.com"},
		{"nobody", Question{To: []string{"eve@mail.example.org"}}, "refused", "S: 550 "},
		{"no route", Question{To: []string{"eve@elsewhere.example"}}, "refused", "S: 550 5.7.1"},
		{"an upstream", Question{To: []string{"bob@up.example"}}, "accepted", `hop "up", to smtp://127.0.0.1:1`},
		{"one of two", Question{To: []string{"ann@mail.example.org", "eve@mail.example.org"}}, "accepted for 1 of 2 recipients", ""},
		{"a message", Question{To: []string{"ann@mail.example.org"}, Message: []byte("Subject: x\n\n.x\n")}, "accepted", "C: DATA"},
		{"a large message", Question{To: []string{"ann@mail.example.org"}, Message: large}, "refused", "552 5.3.4"},
	} {
		verdict, out, err := ask(c.q)
		if err != nil || verdict != c.verdict || !strings.Contains(out, c.has) {
			t.Errorf("%s: %q, %v, want %q and %q in\n%s", c.name, verdict, err, c.verdict, c.has, out)
		}
	}
	for want, q := range map[string]Question{
		`no smtp or lmtp listener is called "out"`: {Listener: "out", To: []string{"a@b.example"}},
		`there is no account "eve"`:                {User: "eve", To: []string{"a@b.example"}},
	} {
		if _, _, err := ask(q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "var", "*")); len(left) != 2 {
		t.Errorf("the data folder has %v", left)
	}
}

// The TLS of an upstream with a login is what the login requires.
func TestDescribeLogin(t *testing.T) {
	c := &forward.Config{Servers: []string{"smtp://192.0.2.10"}, Mode: "queue", TLS: "may"}
	if got := describe(c); got != "to smtp://192.0.2.10, by the queue, TLS may" {
		t.Error(got)
	}
	c.Auth = &forward.AuthConfig{User: "relay", Password: "x"}
	if got := describe(c); got != "to smtp://192.0.2.10, by the queue, TLS verify" {
		t.Error(got)
	}
}
