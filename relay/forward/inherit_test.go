package forward

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/oauth"
	"hoplite/internal/resolve/resolvetest"
)

func newTestUpstream(t *testing.T, change func(*Config)) *Upstream {
	t.Helper()
	cfg := Config{Name: "old", Servers: []string{"smtp://192.0.2.10", "smtp://old.example.net"}, Rate: conf.Rate{Count: 2, Per: time.Hour}}
	conf.Defaults(&cfg)
	change(&cfg)
	env := Env{
		Hostname: "mail.example.org", Log: zerolog.Nop(),
		DNS: resolvetest.MustZone("old.example.net A 192.0.2.20\nold.example.net A 192.0.2.21\n"),
	}
	u, err := New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// A reload keeps what is known about a server, unless the way to connect to it
// has changed.
func TestInherit(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		down   bool // the first server is still known to be down
		known  bool // the recipient is still known
	}{
		{"the same", func(*Config) {}, true, true},
		{"fewer recipients to remember", func(c *Config) { c.KnownMax = 1 }, true, true},
		{"another order of the servers", func(c *Config) { c.Servers = []string{"smtp://old.example.net", "smtp://192.0.2.10?weight=0"} }, true, false},
		{"a server more", func(c *Config) { c.Servers = append(c.Servers, "smtp://192.0.2.30") }, true, false},
		{"other servers", func(c *Config) { c.Servers = []string{"smtp://192.0.2.30"} }, false, false},
		{"another port", func(c *Config) { c.Servers = []string{"smtp://192.0.2.10:2525"} }, false, false},
		{"another TLS setting", func(c *Config) { c.TLS = "verify" }, false, true},
		{"a disabled extension", func(c *Config) { c.Disable = []string{"STARTTLS"} }, false, true},
		{"a client certificate", func(c *Config) { c.Certificate = "partner" }, false, true},
		{"a login", func(c *Config) { c.Auth = &AuthConfig{User: "hoplite", Password: "secret"} }, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := newTestUpstream(t, func(*Config) {})
			pools, err := old.servers.pools(t.Context())
			if err != nil || len(pools) != 3 {
				t.Fatalf("%d pools, %v", len(pools), err)
			}
			for _, p := range pools {
				if p.server.address == "192.0.2.10:25" {
					p.failed(errors.New("connection refused"))
				}
			}
			old.rcpts.memory.exists("ann@example.org", time.Hour)
			u := newTestUpstream(t, c.change)
			u.Inherit(old)
			down := false
			for _, s := range u.Health().Servers {
				down = down || s.Server == "192.0.2.10" && !s.Down.IsZero() && s.Reason == "connection refused"
			}
			if down != c.down {
				t.Errorf("known to be down: %v; %+v", down, u.Health())
			}
			if _, known := u.rcpts.memory.rcpt("ann@example.org"); known != c.known {
				t.Errorf("recipient known: %v", known)
			}
			for p := range u.servers.known() {
				if p.resting() != nil {
					t.Errorf("%s is not tried again at once", p.server.address)
				}
			}
		})
	}
}

// The addresses of a name, the extensions that they refuse, and the messages
// that count toward the rate are known after a reload without DNS.
func TestInheritNames(t *testing.T) {
	old := newTestUpstream(t, func(*Config) {})
	pools, err := old.servers.pools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pools {
		p.worked(&conn{caps: caps{esmtp: true, size: 1000, chunking: true}})
		p.remember(&offerError{chunking: true})
	}
	old.pace.take(time.Now())
	old.pace.take(time.Now())
	u := newTestUpstream(t, func(*Config) {})
	u.net.dns = resolvetest.MustZone("")
	u.Inherit(old)
	if o := u.Offer(); !o.Known || o.Size != 1000 {
		t.Errorf("offer: %+v", o)
	}
	pools, err = u.servers.pools(t.Context())
	if err != nil || len(pools) != 3 {
		t.Errorf("%d pools without DNS, %v", len(pools), err)
	}
	for _, p := range pools {
		c := &conn{caps: caps{chunking: true}}
		if p.restrict(c); c.caps.chunking {
			t.Errorf("%s: CHUNKING is used again", p.server.address)
		}
	}
	if u.pace.take(time.Now()) == 0 {
		t.Error("a third message is sent although two are the limit")
	}
}

// The place of a block in the file makes no difference.
func TestInheritOAuth(t *testing.T) {
	first := Config{Auth: &AuthConfig{User: "a", OAuth2: &oauth.Config{ClientID: "1"}}}
	same := Config{Auth: &AuthConfig{User: "a", OAuth2: &oauth.Config{ClientID: "1"}}}
	other := Config{Auth: &AuthConfig{User: "a", OAuth2: &oauth.Config{ClientID: "2"}}}
	old, u := &Upstream{cfg: first}, &Upstream{cfg: same}
	if !u.connectsLike(old) {
		t.Error("the same login differs")
	}
	if u.cfg = other; u.connectsLike(old) {
		t.Error("another login does not differ")
	}
}

// A server found by MX keeps its state too.
func TestInheritExchangers(t *testing.T) {
	byMX := func(c *Config) { c.Servers, c.MX, c.Mode = nil, true, "queue" }
	old, u := newTestUpstream(t, byMX), newTestUpstream(t, byMX)
	address := netip.MustParseAddr("192.0.2.40")
	old.mx.pool("mx.example.net", address, requirement{startTLS: true}).failed(errors.New("timeout"))
	u.Inherit(old)
	p := u.mx.pool("mx.example.net", address, requirement{startTLS: true})
	if p.down.IsZero() || p.why == nil || p.resting() != nil {
		t.Errorf("down %v, %v, resting %v", p.down, p.why, p.resting())
	}
	if p := u.mx.pool("mx.example.net", address, requirement{least: verified, startTLS: true}); !p.down.IsZero() {
		t.Error("a pool with other requirements has the state too")
	}
}
