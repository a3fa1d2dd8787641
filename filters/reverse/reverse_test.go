package reverse

import (
	"context"
	"net/netip"
	"testing"

	"hoplite/filters"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
)

const zone = `
192.0.2.1 PTR mx.example.com
mx.example.com A 192.0.2.1
192.0.2.2 PTR fake.example.com
fake.example.com A 192.0.2.99
192.0.2.3 PTR dead.example.com
dead.example.com SERVFAIL
192.0.2.5 PTR a.example.com
192.0.2.5 PTR mx.example.com
192.0.2.5 PTR five.example.com
five.example.com A 192.0.2.5
only.mx.example MX 10 mx.example.com
2001:db8::1 PTR six.example.com
six.example.com AAAA 2001:db8::1
`

func TestReverse(t *testing.T) {
	all := Config{NoName: "reject", HeloForged: "reject", HeloSyntax: "reject", HeloUnknown: "reject"}
	for _, c := range []struct {
		name, ip, helo, iprev string
		cfg                   Config
		want                  filters.Action
		enhanced              string
	}{
		{"all right", "192.0.2.1", "mx.example.com", "pass", all, "", ""},
		{"IPv6", "2001:db8::1", "six.example.com", "pass", all, "", ""},
		{"one of several names", "192.0.2.5", "mx.example.com", "pass", all, "", ""},
		{"the name leads elsewhere", "192.0.2.2", "mx.example.com", "fail", all, "reject", "5.7.25"},
		{"no name", "192.0.2.4", "mx.example.com", "permerror", all, "reject", "5.7.25"},
		{"no name, tagged", "192.0.2.4", "mx.example.com", "permerror", Config{NoName: "tag"}, "tag", ""},
		{"no DNS never refuses", "192.0.2.3", "mx.example.com", "temperror", all, "", ""},
		{"our own name", "192.0.2.1", "Mail.Example.ORG", "pass", all, "reject", "5.7.1"},
		{"localhost", "192.0.2.1", "localhost", "pass", all, "reject", "5.7.1"},
		{"own address", "192.0.2.1", "[192.0.2.1]", "pass", all, "", ""},
		{"own IPv6 address", "2001:db8::1", "[IPv6:2001:db8::1]", "pass", all, "", ""},
		{"another address", "192.0.2.1", "[192.0.2.2]", "pass", all, "reject", "5.7.1"},
		{"bare address", "192.0.2.1", "192.0.2.1", "pass", all, "reject", "5.7.1"},
		{"rubbish in brackets", "192.0.2.1", "[x", "pass", all, "reject", "5.7.1"},
		{"short name", "192.0.2.1", "friend", "pass", all, "reject", "5.7.1"},
		{"unknown name", "192.0.2.1", "gone.example.com", "pass", all, "reject", "5.7.1"},
		{"a name with mail servers only", "192.0.2.1", "only.mx.example", "pass", all, "", ""},
		{"a name that cannot be looked up", "192.0.2.1", "dead.example.com", "pass", all, "", ""},
		{"nothing set", "192.0.2.4", "friend", "permerror", Config{}, "", ""},
		{"quarantine beats tag", "192.0.2.4", "friend", "permerror", Config{HeloSyntax: "tag", NoName: "quarantine"}, "quarantine", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := New(c.cfg, filters.Env{Hostname: "mail.example.org", DNS: resolvetest.MustZone(zone)})
			client := mail.Client{Addr: netip.AddrPortFrom(netip.MustParseAddr(c.ip), 1), Helo: c.helo}
			v, err := f.(*Filter).AtMail(context.Background(), mail.NewTransaction(client, ""))
			if err != nil || v.Action != c.want || v.Auth[0].Value != c.iprev || v.Reply != nil && v.Reply.Enhanced != c.enhanced {
				t.Errorf("%s %v %v, %v", v.Action, v.Reply, v.Auth, err)
			}
		})
	}
}
