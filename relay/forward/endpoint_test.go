package forward

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
)

// names is a resolver that answers only address queries.
type names map[string][]string

func (n names) Lookup(_ context.Context, name string, t resolve.Type) (resolve.Answer, error) {
	var a resolve.Answer
	for _, s := range n[name] {
		if ip := netip.MustParseAddr(s); ip.Is4() == (t == resolve.A) {
			a.Records = append(a.Records, resolve.Record{Addr: ip})
		}
	}
	if len(a.Records) == 0 {
		return a, resolve.ErrNotFound
	}
	return a, nil
}

func endpointUpstream(t *testing.T, dns resolve.Resolver, change func(*Config)) *Upstream {
	t.Helper()
	return upstreamIn(t, Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.Nop(), DNS: dns},
		[]string{"smtp://mx.example.net"}, change)
}

// addresses returns the addresses of an upstream's pools in the order in which
// they are tried.
func addresses(t *testing.T, u *Upstream) []string {
	t.Helper()
	pools, err := u.servers.pools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, p := range pools {
		list = append(list, p.server.address)
	}
	return list
}

func TestEndpointFollowsDNS(t *testing.T) {
	dns := names{"mx.example.net": {"192.0.2.1", "192.0.2.2", "2001:db8::1"}}
	u := endpointUpstream(t, dns, func(*Config) {})
	if got := addresses(t, u); !slices.Equal(got, []string{"[2001:db8::1]:25", "192.0.2.1:25", "192.0.2.2:25"}) {
		t.Fatalf("got %q", got)
	}
	before, _ := u.servers.pools(t.Context())
	dns["mx.example.net"] = []string{"192.0.2.2", "192.0.2.3"}
	after, _ := u.servers.pools(t.Context())
	if got := addresses(t, u); !slices.Equal(got, []string{"192.0.2.2:25", "192.0.2.3:25"}) {
		t.Errorf("after a change: %q", got)
	}
	if after[0] != before[2] {
		t.Error("the pool of an address that stayed is a new one")
	}
	if !before[0].closed || !before[1].closed || after[0].closed {
		t.Error("not exactly the pools of addresses that went are closed")
	}
	delete(dns, "mx.example.net")
	if got := addresses(t, u); !slices.Equal(got, []string{"192.0.2.2:25", "192.0.2.3:25"}) {
		t.Errorf("while DNS gives no answer: %q", got)
	}
	after[0].failed(errNoTLS)
	if got := addresses(t, u); !slices.Equal(got, []string{"192.0.2.3:25", "192.0.2.2:25"}) {
		t.Errorf("a resting address comes first: %q", got)
	}
	if got := addresses(t, endpointUpstream(t, names{"mx.example.net": {"192.0.2.1", "2001:db8::1"}}, func(c *Config) { c.Family = "ipv4" })); !slices.Equal(got, []string{"192.0.2.1:25"}) {
		t.Errorf("family ipv4: %q", got)
	}
}

// Mail for a name that does not exist in DNS is delayed, because the
// configuration or DNS may be wrong.
func TestEndpointUnknown(t *testing.T) {
	u := endpointUpstream(t, names{}, func(*Config) {})
	got := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")[0].Reply.String()
	if !strings.HasPrefix(got, "451 4.4.1") || !strings.Contains(got, "DNS") {
		t.Errorf("got %s", got)
	}
}

// The second address of a name gets the mail if the first one refuses the
// connection.
func TestEndpointSecondAddress(t *testing.T) {
	busy, good := newPeer(t, nil), newPeer(t, nil)
	busy.set(func() { busy.greeting = "421 4.3.2 too busy" })
	u := endpointUpstream(t, names{"mx.example.net": {"192.0.2.1", "192.0.2.2"}}, func(c *Config) { c.TLS = "off" })
	u.net.dialer.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := map[string]*peer{"192.0.2.1:25": busy, "192.0.2.2:25": good}[address]
		return (&net.Dialer{}).DialContext(ctx, network, to.l.Addr().String())
	}
	for range 2 {
		if out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org"); !out[0].Reply.Positive() {
			t.Fatal(out[0].Reply.String())
		}
	}
	if n := len(good.mail()); n != 2 {
		t.Errorf("%d messages at the second address", n)
	}
}

func TestSourceAddress(t *testing.T) {
	p := newPeer(t, nil)
	d := dialer{source: []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.9")}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := d.dialNet(ctx, "tcp", p.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if host, _, _ := net.SplitHostPort(c.LocalAddr().String()); host != "127.0.0.9" {
		t.Errorf("connected from %s", host)
	}
}

func TestConfigCheck(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":               {func(*Config) {}, ""},
		"no servers":         {func(c *Config) { c.Servers = nil }, "has no servers"},
		"servers and mx":     {func(c *Config) { c.MX = true }, "exclude each other"},
		"clear login":        {func(c *Config) { c.TLS, c.Auth = "off", &AuthConfig{User: "u", Password: "x"} }, "clear text"},
		"insecure login":     {func(c *Config) { c.TLS, c.Auth = "off", &AuthConfig{User: "u", Password: "x", Insecure: true} }, ""},
		"no password":        {func(c *Config) { c.Auth = &AuthConfig{User: "u"} }, "neither password, token_file nor oauth2"},
		"source":             {func(c *Config) { c.Source = []string{"192.0.2.9", "2001:db8::9"} }, ""},
		"source is a name":   {func(c *Config) { c.Source = []string{"mx.example.net"} }, "not an IP address"},
		"two of a family":    {func(c *Config) { c.Source = []string{"192.0.2.9", "192.0.2.8"} }, "only one address"},
		"the other family":   {func(c *Config) { c.Source, c.Family = []string{"192.0.2.9"}, "ipv6" }, "never used"},
		"disable":            {func(c *Config) { c.Disable = []string{"chunking", "SMTPUTF8"} }, ""},
		"disable by mistake": {func(c *Config) { c.Disable = []string{"CHUNKS"} }, `"CHUNKS" is not an extension`},
		"no connections":     {func(c *Config) { c.Connections = 0 }, "no mail could be sent"},
	}
	for name, tt := range tests {
		cfg := Config{}
		conf.Defaults(&cfg)
		cfg.Servers = []string{"smtp://192.0.2.10"}
		tt.change(&cfg)
		got := ""
		if err := cfg.Check(); err != nil {
			got = err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestDisable(t *testing.T) {
	p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 CHUNKING"})
	u := upstream(t, []string{p.url()}, func(c *Config) { c.Disable = []string{"chunking", "SIZE"} })
	if out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org"); !out[0].Reply.Positive() {
		t.Fatal(out[0].Reply.String())
	}
	if said := p.said(); strings.Contains(said, "BDAT") || strings.Contains(said, "SIZE=") {
		t.Errorf("disabled extensions are used:\n%s", said)
	}
}

// TestMost covers RCPTMAX and RCPTDOMAINMAX (RFC 9422).
func TestMost(t *testing.T) {
	p := &parcel{}
	for _, a := range []mail.Address{"a@a.example", "b@a.example", "c@b.example", "d@c.example"} {
		p.rcpts = append(p.rcpts, mail.Rcpt{To: a})
	}
	all := []int{0, 1, 2, 3}
	tests := []struct {
		limits string
		places []int
		want   int
	}{
		{"", all, 4}, {"RCPTMAX=2", all, 2}, {"RCPTDOMAINMAX=1", all, 2}, {"RCPTDOMAINMAX=2", all, 3},
		{"RCPTDOMAINMAX=9", all, 4}, {"RCPTDOMAINMAX=1 RCPTMAX=1", all, 1}, {"RCPTDOMAINMAX=1", []int{3, 0}, 1},
	}
	for _, tt := range tests {
		c := parseCaps("mx\nLIMITS "+tt.limits, nil)
		if got := c.most(p, tt.places); got != tt.want {
			t.Errorf("%s: %d of %v, want %d", tt.limits, got, tt.places, tt.want)
		}
	}
}

// A reply is recognized among lines inserted by other programs.
func TestNotices(t *testing.T) {
	replies := map[string]string{
		"EHLO": "\r\n250-old\r\n*** notice ***\r\n250-PIPELINING\r\n\r\n250 SIZE 100",
		"MAIL": "*** this is filtered ***\r\n250 ok",
		".":    "250-2.0.0 done\r\nsome text\r\n250 2.0.0 really",
	}
	p := newPeer(t, replies)
	u := upstream(t, []string{p.url()}, nil)
	out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
	if got := out[0].Reply.String(); got != "250 2.0.0 done / really" {
		t.Errorf("got %q", got)
	}
}
