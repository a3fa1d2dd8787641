package smime

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"flag"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
	"hoplite/mail/cms"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../cms/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// judged summarises a report on one line: verdict, layers, and the codes of
// findings above info.
func judged(r *Report) string {
	var b strings.Builder
	b.WriteString(r.Verdict)
	for _, l := range r.Layers {
		b.WriteString(" " + string(l.Type))
		for _, s := range l.Signers {
			b.WriteString("(" + s.Verdict + " " + s.Trust + ")")
		}
	}
	for _, f := range r.Findings {
		if f.Severity != info {
			b.WriteString(" !" + f.Code)
		}
	}
	return b.String()
}

// TestCorpus checks that every file has the verdict given in the README, and the
// report in testdata/reports.txt.
func TestCorpus(t *testing.T) {
	golden := readReports(t)
	var written strings.Builder
	for _, c := range []struct{ file, want string }{
		{"rfc4134/4.8.eml", "unsupported signed-data(unsupported unchecked)"},
		{"rfc4134/4.9.eml", "unsupported signed-data(unsupported unchecked)"},
		{"rfc4134/5.3.eml", "encrypted enveloped-data !weak_encryption"},
		{"rfc4134/4.2.bin", "weak signed-data(weak unchecked)"},
		{"rfc4134/4.5.bin", "weak signed-data(weak unchecked)"},
		{"rfc4134/4.6.bin", "unsupported signed-data(unsupported unchecked)(unsupported unreadable)"},
		{"rfc4134/4.11.bin", "none certs-only"},
		{"rfc4134/5.1.bin", "encrypted enveloped-data !weak_encryption"},
		{"rfc4134/5.2.bin", "encrypted enveloped-data !weak_encryption"},
		{"rfc4134/6.0.bin", "unsupported digested-data"},
		{"rfc4134/7.1.bin", "encrypted encrypted-data !weak_encryption"},
		{"generated/s_rsa_sha256_opq.der", "good signed-data(good unchecked)"},
		{"generated/s_rsa_ber_stream_opq.der", "good signed-data(good unchecked)"},
		{"generated/s_rsa_sha256_det.der", "good signed-data(good unchecked)"},
		{"generated/s_psskey_det.der", "good signed-data(good unchecked)"},
		{"generated/s_two_signers_det.der", "good signed-data(good unchecked)(good unchecked)"},
		{"generated/s_rsa_sha1_det.der", "weak signed-data(weak unchecked)"},
		{"generated/s_rsa_md5_det.der", "weak signed-data(weak unchecked)"},
		{"generated/s_dsa_det.der", "unsupported signed-data(unsupported unchecked)"},
		{"generated/s_rsa_nocerts_det.der", "unknown signed-data(unknown missing)"},
		{"generated/s_certsonly.der", "none certs-only"},
		{"generated/x_attr_confusion_opq.der", "bad signed-data(bad unchecked)"},
		{"generated/e_ecdh_p256.der", "encrypted enveloped-data"},
		{"generated/e_rsaoaep_aes128.der", "encrypted enveloped-data"},
		{"generated/e_rsa_aes256gcm_auth.der", "encrypted authEnveloped-data"},
		{"generated/e_pwri.der", "encrypted enveloped-data"},
		{"openssl/bad_signtime_attr.cms", "bad signed-data(bad unchecked)"},
		{"openssl/ct_multiple_attr.cms", "bad signed-data(bad unchecked)"},
		{"openssl/no_ct_attr.cms", "bad signed-data(bad unchecked)"},
		{"openssl/no_md_attr.cms", "bad signed-data(bad unchecked)"},
		// OpenSSL reports an error for this file unless its legacy
		// provider is loaded, in which case verification succeeds. This
		// package does not check the signature at all.
		{"openssl/pkcs7-md4.pem", "unsupported signed-data(unsupported unchecked)"},
		{"openssl/dh-malformed.der", "bad unknown !unreadable"},
		{"openssl/ecdh-malformed.der", "bad unknown !unreadable"},
		{"openssl/rsa-malformed.der", "bad unknown !unreadable"},
		{"openssl/SignedInvalidMappingFromanyPolicyTest7.eml", "good signed-data(good unchecked)"},
		{"james/mail_with_signature.eml", "good signed-data(good unchecked) !date"}, // Date is from 2019, the signature from 2024
		{"james/mail_with_signature_and_content_type_xpkcs7mime.eml", "good signed-data(good unchecked)"},
		{"james/mail-with-signature-and-multi-certs.eml", "good signed-data(good unchecked)"},
		{"mimekit/thunderbird-signed.txt", "weak signed-data(weak unchecked)"},
	} {
		t.Run(strings.ReplaceAll(c.file, "/", "_"), func(t *testing.T) {
			checker := &Checker{AnyRoot: true}
			b := sample(t, c.file)
			var rep *Report
			var err error
			if IsMessage(b) {
				rep, err = checker.Message(context.Background(), mail.Bytes(b), int64(len(b)))
			} else {
				var content io.Reader
				if strings.Contains(c.file, "_det.") {
					content = bytes.NewReader(sample(t, "generated/body"))
				}
				rep, err = checker.Object(context.Background(), bytes.NewReader(b), content)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := judged(rep); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			var text strings.Builder
			rep.Print(&text)
			written.WriteString("=== " + c.file + "\n" + text.String() + "\n")
			if want := golden[c.file]; text.String() != want && !*update {
				t.Errorf("got\n%s\nwant\n%s", text.String(), want)
			}
		})
	}
	if *update {
		if err := os.WriteFile("testdata/reports.txt", []byte(written.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var update = flag.Bool("update", false, "write testdata/reports.txt")

// readReports reads testdata/reports.txt: the text of each file's report.
func readReports(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/reports.txt")
	if err != nil {
		t.Fatal(err)
	}
	reports := map[string]string{}
	for block := range strings.SplitSeq("\n"+string(raw), "\n=== ") {
		name, text, _ := strings.Cut(block, "\n")
		reports[name] = strings.TrimRight(text, "\n") + "\n"
	}
	return reports
}

// TestRoots checks that with James's root, exactly its three messages verify.
func TestRoots(t *testing.T) {
	trust, err := NewTrust("../cms/testdata/james/rootCA.crt")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, want string }{
		{"james/mail_with_signature.eml", "good signed-data(good trusted) !date"},
		{"openssl/SignedInvalidMappingFromanyPolicyTest7.eml", "unknown signed-data(unknown unknown_ca) !unknown_ca"},
	} {
		b := sample(t, c.file)
		rep, err := (&Checker{Trust: trust, At: now}).Message(context.Background(), mail.Bytes(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if got := judged(rep); got != c.want {
			t.Errorf("%s: %s, want %s", c.file, got, c.want)
		}
	}
	if _, err := NewTrust("../cms/testdata/README.md"); err == nil {
		t.Error("roots without a certificate were accepted")
	}
	if trust, err := NewTrust("../cms/testdata/james"); err != nil || trust.roots.pool == nil {
		t.Errorf("a folder of roots: %v", err)
	}
}

func TestMessages(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ca := issue(t, root, "CA", func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.EmailAddresses, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil, nil
	})
	ann := issue(t, ca, "ann@example.org", nil)
	eve := issue(t, ca, "eve@example.net", nil)
	old := issue(t, ca, "ann@example.org", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = now.AddDate(0, -6, 0), now.AddDate(0, -1, 0)
	})
	coming := issue(t, ca, "ann@example.org", func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 1, 0) })
	web := issue(t, ca, "ann@example.org", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	crypter := issue(t, ca, "ann@example.org", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })
	stranger := issue(t, nil, "Stranger", nil)
	self := issue(t, stranger, "ann@example.org", nil)
	detached := func(p *person, content string) []byte { return p.Sign(t, []byte(content), true, now, ca) }
	nameless := issue(t, ca, "Ann", func(c *x509.Certificate) { c.EmailAddresses = nil })
	ed := issueFor(t, ca, "ann@example.org", newEd25519(t), nil)
	mixed := "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nSend money\r\n--m\r\n" + clear("", text, detached(ann, text)) + "\r\n--m--\r\n"
	hp := "Content-Type: text/plain; hp=\"clear\"\r\nFrom: ann@example.org\r\nSubject: Hello\r\n\r\nHi\r\n"
	rfc822 := "Content-Type: message/rfc822; forwarded=no\r\n\r\nFrom: ann@example.org\r\nSubject: Hello\r\n\r\nHi\r\n"
	cipher := "Content-Type: text/plain; hp=cipher\r\nFrom: ann@example.org\r\nSubject: Secret\r\n" +
		"HP-Outer: From: ann@example.org\r\nHP-Outer: Subject: [...]\r\n\r\nHi\r\n"
	hpOther := strings.Replace(hp, "Hello", "Pay me", 1)
	hpFrom := strings.Replace(hp, "From: ann@", "From: eve@", 1)
	lines := strings.Replace(text, "Ann\r\n", "Ann\r\n-- \r\nList footer\r\n", 1)
	for _, c := range []struct{ name, msg, want string }{
		{"none", outer + "\r\nHi\r\n", "none"},
		{"empty", "", "none"},
		{"clear", clear(outer, text, detached(ann, text)), "good signed-data(good trusted)"},
		{"clear with LF", strings.ReplaceAll(clear(outer, text, detached(ann, text)), "\r\n", "\n"), "good signed-data(good trusted)"},
		{"opaque", wrapped(outer, "signed-data", ann.Sign(t, []byte(text), false, now, ca)), "good signed-data(good trusted)"},
		{"twice", wrapped(outer, "signed-data", eve.Sign(t, []byte(clear("", text, detached(ann, text))), false, now, ca)),
			"good signed-data(good trusted) signed-data(good trusted)"},
		{"no intermediate", clear(outer, text, ann.Sign(t, []byte(text), true, now)), "good signed-data(good trusted)"},
		{"bad", clear(outer, strings.Replace(text, "Ann", "Eve", 1), detached(ann, text)), "bad signed-data(bad trusted) !changed"},
		{"mismatch", clear(outer, text, detached(eve, text)), "bad signed-data(good trusted) !mismatch"},
		{"two From", clear("From: ann@example.org, eve@example.net\r\n", text, detached(ann, text)), "bad signed-data(good trusted) !mismatch"},
		{"two From fields", clear("From: ann@example.org\r\nFrom: bob@example.com\r\n", text, detached(ann, text)), "bad signed-data(good trusted) !mismatch"},
		{"capitals", clear("From: Ann@EXAMPLE.org\r\n", text, detached(ann, text)), "good signed-data(good trusted)"},
		{"domain in capitals", clear("From: ann@EXAMPLE.org\r\n", text, detached(ann, text)), "good signed-data(good trusted)"},
		{"stranger", clear(outer, text, self.Sign(t, []byte(text), true, now, stranger)), "unknown signed-data(unknown unknown_ca) !unknown_ca"},
		{"expired", clear(outer, text, old.Sign(t, []byte(text), true, now.AddDate(0, -2, 0), ca)), "unknown signed-data(unknown expired) !expired"},
		{"expired when signed", clear(outer, text, old.Sign(t, []byte(text), true, now, ca)), "unknown signed-data(unknown unknown_ca) !signing_time !unknown_ca"},
		{"not yet", clear(outer, text, coming.Sign(t, []byte(text), true, now, ca)), "unknown signed-data(unknown not_yet_valid) !signing_time !not_yet_valid"},
		{"future", clear(outer, text, ann.Sign(t, []byte(text), true, now.Add(time.Hour), ca)), "good signed-data(good trusted) !future"},
		{"server's", clear(outer, text, detached(web, text)), "bad signed-data(bad not_for_mail) !not_for_mail"},
		{"not for signing", clear(outer, text, detached(crypter, text)), "bad signed-data(bad not_for_mail)"},
		{"content twice", clear(outer, text, ann.Sign(t, []byte(text), false, now, ca)), "bad signed-data(bad trusted) !content_twice"},
		{"protected", clear(outer, hp, detached(ann, hp)), "good signed-data(good trusted)"},
		{"wrapped", clear(outer, rfc822, detached(ann, rfc822)), "good signed-data(good trusted)"},
		{"wrapped subject", clear(strings.Replace(outer, "Hello", "Pay me", 1), rfc822, detached(ann, rfc822)), "good signed-data(good trusted) !header_changed"},
		{"obscured", clear(strings.Replace(outer, "Hello", "[...]", 1), cipher, detached(ann, cipher)), "good signed-data(good trusted)"},
		{"obscured otherwise", clear(outer, cipher, detached(ann, cipher)), "good signed-data(good trusted) !header_changed"},
		{"protected subject", clear(outer, hpOther, detached(ann, hpOther)), "good signed-data(good trusted) !header_changed"},
		{"protected From", clear(outer, hpFrom, detached(ann, hpFrom)), "good signed-data(good trusted) !header_from"},
		{"beside", outer + "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nSend money\r\n--m\r\n" +
			clear("", text, detached(ann, text)) + "\r\n--m--\r\n", "unknown signed-data(good trusted) !partial"},
		{"alone in a multipart", outer + "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n" +
			clear("", text, detached(ann, text)) + "\r\n--m--\r\n", "good signed-data(good trusted)"},
		{"attached", outer + "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nSee below\r\n--m\r\nContent-Type: message/rfc822\r\n\r\n" +
			clear(outer, text, detached(eve, text)) + "\r\n--m--\r\n", "none signed-data(good trusted)"},
		{"another's part inside one's own", clear(outer, mixed, detached(eve, mixed)), "bad signed-data(good trusted) signed-data(good trusted) !mismatch"},
		{"no From", clear("Subject: x\r\n", text, detached(ann, text)), "unknown signed-data(good trusted) !no_from"},
		{"no address", clear(outer, text, detached(nameless, text)), "good signed-data(good trusted) !no_address"},
		{"compressed", wrapped(outer, "compressed-data", compressed(t, clear("", text, detached(ann, text)))), "good compressed-data signed-data(good trusted)"},
		{"signed, compressed", wrapped(outer, "signed-data", ann.Sign(t, []byte(wrapped("", "compressed-data", compressed(t, text))), false, now, ca)),
			"good signed-data(good trusted) compressed-data"},
		{"Ed25519", clear(outer, text, detached(ed, text)), "good signed-data(good trusted)"},
		{"Ed25519 changed", clear(outer, text+"x", detached(ed, text)), "bad signed-data(bad trusted) !changed"},
		{"signed document", outer + "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nSee the contract\r\n--m\r\n" +
			strings.Replace(wrapped("", "signed-data", eve.Sign(t, []byte("%PDF-1.4"), false, now, ca)), "name=smime.p7m", "name=contract.pdf.p7m", 1) + "--m--\r\n",
			"none signed-data(good trusted)"},
		{"three parts", strings.Replace(clear(outer, text, detached(ann, text)), "--b1--", "--b1\r\n\r\nSend money\r\n--b1--", 1),
			"unknown signed-data(good trusted) !partial"},
		{"signature gone", outer + "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b1\r\n\r\n--b1\r\n" + text + "\r\n--b1--\r\n",
			"bad signed-data !no_signature"},
		{"by name", strings.Replace(wrapped(outer, "signed-data", ann.Sign(t, []byte(text), false, now, ca)), "pkcs7-mime", "octet-stream", 1),
			"good signed-data(good trusted)"},
		{"wrong type", wrapped(outer, "enveloped-data", ann.Sign(t, []byte(text), false, now, ca)), "good signed-data(good trusted) !smime_type"},
		{"no encoding named", strings.Replace(wrapped(outer, "signed-data", ann.Sign(t, []byte(text), false, now, ca)), "Content-Transfer-Encoding: base64\r\n", "", 1),
			"good signed-data(good trusted)"},
		{"rubbish", wrapped(outer, "signed-data", []byte("rubbish")), "bad signed-data !unreadable"},
		{"encrypted", wrapped(outer, "enveloped-data", sample(t, "generated/e_rsa_aes256cbc.der")), "encrypted enveloped-data"},
		{"signed around", wrapped(outer, "signed-data", ann.Sign(t, []byte(wrapped("", "enveloped-data", sample(t, "generated/e_rsa_aes256cbc.der"))), false, now, ca)),
			"encrypted signed-data(good trusted) enveloped-data"},
		{"encrypted beside", outer + "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/html\r\n\r\n<img src=\"\r\n--m\r\n" +
			wrapped("", "enveloped-data", sample(t, "generated/e_rsa_aes256cbc.der")) + "--m--\r\n", "encrypted enveloped-data !efail"},
		{"OpenPGP", outer + "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b1\r\n\r\n--b1\r\n\r\nHi\r\n--b1\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b1--\r\n", "none"},
		{"stray signature", outer + "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nHi\r\n--m\r\nContent-Type: application/pkcs7-signature\r\n\r\nMIA=\r\n--m--\r\n", "none !stray_signature"},
		{"footer", clear(outer, lines, detached(ann, text)), "bad signed-data(bad trusted) !changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checker := &Checker{Trust: pool(root), At: now}
			if c.name == "no intermediate" {
				// The intermediate certificate was in an
				// earlier message.
				other := clear(outer, text, detached(eve, text))
				if _, err := checker.Message(context.Background(), mail.Bytes(other), int64(len(other))); err != nil {
					t.Fatal(err)
				}
			}
			rep, err := checker.Message(context.Background(), mail.Bytes(c.msg), int64(len(c.msg)))
			if err != nil {
				t.Fatal(err)
			}
			if got := judged(rep); got != c.want {
				t.Errorf("got  %s\nwant %s\n%+v", got, c.want, rep.Findings)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	qp := "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
		"Gr=C3=BC=C3=9Fe=20\r\n.\r\nFrom here\r\n--=20\r\nAnn\r\n"
	replace := func(old, new string) string { return strings.Replace(text, old, new, 1) }
	for _, c := range []struct{ name, arrived, want string }{
		{"one space", replace("e \r\n", "e\r\n"), "trailing white space was removed (line 4)"},
		{"dashes", replace("-- \r\n", "--\r\n"), "space after the signature dashes"},
		{"all spaces", strings.ReplaceAll(text, " \r\n", "\r\n"), ""},
		{"new line end", text + "\r\n", "the last line end was added"},
		{"lost line end", strings.TrimSuffix(text, "\r\n"), "the last line end was removed"},
		{"empty lines", text + "\r\n\r\n\r\n", "empty lines at the end were added"},
		{"dots", replace("\r\n.\r\n", "\r\n..\r\n"), "dots at line starts were doubled"},
		{"From", replace("\r\nFrom", "\r\n>From"), "prefixed with >"},
		{"re-encoded", qp, "a part was re-encoded"},
		{"footer", text + "_____\r\nThe list\r\n", "17 octets were added at the end"},
		{"other", replace("Ann", "Eve"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			msg := clear(outer, c.arrived, ann.Sign(t, []byte(text), true, now))
			rep, err := (&Checker{Trust: pool(root), At: now}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range rep.Findings {
				if f.Code == "changed" {
					got = f.Text
				}
			}
			if rep.Verdict != "bad" || !strings.Contains(got, c.want) || c.want == "" && strings.Contains(got, "transit") {
				t.Errorf("%s: %q, want %q", rep.Verdict, got, c.want)
			}
		})
	}
}

func TestLayers(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	part := text
	for range 12 {
		part = wrapped("", "signed-data", ann.Sign(t, []byte(part), false, now))
	}
	msg := outer + part
	rep, err := (&Checker{Trust: pool(root), At: now}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
	if err != nil {
		t.Fatal(err)
	}
	if got := judged(rep); len(rep.Layers) != 5 || rep.Verdict != "unknown" || !rep.Has("too_many_layers") {
		t.Error(got)
	}
}

func TestExtract(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	msg := clear(outer, text, ann.Sign(t, []byte(text), true, now))
	files := map[string]*bytes.Buffer{}
	c := &Checker{Trust: pool(root), At: now, Extract: func(name string) (io.WriteCloser, error) {
		files[name] = &bytes.Buffer{}
		return nopCloser{files[name]}, nil
	}}
	if _, err := c.Message(context.Background(), mail.Bytes(msg), int64(len(msg))); err != nil {
		t.Fatal(err)
	}
	if f := files["1-content.eml"]; f == nil || f.String() != text {
		t.Errorf("content %v", f)
	}
	if f := files["1-certs.pem"]; f == nil || !strings.Contains(f.String(), "BEGIN CERTIFICATE") {
		t.Errorf("certificates %v", f)
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// TestSpill verifies content that is too large for memory and is read from a
// file.
func TestSpill(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	part := text + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 40_000)
	msg := wrapped(outer, "signed-data", ann.Sign(t, []byte(clear("", part, ann.Sign(t, []byte(part), true, now))), false, now))
	dir := t.TempDir()
	rep, err := (&Checker{Trust: pool(root), At: now, Spool: dir}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
	if err != nil {
		t.Fatal(err)
	}
	if got := judged(rep); got != "good signed-data(good trusted) signed-data(good trusted)" {
		t.Error(got)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	rep, err = (&Checker{Trust: pool(root), At: now, MaxSize: 100_000}).Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
	if err != nil || rep.Verdict != "bad" || !strings.Contains(rep.Layers[0].Reason, cms.ErrTooLarge.Error()) {
		t.Errorf("%v %v", rep, err)
	}
}

func FuzzMessage(f *testing.F) {
	for _, name := range []string{"james/mail_with_signature.eml", "rfc4134/4.9.eml", "rfc4134/5.3.eml"} {
		f.Add(sample(f, name))
	}
	checker := &Checker{AnyRoot: true, At: now, MaxSize: 1 << 20}
	f.Fuzz(func(t *testing.T, b []byte) {
		rep, err := checker.Message(context.Background(), mail.Bytes(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		rep.Print(io.Discard)
		rep.Auth()
	})
}

func BenchmarkOpaqueBase64(b *testing.B) {
	root := issue(b, nil, "Root", nil)
	ann := issue(b, root, "ann@example.org", nil)
	msg := mail.Bytes(b64(ann.Sign(b, make([]byte, 10<<20), false, now)))
	b.SetBytes(10 << 20)
	b.ReportAllocs()
	for b.Loop() {
		obj, err := cms.Read(sniffed(io.NewSectionReader(msg, 0, msg.Size())), cms.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if v, err := obj.Signed.Verify(nil); v != cms.Good || err != nil {
			b.Fatal(v, err)
		}
	}
}

// BenchmarkUnexplained verifies a signature that fails for an unknown reason,
// which requires the whole search.
func BenchmarkUnexplained(b *testing.B) {
	root := issue(b, nil, "Root", nil)
	ann := issue(b, root, "ann@example.org", nil)
	part := text + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1000)
	msg := mail.Bytes(clear(outer, part+"y", ann.Sign(b, []byte(part), true, now)))
	checker := &Checker{Trust: pool(root), At: now}
	for b.Loop() {
		if rep, err := checker.Message(context.Background(), msg, msg.Size()); err != nil || rep.Verdict != "bad" {
			b.Fatal(rep, err)
		}
	}
}

// TestInflated checks that content that inflates to more than 32 MiB is
// rejected without being stored.
func TestInflated(t *testing.T) {
	msg := mail.Bytes(wrapped(outer, "compressed-data", compressed(t, strings.Repeat("x", 33<<20))))
	rep, err := (&Checker{Spool: t.TempDir()}).Message(context.Background(), msg, msg.Size())
	if err != nil {
		t.Fatal(err)
	}
	if got := judged(rep); got != "bad compressed-data !unreadable" || !strings.Contains(rep.Layers[0].Reason, "larger than allowed") {
		t.Errorf("%s: %s", got, rep.Layers[0].Reason)
	}
}

// TestCostlyKeys checks that a certificate with a 100,000-bit key is not tried
// as an issuer, which would take seconds. A message may contain 128 of them.
func TestCostlyKeys(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), 100_000)
	if !costly(&x509.Certificate{PublicKey: &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}}) {
		t.Error("taken")
	}
	if costly(issue(t, nil, "Root", nil).Cert) {
		t.Error("a usual key was refused")
	}
}

func TestPartString(t *testing.T) {
	for _, c := range []struct {
		part Part
		want string
	}{
		{Part{Type: "message/delivery-status", Kind: "text/plain"}, "message/delivery-status, 0 octets, not signed"},
		{Part{Type: "image/png", Kind: "text/plain"}, "image/png (is text/plain), 0 octets, not signed"},
		{Part{Type: "text/plain", Kind: "application/x-dosexec", Name: "a.txt"}, `text/plain (is application/x-dosexec) "a.txt", 0 octets, not signed`},
	} {
		if got := c.part.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
