package dnsbl

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
)

const zone = `
2.2.0.192.bl.example A 127.0.0.2
2.2.0.192.bl.example TXT "sends spam, see https://bl.example/192.0.2.2"
3.2.0.192.bl.example A 127.0.0.9
4.2.0.192.bl.example A 127.255.255.254
5.2.0.192.bl.example A 203.0.113.7
2.2.0.192.wl.example A 127.0.4.1
b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.v6.example A 127.0.0.2
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example A 127.0.0.2
spam.example.dbl.example A 127.0.1.2
mx.spam.example.dbl.example A 127.0.1.2
6.2.0.192.bl.example SERVFAIL
`

func TestLists(t *testing.T) {
	bl := List{Zone: "bl.example", Kind: "address", Weight: 2}
	wl := List{Zone: "wl.example", Kind: "address", Weight: -5}
	dbl := List{Zone: "dbl.example", Kind: "domain", Weight: 1}
	for _, c := range []struct {
		name, ip, helo, from string
		lists                []List
		threshold            int
		want                 filters.Action
	}{
		{"not listed", "192.0.2.1", "", "", []List{bl}, 1, ""},
		{"listed", "192.0.2.2", "", "", []List{bl}, 1, "reject"},
		{"listed, below the threshold", "192.0.2.2", "", "", []List{bl}, 3, "tag"},
		{"listed here, and as good there", "192.0.2.2", "", "", []List{bl, wl}, 1, "tag"},
		{"IPv6", "2001:db8::1", "", "", []List{bl}, 1, "reject"},
		{"mapped IPv4", "::ffff:192.0.2.2", "", "", []List{bl}, 1, "reject"},
		{"a code that does not count", "192.0.2.3", "", "", []List{{Zone: "bl.example", Weight: 2, Codes: []string{"127.0.0.2-127.0.0.4"}}}, 1, ""},
		{"a network of codes", "192.0.2.3", "", "", []List{{Zone: "bl.example", Weight: 2, Codes: []string{"127.0.0.8/30"}}}, 1, "reject"},
		{"the list complains", "192.0.2.4", "", "", []List{bl}, 1, ""},
		{"the list was sold", "192.0.2.5", "", "", []List{bl}, 1, ""},
		{"the list is down", "192.0.2.6", "", "", []List{bl}, 1, ""},
		{"sender's domain", "192.0.2.1", "", "x@spam.example", []List{dbl}, 1, "reject"},
		{"HELO name", "192.0.2.1", "MX.spam.example.", "", []List{dbl}, 1, "reject"},
		{"HELO literal", "192.0.2.1", "[192.0.2.2]", "", []List{dbl}, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{Lists: c.lists, Threshold: c.threshold, Action: "reject"}
			if err := cfg.Check(); err != nil {
				t.Fatal(err)
			}
			f, err := New(cfg, filters.Env{DNS: resolvetest.MustZone(zone)})
			if err != nil {
				t.Fatal(err)
			}
			client := mail.Client{Addr: netip.AddrPortFrom(netip.MustParseAddr(c.ip), 1), Helo: c.helo}
			v, err := f.(*Filter).AtMail(context.Background(), mail.NewTransaction(client, mail.Address(c.from)))
			if err != nil || v.Action != c.want {
				t.Errorf("%s %v, %v", v.Action, v.Facts, err)
			}
			if c.name == "listed" && !strings.Contains(v.Reply.Text, "192.0.2.2 is listed in bl.example: sends spam") {
				t.Errorf("reply %q", v.Reply.Text)
			}
			client.Trusted = true
			if v, _ := f.(*Filter).AtMail(context.Background(), mail.NewTransaction(client, "")); v.Action != "" {
				t.Error("a trusted client was asked about")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, codes := range []string{"x", "127.0.0.9-127.0.0.2", "127.0.0.0/8", "1-2-3"} {
		if (&Config{Lists: []List{{Zone: "x", Codes: []string{codes}}}}).Check() == nil {
			t.Errorf("%s was accepted", codes)
		}
	}
	if (&Config{}).Check() == nil {
		t.Error("no lists were accepted")
	}
}

func TestProbe(t *testing.T) {
	const zone = `
2.0.0.127.good.example A 127.0.0.2
test.names.example A 127.0.0.2
2.0.0.127.all.example A 127.0.0.2
1.0.0.127.all.example A 127.0.0.2
2.0.0.127.closed.example A 127.255.255.254
2.0.0.127.dead.example SERVFAIL
`
	for name, want := range map[string]string{
		"good.example": "", "names.example": "", "gone.example": "test entry", "all.example": "lists everything",
		"closed.example": "refuses queries", "dead.example": "dead.example: ",
	} {
		l := List{Zone: name, Weight: 1}
		if name == "names.example" {
			l.Kind = "domain"
		}
		f, err := New(Config{Lists: []List{l}}, filters.Env{DNS: resolvetest.MustZone(zone)})
		if err != nil {
			t.Fatal(err)
		}
		err = f.(*Filter).Probe(context.Background())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseCodes(t *testing.T) {
	for code, want := range map[string]string{
		"127.0.0.2":                "127.0.0.2-127.0.0.2",
		"127.0.0.2-127.0.0.11":     "127.0.0.2-127.0.0.11",
		"127.0.0.2 - 127.0.0.11":   "127.0.0.2-127.0.0.11",
		"127.0.0.8/30":             "127.0.0.8-127.0.0.11",
		"127.0.0.9/30":             "127.0.0.8-127.0.0.11",
		"127.0.0.7/32":             "127.0.0.7-127.0.0.7",
		"127.0.0.0/16":             "127.0.0.0-127.0.255.255",
		"127.0.0.0/15":             "",
		"127.0.0.11-127.0.0.2":     "",
		"127.0.0":                  "",
		"":                         "",
		"127.0.0.2-":               "",
		"127.0.0.2-127.0.0.3-4":    "",
		"127.0.0.2-2001:db8::1.2.": "",
	} {
		got, err := parseCodes([]string{code})
		text := ""
		for _, s := range got {
			text += s.from.String() + "-" + s.to.String()
		}
		if text != want || (err == nil) != (want != "") {
			t.Errorf("%q: %s, %v", code, text, err)
		}
	}
}

// TestCounts checks which answers mean that a client is listed.
func TestCounts(t *testing.T) {
	f, err := New(Config{Lists: []List{{Zone: "a"}, {Zone: "b", Codes: []string{"127.0.0.2", "127.0.1.0/24", "127.255.255.254"}}}}, filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for answer, want := range map[string][2]bool{
		"127.0.0.2": {true, true}, "127.0.0.3": {true, false}, "127.0.1.9": {true, true}, "127.9.9.9": {true, false},
		"127.255.255.254": {false, true}, "127.255.255.1": {false, false}, "192.0.2.1": {false, false}, "128.0.0.1": {false, false},
	} {
		a := netip.MustParseAddr(answer)
		if got := [2]bool{f.(*Filter).counts(0, a), f.(*Filter).counts(1, a)}; got != want {
			t.Errorf("%s: %v, want %v", answer, got, want)
		}
	}
}

// TestDomains checks which names are looked up in lists of domains.
func TestDomains(t *testing.T) {
	for _, tt := range []struct{ from, helo, name, want string }{
		{"a@Example.org", "mx.example.net", "rev.example.com", "example.org mx.example.net rev.example.com"},
		{"a@example.org", "EXAMPLE.org.", "example.org", "example.org"},
		{"", "localhost", "", ""},
		{"a@[192.0.2.1]", "[192.0.2.1]", "", ""},
		{"a@bücher.example", "192.0.2.1", "", "xn--bcher-kva.example"},
	} {
		from, err := mail.ParseAddress(tt.from)
		if err != nil && tt.from != "" {
			t.Fatal(err)
		}
		tx := mail.NewTransaction(mail.Client{Helo: tt.helo, Name: tt.name}, from)
		if got := strings.Join(domains(tx), " "); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// TestVerdicts checks the replies to the client and the recorded reasons.
func TestVerdicts(t *testing.T) {
	const zone = `
2.2.0.192.one.example A 127.0.0.2
2.2.0.192.one.example A 127.0.0.9
2.2.0.192.one.example TXT "first line\u001b[31m, then ${a long text}"
2.2.0.192.two.example A 127.0.0.2
2.2.0.192.good.example A 127.0.0.2
2.2.0.192.dead.example SERVFAIL
`
	long := strings.Replace(zone, "${a long text}", strings.Repeat("x", 400), 1)
	list := func(zone string, weight int) List { return List{Zone: zone, Weight: weight} }
	for name, tt := range map[string]struct {
		lists     []List
		threshold int
		action    string
		want      string
		facts     []string
	}{
		"one list":         {[]List{list("two.example", 1)}, 1, "reject", "550 5.7.1 192.0.2.2 is listed in two.example", []string{"two.example: 192.0.2.2 127.0.0.2 weight 1"}},
		"for a while":      {[]List{list("two.example", 1)}, 1, "defer", "451 4.7.1 192.0.2.2 is listed in two.example", []string{"two.example: 192.0.2.2 127.0.0.2 weight 1"}},
		"set apart":        {[]List{list("two.example", 1)}, 1, "quarantine", "192.0.2.2 is listed in two.example", []string{"two.example: 192.0.2.2 127.0.0.2 weight 1"}},
		"the first counts": {[]List{list("two.example", 1), list("one.example", 1)}, 2, "tag", "192.0.2.2 is listed in two.example", []string{"two.example: ", "one.example: 192.0.2.2 127.0.0.2,127.0.0.9 weight 1"}},
		"below":            {[]List{list("two.example", 3), list("good.example", -1)}, 3, "reject", "192.0.2.2 is listed in two.example, weight 2 of 3", []string{"two.example: ", "good.example: 192.0.2.2 127.0.0.2 weight -1"}},
		"only good":        {[]List{list("good.example", -1)}, -5, "reject", "", []string{"good.example: "}},
		"a dead list":      {[]List{list("dead.example", 9), list("none.example", 9)}, 1, "reject", "", []string{"dead.example: error: "}},
		"an explanation":   {[]List{list("one.example", 1)}, 1, "reject", "550 5.7.1 192.0.2.2 is listed in one.example: first line", []string{"one.example: "}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := New(Config{Lists: tt.lists, Threshold: tt.threshold, Action: tt.action}, filters.Env{DNS: resolvetest.MustZone(long)})
			if err != nil {
				t.Fatal(err)
			}
			client := mail.Client{Addr: netip.MustParseAddrPort("192.0.2.2:1")}
			v, err := f.(*Filter).AtMail(context.Background(), mail.NewTransaction(client, ""))
			if err != nil {
				t.Fatal(err)
			}
			got := v.Reason
			if v.Reply != nil {
				got = v.Reply.String()
			}
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" || strings.ContainsAny(got, "\x1b") || len(got) > 300 {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if len(v.Facts) != len(tt.facts) {
				t.Fatalf("facts %v, want %q", v.Facts, tt.facts)
			}
			for i, want := range tt.facts {
				if got := v.Facts[i].Key + ": " + v.Facts[i].Value; !strings.HasPrefix(got, want) {
					t.Errorf("fact %q, want %q", got, want)
				}
			}
		})
	}
	f, err := New(Config{Lists: []List{list("one.example", 2), {Zone: "names.example", Kind: "domain"}, list("dead.example", 1), list("none.example", 1)}}, filters.Env{DNS: resolvetest.MustZone(long)})
	if err != nil {
		t.Fatal(err)
	}
	all := f.(*Filter).Listings(context.Background(), netip.MustParseAddr("::ffff:192.0.2.2"))
	if len(all) != 3 || all[0].Zone != "one.example" || len(all[0].Codes) != 2 || all[0].Weight != 2 || all[1].Err == nil || all[2].Codes != nil {
		t.Errorf("listings %+v", all)
	}
}
