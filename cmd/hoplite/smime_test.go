package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smimeSample returns a sample message from the S/MIME packages.
func smimeSample(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../mail/cms/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSmimeCommand(t *testing.T) {
	signed := smimeSample(t, "james/mail_with_signature.eml")
	root := smimeSample(t, "james/rootCA.crt")
	detached := smimeSample(t, "generated/s_rsa_sha256_det.der")
	body := smimeSample(t, "generated/body")
	company := func(name string) []string {
		dir := "../../mail/smime/testdata/company/"
		return []string{dir + name + ".eml", "--roots", dir + "root.pem", "--at", "2026-12-01"}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{signed, "--roots", root}, 1, "GOOD: signed"},
		{[]string{signed}, 1, "UNKNOWN: "},
		{[]string{signed, "--roots", root, "--at", "2020-01-01"}, 1, "not valid yet"},
		{[]string{signed, "--any-root"}, 1, "address   user@james.org"},
		{[]string{detached, "--any-root", "--content", body}, 0, "with      RSA 2048, SHA-256"},
		{[]string{detached, "--any-root", "--content", root}, 1, "the content is not what was signed"},
		{[]string{smimeSample(t, "generated/s_rsa_nocerts_det.der"), "--any-root", "--content", body}, 1, "certificate is missing"},
		{[]string{smimeSample(t, "generated/s_rsa_nocerts_det.der"), "--roots", smimeSample(t, "generated/rsa.crt"), "--at", "2027-01-01", "--content", body}, 0, "GOOD"},
		{[]string{detached, "--any-root"}, 1, "the signed content is not available"},
		{[]string{smimeSample(t, "generated/e_ecdh_p256.der")}, 0, "ECDH with SHA-1, AES-128 key wrap"},
		{[]string{smimeSample(t, "generated/x_attr_confusion_opq.der"), "--any-root"}, 1, "forgery: "},
		{[]string{smimeSample(t, "openssl/pkcs7-md4.pem"), "--any-root"}, 1, "MD4 is not supported"},
		{company("sha1leaf"), 1, "WEAK: signed"},
		{company("sha1leaf"), 1, "signed with"},
		{company("noint"), 1, "the message lacks the certificate of CN=Example Issuing CA"},
		{company("case"), 0, "differ only in upper and lower case"},
		{company("replay-old"), 1, "Date is 2020-12-01 20:00 UTC, but the message was signed at 2026-11-30"},
		{company("good"), 0, "GOOD: signed, and the signature is good"},
		{[]string{signed, "--content", body}, 2, "not for a message"},
		{[]string{signed, "--at", "yesterday"}, 2, "is not a time"},
		{[]string{signed, "--roots", body}, 2, "no certificate"},
		{[]string{"nothing.eml"}, 2, "open nothing.eml"},
		{[]string{"/dev/null"}, 2, "/dev/null is empty"},
		{[]string{"main.go"}, 2, "neither a message nor a CMS object"},
	} {
		out, code := runLine(t, "", append([]string{"smime"}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit %d, want %d with %q\n%s", c.args, code, c.code, c.want, out)
		}
		for line := range strings.Lines(out) {
			if c.code < 2 && len([]rune(strings.TrimRight(line, "\n"))) > 80 {
				t.Errorf("%v: a line of more than 80 columns: %s", c.args, line)
			}
		}
	}
}

func TestSmimeJSON(t *testing.T) {
	b, err := os.ReadFile(smimeSample(t, "mimekit/thunderbird-signed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	out, code := runLine(t, string(b), "smime", "--json", "--any-root", "--extract", dir, "-")
	var rep struct {
		Verdict string
		Layers  []struct {
			Type    string
			Signers []struct {
				Verdict, Reason, Subject, Algorithm, Digest string
				Addresses                                   []string
				SigningTime                                 string `json:"signing_time"`
			}
		}
		Parts    []struct{ Part, Type, Name string }
		Findings []any
	}
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if code != 1 || rep.Verdict != "weak" || len(rep.Layers) != 1 || len(rep.Parts) != 2 || rep.Findings == nil {
		t.Errorf("exit %d, %+v", code, rep)
	}
	s := rep.Layers[0].Signers[0]
	if s.Verdict != "weak" || s.Digest != "SHA-1" || s.Algorithm != "RSA 2048" || s.Addresses[0] != "fejj@gnome.org" || s.SigningTime != "2013-11-02T20:28:04Z" {
		t.Errorf("%+v", s)
	}
	if content, err := os.ReadFile(filepath.Join(dir, "1-content.eml")); err != nil || !strings.HasPrefix(string(content), "Content-Type: multipart/mixed;\r\n") {
		t.Errorf("extracted %.40q, %v", content, err)
	}
	// Existing files are not overwritten.
	if out, code := runLine(t, string(b), "smime", "--any-root", "--extract", dir, "-"); code != 2 || !strings.Contains(out, "exists") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// Trace lists the contents of a message, and shows whether it is signed.
func TestTraceInside(t *testing.T) {
	sample := smimeSample(t, "james/mail_with_signature.eml")
	inConfig(t)
	out, _ := runLine(t, "", "trace", sample)
	if !strings.Contains(out, "good, signed by emailAddress=user@james.org") {
		t.Error(out)
	}
	msg := "From: a@example.org\r\n\r\nHi\r\nbegin 644 run.exe\r\n#35J0\r\n`\r\nend\r\n"
	if out, _ := runLine(t, msg, "trace", "-"); !strings.Contains(out, "portable-executable, 3 octets, uuencode") {
		t.Error(out)
	}
	if out, _ := runLine(t, msg, "trace", "--json", "-"); !strings.Contains(out, `"via": "uuencode"`) {
		t.Error(out)
	}
}
