package trace

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"hoplite/mail/received"
)

// TestProviderTable checks that every row ends with a source and its date, that
// networks have no bits after the mask, and that no provider is missing.
func TestProviderTable(t *testing.T) {
	month := regexp.MustCompile(`^(199|20[0-9])\d-(0[1-9]|1[0-2])$`)
	for line := range strings.Lines(providersText) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "provider ") {
			continue
		}
		row := strings.Split(line, " | ")
		want := 4
		if row[0] == "pool" {
			want = 5
		}
		if len(row) != want || row[want-2] == "" || !month.MatchString(row[want-1]) {
			t.Errorf("row %q: want %d columns, with a source and a month", line, want)
		}
	}
	for _, p := range known.providers {
		if len(p.domains) == 0 || p.title == "" {
			t.Errorf("%s: no domain or title", p.name)
		}
		for _, net := range append(p.internal, p.outbound...) {
			if net != net.Masked() {
				t.Errorf("%s: %s has bits after its mask", p.name, net)
			}
		}
	}
	if got, want := strings.Join(Mailboxes(), " "), "gmail m365 yahoo icloud fastmail zoho proton gmx qq yandex mail.ru"; got != want {
		t.Errorf("mailboxes %s, want %s", got, want)
	}
}

func TestProviderMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"domain | a.example | s":                        "too few columns",
		"domain | a.example | s | 2026-01":              "no provider before it",
		"provider|x|X|\ninternal | 10.0.0 | s | d":      "10.0.0",
		"provider|x|X|\noutbound | 10.0.0.0/99 | s | d": "10.0.0.0/99",
		"provider|x|X|\nother | x | s | d":              "there is no kind",
	} {
		if _, err := parseProviders(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestPools checks that hosts with different names belong to the same
// organisation, and that only some providers have clocks assumed to be right.
func TestPools(t *testing.T) {
	for _, c := range []struct {
		host, organisation string
		disciplined        bool
	}{
		{"AM0P.eurprd09.prod.outlook.com", "microsoft", true},
		{"x.mail.protection.office365.us", "microsoft", true},
		{"ZQ4PR01MB1202.CHNPR01.prod.partner.outlook.cn", "microsoft", true},
		{"mx.google.com.", "google", true},
		{"cluster5.us.messagelabs.com", "symantec", false},
		{"mx.a.example", "a.example", false},
		{"mx.yahoo.co.jp", "yahoojp", false},
		{"localhost", "", false},
		{"dc1.corp.local", "", false},
		{"", "", false},
	} {
		if got := organisation(c.host); got != c.organisation || disciplined(c.host) != c.disciplined {
			t.Errorf("%q: %q %v, want %q %v", c.host, got, disciplined(c.host), c.organisation, c.disciplined)
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
	other, _ := netip.ParseAddr("192.0.2.1")
	if p := providerNamed("gmail"); !p.holds(google) || !p.holds(mapped) || p.holds(other) {
		t.Error("holds")
	}
}
