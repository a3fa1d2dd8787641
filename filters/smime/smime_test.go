package smime

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/mail"
)

func TestFilter(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	stranger := issue(t, issue(t, nil, "Stranger", nil), "ann@example.org", nil)
	good := clear(outer, text, ann.sign(t, []byte(text), true, now))
	unknown := clear(outer, text, stranger.sign(t, []byte(text), true, now))
	broken := clear(outer, text+"x", ann.sign(t, []byte(text), true, now))
	unsigned := outer + "\r\nHi\r\n"
	sealed := wrapped(outer, "enveloped-data", sample(t, "generated/e_rsa_aes256cbc.der"))
	for _, c := range []struct {
		name, msg string
		cfg       Config
		want      filters.Action
		reply     string
		auth      string
	}{
		{"good", good, Config{}, "", "", "smime=pass"},
		{"bad is tagged", broken, Config{OnInvalid: "tag"}, filters.Tag, "", "smime=fail"},
		{"bad is refused", broken, Config{OnInvalid: "reject"}, filters.Reject, "550 5.7.1", "smime=fail"},
		{"unknown authority", unknown, Config{OnUnknownCA: "quarantine"}, filters.Quarantine, "", "smime=policy"},
		{"rules for others", unknown, Config{OnUnknownCA: "quarantine", From: []string{"example.com"}}, "", "", "smime=policy"},
		{"rules for this one", unknown, Config{OnUnknownCA: "reject", From: []string{"example.org"}}, filters.Reject, "550 5.7.1", "smime=policy"},
		{"must be signed", unsigned, Config{RequireSigned: true, OnMissing: "reject"}, filters.Reject, "takes signed messages only", "smime=none"},
		{"need not be signed", unsigned, Config{}, "", "", "smime=none"},
		{"must be encrypted", good, Config{RequireEncrypted: true, OnMissing: "quarantine"}, filters.Quarantine, "", "smime=pass"},
		{"is encrypted", sealed, Config{RequireEncrypted: true, RequireSigned: true, OnMissing: "reject"}, "", "", "smime=none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &Filter{cfg: c.cfg, checker: &Checker{Trust: pool(root), At: now}}
			m, err := mail.NewMessage(mail.Bytes(c.msg))
			if err != nil {
				t.Fatal(err)
			}
			v, err := f.AtData(context.Background(), mail.NewTransaction(mail.Client{}, ""), m)
			if err != nil {
				t.Fatal(err)
			}
			if v.Action != c.want {
				t.Errorf("action %q, want %q (%s)", v.Action, c.want, v.Reason)
			}
			if c.reply != "" && !strings.Contains(v.Reply.String(), c.reply) {
				t.Errorf("reply %s, want %s", v.Reply, c.reply)
			}
			if a := v.Auth[0]; a.Method+"="+a.Value != c.auth {
				t.Errorf("auth %+v, want %s", a, c.auth)
			}
		})
	}
}

// New reads what the configuration names, and roots for a domain are not
// believed for another.
func TestNew(t *testing.T) {
	root, private := issue(t, nil, "Root", nil), issue(t, nil, "Private", nil)
	data := t.TempDir()
	for name, p := range map[string]*person{"root.pem": root, "private.pem": private} {
		b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
		if err := os.WriteFile(filepath.Join(data, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := filters.Env{Data: data}
	made, err := New(Config{Roots: "root.pem", Trust: []TrustRule{{Domains: []string{"Partner.example"}, Roots: "private.pem"}}}, env)
	if err != nil {
		t.Fatal(err)
	}
	f := made.(*Filter)
	f.checker.At = now
	for from, want := range map[string]string{"pat@partner.example": "good", "pat@example.org": "unknown"} {
		pat := issue(t, private, from, nil)
		msg := clear("From: "+from+"\r\n", text, pat.sign(t, []byte(text), true, now))
		rep, err := f.checker.Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
		if err != nil || rep.Verdict != want {
			t.Errorf("%s: %v, want %s", from, rep, want)
		}
	}
	if _, err := New(Config{Roots: "nothing.pem"}, env); err == nil {
		t.Error("roots that are not there were taken")
	}
	if err := (&Config{}).Check(); err == nil {
		t.Error("no layers at all were allowed")
	}
}

// Names of every kind that a certificate may have count.
func TestAddresses(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	p := issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.EmailAddresses = append(c.EmailAddresses, "ann@example.com") })
	if got := strings.Join(addressesOf(p.cert), " "); got != "ann@example.org ann@example.com" {
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
