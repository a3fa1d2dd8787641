package trace

import (
	"os"
	"strings"
	"testing"
)

// TestCases checks genuine mail that was once reported as forged or with a
// wrong origin.
func TestCases(t *testing.T) {
	for _, c := range []struct {
		file   string
		o      Options
		origin string // address; "" is not judged, "-" is none
		by     string // the host that vouches for the origin
		has    string // codes of findings that must be reported
		hasNot string // codes that must not be reported
	}{
		{file: "f1-forward", o: Options{Ours: []string{"fwd.b.example"}}, origin: "198.51.100.30", by: "fwd.b.example", hasNot: "suspect-line"},
		{file: "f1-forward", origin: "192.0.2.60", hasNot: "suspect-line"},
		{file: "list-back", o: Options{Ours: []string{".b.example"}}, origin: "198.51.100.40", hasNot: "suspect-line"},
		{file: "f1-gmail", origin: "192.0.2.5", by: "mx.google.com"},
		{file: "f1-m365", origin: "192.0.2.5"},
		{file: "f1-m365", o: Options{Mailbox: "outlook"}, origin: "192.0.2.5"},
		{file: "c5-fetchmail", origin: "192.0.2.25", by: "mx.google.com"},
		{file: "exchange-other-domain", hasNot: "suspect-line clock delay"},
		{file: "strato", hasNot: "suspect-line clock delay"},
		{file: "vps-ptr", hasNot: "suspect-line clock delay"},
		{file: "p1", has: "", hasNot: "clock clock-unclear backwards no-zone"},
		{file: "c1-o365-proofpoint-exchange", has: "delay", hasNot: "only-bounds suspect-line"},
		{file: "c4-greylist-dst", has: "clock-unclear", hasNot: "suspect-line"},
		{file: "oldtls", has: "old-tls"},
	} {
		raw, err := os.ReadFile("testdata/cases/" + c.file + ".eml")
		if err != nil {
			t.Fatal(err)
		}
		tr := Read(raw, c.o)
		origin, by := "-", ""
		if o := tr.Origin; o != nil && o.Addr.IsValid() {
			origin, by = o.Addr.String(), o.VouchedBy
		}
		if c.origin != "" && origin != c.origin || c.by != "" && by != c.by {
			t.Errorf("%s: origin %s by %s, want %s by %s", c.file, origin, by, c.origin, c.by)
		}
		codes := map[string]bool{}
		for _, f := range tr.Findings {
			codes[f.Code] = true
			if strings.Contains(f.Text, "proves") {
				t.Errorf("%s claims to prove: %s", c.file, f.Text)
			}
		}
		for code := range strings.FieldsSeq(c.has) {
			if !codes[code] {
				t.Errorf("%s: no %s among %+v", c.file, code, tr.Findings)
			}
		}
		for code := range strings.FieldsSeq(c.hasNot) {
			if codes[code] {
				t.Errorf("%s: %s among %+v", c.file, code, tr.Findings)
			}
		}
	}
}

// TestNoProviderAsOrigin checks that the origin is never an address of the
// provider that hosts the mailbox.
func TestNoProviderAsOrigin(t *testing.T) {
	const head = "Received: from EUR05.outbound.protection.outlook.com (40.107.21.99) by\r\n AM0P.mail.protection.outlook.com (10.1.1.1) with Microsoft SMTP Server id 15.20.1 via Frontend Transport; Tue, 12 May 2026 08:31:01 +0000\r\n" +
		"Received: from DB9.eurprd09.prod.outlook.com (2603:10a6:10:2a1::7) by EUR05.prod.outlook.com (2603:10a6:208:18f::14) with Microsoft SMTP Server id 15.20.1; Tue, 12 May 2026 08:31:00 +0000\r\n\r\n"
	o := Read([]byte(head), Options{}).Origin
	if o == nil || o.Addr.IsValid() || o.Name != "Microsoft 365" {
		t.Errorf("origin %+v", o)
	}
}

// TestTwoSigns checks that a line is suspect only with two independent signs,
// and that its reasons mention both.
func TestTwoSigns(t *testing.T) {
	line := func(peer, id string) string {
		return "Received: from " + peer + "\r\n\tby mx.b.example (Postfix) with ESMTPS id 4F1Zpz0YBvz9sWn; Tue, 12 May 2026 08:30:06 +0000\r\n" +
			"Received: from c.example (c.example [203.0.113.9])\r\n\tby mail.a.example (8.18.1/8.18.1) with ESMTP id " + id + "; Tue, 12 May 2026 08:30:05 +0000\r\n\r\n"
	}
	const good, elsewhere = "64C8U5ab012345", "50C8U5ab012345" // from May 2026, and from 2025
	for _, c := range []struct {
		name, peer, id string
		want           Trust
		reasons        int
	}{
		{"no sign", "mail.a.example (mail.a.example [192.0.2.1])", good, Claimed, 0},
		{"another name", "out.other.example (out.other.example [192.0.2.1])", good, Claimed, 1},
		{"other names, not even alike", "x.third.example (out.other.example [192.0.2.1])", good, Claimed, 1},
		{"an odd id", "mail.a.example (mail.a.example [192.0.2.1])", elsewhere, Claimed, 1},
		{"both", "out.other.example (out.other.example [192.0.2.1])", elsewhere, Suspect, 2},
		{"a forwarder at a hosting company", "mail.a.example (static.1.2.0.192.clients.hoster.example [192.0.2.1])", good, Claimed, 1},
		{"a dial-up address that relays", "mail.a.example (dyn-1.pool.isp.example [192.0.2.1])", good, Suspect, 2},
	} {
		s := Read([]byte(line(c.peer, c.id)), Options{}).Steps[0]
		if s.Trust != c.want || len(s.Reasons) != c.reasons {
			t.Errorf("%s: %s %q, want %s with %d reasons", c.name, s.Trust, s.Reasons, c.want, c.reasons)
		}
	}
}

// TestLMTPIsNoBoundary checks that an LMTP step to a public address is not the
// boundary.
func TestLMTPIsNoBoundary(t *testing.T) {
	const head = "Received: from mx.b.example ([198.51.100.1])\r\n\tby store.b.example (Dovecot) with LMTP id x; Tue, 12 May 2026 08:30:07 +0000\r\n" +
		"Received: from mail.a.example (mail.a.example [192.0.2.1])\r\n\tby mx.b.example (Postfix) with ESMTPS id 4F1Zpz0YBvz9sWn; Tue, 12 May 2026 08:30:06 +0000\r\n\r\n"
	if o := Read([]byte(head), Options{}).Origin; o == nil || o.Addr.String() != "192.0.2.1" {
		t.Errorf("origin %+v", o)
	}
}
