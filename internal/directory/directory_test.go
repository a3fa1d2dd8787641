package directory

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/directory/directorytest"
)

var people = []directorytest.Entry{
	{DN: "dc=example,dc=org"},
	{DN: "cn=hoplite,dc=example,dc=org", Password: "search"},
	{DN: "cn=ann,dc=example,dc=org", Password: "secret", Attributes: map[string][]string{
		"mail": {"ann@example.org"}, "proxyAddresses": {"SMTP:ann@example.org", "smtp:a@example.org"}, "userPrincipalName": {"ann@corp.example.org"}}},
	{DN: "cn=shared,dc=example,dc=org", Password: "secret", Attributes: map[string][]string{"mail": {"info@example.org"}, "userAccountControl": {"514"}}},
	{DN: "cn=twin1,dc=example,dc=org", Password: "secret", Attributes: map[string][]string{"mail": {"twin@example.org"}}},
	{DN: "cn=twin2,dc=example,dc=org", Password: "secret", Attributes: map[string][]string{"mail": {"twin@example.org"}}},
	{DN: "cn=all,dc=example,dc=org", Attributes: map[string][]string{
		"objectClass": {"group"}, "mail": {"all@example.org"}, "member": {"cn=ann,dc=example,dc=org", "cn=shared,dc=example,dc=org", "cn=left,dc=example,dc=org"}}},
}

// open returns a directory of a test server.
func open(t *testing.T, s *directorytest.Server, change func(*Config)) *Directory {
	t.Helper()
	c := Config{Name: "ad", URL: s.URL(), BindDN: "cn=hoplite,dc=example,dc=org", Password: "search", Base: "dc=example,dc=org", Schema: "ad"}
	conf.Defaults(&c)
	if change != nil {
		change(&c)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	d, err := New(c, Env{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestFind(t *testing.T) {
	s := directorytest.Start(t, people...)
	d := open(t, s, nil)
	ctx := t.Context()
	for range 2 {
		for address, dn := range map[string]string{
			"Ann@example.org": "cn=ann", "a@example.org": "cn=ann", "info@example.org": "cn=shared", "all@example.org": "cn=all",
			"twin@example.org": "cn=twin1", "ann@corp.example.org": "", "eve@example.org": "", "*@example.org": "",
		} {
			e, err := d.Find(ctx, address)
			if dn == "" && err != ErrUnknown || dn != "" && (err != nil || e.DN != dn+",dc=example,dc=org") {
				t.Errorf("%s: %+v, %v", address, e, err)
			}
		}
	}
	if n, binds := s.Counts(); n != 8 || binds != 1 {
		t.Errorf("%d searches on %d connections for 8 addresses", n, binds)
	}
	all, err := d.Find(ctx, "all@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := d.Members(ctx, all); err != nil || strings.Join(list, " ") != "ann@example.org info@example.org" {
		t.Errorf("members: %v, %v", list, err)
	}
	refusing := open(t, s, func(c *Config) { c.Disabled = "refuse" })
	if _, err := refusing.Find(ctx, "info@example.org"); err != ErrUnknown {
		t.Errorf("disabled = refuse: %v", err)
	}
	filtered := open(t, s, func(c *Config) { c.Filter = "(userPrincipalName=*)" })
	if _, err := filtered.Find(ctx, "info@example.org"); err != ErrUnknown {
		t.Errorf("filter: %v", err)
	}
	if err := d.Probe(ctx); err != nil {
		t.Error(err)
	}
	if err := open(t, s, func(c *Config) { c.Base = "dc=other" }).Probe(ctx); err == nil {
		t.Error("a base that does not exist")
	}
}

func TestDirectoryDown(t *testing.T) {
	s := directorytest.Start(t, people...)
	var log bytes.Buffer
	d := open(t, s, func(c *Config) { c.KnownFor, c.UnknownFor, c.Timeout = time.Nanosecond, time.Nanosecond, time.Second })
	d.log = zerolog.New(&log)
	ctx := t.Context()
	d.Find(ctx, "ann@example.org")
	d.Find(ctx, "eve@example.org")
	s.Down()
	if e, err := d.Find(ctx, "ann@example.org"); err != nil || e.Address != "ann@example.org" {
		t.Errorf("known before: %v", err)
	}
	for _, address := range []string{"eve@example.org", "new@example.org"} {
		if _, err := d.Find(ctx, address); err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("%s is certainly unknown while the directory is down: %v", address, err)
		}
	}
	if h := d.Health(); h.Since.IsZero() || h.Reason == "" || h.Cached != 2 {
		t.Errorf("health %+v", h)
	}
	next := open(t, s, nil)
	next.Inherit(d)
	if _, err := next.Find(ctx, "ann@example.org"); err != nil {
		t.Errorf("after a reload: %v", err)
	}
	s.Up(t)
	d.state.Set(nil, time.Now())
	if _, err := d.Find(ctx, "eve@example.org"); err != ErrUnknown {
		t.Errorf("up again: %v", err)
	}
	if h := d.Health(); !h.Since.IsZero() {
		t.Errorf("health %+v", h)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || strings.Contains(text, "search\"") {
		t.Errorf("log: %s", text)
	}
}

func TestLogin(t *testing.T) {
	s := directorytest.Start(t, people...)
	d := open(t, s, nil)
	for _, tc := range []struct {
		name, password string
		ok             bool
	}{
		{"ann@example.org", "secret", true},
		{"A@example.org", "secret", true},
		{"ann@corp.example.org", "secret", true},
		{"ann@example.org", "Secret", false},
		{"ann@example.org", "", false}, // would be an anonymous login
		{"eve@example.org", "secret", false},
		{"info@example.org", "secret", false}, // disabled
		{"twin@example.org", "secret", false},
		{"all@example.org", "secret", false},
		{"*", "secret", false},
	} {
		e, err := d.Login(t.Context(), tc.name, tc.password)
		if tc.ok != (err == nil) || !tc.ok && err != ErrPassword || tc.ok && e.Address != "ann@example.org" {
			t.Errorf("%s %q: %+v, %v", tc.name, tc.password, e, err)
		}
	}
	s.Down()
	if _, err := d.Login(t.Context(), "ann@example.org", "secret"); err == nil || errors.Is(err, ErrPassword) {
		t.Errorf("while the directory is down: %v", err)
	}
}

// What the directory replies to one login does not stop mail or the logins of
// others.
func TestOddLogin(t *testing.T) {
	entry := func(name string, result uint16) directorytest.Entry {
		return directorytest.Entry{DN: "cn=" + name + ",dc=example,dc=org", Password: "secret", Login: result, Attributes: map[string][]string{"mail": {name + "@example.org"}}}
	}
	d := open(t, directorytest.Start(t, append(slices.Clone(people), entry("locked", ldap.LDAPResultConstraintViolation),
		entry("inactive", ldap.LDAPResultUnwillingToPerform), entry("odd", ldap.LDAPResultOther))...), nil)
	for name, want := range map[string]error{"locked": ErrPassword, "inactive": ErrPassword, "odd": ErrReply} {
		if _, err := d.Login(t.Context(), name+"@example.org", "secret"); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := d.Login(t.Context(), "ann@example.org", "secret"); err != nil {
			t.Errorf("another user after %s: %v", name, err)
		}
	}
}

func TestWrongServicePassword(t *testing.T) {
	d := open(t, directorytest.Start(t, people...), func(c *Config) { c.Password = "old-one" })
	_, err := d.Find(t.Context(), "ann@example.org")
	if err == nil || errors.Is(err, ErrUnknown) || strings.Contains(err.Error(), "old-one") {
		t.Errorf("%v", err)
	}
	if _, err := d.Login(t.Context(), "ann@example.org", "secret"); errors.Is(err, ErrPassword) {
		t.Error("the user's password is blamed")
	}
}

// A reply without an end does not fill the memory.
func TestEndlessReply(t *testing.T) {
	s := directorytest.Start(t, people...)
	s.Flood()
	d := open(t, s, nil)
	if _, err := d.Find(t.Context(), "ann@example.org"); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
}

// Clients that disconnect do not make the directory count as down.
func TestCanceled(t *testing.T) {
	d := open(t, directorytest.Start(t, people...), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Find(ctx, "ann@example.org")
	if h := d.Health(); !h.Since.IsZero() {
		t.Errorf("%+v", h)
	}
}

// Passwords are sent only over TLS with a valid certificate, except to a server
// on this machine.
func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate of example.com and 127.0.0.1
	defer web.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := directorytest.Start(t, people...)
	s.TLS = web.TLS
	plain := directorytest.Start(t, people...)
	for _, tc := range []struct {
		name, host   string
		server       *directorytest.Server
		ca           string
		insecure, ok bool
	}{
		{"clear text on this machine", "127.0.0.1", s, "", false, true},
		{"certificate of a private authority", "example.com", s, ca, false, true},
		{"unknown authority", "example.com", s, "", false, false},
		{"wrong name", "ldap.example.net", s, ca, false, false},
		{"no STARTTLS", "example.com", plain, ca, false, false},
		{"insecure: any certificate", "ldap.example.net", s, "", true, true},
		{"insecure: clear text", "example.com", plain, "", true, true},
	} {
		d := open(t, tc.server, func(c *Config) { c.CA, c.Insecure = tc.ca, tc.insecure })
		_, port, _ := strings.Cut(tc.server.Address, ":")
		d.client.servers = []server{{host: tc.host, address: "127.0.0.1:" + port}}
		_, before := tc.server.Counts()
		_, err := d.Find(t.Context(), "ann@example.org")
		if _, after := tc.server.Counts(); tc.ok != (err == nil) || !tc.ok && after != before {
			t.Errorf("%s: %v, %d logins", tc.name, err, after-before)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	for _, tc := range []struct{ block, want string }{
		{`url = "ldap.example.org"`, "ldaps://"},
		{`url = "http://ldap.example.org"`, "begins with ldaps://"},
		{`url = ""`, "no server"},
		{`url = "ldaps://a" bind_dn = "cn=x"`, "set the password of bind_dn"},
		{`url = "ldaps://a" password = "x"`, "no effect without bind_dn"},
		{`url = "ldaps://a" filter = "mail=*"`, "not a search filter"},
		{`url = "ldaps://a" connections = 0`, "use 1 or more"},
		{`url = "ldaps://a" timeout = "0s"`, "positive"},
	} {
		text := "directory \"ad\" {\n base = \"dc=x\"\n schema = \"ad\"\n" + strings.ReplaceAll(tc.block, "\" ", "\"\n") + "\n}\n"
		var c struct {
			Directory []Config `hcl:"directory,block"`
		}
		f := conf.Parse("relay.hcl", []byte(text))
		f.Decode(&c)
		if err := f.Diags.Err(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.block, err)
		}
	}
}
