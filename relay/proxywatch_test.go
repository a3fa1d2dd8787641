package relay

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestProxyWatch(t *testing.T) {
	proxy, office := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	start := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	type client struct {
		addr    netip.Addr
		trusted bool
		names   int // number of different HELO names
		after   time.Duration
	}
	for name, tt := range map[string]struct {
		clients []client
		want    string // detected addresses
	}{
		"a proxy":                         {[]client{{proxy, true, 30, 0}}, "192.0.2.1"},
		"few names":                       {[]client{{proxy, true, proxyNames - 1, 0}}, ""},
		"most clients have other sources": {[]client{{netip.MustParseAddr("198.51.100.1"), false, 100, 0}, {proxy, true, 90, 0}}, ""},
		"a few have":                      {[]client{{netip.MustParseAddr("198.51.100.1"), false, 10, 0}, {proxy, true, 30, 0}}, "192.0.2.1"},
		"two proxies":                     {[]client{{proxy, true, 30, 0}, {office, true, 30, 0}}, "192.0.2.1 192.0.2.2"},
		"not trusted":                     {[]client{{proxy, false, 100, 0}}, ""},
		"again on the next day":           {[]client{{proxy, true, 30, 0}, {proxy, true, 30, time.Hour}, {proxy, true, 30, 25 * time.Hour}}, "192.0.2.1 192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			var c proxyWatch
			var got []string
			for _, cl := range tt.clients {
				for i := range cl.names {
					if c.add(cl.addr, cl.trusted, fmt.Sprintf("Client%d.example", i), start.Add(cl.after)) > 0 {
						got = append(got, cl.addr.String())
					}
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("noticed %q, want %q", got, tt.want)
			}
		})
	}
}

// Each session counts its client once, unless the client may relay.
func TestProxyIsLogged(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config, *Env)
		want   bool
	}{
		"a local proxy":       {nil, true},
		"programs that relay": {func(c *Config, _ *Env) { c.RelayFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			noted := make(chan netip.Addr, 10)
			d := open(t, "smtp", func(c *Config, e *Env) {
				e.Proxied = func(addr netip.Addr) { noted <- addr }
				if tt.change != nil {
					tt.change(c, e)
				}
			})
			for i := range proxyNames {
				c := d.dial(t)
				c.say(fmt.Sprintf("EHLO client%d.example.net", i), "250")
				for range 2 {
					c.say("MAIL FROM:<a@example.net>", "250")
					c.say("RSET", "250")
				}
				c.say("QUIT", "221")
			}
			if got := strings.Count(d.log(), "looks like a proxy"); (got == 1) != tt.want || got > 1 {
				t.Errorf("%d warnings: %s", got, d.log())
			}
			if (len(noted) == 1) != tt.want {
				t.Errorf("noted %d times", len(noted))
			}
		})
	}
}
