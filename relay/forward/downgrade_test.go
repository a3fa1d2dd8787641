package forward

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"hoplite/mail"
	"hoplite/mail/mime"
)

const eightBitMail = "From: =?utf-8?q?B=C3=B6b?= <bob@example.com>\r\nSubject: gr\u00fc\u00dfe\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
	"preamble\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
	"sch\u00f6n = gut\r\n.\r\nend \r\n--b\r\nContent-Type: application/octet-stream; name=\"\u00fc.bin\"\r\n" +
	"Content-Transfer-Encoding: binary\r\n\r\n\u00e4\u00f6\u00fc\r\n--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b--\r\n"

func toSeven(t testing.TB, text string) (*mail.Message, error) {
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		return nil, err
	}
	m.EightBit = eightBit([]byte(text))
	out := &rewritten{dir: t.TempDir()}
	defer out.close()
	fit, err := reencode(m, true, out)
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(fit.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return mail.NewMessage(mail.Bytes(all))
}

// leaves returns the contents of all parts without subparts.
func leaves(t testing.TB, text []byte) (list []string) {
	var walk func(p *mime.Part)
	walk = func(p *mime.Part) {
		for _, c := range p.Children {
			walk(c)
		}
		if len(p.Children) == 0 {
			dec, _ := mime.Decoder(p.Encoding, bytes.NewReader(text[p.Body.From.Off:p.Body.To.Off]))
			b, err := io.ReadAll(dec)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, p.Type+"/"+p.Subtype+": "+string(b))
		}
	}
	walk(mime.WalkBytes(text).Root)
	return list
}

func TestDowngrade(t *testing.T) {
	m, err := toSeven(t, eightBitMail)
	if err != nil {
		t.Fatal(err)
	}
	got := []byte(m.Base.(mail.Bytes))
	if eightBit(got) {
		t.Fatalf("8-bit characters in\n%s", got)
	}
	before, after := leaves(t, []byte(eightBitMail)), leaves(t, got)
	if strings.Join(before, "|") != strings.Join(after, "|") {
		t.Errorf("parts were\n%q\nand are\n%q", before, after)
	}
	for _, want := range []string{
		"From: =?utf-8?q?B=C3=B6b?= <bob@example.com>\r\n", "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n", "Content-Transfer-Encoding: 7bit\r\n",
		"name*=utf-8''%C3%BC.bin", "\r\n\r\nplain\r\n--b--\r\n", "Content-Transfer-Encoding: quoted-printable\r\n", "Content-Transfer-Encoding: base64\r\n",
	} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

// A message that cannot be re-encoded without loss is refused with the reason.
func TestDowngradeRefuses(t *testing.T) {
	signed := "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u00fc\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nAAAA\r\n--b--\r\n"
	for name, tt := range map[string]struct{ text, why string }{
		"signed":        {signed, "signature"},
		"not base64":    {"Content-Transfer-Encoding: base64\r\n\r\n\u00fc\r\n", "base64"},
		"no multipart":  {"Content-Type: multipart/mixed\r\n\r\n\u00fc\r\n", "multipart/mixed"},
		"global report": {"Content-Type: message/global-delivery-status\r\n\r\n\u00fc\r\n", "message/global"},
	} {
		if _, err := toSeven(t, tt.text); err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An 8-bit message is refused or, if the configuration allows it, re-encoded
// with a note about its signatures.
func TestDowngradeAtUpstream(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250 PIPELINING"})
		u := upstream(t, []string{p.url()}, func(c *Config) { c.Downgrade = allowed })
		tx := mail.NewTransaction(mail.Client{}, "bob@example.com")
		h, err := u.Open(t.Context(), tx)
		if err != nil {
			t.Fatal(err)
		}
		h.Rcpt(t.Context(), mail.Rcpt{To: "ann@example.org", Orig: "ann@example.org"})
		m, err := mail.NewMessage(mail.Bytes("DKIM-Signature: v=1\r\n" + eightBitMail))
		if err != nil {
			t.Fatal(err)
		}
		m.EightBit = true
		out := h.Send(t.Context(), m)
		got := out[0].Reply.String()
		if !allowed {
			if !strings.HasPrefix(got, "554 5.6.3") || len(p.mail()) > 0 {
				t.Errorf("got %s", got)
			}
			continue
		}
		if !out[0].Reply.Positive() || len(p.mail()) != 1 || eightBit([]byte(p.mail()[0])) {
			t.Fatalf("got %s, mail %q", got, p.mail())
		}
		if n := len(tx.Trail.Events); n != 1 || !strings.Contains(tx.Trail.Events[0].Reason, "DKIM") {
			t.Errorf("trail %+v", tx.Trail.Events)
		}
	}
}

// A large re-encoded message is kept in a file, which is removed afterwards.
func TestDowngradeLarge(t *testing.T) {
	text := "Subject: x\r\n\r\n" + strings.Repeat("schöne grüße\r\n", 200_000)
	m, err := toSeven(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if got := leaves(t, m.Base.(mail.Bytes)); got[0] != "text/plain: "+text[len("Subject: x\r\n\r\n"):] {
		t.Error("the text is another one")
	}
}

func FuzzDowngrade(f *testing.F) {
	f.Add([]byte(eightBitMail))
	f.Add([]byte("Subject: \xfc\r\nTo: \xe4: a@b, c@d;\r\n\r\n\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		text := bytes.ReplaceAll(bytes.ReplaceAll(in, []byte("\r"), nil), []byte("\n"), []byte("\r\n"))
		m, err := toSeven(t, string(text))
		if err != nil {
			return
		}
		out := []byte(m.Base.(mail.Bytes))
		if eightBit(out) {
			t.Fatalf("8-bit characters in %q made of %q", out, text)
		}
		if bytes.Contains(bytes.ReplaceAll(out, []byte("\r\n"), nil), []byte("\n")) {
			t.Fatalf("a bare LF in %q made of %q", out, text)
		}
	})
}
