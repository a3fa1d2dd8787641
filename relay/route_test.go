package relay

import (
	"net/netip"
	"strings"
	"testing"

	"hoplite/internal/conf"
	"hoplite/mail"
)

func TestParseReply(t *testing.T) {
	for in, want := range map[string]string{
		"551 5.1.6 she has moved":     "551 5.1.6 she has moved",
		"550 gone":                    "550 5.0.0 gone",
		" 450  4.3.2  back at eight ": "450 4.3.2 back at eight",
		"550 4.1.1 another class":     "550 5.0.0 4.1.1 another class",
		"550 5.1.1":                   "",
		"250 2.0.0 fine":              "",
		"600 no":                      "",
		"x y":                         "",
		"550":                         "",
		"550 5.1.1 two\nlines":        "",
		"":                            "",
	} {
		r, err := parseReply(in)
		if (err != nil) != (want == "") || err == nil && r.String() != want {
			t.Errorf("%q: %v, %v, want %q", in, r, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	chain := &Chain{Routes: []Route{
		NewRoute(&RouteConfig{Name: "vip", To: []string{"example.org"}, User: []string{"Boss@Example.Org"}, Hop: "fast"}, nil, nil, nil),
		NewRoute(&RouteConfig{Name: "lan", To: []string{"printer.example.org"}, Client: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Hop: "lan"}, nil, nil, nil),
		NewRoute(&RouteConfig{Name: "bounces", From: []string{"<>"}, To: []string{"bounce.example.org"}, Hop: "bounces"}, nil, nil, nil),
		NewRoute(&RouteConfig{Name: "moved", To: []string{"eve@example.org"}, Reply: "551 5.1.6 she has moved"}, nil, nil, nil),
		NewRoute(&RouteConfig{Name: "here", To: []string{"local", "example.org", ".example.org"}, Hop: "boxes"}, []string{"mail.example.org"}, nil, nil),
		NewRoute(&RouteConfig{Name: "partner", Relay: true, To: []string{"partner.example"}, From: []string{"partner.example"}, Hop: "partner"}, nil, nil, nil),
		NewRoute(&RouteConfig{Name: "out", Relay: true, Hop: "internet"}, nil, nil, nil),
	}}
	for name, tt := range map[string]struct {
		to, from, user, client string
		relay                  bool
		via                    []string
		want                   string
	}{
		"a mailbox":                      {to: "ann@example.org", want: "here"},
		"in upper case":                  {to: "Ann@EXAMPLE.org", want: "here"},
		"a subdomain":                    {to: "ann@sub.example.org", want: "here"},
		"our own name":                   {to: "ann@mail.example.org", want: "here"},
		"by login":                       {to: "ann@example.org", user: "boss@example.org", want: "vip"},
		"by another login":               {to: "ann@example.org", user: "ann@example.org", want: "here"},
		"by network":                     {to: "x@printer.example.org", client: "192.0.2.9:1", want: "lan"},
		"from another network":           {to: "x@printer.example.org", client: "198.51.100.9:1", want: "here"},
		"a report":                       {to: "x@bounce.example.org", want: "bounces"},
		"no report":                      {to: "x@bounce.example.org", from: "a@b.example", want: "here"},
		"only a reply":                   {to: "eve@example.org", want: "moved"},
		"outside, not permitted":         {to: "x@elsewhere.example"},
		"outside, permitted":             {to: "x@elsewhere.example", relay: true, want: "out"},
		"outside, reached by an alias":   {to: "x@elsewhere.example", via: []string{"ann (aliases:1)"}, want: "out"},
		"an alias, on a partner's route": {to: "x@partner.example", via: []string{"ann (aliases:1)"}, want: "out"},
		"the partner on its route":       {to: "x@partner.example", from: "eve@partner.example", relay: true, want: "partner"},
		"an alias for the partner":       {to: "x@partner.example", from: "eve@partner.example", via: []string{"ann (aliases:1)"}, want: "partner"},
		"a domain that only looks alike": {to: "x@notexample.org"},
	} {
		t.Run(name, func(t *testing.T) {
			c := mail.Client{User: tt.user, MayRelay: tt.relay}
			if tt.client != "" {
				c.Addr = netip.MustParseAddrPort(tt.client)
			}
			got := ""
			if r := chain.Find(mail.NewTransaction(c, mail.Address(tt.from)), mail.Rcpt{To: mail.Address(tt.to), Via: tt.via}); r != nil {
				got = r.Name
			}
			if got != tt.want {
				t.Errorf("route %q, want %q", got, tt.want)
			}
		})
	}
}

func TestConfigCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"the defaults":             {func(*Config) {}, ""},
		"no way to log in":         {func(c *Config) { c.TLS, c.Auth = "off", "required" }, "no client could log in"},
		"passwords in clear text":  {func(c *Config) { c.TLS, c.Auth, c.CleartextLogin = "off", "required", true }, ""},
		"no recipients":            {func(c *Config) { c.MaxRecipients = 0 }, "no mail could be received"},
		"an open relay":            {func(c *Config) { c.RelayFrom = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }, "open relay"},
		"an open relay over IPv6":  {func(c *Config) { c.RelayFrom = []netip.Prefix{netip.MustParsePrefix("::/0")} }, "open relay"},
		"a network of one's own":   {func(c *Config) { c.RelayFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, ""},
		"nowhere to listen":        {func(c *Config) { c.Listen = nil }, "no address to listen on"},
		"proxies without a header": {func(c *Config) { c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} }, "without proxy_protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &Config{Name: "inbound", Chain: "inbound"}
			conf.Defaults(cfg)
			cfg.Listen = []conf.Listen{{Network: "tcp", Address: ":25"}}
			tt.change(cfg)
			err := cfg.Check()
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	for name, tt := range map[string]struct {
		c    RouteConfig
		want string
	}{
		"a hop":         {RouteConfig{Hop: "boxes"}, ""},
		"a reply":       {RouteConfig{Reply: "550 5.1.1 gone"}, ""},
		"neither":       {RouteConfig{}, "no destination"},
		"both":          {RouteConfig{Hop: "boxes", Reply: "550 5.1.1 gone"}, "not both"},
		"a bad reply":   {RouteConfig{Reply: "fine"}, "not a 4xx or 5xx reply"},
		"a bad pattern": {RouteConfig{Hop: "boxes", To: []string{"a@b@c"}}, "a@b@c"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.c.Check()
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
