package trace

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"hoplite/mail/received"
)

// Every entry says where it comes from, and networks have a source with a date.
func TestProviderSources(t *testing.T) {
	year := regexp.MustCompile(`\b20[0-9]{2}|from general knowledge`)
	for _, p := range providers {
		if p.source == "" || len(p.domains) == 0 || p.title == "" {
			t.Errorf("%s: no source, domain or title", p.name)
		}
		if len(p.internal)+len(p.outbound) > 0 && (p.source == namesOnly || !year.MatchString(p.source)) {
			t.Errorf("%s: networks without a dated source: %s", p.name, p.source)
		}
		for _, net := range append(p.internal, p.outbound...) {
			if net != net.Masked() {
				t.Errorf("%s: %s has bits after its mask", p.name, net)
			}
		}
	}
}

func TestProviders(t *testing.T) {
	for _, c := range []struct{ by, want string }{
		{"mx.google.com", "gmail"},
		{"2002:a05:6402:1c0b:b0:123:4567:89ab", "gmail"},
		{"AM0PR09.eurprd09.prod.outlook.com", "m365"},
		{"DM6PR12.namprd12.PROD.OUTLOOK.COM", "m365"},
		{"2603:10a6:20b:2a1::7", "m365"},
		{"sloti1n01.nyi.internal", "fastmail"},
		{"mx.google.com.evil.example", ""},
		{"notgoogle.com", ""},
		{"10.1.2.3", ""},
		{"mx.b.example", ""},
	} {
		l := received.Parse([]byte("from a.example ([192.0.2.1]) by " + c.by + " with SMTP id x"))
		got := ""
		if p := providerOf(&l); p != nil {
			got = p.name
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.by, got, c.want)
		}
	}
	for _, name := range append(Mailboxes(), "Outlook", "WORKSPACE", "ionos", "vk") {
		if !KnownMailbox(name) {
			t.Errorf("%s is not known", name)
		}
	}
	if KnownMailbox("nowhere") || KnownMailbox("") {
		t.Error("an unknown mailbox is known")
	}
	google, _ := netip.ParseAddr("209.85.220.41")
	mapped, _ := netip.ParseAddr("::ffff:209.85.220.41")
	stranger, _ := netip.ParseAddr("192.0.2.1")
	if p := providerNamed("gmail"); !p.holds(google) || !p.holds(mapped) || p.holds(stranger) {
		t.Error("holds")
	}
	if !strings.Contains(providerNamed("qq").source, "no published list") {
		t.Error("the source of names alone does not say so")
	}
}
