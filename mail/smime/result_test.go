package smime

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/mail/mime"
)

// factsOf joins the facts of a report.
func factsOf(r *Report) string {
	var out []string
	for _, f := range r.Facts() {
		out = append(out, f.Key+"="+f.Value)
	}
	return strings.Join(out, "\n")
}

// TestResults checks a report's entries in Authentication-Results (RFC 7281)
// and on the trail, and its verdict for the filter.
func TestResults(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	eve := issue(t, root, "eve@example.com", nil)
	nameless := issue(t, root, "Ann", func(c *x509.Certificate) { c.EmailAddresses = nil })
	stranger := issue(t, issue(t, nil, "Other", nil), "ann@example.org", nil)
	old := issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })
	young := issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 1) })
	forServers := issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	signed := func(p *person) string { return clear(outer, text, p.Sign(t, []byte(text), true, now)) }
	for _, c := range []struct {
		name, msg    string
		verdict      string
		auth         string // the result and the identity
		reason       string // substring of the reason
		signed, fine bool
		trust        string // Trust of a signer
		facts        string // substring of the facts
	}{
		{"good", signed(ann), "good", "pass ann@example.org", "signed by ann@example.org", true, true, TrustGood, "layer=clear-signed, by ann@example.org (ECDSA P-256, SHA-256): good"},
		{"opaque", wrapped(outer, "signed-data", ann.Sign(t, []byte(text), false, now)), "good", "pass ann@example.org", "signed by", true, true, TrustGood, "layer=signed-data, by ann@example.org"},
		{"of somebody else", signed(eve), "bad", "policy eve@example.com", "signed by eve@example.com, but sent from ann@example.org", true, false, TrustGood, "mismatch="},
		{"without an address", signed(nameless), "good", "policy ", "no signer's certificate contains an address", true, false, TrustGood, "no_address="},
		{"of an unknown authority", signed(stranger), "unknown", "policy ann@example.org", "the message lacks the certificate of CN=Other", false, false, TrustUnknownCA, "unknown_ca="},
		{"expired", clear(outer, text, old.Sign(t, []byte(text), true, now.AddDate(0, 0, -7))), "unknown", "policy ann@example.org", "valid when signed", false, false, TrustExpired, "expired="},
		{"not valid yet", signed(young), "unknown", "policy ann@example.org", "not valid yet", false, false, TrustNotYetValid, "not_yet_valid="},
		{"for servers", signed(forServers), "bad", "fail ann@example.org", "not issued for e-mail", false, false, TrustNotForMail, "not_for_mail="},
		{"changed", strings.Replace(signed(ann), "From here", "From there", 1), "bad", "fail ann@example.org", "changed after it was signed", false, false, TrustGood, "changed="},
		{"encrypted", wrapped(outer, "enveloped-data", sample(t, "generated/e_rsa_aes256cbc.der")), VerdictEncrypted, "none ", "encrypted", false, true, "", "layer=enveloped-data, for 1 recipients"},
		{"plain", outer + "\r\nHello\r\n", VerdictNone, "none ", "", false, true, "", ""},
		{"damaged", wrapped(outer, "signed-data", []byte{0x30, 0x80, 1}), "bad", "neutral ", "read CMS", false, false, "", "unreadable="},
	} {
		t.Run(c.name, func(t *testing.T) {
			rep := check(t, &Checker{Trust: pool(root), At: now}, c.msg)
			auth := rep.Auth()
			if rep.Verdict != c.verdict || len(auth) != 1 || auth[0].Value+" "+auth[0].Prop("body", "smime-identifier") != c.auth {
				t.Errorf("%s, %+v, want %s, %s", rep.Verdict, auth, c.verdict, c.auth)
			}
			if got := rep.Reason(); !strings.Contains(got, c.reason) || c.reason == "" && got != "" {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
			if rep.Signed() != c.signed || rep.Fine() != c.fine || rep.Encrypted() != (c.verdict == VerdictEncrypted) {
				t.Errorf("signed %v, fine %v, encrypted %v", rep.Signed(), rep.Fine(), rep.Encrypted())
			}
			if c.trust != "" && !rep.HasTrust(c.trust) || rep.HasTrust("none such") {
				t.Errorf("trust is not %s: %+v", c.trust, rep.Layers)
			}
			if facts := factsOf(rep); !strings.Contains(facts, c.facts) || c.facts == "" && facts != "" {
				t.Errorf("facts\n%s\nlack %s", facts, c.facts)
			}
		})
	}
}

// TestAuthIsLimited checks that two signers and nested layers are all named, up
// to five.
func TestAuthIsLimited(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	part := text
	for range 7 {
		part = "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n" + strings.TrimPrefix(clear("", text, ann.Sign(t, []byte(text), true, now)), "") +
			"--m\r\n" + part + "\r\n--m--\r\n"
	}
	rep := check(t, &Checker{Trust: pool(root), At: now, MaxLayers: 20}, outer+part)
	if auth := rep.Auth(); len(auth) > maxAuth || len(rep.Layers) < 3 || auth[0].Prop("body", "smime-part") == "" {
		t.Errorf("%d results of %d layers: %+v", len(auth), len(rep.Layers), auth)
	}
}

// TestTrustFiles reads roots from a PEM file, a DER file and a directory. Some
// apply only to certain senders.
func TestTrustFiles(t *testing.T) {
	root, other := issue(t, nil, "Root", nil), issue(t, nil, "Other", nil)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	asPEM := func(p *person, kind string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: p.Cert.Raw})
	}
	both := write("both.pem", append(append([]byte("# two\n"), asPEM(root, "CERTIFICATE")...), asPEM(other, "CERTIFICATE")...))
	der := write("root.der", root.Cert.Raw)
	write("folder/a.pem", asPEM(root, "TRUSTED CERTIFICATE"))
	write("folder/b.crt", other.Cert.Raw)
	write("folder/README", []byte("no certificate"))
	write("folder/below/c.pem", asPEM(other, "CERTIFICATE"))
	key := write("key.pem", asPEM(root, "PRIVATE KEY"))
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		roots, fault string
		n            int
	}{
		{both, "", 2}, {der, "", 1}, {filepath.Join(dir, "folder"), "", 2},
		{key, "no certificate in", 0}, {empty, "no certificate in", 0}, {filepath.Join(dir, "none"), "no such file", 0},
		{"system", "", 0}, {"", "", 0},
	} {
		trust, err := NewTrust(c.roots)
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "open ") {
				t.Errorf("%s: %v, want %s", c.roots, err, c.fault)
			}
			continue
		}
		if err != nil || len(trust.roots.certs) != c.n {
			t.Errorf("%s: %d roots, %v, want %d", c.roots, len(trust.roots.certs), err, c.n)
		}
	}

	trust, err := NewTrust(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.Add([]string{"Partner.example"}, filepath.Join(dir, "folder", "b.crt")); err != nil {
		t.Fatal(err)
	}
	if err := trust.Add([]string{"x.example"}, filepath.Join(dir, "none")); err == nil {
		t.Error("missing roots were accepted")
	}
	for _, c := range []struct {
		ca   *person
		from string
		want string
	}{
		{root, "ann@example.org", "good"}, {other, "ann@example.org", "unknown"},
		{other, "ann@partner.example", "good"}, {root, "ann@partner.example", "unknown"},
	} {
		p := issue(t, c.ca, c.from, nil)
		rep := check(t, &Checker{Trust: trust, At: now}, clear(strings.Replace(outer, "ann@example.org", c.from, 1), text, p.Sign(t, []byte(text), true, now)))
		if rep.Verdict != c.want {
			t.Errorf("%s, signed under %s: %s, want %s", c.from, c.ca.Cert.Subject, rep.Verdict, c.want)
		}
	}
	// If From contains several domains, none of the special roots is used.
	p := issue(t, other, "ann@partner.example", nil)
	rep := check(t, &Checker{Trust: trust, At: now}, clear(strings.Replace(outer, "<ann@example.org>", "<ann@partner.example>, eve@example.com", 1), text, p.Sign(t, []byte(text), true, now)))
	if rep.Verdict == "good" {
		t.Error("roots of a partner were used for another domain")
	}
}

// TestInherit checks that a reload keeps the intermediate certificates seen so
// far.
func TestInherit(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ca := issue(t, root, "CA", func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.EmailAddresses, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil, nil
	})
	ann := issue(t, ca, "ann@example.org", nil)
	before, after, fresh := pool(root), pool(root), pool(root)
	with := clear(outer, text, ann.Sign(t, []byte(text), true, now, ca))
	without := clear(outer, text, ann.Sign(t, []byte(text), true, now))
	if rep := check(t, &Checker{Trust: before, At: now}, with); rep.Verdict != "good" {
		t.Fatal(rep.Reason())
	}
	after.Inherit(before)
	if rep := check(t, &Checker{Trust: after, At: now}, without); rep.Verdict != "good" {
		t.Errorf("after a reload: %s", rep.Reason())
	}
	if rep := check(t, &Checker{Trust: fresh, At: now}, without); rep.Verdict != "unknown" {
		t.Errorf("without what was seen: %s", rep.Verdict)
	}
}

// TestShapes checks which parts are recognised as S/MIME, and of which kind
// (RFC 8551, 3.2 and 3.9).
func TestShapes(t *testing.T) {
	sig := "--b\r\n\r\nHi\r\n--b\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nx\r\n--b--\r\n"
	for _, c := range []struct {
		name, msg string
		want      shape
	}{
		{"clear-signed", "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b\r\n\r\n" + sig, clearSigned},
		{"of old programs", "Content-Type: multipart/signed; protocol=\"application/x-pkcs7-signature\"; boundary=b\r\n\r\n" + sig, clearSigned},
		{"without a protocol", "Content-Type: multipart/signed; boundary=b\r\n\r\n" + sig, clearSigned},
		{"OpenPGP", "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n" + sig, otherSigned},
		{"without protocol and signature", "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nHi\r\n--b--\r\n", otherSigned},
		{"opaque", "Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\nx", opaque},
		{"opaque, of old programs", "Content-Type: application/x-pkcs7-mime\r\n\r\nx", opaque},
		{"a signature alone", "Content-Type: application/pkcs7-signature\r\n\r\nx", signature},
		{"by its name", "Content-Type: application/octet-stream; name=smime.p7m\r\n\r\nx", byName},
		{"by its file name", "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=SMIME.P7M\r\n\r\nx", byName},
		{"text", "Content-Type: text/plain\r\n\r\nx", plainShape(t)},
	} {
		root := mime.WalkBytes([]byte(c.msg)).Root
		if got := shapeOf(root); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// plainShape returns the shape of an ordinary part.
func plainShape(t *testing.T) shape {
	t.Helper()
	return shapeOf(mime.WalkBytes([]byte("Content-Type: image/png\r\n\r\nx")).Root)
}

// TestInside checks that, with Inside, the report lists the contents of
// attachments.
func TestInside(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	part := "Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nHi\r\n--i\r\nContent-Type: application/octet-stream; name=run.exe\r\n\r\nMZ\x90\x00 x\r\n--i--\r\n"
	msg := clear(outer, part, issue(t, root, "ann@example.org", nil).Sign(t, []byte(part), true, now))
	rep := check(t, &Checker{Trust: pool(root), At: now, Inside: true, Spool: t.TempDir()}, msg)
	last := rep.Parts[len(rep.Parts)-1]
	if rep.Verdict != "good" || last.Name != "run.exe" || last.Kind != "application/vnd.microsoft.portable-executable" || !last.Signed {
		t.Errorf("%s, %+v", rep.Verdict, rep.Parts)
	}
	if s := last.String(); !strings.Contains(s, "run.exe") || !strings.Contains(s, "signed") {
		t.Error(s)
	}
	for _, c := range []struct {
		part Part
		want string
	}{
		{Part{Part: "1", Type: "text/plain", Size: 3}, "text/plain, 3 octets, not signed"},
		{Part{Part: "2", Type: "image/png", Kind: "application/zip", Name: "a.png", Size: 3, Signed: true}, `image/png (is application/zip) "a.png", 3 octets, signed`},
		{Part{Part: "2/a.exe", Type: "x/y", Name: "a.exe", Via: "zip", Encrypted: true, Unread: "encrypted", Tricks: []string{"path"}},
			"x/y, 0 octets, zip, not signed, encrypted, path, not scanned: encrypted"},
	} {
		if got := c.part.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestSameAddress checks that domains are compared as A-labels.
func TestSameAddress(t *testing.T) {
	for _, c := range []struct {
		a, b         string
		same, folded bool
	}{
		{"ann@example.org", "ann@example.org", true, true},
		{"ann@example.org", "ann@EXAMPLE.org", true, true},
		{"Ann@example.org", "ann@example.org", false, true},
		{"ann@b\u00fccher.example", "ann@xn--bcher-kva.example", true, true},
		{"ann@example.org", "ann@example.com", false, false},
		{"ann@example.org", "bob@example.org", false, false},
		{"ann", "ann", true, true},
		{"ann@a..b", "ann@A..B", true, true},
	} {
		if got := sameAddress(c.a, c.b, false); got != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
		if got := sameAddress(c.a, c.b, true); got != c.folded {
			t.Errorf("%s and %s without case: %v", c.a, c.b, got)
		}
	}
}
