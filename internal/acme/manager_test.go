package acme

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/internal/acme/acmetest"
	"hoplite/internal/conf"
)

// A certificate is obtained by http-01 on one of our listeners, survives a
// restart, and is replaced while the old one is in use.
func TestHTTPChallenge(t *testing.T) {
	a, data := acmetest.New(t), t.TempDir()
	c := configFor(a)
	c.Challenge = "http"
	m := manager(t, c, data, "mail.example.org", "imap.example.org")
	l, err := net.Listen("tcp", address(a.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	other := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ours") })
	site := &httptest.Server{Listener: l, Config: &http.Server{Handler: m.Handler(other)}}
	site.Start()
	defer site.Close()

	start(t, m)
	first := await(t, m, "mail.example.org", nil)
	if err := first.Leaf.VerifyHostname("mail.example.org"); err != nil {
		t.Error(err)
	}
	await(t, m, "imap.example.org", nil)
	if n := len(m.Leaves()); n != 2 {
		t.Errorf("%d certificates", n)
	}
	if resp, err := http.Get("http://" + address(a.HTTP) + "/"); err != nil || resp.StatusCode != 200 {
		t.Errorf("our own page: %v, %v", resp, err)
	}

	again := manager(t, c, data, "mail.example.org")
	a.Down.Store(true) // a restart does not need the authority
	start(t, again)
	if c := await(t, again, "mail.example.org", nil); !c.Leaf.Equal(first.Leaf) {
		t.Error("another certificate after a restart")
	}
	a.Down.Store(false)
	if err := m.Renew(t.Context(), "mail.example.org"); err != nil {
		t.Fatal(err)
	}
	second := await(t, m, "mail.example.org", first)
	if second.Leaf.NotAfter.Before(first.Leaf.NotAfter) {
		t.Error("the new certificate expires earlier")
	}
	if err := m.Renew(t.Context(), "www.example.org"); !errors.Is(err, ErrUnknownName) {
		t.Errorf("unknown name: %v", err)
	}
	files, err := Files(Folder(data, "ecdsa"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, st, err)
		}
		if _, err := tls.LoadX509KeyPair(f, f); err != nil {
			t.Error(err)
		}
	}
}

// The challenge tls-alpn-01 is answered by our own TLS listener.
func TestTLSChallenge(t *testing.T) {
	a := acmetest.New(t)
	c := configFor(a)
	c.Challenge = "tls"
	m := manager(t, c, t.TempDir(), "mail.example.org")
	l, err := tls.Listen("tcp", address(a.TLS), &tls.Config{
		NextProtos: []string{"acme-tls/1"},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := m.Certificate(h); c != nil {
				return c, nil
			}
			return nil, errors.New("none")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { c.(*tls.Conn).Handshake(); c.Close() }()
		}
	}()
	start(t, m)
	await(t, m, "mail.example.org", nil)
}

// If none of our listeners uses the port, one is opened for the challenge.
func TestOwnListener(t *testing.T) {
	a := acmetest.New(t)
	m := manager(t, configFor(a), t.TempDir(), "mail.example.org")
	start(t, m)
	await(t, m, "mail.example.org", nil)
	if l, err := net.Listen("tcp", address(a.HTTP)); err != nil {
		t.Errorf("the port is still in use: %v", err)
	} else {
		l.Close()
	}
}

// With both RSA and ECDSA keys, each client gets a certificate that it
// supports.
func TestKinds(t *testing.T) {
	a := acmetest.New(t)
	c := configFor(a)
	c.Keys = []string{"ecdsa", "rsa"}
	m := manager(t, c, t.TempDir(), "mail.example.org")
	if m.Certificate(hello("mail.example.org")) != nil {
		t.Error("a certificate before the start")
	}
	start(t, m)
	if c := await(t, m, "mail.example.org", nil); c != nil {
		for len(m.Leaves()) < 2 {
			await(t, m, "mail.example.org", nil)
		}
	}
	if _, ok := m.Certificate(hello("mail.example.org")).Leaf.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Error("a new client gets no ECDSA")
	}
	if _, ok := m.Certificate(hello("mail.example.org", tls.PSSWithSHA256)).Leaf.PublicKey.(*rsa.PublicKey); !ok {
		t.Error("an old client gets no RSA")
	}
}

func TestDNSChallenge(t *testing.T) {
	a := acmetest.New(t)
	c := configFor(a)
	c.Challenge = "dns"
	c.DNS = &DNSConfig{Server: a.DNS.Addr, Key: "acme", Secret: acmetest.Secret, Algorithm: "hmac-sha256"}
	m := manager(t, c, t.TempDir(), "*.example.org")
	start(t, m)
	if c := await(t, m, "any.example.org", nil); c.Leaf.DNSNames[0] != "*.example.org" {
		t.Errorf("names %v", c.Leaf.DNSNames)
	}
	if a.DNS.Updates.Load() < 2 || len(a.DNS.Records()) > 0 {
		t.Errorf("%d updates, left %v", a.DNS.Updates.Load(), a.DNS.Records())
	}
	c.DNS.Secret = "d3Jvbmcga2V5"
	if err := manager(t, c, t.TempDir(), "*.example.org").Renew(t.Context(), "*.example.org"); err == nil || !strings.Contains(err.Error(), "update of zone") {
		t.Errorf("with a wrong key: %v", err)
	}
}

// A program publishes the record; in this test it passes the record to the zone
// in a file.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "dns-update")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho \"$@\" >> "+dir+"/calls\ntest \"$2\" != _acme-challenge.bad.example.org.\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := &DNSConfig{Program: path}
	p := d.solver(nil).DNSProvider.(*program)
	for _, c := range []struct {
		name string
		ok   bool
	}{{"_acme-challenge.mail", true}, {"_acme-challenge.bad", false}} {
		records := txt(c.name, "t0ken")
		if _, err := p.AppendRecords(t.Context(), "example.org.", records); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		p.DeleteRecords(t.Context(), "example.org.", records)
	}
	calls, err := os.ReadFile(dir + "/calls")
	if want := "present _acme-challenge.mail.example.org. t0ken\ncleanup _acme-challenge.mail.example.org. t0ken\n"; err != nil || !strings.HasPrefix(string(calls), want) {
		t.Errorf("calls %q, %v", calls, err)
	}
}

// While the authority is down, the old certificate is kept.
func TestAuthorityDown(t *testing.T) {
	a := acmetest.New(t)
	m := manager(t, configFor(a), t.TempDir(), "mail.example.org")
	start(t, m)
	first := await(t, m, "mail.example.org", nil)
	a.Down.Store(true)
	if err := m.Renew(t.Context(), "mail.example.org"); err == nil {
		t.Error("not renewed")
	}
	if c := m.Certificate(hello("mail.example.org")); c == nil || !c.Leaf.Equal(first.Leaf) {
		t.Error("the old certificate is gone")
	}
}

func TestCheck(t *testing.T) {
	good := func() Config {
		c := Config{Email: "ann@example.org"}
		conf.Defaults(&c)
		return c
	}
	for name, c := range map[string]struct {
		edit func(*Config)
		want string
	}{
		"defaults":           {func(*Config) {}, ""},
		"names":              {func(c *Config) { c.Names = []string{"mail.example.org"} }, ""},
		"no host name":       {func(c *Config) { c.Names = []string{"mail"} }, "names"},
		"wildcard":           {func(c *Config) { c.Names = []string{"*.example.org"} }, "challenge"},
		"unknown key":        {func(c *Config) { c.Keys = []string{"dsa"} }, "keys"},
		"clear text":         {func(c *Config) { c.CA = "http://ca.example.org/" }, "ca"},
		"dns without block":  {func(c *Config) { c.Challenge = "dns" }, "challenge"},
		"block without dns":  {func(c *Config) { c.DNS = &DNSConfig{Program: "x"} }, "challenge"},
		"dns":                {func(c *Config) { c.Challenge, c.DNS = "dns", &DNSConfig{Program: "x"} }, ""},
		"nothing to publish": {func(c *Config) { c.Challenge, c.DNS = "dns", &DNSConfig{} }, "dns"},
		"two ways":           {func(c *Config) { c.Challenge, c.DNS = "dns", &DNSConfig{Program: "x", Server: "192.0.2.1:53"} }, "dns"},
		"server, no port":    {func(c *Config) { c.Challenge, c.DNS = "dns", &DNSConfig{Server: "192.0.2.1"} }, "dns"},
	} {
		cfg := good()
		c.edit(&cfg)
		err := cfg.Check()
		var field *conf.FieldError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &field) || field.Name != c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	cfg := good()
	if got := cfg.NamesOr([]string{"mail.example.org", "localhost", "192.0.2.1"}); len(got) != 1 || got[0] != "mail.example.org" {
		t.Errorf("names %v", got)
	}
}
