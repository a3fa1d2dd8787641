package received

import "testing"

// TestPorts checks a port after an address, in the notations of Exim, Exchange
// and proxies.
func TestPorts(t *testing.T) {
	for _, c := range []struct {
		line string
		port uint16
	}{
		{"from h.example ([192.0.2.5]:54321) by b.example with ESMTP", 54321},
		{"from h.example [192.0.2.5]:54321 by b.example with ESMTP", 54321},
		{"from [192.0.2.5]:54321 by b.example with ESMTP", 54321},
		{"from h.example (192.0.2.5:25) by b.example with ESMTP", 25},
		{"from [192.0.2.5] (port=2525 helo=h.example) by b.example with esmtp (Exim 4.98)", 2525},
		{"from h.example ([IPv6:2001:db8::5]:465) by b.example with ESMTP", 465},
		{"from h.example ([192.0.2.5]) by b.example with ESMTP", 0},
		{"from h.example ([192.0.2.5]:99999) by b.example with ESMTP", 0},
	} {
		h := Parse([]byte(c.line))
		if h.From.Port != c.port || !h.From.Addr.IsValid() {
			t.Errorf("%s: address %s, port %d, want %d", c.line, h.From.Addr, h.From.Port, c.port)
		}
	}
}

// TestReverseLookups checks the results of reverse lookups in each server's
// wording.
func TestReverseLookups(t *testing.T) {
	for _, c := range []struct {
		client string
		want   RDNSState
		rdns   string
	}{
		{"h (h.example [192.0.2.1]) by b (Postfix)", Verified, "h.example"},
		{"h (unknown [192.0.2.1]) by b (Postfix)", Missing, ""},
		{"h (h.example [192.0.2.1] (may be forged)) by b (8.18.1/8.18.1)", MayBeForged, "h.example"},
		{"h (<unknown> [192.0.2.1]) by b (OpenSMTPD)", Missing, ""},
		{"h (192.0.2.1 [192.0.2.1]) by b", Missing, ""},
		{"h (softdnserr [192.0.2.1]) by b", Missing, ""},
		{"h (RDNS failed) ([192.0.2.1]) by b with Microsoft SMTPSVC(6.0)", Missing, ""},
		{"h named unknown by b (SG)", Missing, ""},
		{"unknown (HELO h) (192.0.2.1) by b", Missing, ""},
		{"h ([192.0.2.1] verified) by b", Verified, "h"},
		{"h ([192.0.2.1]) by b with Microsoft SMTP Server", NotLooked, ""},
	} {
		h := Parse([]byte("from " + c.client))
		if h.From.RDNSState != c.want || h.From.RDNS != c.rdns {
			t.Errorf("%s: %s %q, want %s %q", c.client, h.From.RDNSState, h.From.RDNS, c.want, c.rdns)
		}
	}
}

// TestAnnounced checks that the HELO name is found wherever it is written.
func TestAnnounced(t *testing.T) {
	for line, want := range map[string]string{
		"from h.example (r.example [192.0.2.1]) by b (Postfix) with ESMTP":        "h.example",
		"from r.example ([192.0.2.1] helo=h.example) by b with esmtp (Exim 4.98)": "h.example",
		"from r.example (HELO h.example) (192.0.2.1) by b":                        "h.example",
		"from r.example (HELO ) (192.0.2.1) by b":                                 "",
		"from r.example(192.0.2.51, HELO h.example) by b via smap":                "h.example",
		"from [192.0.2.1] by b with HTTP":                                         "",
		"from pop.example by b with POP3 (fetchmail-6.4.30)":                      "",
	} {
		h := Parse([]byte(line))
		if got := h.Announced(); got != want {
			t.Errorf("%s: announced %q, want %q", line, got, want)
		}
	}
}

func TestProtocols(t *testing.T) {
	for with, want := range map[string]Proto{
		"ESMTPSA":                 {Name: "ESMTPSA", TLS: true, Auth: true},
		"esmtps":                  {Name: "ESMTPS", TLS: true},
		"UTF8SMTPSA":              {Name: "UTF8SMTPSA", UTF8: true, TLS: true, Auth: true},
		"LMTP":                    {Name: "LMTP", Local: true},
		"Microsoft SMTPSVC":       {Name: "SMTP"},
		"ESMTP/TLS/AES256-SHA":    {Name: "ESMTP", TLS: true},
		"HTTPS":                   {Name: "HTTPS", HTTP: true, TLS: true},
		"IMAP":                    {Name: "IMAP", Fetch: true},
		"Microsoft SMTP Server":   {Name: "SMTP"},
		"quantum entanglement":    {},
		"":                        {},
		"a b c d e f g h ESMTPSA": {}, // only the first words are considered
	} {
		if got := protoOf(with); got != want {
			t.Errorf("%q: %+v, want %+v", with, got, want)
		}
	}
	if !(Proto{Name: "UTF8LMTPS"}).LMTP() || (Proto{Name: "ESMTP"}).LMTP() {
		t.Error("LMTP is not recognised by its name")
	}
}

func TestParseAddr(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":               "192.0.2.1",
		"[192.0.2.1]":             "192.0.2.1",
		"[IPv6:2001:db8::1]":      "2001:db8::1",
		"IPv6:2001:db8::1":        "2001:db8::1",
		"::ffff:192.0.2.1":        "::ffff:192.0.2.1",
		"192.0.2.1.40000":         "192.0.2.1",
		"192.0.2.1:25":            "192.0.2.1",
		"fe80::1%5":               "fe80::1%5",
		"(192.0.2.1)":             "192.0.2.1",
		"192.0.2.1,":              "192.0.2.1",
		"192.0.2":                 "",
		"192.0.2.256":             "",
		"192.0.02.1":              "",
		"a.example":               "",
		"":                        "",
		"[":                       "",
		"1:2":                     "",
		"2001:db8::1::2":          "",
		"dead.beef.cafe.example.": "",
	} {
		addr, _, ok := parseAddr(in)
		if got := addr.String(); ok && got != want || ok == (want == "") {
			t.Errorf("%q: %s %v, want %q", in, got, ok, want)
		}
	}
}

func TestUnder(t *testing.T) {
	for _, c := range []struct {
		host, domain string
		want         bool
	}{
		{"mx.google.com", "google.com", true},
		{"google.com.", "google.com", true},
		{"MX.Google.COM", "google.com", true},
		{"notgoogle.com", "google.com", false},
		{"google.com.evil.example", "google.com", false},
		{"com", "google.com", false},
		{"", "google.com", false},
	} {
		if got := Under(c.host, c.domain); got != c.want {
			t.Errorf("Under(%q, %q) = %v", c.host, c.domain, got)
		}
	}
}
