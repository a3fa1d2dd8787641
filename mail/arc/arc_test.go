package arc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"hoplite/internal/resolve"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
	"hoplite/mail/dkim"
	"hoplite/mail/dkim/dkimtest"
)

const plain = "From: ann@example.org\r\nTo: list@lists.example\r\nSubject: x\r\n\r\nHello\r\n"

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))

// sealKey is the signing key of the test servers.
var sealKey crypto.Signer = key

func zone() *resolvetest.Zone {
	p := "TXT \"" + dkimtest.Record(key.Public()) + "\"\n"
	return resolvetest.MustZone("s._domainkey.one.example " + p + "s._domainkey.two.example " + p + "s._domainkey.three.example " + p)
}

func message(t testing.TB, text string) *mail.Message {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// server acts as a mailing list that validates, adds to the subject, and seals.
func server(t testing.TB, domain, text string, dns resolve.Resolver, auth ...mail.AuthResult) string {
	t.Helper()
	c := validate(t, text, dns)
	text = strings.Replace(text, "Subject: ", "Subject: ["+domain+"] ", 1)
	s := &Sealer{Signer: dkim.Signer{Domain: domain, Selector: "s", Key: sealKey}, Host: "mx." + domain}
	top, err := s.Seal(message(t, text), c, c.CV, append(auth, c.AuthResult()))
	if err != nil {
		t.Fatal(err)
	}
	return string(top) + text
}

func validate(t testing.TB, text string, dns resolve.Resolver) *Chain {
	t.Helper()
	c, err := Validate(context.Background(), message(t, text), resolve.TXTRecords(dns))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var dmarcPass = mail.AuthResult{Method: "dmarc", Value: "pass", Props: []mail.AuthProp{{Type: "header", Name: "from", Value: "example.org"}}}

func TestChainOfThree(t *testing.T) {
	z := zone()
	text := plain
	if c := validate(t, text, z); c.CV != "none" {
		t.Errorf("before any: %s", c.CV)
	}
	for i, d := range []string{"one.example", "two.example", "three.example"} {
		auth := []mail.AuthResult{{Method: "dmarc", Value: "fail"}}
		if i == 0 {
			auth[0] = dmarcPass
		}
		text = server(t, d, text, z, auth...)
		c := validate(t, text, z)
		if c.CV != "pass" || len(c.Sets) != i+1 {
			t.Fatalf("after %s: %s (%s) with %d sets\n%s", d, c.CV, c.Reason, len(c.Sets), text)
		}
	}
	c := validate(t, text, z)
	a := c.AuthResult()
	if a.Prop("policy", "sealer") != "one.example,two.example,three.example" || a.Prop("policy", "dmarc") != "pass" || a.Prop("header", "d") != "three.example" {
		t.Errorf("%+v", a)
	}
	if c.Sealer() != "three.example" || c.Signed("from") != 2 || c.Signed("Received") != 0 {
		t.Errorf("sealed by %s, From %d times", c.Sealer(), c.Signed("from"))
	}
	if r := c.Sets[1].Results; r.ID != "mx.two.example" || r.Results[1].Value != "pass" {
		t.Errorf("the second server saw %+v", r)
	}

	for _, x := range []struct{ name, old, new, want string }{
		{"body", "Hello", "Hullo", "fail"},
		{"subject", "[three.example]", "[3]", "fail"},
		{"what the first saw", "dmarc=pass", "dmarc=fail", "fail"},
		{"a seal", "i=2; a=ed25519-sha256; t=", "i=2; a=ed25519-sha256; t=1", "fail"},
		{"a missing field", "ARC-Seal: i=1", "X-Seal: i=1", "fail"},
		{"a doubled set", "i=2; mx.two", "i=1; mx.two", "fail"},
		{"a gap", "i=2", "i=4", "fail"},
		{"an odd number", "i=2", "i=x", "fail"},
		{"a number with a sign", "i=1; mx", "i=+1; mx", "fail"},
		{"cv of the first", "cv=none", "cv=pass", "fail"},
		{"an unsigned field", "To: list", "To: list", "pass"},
		{"key gone", "d=one.example", "d=gone.example", "fail"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if c := validate(t, strings.Replace(text, x.old, x.new, 1), z); c.CV != x.want {
				t.Errorf("%s (%s), want %s", c.CV, c.Reason, x.want)
			}
		})
	}
	dead := resolvetest.MustZone("s._domainkey.one.example SERVFAIL\ns._domainkey.two.example SERVFAIL\ns._domainkey.three.example SERVFAIL")
	if c := validate(t, text, dead); c.CV != "temperror" {
		t.Errorf("no DNS: %s", c.CV)
	}
}

// A chain that was broken in transit is sealed as broken once, and not sealed
// again.
func TestBrokenChain(t *testing.T) {
	z := zone()
	text := strings.Replace(server(t, "one.example", plain, z), "Hello", "Hullo", 1)
	text = server(t, "two.example", text, z)
	if !strings.Contains(text, "i=2") || !strings.Contains(text, "cv=fail") {
		t.Fatalf("the break was not noted:\n%s", text)
	}
	if c := validate(t, text, z); c.CV != "fail" {
		t.Errorf("a chain with cv=fail: %s", c.CV)
	}
	if again := server(t, "three.example", text, z); strings.Contains(again, "i=3") {
		t.Error("a broken chain was sealed again")
	}
}

// If DMARC passed for one domain of From but failed for another, it did not
// pass.
func TestPartOfDMARC(t *testing.T) {
	z := zone()
	fail := mail.AuthResult{Method: "dmarc", Value: "fail", Props: []mail.AuthProp{{Type: "header", Name: "from", Value: "bank.example"}}}
	for want, auth := range map[string][]mail.AuthResult{"pass": {dmarcPass}, "": {dmarcPass, fail}} {
		a := validate(t, server(t, "one.example", plain, z, auth...), z).AuthResult()
		if got := a.Prop("policy", "dmarc"); a.Value != "pass" || got != want {
			t.Errorf("dmarc %q, want %q: %+v", got, want, a)
		}
	}
}

func TestSixtySets(t *testing.T) {
	z := zone()
	var text strings.Builder
	one := server(t, "one.example", plain, z)
	one = one[:strings.Index(one, "From:")]
	for i := range 60 {
		text.WriteString(strings.ReplaceAll(one, "i=1;", fmt.Sprintf("i=%d;", i+1)))
	}
	before := z.Asked()
	if c := validate(t, text.String()+plain, z); c.CV != "fail" || z.Asked() > before {
		t.Errorf("%s after %d questions", c.CV, z.Asked()-before)
	}
	if out := server(t, "two.example", text.String()+plain, z); strings.Count(out, "ARC-Seal:") != 60 {
		t.Error("sealed beyond the end")
	}
}

func FuzzValidate(f *testing.F) {
	z := zone()
	f.Add(server(f, "two.example", server(f, "one.example", plain, z), z))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := mail.NewMessage(mail.Bytes(text))
		if err != nil {
			return
		}
		c, err := Validate(context.Background(), m, func(context.Context, string) ([]string, error) { return nil, nil })
		if err != nil || c.CV == "" || c.CV == "pass" {
			t.Fatalf("%v %+v", err, c)
		}
		c.AuthResult()
		highest(m)
	})
}
