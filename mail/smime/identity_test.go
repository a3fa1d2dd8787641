package smime

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"

	"hoplite/mail"
)

// TestAddresses checks that all kinds of addresses in a certificate are used.
func TestAddresses(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	p := issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.EmailAddresses = append(c.EmailAddresses, "ann@example.com") })
	if got := strings.Join(addressesOf(p.Cert), " "); got != "ann@example.org ann@example.com" {
		t.Error(got)
	}
	// This is a GeneralNames with one SmtpUTF8Mailbox (RFC 9598).
	san := "\x30\x21\xa0\x1f\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x09\xa0\x13\x0c\x11" + "gr\xc3\xbc\xc3\x9f@ex.example"
	if got := utf8Mailboxes([]byte(san)); len(got) != 1 || got[0] != "grüß@ex.example" {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a@example.org", "a@EXAMPLE.ORG", true},
		{"a@example.org", "A@example.org", false},
		{"a@bücher.example", "a@xn--bcher-kva.example", true},
		{"a@example.org", "a@example.org.evil.example", false},
	} {
		if got := sameAddress(c.a, c.b, false); got != c.want {
			t.Errorf("%s, %s: %v", c.a, c.b, got)
		}
	}
	if !sameAddress("a@example.org", "A@example.org", true) {
		t.Error("capitals were not folded")
	}
}

// TestIdentityOfOddFrom checks that a signature for one of the addresses that
// mail programs may show is not valid for the others.
func TestIdentityOfOddFrom(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	for from, want := range map[string]string{
		"Ann <ann@example.org>":                           "good",
		"ann@example.org <ann@example.org>":               "good",
		"Team @ Home <ann@example.org>":                   "good",
		`"ceo@bank.example" <ann@example.org>`:            "good",
		"ann@example.org <ceo@bank.example>":              "bad",
		"<ann@example.org> <ceo@bank.example>":            "bad",
		"ann@example.org (c) <ceo@bank.example>":          "bad",
		"<ann@example.org:ceo@bank.example>":              "bad",
		"ann@example.org\r\nFrom: ceo@bank.example":       "bad",
		"ann@example.org, =?utf-8?q?ceo=40bank.example?=": "bad",
	} {
		msg := clear("From: "+from+"\r\nSubject: x\r\nMIME-Version: 1.0\r\n", text, ann.Sign(t, []byte(text), true, now))
		rep, err := (&Checker{Trust: pool(root), At: now}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
		if err != nil || rep.Verdict != want || (want == "bad") != rep.Has("mismatch") {
			t.Errorf("%s: %s %v, %v, want %s", from, rep.Verdict, rep.Findings, err, want)
		}
	}
}
