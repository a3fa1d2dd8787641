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
