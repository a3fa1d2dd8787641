package forward

import (
	"context"
	"errors"
	"testing"

	"hoplite/mail"
)

// book is a directory of a few addresses; a nil book is down.
type book map[string]bool

func (b book) Exists(_ context.Context, address string) (bool, error) {
	if b == nil {
		return false, errors.New("connection refused")
	}
	return b[address], nil
}

func (b book) Cached(address string) (exists, known bool) { return b[address], b != nil }

func TestRecipientsOfDirectory(t *testing.T) {
	people := book{"ann@example.org": true}
	for _, tc := range []struct {
		name        string
		directories map[string]Directory
		to          mail.Address
		code        int
		enhanced    string
	}{
		{"exists", map[string]Directory{"ad": people}, "Ann@Example.org", 0, ""},
		{"does not exist", map[string]Directory{"ad": people}, "eve@example.org", 550, "5.1.1"},
		{"directory down", map[string]Directory{"ad": book(nil)}, "ann@example.org", 451, "4.4.3"},
		{"no such directory", nil, "ann@example.org", 451, "4.4.3"},
	} {
		cfg := Config{Name: "old", Servers: []string{"smtp://127.0.0.1:1"}, Recipients: "directory:ad", KnownMax: 10, Connections: 1, TLSMin: "1.2"}
		u, err := New(cfg, Env{Directories: tc.directories})
		if err != nil {
			t.Fatal(err)
		}
		err = u.Check(t.Context(), mail.NewTransaction(mail.Client{}, ""), mail.Rcpt{To: tc.to})
		if tc.code == 0 {
			if exists, known := u.Verify(tc.to); err != nil || !exists || !known {
				t.Errorf("%s: %v, %t, %t", tc.name, err, exists, known)
			}
			continue
		}
		if r := mail.AsReply(err); err == nil || r.Code != tc.code || r.Enhanced != tc.enhanced {
			t.Errorf("%s: %v", tc.name, err)
		}
		if h := u.Health(); h.Check != "directory" {
			t.Errorf("%s: checked by %q", tc.name, h.Check)
		}
	}
	for value, ok := range map[string]bool{"directory:ad": true, "directory:": false, "file:": false, "file:people": true, "directory": false} {
		if err := checkRecipients(value); (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
	}
}
