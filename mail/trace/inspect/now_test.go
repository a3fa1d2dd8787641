package inspect

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"hoplite/internal/resolve"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
	"hoplite/mail/arc"
	"hoplite/mail/dkim"
	"hoplite/mail/trace"
)

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// checks provides DNS for tests, with fixed SPF and list results.
type checks struct {
	*resolvetest.Zone
	spf    string // the result; the domain is that of the reverse path
	listed []Listing
	asked  []string // addresses and names looked up for SPF and in the lists
}

func newChecks(t *testing.T, spf string) *checks {
	t.Helper()
	record := ` TXT "v=DKIM1; k=ed25519; p=` + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)) + "\"\n"
	zone, err := resolvetest.ParseZone("s._domainkey.a.example" + record + "s._domainkey.lists.example" + record + "s._domainkey.late.example SERVFAIL\n_dmarc.a.example TXT \"v=DMARC1; p=reject\"\n")
	if err != nil {
		t.Fatal(err)
	}
	return &checks{Zone: zone, spf: spf}
}

func (c *checks) TXT(ctx context.Context, name string) ([]string, error) {
	return resolve.TXTRecords(c.Zone)(ctx, name)
}

func (c *checks) Missing(context.Context, string) bool { return false }

func (c *checks) SPF(_ context.Context, client netip.Addr, helo string, from mail.Address) mail.AuthResult {
	c.asked = append(c.asked, "spf "+client.String()+" "+helo+" "+string(from))
	p := mail.AuthProp{Type: "smtp", Name: "mailfrom", Value: string(from)}
	if from == "" {
		p = mail.AuthProp{Type: "smtp", Name: "helo", Value: helo}
	}
	return mail.AuthResult{Method: "spf", Value: c.spf, Comment: "matched all", Props: []mail.AuthProp{p}}
}

func (c *checks) Listings(_ context.Context, addr netip.Addr) []Listing {
	c.asked = append(c.asked, "lists "+addr.String())
	return c.listed
}

const (
	hop    = "Received: from mail.a.example (mail.a.example [8.8.4.4]) by mx.b.example (Postfix) with ESMTPS id 4F1; Tue, 12 May 2026 08:30:06 +0000\r\n"
	letter = "From: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: hi\r\nDate: Tue, 12 May 2026 08:30:05 +0000\r\nMessage-ID: <1@a.example>\r\n\r\nhello\r\n"
)

// signed returns a message signed for a domain.
func signed(t *testing.T, domain, text string, expire time.Duration) string {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	top, err := dkim.Sign(m, dkim.Signer{Domain: domain, Selector: "s", Key: key, Expire: expire})
	if err != nil {
		t.Fatal(err)
	}
	return string(top) + text
}

// sealed returns a message with an ARC set of lists.example.
func sealed(t *testing.T, text string) string {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	s := &arc.Sealer{Signer: dkim.Signer{Domain: "lists.example", Selector: "s", Key: key}, Host: "lists.example"}
	top, err := s.Seal(m, &arc.Chain{CV: "none"}, "none", []mail.AuthResult{{Method: "spf", Value: "pass"}})
	if err != nil {
		t.Fatal(err)
	}
	return string(top) + text
}

// TestNow evaluates authentication now. Claims are written as "method result",
// findings as "severity code".
func TestNow(t *testing.T) {
	path := "Return-Path: <ann@a.example>\r\n" + hop
	good := path + signed(t, "a.example", letter, 0)
	for _, c := range []struct {
		name, in, spf string
		listed        []Listing
		claims        string // from this evaluation
		findings      string // warnings, and notes from this package
		text          string // part of a finding or claim
	}{
		{"all pass", good, "pass", nil, "dkim pass, spf pass, dmarc pass", "", "header.d=a.example"},
		{"a changed body", strings.Replace(good, "hello", "hallo", 1), "pass", nil, "dkim fail, spf pass, dmarc pass", "warning dkim-fail", "a.example does not verify: body hash does not match"},
		{"a changed subject", strings.Replace(good, "Subject: hi", "Subject: [list] hi", 1), "softfail", nil, "dkim fail, spf softfail, dmarc fail", "warning dkim-fail, warning dmarc-fail", "DMARC fails now for the From domain a.example: DKIM: fail for a.example; SPF: softfail for a.example"},
		{"another domain's signature", path + signed(t, "lists.example", letter, 0), "fail", nil, "dkim pass, spf fail, dmarc fail", "note spf-fail, warning dmarc-fail", "DKIM: pass for lists.example, which does not align"},
		{"a key that is gone", strings.Replace(path+signed(t, "a.example", letter, 0), "s=s;", "s=old;", 1), "pass", nil, "dkim permerror, spf pass, dmarc pass", "note dkim-error", "keys are removed"},
		{"a key server that is down", path + signed(t, "late.example", letter, 0), "pass", nil, "dkim temperror, spf pass, dmarc pass", "", "key not available"},
		{"not signed", path + letter, "pass", nil, "dkim none, spf pass, dmarc pass", "", "not signed"},
		{"only the header", strings.TrimSuffix(good, "\r\nhello\r\n"), "pass", nil, "dkim neutral, spf pass, dmarc pass", "", "the body is missing here"},
		{"a quoted copy", quoted(strings.Replace(good, "hello", "hallo", 1)), "pass", nil, "dkim neutral, spf pass, dmarc pass", "", "had to be repaired"},
		{"ARC", path + sealed(t, letter), "none", nil, "dkim none, arc pass, spf none, dmarc fail", "warning dmarc-fail", "header.d=lists.example"},
		{"a broken ARC chain", strings.Replace(path+sealed(t, letter), "hello", "hallo", 1), "pass", nil, "dkim none, arc fail, spf pass, dmarc pass", "warning arc-fail", "lists.example does not validate"},
		{"a null reverse path", "Return-Path: <>\r\n" + hop + letter, "pass", nil, "dkim none, spf pass, dmarc pass", "", "smtp.helo=mail.a.example"},
		{"the sender logged in", strings.Replace(path, "with ESMTPS", "with ESMTPSA", 1) + letter, "fail", nil, "dkim none, spf none, dmarc fail", "warning dmarc-fail", "the sender logged in"},
		{"an internal origin", strings.Replace(path, "8.8.4.4", "10.0.0.7", 1) + letter, "fail", nil, "dkim none, spf none, dmarc fail", "warning dmarc-fail", "10.0.0.7 is an internal address"},
		{"no path", letter, "fail", nil, "dkim none, spf none, dmarc fail", "warning dmarc-fail", "the address of the sender's server is not known"},
		{"no From", path + "Date: Tue, 12 May 2026 08:30:05 +0000\r\n\r\nhello\r\n", "pass", nil, "dkim none, spf pass, dmarc permerror", "warning no-from", "From"},
		{"a DNS list", path + letter, "pass", []Listing{
			{Zone: "bl.example", Codes: []string{"127.0.0.2", "127.0.0.4"}, Reason: "sends spam"},
			{Zone: "wl.example", Codes: []string{"127.0.4.1"}, Good: true},
			{Zone: "down.example", Err: errors.New("timeout")},
			{Zone: "other.example"},
		}, "dkim none, spf pass, dmarc pass", "warning dns-list, note dns-list, note dns-list-error", "8.8.4.4 is listed in bl.example (127.0.0.2, 127.0.0.4): sends spam"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dns := newChecks(t, c.spf)
			dns.listed = c.listed
			r, err := (&Inspector{Checks: dns}).Inspect(t.Context(), []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			var claims, findings, texts []string
			for _, a := range r.Trace.Auth {
				if a.Unverified {
					t.Errorf("still not verified: %+v", a)
				}
				if a.Now {
					claims = append(claims, a.Method+" "+a.Result)
					texts = append(texts, a.Detail)
				}
			}
			for _, f := range r.Trace.Findings {
				if f.Severity != trace.Note || strings.HasPrefix(f.Code, "d") || strings.HasPrefix(f.Code, "spf") || strings.HasPrefix(f.Code, "arc") {
					findings = append(findings, f.Severity+" "+f.Code)
					texts = append(texts, f.Text+" "+f.Advice)
				}
			}
			slices.Sort(findings)
			want := strings.Split(c.findings, ", ")
			slices.Sort(want)
			if got := strings.Join(claims, ", "); got != c.claims {
				t.Errorf("claims %s, want %s", got, c.claims)
			}
			if got := strings.Join(findings, ", "); got != strings.Join(want, ", ") {
				t.Errorf("findings %s, want %s", got, c.findings)
			}
			if !strings.Contains(strings.Join(texts, "\n"), c.text) {
				t.Errorf("%q is missing in\n%s", c.text, strings.Join(texts, "\n"))
			}
			if clean := !strings.Contains(c.findings, "warning"); r.Clean() != clean {
				t.Errorf("Clean is %v", r.Clean())
			}
		})
	}
}

// TestExpiredSignature checks that an expired signature proves nothing about
// the time when the message arrived.
func TestExpiredSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := hop + signed(t, "a.example", letter, time.Hour)
		time.Sleep(2 * time.Hour)
		r, err := (&Inspector{Checks: newChecks(t, "pass")}).Inspect(t.Context(), []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if a := r.Trace.Auth[0]; a.Method != "dkim" || a.Result != "neutral" || !strings.Contains(a.Detail, "expired") {
			t.Errorf("%+v", a)
		}
	})
}

// TestSealedLines checks that Received lines covered by a valid signature are
// sealed.
func TestSealedLines(t *testing.T) {
	inner := "Received: from pc7 ([10.0.0.7]) by mail.a.example with ESMTPSA id 1; Tue, 12 May 2026 08:30:05 +0000\r\n"
	var b bytes.Buffer
	err := msgauth.Sign(&b, strings.NewReader(inner+letter), &msgauth.SignOptions{Domain: "a.example", Selector: "s", Signer: key, HeaderKeys: []string{"From", "Subject", "Received"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, in string
		want     trace.Trust
	}{
		{"valid", b.String(), trace.Sealed},
		{"broken", strings.Replace(b.String(), "pc7", "pc8", 1), trace.Claimed},
	} {
		r, err := (&Inspector{Checks: newChecks(t, "pass")}).Inspect(t.Context(), []byte(hop+c.in))
		if err != nil {
			t.Fatal(err)
		}
		if s := &r.Trace.Steps[0]; s.Trust != c.want || (c.want == trace.Sealed) != strings.Contains(strings.Join(s.Reasons, " "), "verified dkim signature of a.example") {
			t.Errorf("%s: trust %s %q, want %s", c.name, s.Trust, s.Reasons, c.want)
		}
	}
}

// TestAskedNames checks which client and sender are looked up for SPF and in
// the lists.
func TestAskedNames(t *testing.T) {
	dns := newChecks(t, "pass")
	in := "Return-Path: <bounce@a.example>\r\n" + hop + letter
	if _, err := (&Inspector{Checks: dns}).Inspect(t.Context(), []byte(in)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"spf 8.8.4.4 mail.a.example bounce@a.example", "lists 8.8.4.4"}; !slices.Equal(dns.asked, want) {
		t.Errorf("asked %q, want %q", dns.asked, want)
	}
}

// quoted returns a message quoted as in a reply.
func quoted(s string) string {
	return "> " + strings.TrimSuffix(strings.ReplaceAll(s, "\r\n", "\r\n> "), "> ")
}
