package smime

import (
	"crypto/x509"
	"strings"
	"testing"
)

// Names of every kind that a certificate may have count.
func TestAddresses(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	p := issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.EmailAddresses = append(c.EmailAddresses, "ann@example.com") })
	if got := strings.Join(addressesOf(p.Cert), " "); got != "ann@example.org ann@example.com" {
		t.Error(got)
	}
	// GeneralNames with one SmtpUTF8Mailbox (RFC 9598).
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
