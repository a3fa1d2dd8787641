package assembly

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/users"
	"hoplite/internal/users/authority"
	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/mail/srs"
)

func TestReturnPaths(t *testing.T) {
	dir := t.TempDir()
	store, err := users.Open(filepath.Join(dir, "users"), []string{"fwd.example"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := authority.NewAccounts(store, nil, authority.Env{})
	if err != nil {
		t.Fatal(err)
	}
	resolver := alias.New(accounts, func() *alias.Table { return nil }, []string{"fwd.example"}, "")
	d := &Directory{Accounts: accounts, resolver: resolver, srs: srs.New([]byte(strings.Repeat("k", 32)), "fwd.example")}
	forwarded := mail.Rcpt{To: "bob@example.net", Orig: "bob@fwd.example", Via: []string{"bob@fwd.example (aliases:1)"}}
	if got := (&Directory{resolver: resolver}).Sender("ann@example.org", forwarded); got != "ann@example.org" {
		t.Errorf("without a rewriter: %s", got)
	}
	for _, tc := range []struct {
		name    string
		from    mail.Address
		rcpt    mail.Rcpt
		rewrite bool
	}{
		{"forwarded from outside to outside", "ann@example.org", forwarded, true},
		{"not forwarded", "ann@example.org", mail.Rcpt{To: "bob@example.net", Orig: "bob@example.net"}, false},
		{"from one of ours", "eve@fwd.example", forwarded, false},
		{"to one of ours", "ann@example.org", mail.Rcpt{To: "bob@fwd.example", Via: []string{"x"}}, false},
		{"a report", "", forwarded, false},
	} {
		got := d.Sender(tc.from, tc.rcpt)
		if (got != tc.from) != tc.rewrite {
			t.Errorf("%s: %s becomes %s", tc.name, tc.from, got)
		}
		if !tc.rewrite {
			continue
		}
		found, err := d.Resolve(string(got))
		if err != nil || len(found.Finals) != 1 || found.Finals[0].Address != string(tc.from) || len(found.Path) == 0 {
			t.Errorf("%s: the bounce to %s goes to %+v, %v", tc.name, got, found, err)
		}
	}
	_, err = d.Resolve("SRS0=AAAAAA=AA=example.org=ann@fwd.example")
	var reply *mail.Reply
	if !errors.As(err, &reply) || reply.Code != 550 {
		t.Errorf("a forged one: %v", err)
	}
}

// A power cut right after the first start can leave an empty key. The next
// start creates a new one.
func TestDamagedKeyOfReturnPaths(t *testing.T) {
	cfg := &config.Config{Data: t.TempDir(), Hostname: "fwd.example"}
	path := filepath.Join(cfg.Data, "state", "srs.key")
	open := func() *srs.Rewriter {
		t.Helper()
		w, err := OpenRewriter(cfg, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	sent := open().Forward("ann@example.org")
	if back, err := open().Reverse(sent); err != nil || back != "ann@example.org" {
		t.Errorf("after a restart: %s, %v", back, err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := open().Reverse(sent); err == nil {
		t.Error("the lost key still works")
	}
	if key, err := os.ReadFile(path); err != nil || !srs.ValidKey(key) {
		t.Errorf("the key was not replaced: %d octets, %v", len(key), err)
	}
}
