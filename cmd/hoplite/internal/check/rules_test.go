package check

import (
	"net/netip"
	"strings"
	"testing"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/relay"
)

func TestCovers(t *testing.T) {
	nets := func(s ...string) (list []netip.Prefix) {
		for _, n := range s {
			list = append(list, netip.MustParsePrefix(n))
		}
		return list
	}
	for _, c := range []struct {
		name string
		a, b relay.RouteConfig
		want bool
	}{
		{"no conditions", relay.RouteConfig{}, relay.RouteConfig{To: []string{"example.org"}}, true},
		{"b has no conditions", relay.RouteConfig{To: []string{"example.org"}}, relay.RouteConfig{}, false},
		{"same domain, other case", relay.RouteConfig{To: []string{"Example.org"}}, relay.RouteConfig{To: []string{"example.ORG"}}, true},
		{"A-label and U-label", relay.RouteConfig{To: []string{"bücher.example"}}, relay.RouteConfig{To: []string{"xn--bcher-kva.example"}}, true},
		{"address in domain", relay.RouteConfig{To: []string{"example.org"}}, relay.RouteConfig{To: []string{"ann@example.org"}}, true},
		{"domain in address", relay.RouteConfig{To: []string{"ann@example.org"}}, relay.RouteConfig{To: []string{"example.org"}}, false},
		{"domain below", relay.RouteConfig{To: []string{".example.org"}}, relay.RouteConfig{To: []string{"mx.example.org"}}, true},
		{"domain itself is not below", relay.RouteConfig{To: []string{".example.org"}}, relay.RouteConfig{To: []string{"example.org"}}, false},
		{"below below", relay.RouteConfig{To: []string{".example.org"}}, relay.RouteConfig{To: []string{".mx.example.org"}}, true},
		{"one of two", relay.RouteConfig{To: []string{"example.org"}}, relay.RouteConfig{To: []string{"example.org", "example.net"}}, false},
		{"relay covers only relay", relay.RouteConfig{Relay: true}, relay.RouteConfig{}, false},
		{"relay and relay", relay.RouteConfig{Relay: true}, relay.RouteConfig{Relay: true}, true},
		{"local", relay.RouteConfig{To: []string{"local"}}, relay.RouteConfig{To: []string{"local"}}, true},
		{"local is not below anything", relay.RouteConfig{To: []string{".org"}}, relay.RouteConfig{To: []string{"local"}}, false},
		{"sender", relay.RouteConfig{From: []string{"<>"}}, relay.RouteConfig{From: []string{"<>"}}, true},
		{"sender and any sender", relay.RouteConfig{From: []string{"<>"}}, relay.RouteConfig{}, false},
		{"login", relay.RouteConfig{User: []string{"Ann@example.org"}}, relay.RouteConfig{User: []string{"ann@example.org"}}, true},
		{"wider network", relay.RouteConfig{Client: nets("192.0.2.0/24")}, relay.RouteConfig{Client: nets("192.0.2.128/25")}, true},
		{"narrower network", relay.RouteConfig{Client: nets("192.0.2.128/25")}, relay.RouteConfig{Client: nets("192.0.2.0/24")}, false},
		{"both networks", relay.RouteConfig{Client: nets("192.0.2.0/24", "2001:db8::/32")}, relay.RouteConfig{Client: nets("2001:db8:1::/48")}, true},
	} {
		if got := covers(&c.a, &c.b); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestTooLarge(t *testing.T) {
	for net, want := range map[string]bool{
		"0.0.0.0/0": true, "128.0.0.0/1": true, "10.0.0.0/7": true, "10.0.0.0/8": false, "192.0.2.1/32": false,
		"::/0": true, "2000::/3": true, "2001::/16": false, "fc00::/7": false, "fd00::/8": false, "fe80::/10": true,
	} {
		if got := tooLarge(netip.MustParsePrefix(net)); got != want {
			t.Errorf("%s: %v", net, got)
		}
	}
}

func TestWidest(t *testing.T) {
	for want, to := range map[string][]string{
		"*":         {},
		"":          {"example.org", ".example.org", "ann@example.net", "local"},
		".org":      {"example.org", ".org"},
		".invalid.": {".invalid."},
	} {
		if got := widest(to); got != want {
			t.Errorf("%q: %q, want %q", to, got, want)
		}
	}
}

func TestCollide(t *testing.T) {
	at := func(s string) conf.Listen {
		l, err := conf.ParseListen(s)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:25", "127.0.0.1:25", true},
		{"127.0.0.1:25", "127.0.0.1:26", false},
		{"127.0.0.1:25", "127.0.0.2:25", false},
		{":25", "127.0.0.1:25", true},
		{"0.0.0.0:25", "192.0.2.1:25", true},
		{"[::]:25", "[2001:db8::1]:25", true},
		{"[::1]:25", "127.0.0.1:25", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"unix:a.sock", "unix:a.sock", true},
		{"unix:a.sock", "unix:b.sock", false},
		{"unix:25", "systemd:25", false},
		{"systemd:smtp", "systemd:smtp", true},
	} {
		for range 2 {
			if got := collide(at(c.a), at(c.b)); got != c.want {
				t.Errorf("%s and %s: %v", c.a, c.b, got)
			}
			c.a, c.b = c.b, c.a
		}
	}
}

// Each address form is refused or delivered locally if the routes name their
// domains, and is reported if a route matches every domain.
func TestRelayForms(t *testing.T) {
	for _, c := range []struct {
		arg     string
		narrow  bool // relayed although the route names a domain
		anybody bool // relayed by a route that matches every domain
	}{
		{"<user@victim.invalid>", false, true},
		{"<user%victim.invalid@example.org>", false, false}, // source-routed
		{"<victim.invalid!user@example.org>", false, false},
		{"<@example.org:user@victim.invalid>", false, true}, // the route is ignored (RFC 5321, 3.6.1)
		{"<ann@example.org>", true, true},                   // our own domain, served by an upstream
		{"<ann@EXAMPLE.org>", true, true},
		{"<user@victim.invalid@example.org>", false, false},
		{"<user@[192.0.2.99]>", false, true},
		{"<>", false, false},
		{"user@", false, false},
	} {
		for _, everywhere := range []bool{false, true} {
			route := relay.RouteConfig{Name: "up", Hop: "up"}
			want := c.anybody
			if !everywhere {
				route.To, want = []string{"example.org"}, c.narrow
			}
			cfg := testConfig(route)
			got := newRelayTest(cfg, cfg.MailListeners()[0]).try(c.arg) != nil
			if got != want {
				t.Errorf("RCPT TO:%s, everywhere %v: relayed %v", c.arg, everywhere, got)
			}
		}
	}
}

// Listeners that require a login, or that only local programs can reach, are
// not tested.
func TestOpenRelaySkips(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*relay.Config)
		want   int
	}{
		{"public", func(*relay.Config) {}, 1},
		{"optional login", func(c *relay.Config) { c.Auth = "optional" }, 1},
		{"required login", func(c *relay.Config) { c.Auth = "required" }, 0},
		{"socket file", func(c *relay.Config) { c.Listen = []conf.Listen{{Network: "unix", Address: "s"}} }, 0},
		{"socket file and port", func(c *relay.Config) {
			c.Listen = append(c.Listen, conf.Listen{Network: "unix", Address: "s"})
		}, 1},
	} {
		cfg := testConfig(relay.RouteConfig{Name: "up", Hop: "up", To: []string{"example.org"}})
		c.change(cfg.SMTP[0])
		diags := &conf.Diagnostics{}
		if _, listeners := OpenRelay(cfg, diags); listeners != c.want || diags.Mistakes() > 0 {
			t.Errorf("%s: %d listeners, %v", c.name, listeners, diags.Err())
		}
	}
}

func TestMayRelay(t *testing.T) {
	nets := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, c := range []struct {
		auth string
		nets []netip.Prefix
		want string
	}{
		{"off", nil, "No client may relay"},
		{"off", nets, "without a login: clients in 192.0.2.0/24."},
		{"optional", nil, "May relay: clients that have logged in."},
		{"required", nets, "clients that have logged in, and clients in 192.0.2.0/24."},
	} {
		l := config.MailListener{Config: &relay.Config{}, Protocol: "smtp"}
		l.Auth, l.RelayFrom = c.auth, c.nets
		if got := mayRelay(l); !strings.Contains(got, c.want) {
			t.Errorf("auth %s, %v: %s", c.auth, c.nets, got)
		}
		if relays := l.Relays(); relays != (c.auth != "off" || c.nets != nil) {
			t.Errorf("auth %s, %v: Relays is %v", c.auth, c.nets, relays)
		}
	}
}

func TestDomainsOf(t *testing.T) {
	cfg := testConfig(relay.RouteConfig{Hop: "up", To: []string{"example.org", "local", ".below.example", "ann@example.com", "Bücher.example"}})
	got := strings.Join(domainsOf(cfg, "up"), " ")
	if got != "example.org xn--bcher-kva.example" {
		t.Errorf("got %q", got)
	}
	if other := domainsOf(cfg, "down"); len(other) > 0 {
		t.Errorf("of another upstream: %v", other)
	}
}
