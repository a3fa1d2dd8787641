package users

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestCheckName checks which names an account may have. The name becomes a
// folder, so that no name may lead elsewhere or differ only in spelling.
func TestCheckName(t *testing.T) {
	for _, name := range []string{"ann@example.org", "ann+x@example.org", "a.b-c_d@mail.example.org", "ann@localhost", "jürgen@bücher.example", "ann@xn--bcher-kva.example", "a'b@example.org", strings.Repeat("x", 242) + "@example.org"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{
		"":                      "want a full address",
		"ann":                   "want a full address",
		"@example.org":          "want a full address",
		"ann@":                  "want a full address",
		"Ann@example.org":       `write it as "ann@example.org"`,
		"ann@Example.org":       `write it as "ann@example.org"`,
		"JÜRGEN@example.org":    `write it as "jürgen@example.org"`,
		"..@example.org":        "cannot begin with a dot",
		".ann@example.org":      "cannot begin with a dot",
		"ann@.org":              "cannot begin with a dot",
		"../etc/x@example.org":  "cannot begin with a dot",
		"a/../../x@example.org": "'/' cannot be part",
		"a\\b@example.org":      "cannot be part",
		"a b@example.org":       "' ' cannot be part",
		"a\tb@example.org":      "cannot be part",
		"a\nb@example.org":      "cannot be part",
		"a\x00b@example.org":    "cannot be part",
		"a:b@example.org":       "':' cannot be part",
		"a#b@example.org":       "'#' cannot be part",
		"\"a b\"@example.org":   "cannot be part",
		"a@b@example.org":       "more than one @",
		"a\xff@example.org":     "not UTF-8",
		strings.Repeat("x", 243) + "@example.org": "longer than 254",
	} {
		if err := CheckName(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

// TestKeeper checks who receives the postmaster's mail if none is configured.
func TestKeeper(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no accounts", "", ""},
		{"the first account", "ann@example.org\nbob@example.org\n", "ann@example.org"},
		{"the first admin", "ann@example.org\nbob@example.org\n\trole admin\ncarl@example.org\n\trole admin\n", "bob@example.org"},
	} {
		if got := open(t, c.text).Keeper(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestRemove checks that a removed account leaves nothing behind: neither its
// domain nor its comment, and no others are changed.
func TestRemove(t *testing.T) {
	b, err := parseBook(strings.NewReader("# the boss\nann@example.org\n# the rest\nbob@example.org\neve@example.net\n"), "users")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Remove("nobody@example.org"); !errors.Is(err, ErrNoAccount) {
		t.Errorf("an account that does not exist: %v", err)
	}
	for _, name := range []string{"Ann@Example.org", "eve@example.net"} {
		if err := b.Remove(name); err != nil {
			t.Error(err)
		}
	}
	var text bytes.Buffer
	if _, err := b.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); strings.Contains(got, "ann") || strings.Contains(got, "boss") || !strings.Contains(got, "# the rest\nbob@example.org\n") {
		t.Errorf("written:\n%s", got)
	}
	if b.domains["example.net"] > 0 || b.domains["example.org"] != 1 {
		t.Errorf("domains %v", b.domains)
	}
	if err := b.Add(&Account{Name: "ann@example.org"}); err != nil {
		t.Errorf("added again: %v", err)
	}
}

// TestFind checks what mail/alias is told about an account.
func TestFind(t *testing.T) {
	s := open(t, "ann@example.org\n\tforward bob@elsewhere.example\ncarl@localhost\n")
	for _, c := range []struct {
		name, full, forward string
		ok                  bool
	}{
		{"Ann@EXAMPLE.org", "ann@example.org", "bob@elsewhere.example", true},
		{"carl", "carl@localhost", "", true}, // a name of this server is implied
		{"ann", "", "", false},               // but no other domain
		{"carl@mail.example.org", "", "", false},
		{"eve@example.org", "", "", false},
		{"", "", "", false},
	} {
		if full, forward, ok := s.Find(c.name); full != c.full || strings.Join(forward, " ") != c.forward || ok != c.ok {
			t.Errorf("%s: %q, %q, %v", c.name, full, forward, ok)
		}
	}
	if !s.HasDomain("example.org") || s.HasDomain("elsewhere.example") {
		t.Error("the domains are wrong")
	}
}

// TestSCRAMKeys checks what a client is challenged with. A name without an
// account must look like one with an account.
func TestSCRAMKeys(t *testing.T) {
	one, other := derive("one", []byte("a salt"), 1), derive("two", []byte("another salt"), 1)
	app := derive("app", one.Salt, 1)
	s := open(t, "")
	add(t, s, "ann@example.org", "", func(a *Account) {
		a.Credentials = []Credential{{Keys: &one}, {Name: "phone", Keys: &app}, {Name: "old", Keys: &other}}
	})
	add(t, s, "bob@example.org", "", func(a *Account) {
		a.Credentials = []Credential{{Legacy: "$1$abc$def"}}
	})
	a, keys := s.SCRAM("Ann@example.org")
	if a == nil || len(keys) != 2 || !keys[0].matches(one) || !keys[1].matches(app) {
		t.Errorf("%v, %d keys", a, len(keys))
	}
	for _, name := range []string{"bob@example.org", "eve@example.org", ""} {
		a, keys := s.SCRAM(name)
		if a != nil || len(keys) != 1 || len(keys[0].Salt) != 16 || keys[0].Iterations != iterations || len(keys[0].Stored) != len(one.Stored) {
			t.Errorf("%q: %v, %+v", name, a, keys)
		}
	}
	if s.SCRAMReady() {
		t.Error("SCRAM is announced although bob cannot use it")
	}
}

// TestPasswordsOfAnAccount checks the main password and app passwords.
func TestPasswordsOfAnAccount(t *testing.T) {
	cheap := derive("first", []byte("0123456789abcdef"), 1)
	a := &Account{Name: "ann@example.org", Credentials: []Credential{{Keys: &cheap}}}
	for app, password := range map[string]string{"two words": "x", "a\x00": "x", "tab\t": "x", "phone": ""} {
		if err := a.SetPassword(app, password); err == nil {
			t.Errorf("app password %q with %q was set", app, password)
		}
	}
	if a.RemovePassword("phone") || len(a.Credentials) != 1 {
		t.Error("an app password that does not exist was removed")
	}
	if !a.RemovePassword("") || len(a.Credentials) != 0 {
		t.Error("the main password was not removed")
	}
	for range maxCredentials {
		a.Credentials = append(a.Credentials, Credential{Name: "x", Keys: &cheap})
	}
	if err := a.SetPassword("one-more", "x"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too many passwords: %v", err)
	}
}
