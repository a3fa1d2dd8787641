package smime

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
)

// companyFile reads a message or root created with OpenSSL for a private
// certificate authority.
func companyFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/company", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCompanyAuthority checks the wording as well as the verdict, because users
// show it to others.
func TestCompanyAuthority(t *testing.T) {
	trust, err := NewTrust("testdata/company/root.pem")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, want string
		has, lacks []string
	}{
		{"good.eml", "good signed-data(good trusted)", []string{"GOOD: signed, and the signature is good"}, []string{"findings"}},
		{"sha1leaf.eml", "weak signed-data(weak trusted) !sha1_chain",
			[]string{"WEAK: signed", "the certificate of emailAddress=ann@example.org, CN=Ann is signed with SHA-1", "chain     CN=Example Company CA"},
			[]string{"add its certificate to roots"}},
		{"noint.eml", "unknown signed-data(unknown unknown_ca) !unknown_ca",
			[]string{"UNKNOWN: ", "the message lacks the certificate of CN=Example Issuing CA, which issued that of CN=Ann"},
			[]string{"if you trust this authority"}},
		{"case.eml", "good signed-data(good trusted)",
			[]string{"GOOD: ", "info signed by Ann@example.org, sent from ann@example.org: the addresses differ only in upper and lower case"},
			[]string{"BAD", "not valid"}},
		{"replay-old.eml", "good signed-data(good trusted) !date",
			[]string{"GOOD: ", "warning Date is 2020-12-01 20:00 UTC, but the message was signed at 2026-11-30 09:39 UTC, 2189 days apart"}, nil},
	} {
		t.Run(c.file, func(t *testing.T) {
			msg := companyFile(t, c.file)
			rep, err := (&Checker{Trust: trust, At: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
			if err != nil {
				t.Fatal(err)
			}
			if got := judged(rep); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			text := printed(rep)
			for _, s := range c.has {
				if !strings.Contains(text, s) {
					t.Errorf("%q is missing in\n%s", s, text)
				}
			}
			for _, s := range c.lacks {
				if strings.Contains(text, s) {
					t.Errorf("%q in\n%s", s, text)
				}
			}
		})
	}
}

// printed returns the printed report with folded lines joined.
func printed(rep *Report) string {
	var out bytes.Buffer
	rep.Print(&out)
	lines := strings.Split(out.String(), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "  ") {
			lines[i] = strings.TrimSpace(l)
		}
	}
	text := strings.Join(lines, " ")
	for strings.Contains(text, "info  ") || strings.Contains(text, "  signed by") {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "info  ", "info "), "  signed by", " signed by")
	}
	return text
}

// TestIntermediateSeenBefore checks that if a message lacks the intermediate
// certificate, the chain is completed from the roots or from an earlier
// message.
func TestIntermediateSeenBefore(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	authority := func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.EmailAddresses, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil, nil
	}
	ca := issue(t, root, "CA", authority)
	sub := issue(t, ca, "Sub CA", authority)
	ann := issue(t, sub, "ann@example.org", nil)
	for _, c := range []struct {
		name   string
		sent   []*person
		before []*person
		want   string // the verdict, and the missing certificate
	}{
		{"all sent", []*person{sub, ca}, nil, "good"},
		{"in any order", []*person{ca, sub}, nil, "good"},
		{"none", nil, nil, "unknown CN=Sub CA"},
		{"the lower one", []*person{sub}, nil, "unknown CN=CA"},
		{"the upper one", []*person{ca}, nil, "unknown CN=Sub CA"},
		{"seen before", nil, []*person{sub, ca}, "good"},
		{"half seen before", []*person{sub}, []*person{ca}, "unknown CN=CA"}, // no complete chain has contained it
		{"the root does not help", []*person{root}, nil, "unknown CN=Sub CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checker := &Checker{Trust: pool(root), At: now}
			check := func(with []*person) *Report {
				msg := clear(outer, text, ann.Sign(t, []byte(text), true, now, with...))
				rep, err := checker.Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
				if err != nil {
					t.Fatal(err)
				}
				return rep
			}
			if c.before != nil {
				check(c.before)
			}
			rep := check(c.sent)
			got := rep.Verdict
			if _, missing, ok := strings.Cut(rep.Reason(), "lacks the certificate of "); ok {
				got += " " + missing
			}
			if got != c.want {
				t.Errorf("got %q, want %q: %+v", got, c.want, rep.Findings)
			}
		})
	}
}

// TestSHA1Chain checks that SHA-1 in the chain makes a signature weak at best,
// and that all other rules still apply.
func TestSHA1Chain(t *testing.T) {
	newRSA := func(bits int) *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	rootKey, caKey := newRSA(2048), newRSA(2048)
	sha1 := func(more ...func(*x509.Certificate)) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.SignatureAlgorithm = x509.SHA1WithRSA
			for _, f := range more {
				f(c)
			}
		}
	}
	authority := func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.EmailAddresses, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil, nil
	}
	root := issueFor(t, nil, "Root", rootKey, nil)
	ca := issueFor(t, root, "CA", caKey, sha1(authority))
	fresh := issueFor(t, root, "CA", caKey, authority)
	notCA := issueFor(t, root, "CA", caKey, sha1(func(c *x509.Certificate) { c.EmailAddresses, c.ExtKeyUsage = nil, nil }))
	short := issueFor(t, root, "CA", caKey, sha1(authority, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, -1, 0) }))
	narrow := issueFor(t, root, "CA", caKey, sha1(authority, func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{"other.example"} }))
	fakeRoot := issueFor(t, nil, "Root", newRSA(2048), nil)
	fakeCA := issueFor(t, fakeRoot, "CA", caKey, sha1(authority))
	under := func(edit func(*x509.Certificate)) *person { return issue(t, ca, "ann@example.org", edit) }
	web := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	for _, c := range []struct {
		name string
		ann  *person
		ca   *person
		want string
	}{
		{"no SHA-1", under(nil), fresh, "good trusted"},
		{"the leaf", under(sha1()), fresh, "weak trusted"},
		{"the intermediate", under(nil), ca, "weak trusted"},
		{"both", under(sha1()), ca, "weak trusted"},
		{"an issuer that is no authority", under(nil), notCA, "unknown unknown_ca"},
		{"an expired intermediate", under(nil), short, "unknown unknown_ca"},
		{"name constraints", under(nil), narrow, "unknown unknown_ca"},
		{"a leaf for servers", under(web), ca, "unknown unknown_ca"},
		{"another root of that name", under(nil), fakeCA, "unknown unknown_ca"},
		{"no intermediate", under(sha1()), nil, "unknown unknown_ca"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var with []*person
			if c.ca != nil {
				with = append(with, c.ca)
			}
			msg := clear(outer, text, c.ann.Sign(t, []byte(text), true, now, with...))
			rep, err := (&Checker{Trust: pool(root), At: now}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
			if err != nil {
				t.Fatal(err)
			}
			s := rep.Layers[0].Signers[0]
			if got := rep.Verdict + " " + s.Trust; got != c.want {
				t.Errorf("got %q, want %q: %+v", got, c.want, rep.Findings)
			}
			if weak := strings.HasPrefix(c.want, "weak"); weak != rep.Has("sha1_chain") || weak && (len(s.Chain) != 3 || s.Chain[2] != "CN=Root") {
				t.Errorf("chain %q, findings %+v", s.Chain, rep.Findings)
			}
		})
	}
	// An invalid SHA-1 signature does not link two certificates.
	forged := *under(sha1()).Cert
	forged.Signature = slices.Clone(forged.Signature)
	forged.Signature[10] ^= 1
	if !issued(ca.Cert, under(sha1()).Cert) || issued(ca.Cert, &forged) || issued(root.Cert, under(sha1()).Cert) {
		t.Error("a forged link was followed, or a true one was not")
	}
}

// TestSHA1ChainIsBounded checks that many certificates with the same name do
// not slow down the search.
func TestSHA1ChainIsBounded(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	loop := issueFor(t, nil, "Loop", key, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	var many []*x509.Certificate
	for range 20 {
		p := issueFor(t, loop, "Loop", key, func(c *x509.Certificate) {
			c.IsCA, c.SignatureAlgorithm = true, x509.SHA1WithRSA
			c.KeyUsage = x509.KeyUsageCertSign
		})
		many = append(many, p.Cert)
	}
	s := chainSearch{issuers: many, left: maxLinks}
	if got := s.from([]*x509.Certificate{loop.Cert}); got != nil || s.left > 0 {
		t.Errorf("chain of %d, %d links left", len(got), s.left)
	}
}

// TestDateFarFromSigning checks that a difference between Date and the signing
// time is reported only if it exceeds one day.
func TestDateFarFromSigning(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	day := 24 * time.Hour
	for _, c := range []struct {
		name  string
		dates []string
		want  bool
	}{
		{"the same", []string{now.Format(time.RFC1123Z)}, false},
		{"another zone", []string{now.In(time.FixedZone("", 14*3600)).Format(time.RFC1123Z)}, false},
		{"a wrong zone", []string{now.Add(14 * time.Hour).Format(time.RFC1123Z)}, false},
		{"a day", []string{now.Add(day).Format(time.RFC1123Z)}, false},
		{"more than a day", []string{now.Add(day + time.Second).Format(time.RFC1123Z)}, true},
		{"earlier", []string{now.Add(-day - time.Second).Format(time.RFC1123Z)}, true},
		{"the second of two", []string{now.Format(time.RFC1123Z), now.AddDate(1, 0, 0).Format(time.RFC1123Z)}, true},
		{"unreadable", []string{"yesterday"}, false},
		{"none", nil, false},
	} {
		header := outer
		for _, d := range c.dates {
			header += "Date: " + d + "\r\n"
		}
		for form, msg := range map[string]string{
			"clear":  clear(header, text, ann.Sign(t, []byte(text), true, now)),
			"opaque": wrapped(header, "signed-data", ann.Sign(t, []byte(text), false, now)),
		} {
			rep, err := (&Checker{Trust: pool(root), At: now}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
			if err != nil || rep.Verdict != "good" || rep.Has("date") != c.want {
				t.Errorf("%s, %s: %v, %v, %+v", c.name, form, err, rep.Verdict, rep.Findings)
			}
		}
	}
	// A forwarded message is older than the message that contains it.
	inner := clear(outer, text, ann.Sign(t, []byte(text), true, now))
	msg := outer + "Date: " + now.AddDate(0, 2, 0).Format(time.RFC1123Z) + "\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nSee below\r\n--m\r\nContent-Type: message/rfc822\r\n\r\n" + inner + "\r\n--m--\r\n"
	rep, err := (&Checker{Trust: pool(root), At: now}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
	if err != nil || len(rep.Layers) != 1 || rep.Has("date") {
		t.Errorf("%v, %+v", err, rep.Findings)
	}
}

// TestHeadline checks that the headline never calls a valid signature invalid.
func TestHeadline(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	eve := issue(t, root, "eve@example.net", nil)
	web := issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	for _, c := range []struct{ name, msg, want string }{
		{"good", clear(outer, text, ann.Sign(t, []byte(text), true, now)), "GOOD: signed, and the signature is good\n"},
		{"mismatch", clear(outer, text, eve.Sign(t, []byte(text), true, now)), "BAD: the signature is valid, but it is not the sender's\n"},
		{"changed", clear(outer, text+"x", ann.Sign(t, []byte(text), true, now)), "BAD: the signature is not valid for this message\n"},
		{"not for mail", clear(outer, text, web.Sign(t, []byte(text), true, now)), "BAD: the signature is valid, but its certificate must not be used for this mail\n"},
		{"none", outer + "\r\nHi\r\n", "NONE: no signature on this message\n"},
	} {
		rep, err := (&Checker{Trust: pool(root), At: now}).Message(context.Background(), mail.Bytes(c.msg), int64(len(c.msg)))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		rep.Print(&out)
		if !strings.HasPrefix(out.String(), c.want) {
			t.Errorf("%s: got %q, want %q", c.name, strings.SplitN(out.String(), "\n", 2)[0], c.want)
		}
	}
}
