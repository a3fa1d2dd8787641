package accounts

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"hoplite/internal/users"
)

// TestReadPassword reads passwords from a pipe. A password that is cut or keeps
// its line ending could not be used to log in.
func TestReadPassword(t *testing.T) {
	longest := strings.Repeat("x", maxPassword)
	for _, c := range []struct{ name, in, want, bad string }{
		{"a line", "secret\n", "secret", ""},
		{"without a line ending", "secret", "secret", ""},
		{"from Windows", "secret\r\n", "secret", ""},
		{"spaces belong to it", " two words \n", " two words ", ""},
		{"only the first line", "secret\nmore\n", "secret", ""},
		{"UTF-8", "gr\u00fc\u00dfe\n", "gr\u00fc\u00dfe", ""},
		{"as long as allowed", longest + "\r\n", longest, ""},
		{"longer than allowed", longest + "x\n", "", "longer than 1024 octets"},
		{"much longer", longest + longest, "", "longer than 1024 octets"},
		{"empty", "", "", "no password on stdin"},
		{"an empty line", "\nsecret\n", "", "no password on stdin"},
	} {
		cmd := &cobra.Command{}
		cmd.SetIn(strings.NewReader(c.in))
		got, err := readPassword(cmd, "ann@example.org")
		if got != c.want || (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%s: %.40q, %v", c.name, got, err)
		}
	}
}

// TestNewPassword checks that generated passwords can be typed and differ.
func TestNewPassword(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		p := newPassword()
		if len(p) != 19 || seen[p] || strings.ContainsAny(p, "lo") || strings.Trim(p, "abcdefghijkmnpqrstuvwxyz-") != "" || strings.Count(p, "-") != 3 {
			t.Fatalf("password %q", p)
		}
		seen[p] = true
	}
}

// TestSettings checks that only the flags that were given change an account.
func TestSettings(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		want  string // notes of an admin with a forward and a quota
		bad   string
	}{
		{"no flags", nil, "admin; -> bob@example.net; quota 5MiB; no password", ""},
		{"no longer an admin", []string{"--admin=false"}, "-> bob@example.net; quota 5MiB; no password", ""},
		{"another forward", []string{"--forward", "eve@example.net"}, "admin; -> eve@example.net; quota 5MiB; no password", ""},
		{"two forwards", []string{"--forward", "eve@example.net,ann@example.org"}, "admin; -> eve@example.net, ann@example.org; quota 5MiB; no password", ""},
		{"no forward", []string{"--forward", ""}, "admin; quota 5MiB; no password", ""},
		{"another quota", []string{"--quota", "1GiB"}, "admin; -> bob@example.net; quota 1GiB; no password", ""},
		{"no quota", []string{"--quota", "0"}, "admin; -> bob@example.net; no password", ""},
		{"a quota without a unit it knows", []string{"--quota", "5 apples"}, "", "quota: "},
		{"a forward that is none", []string{"--forward", "no address"}, "", "no address"},
		{"a forward to a program", []string{"--forward", "|/bin/sh"}, "", "|/bin/sh"},
	} {
		var s settings
		cmd := &cobra.Command{}
		s.flags(cmd)
		if err := cmd.ParseFlags(c.flags); err != nil {
			t.Fatal(err)
		}
		a := &users.Account{Name: "ann@example.org", Roles: []string{users.Admin}, Forward: []string{"bob@example.net"}, Quota: 5 << 20}
		err := s.apply(cmd, a)
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%s: %v, want %s", c.name, err, c.bad)
			}
			continue
		}
		if got := strings.Join(notes(a), "; "); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}

// TestAccountName checks the account that an argument names.
func TestAccountName(t *testing.T) {
	for arg, want := range map[string]string{"ann": "ann@localhost", "Ann@Example.ORG": "ann@example.org", "ann@b\u00fccher.example": "ann@b\u00fccher.example"} {
		if got := accountName(arg); got != want {
			t.Errorf("%s: %s, want %s", arg, got, want)
		}
	}
}

// TestAccountJSON checks what scripts read: the names of passwords, never their
// hashes.
func TestAccountJSON(t *testing.T) {
	keys := users.NewKeys("secret")
	j := asJSON(&users.Account{Name: "ann@example.org", Credentials: []users.Credential{{Keys: &keys}, {Name: "phone", Keys: &keys}, {Name: "old", Legacy: "$1$abc$def"}}})
	if !j.Imported || len(j.Passwords) != 3 || !slices.Contains(j.Passwords, "phone") || strings.Contains(strings.Join(j.Passwords, " "), "$1$") {
		t.Errorf("%+v", j)
	}
}
