package smime

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/mail"
	"hoplite/mail/smime"
	"hoplite/mail/smime/smimetest"
)

// newFilter returns a filter that trusts root and uses smimetest.Now as the
// current time.
func newFilter(t *testing.T, cfg Config, root *smimetest.Person) *Filter {
	t.Helper()
	data := t.TempDir()
	cfg.Roots = "root.pem"
	pem := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Cert.Raw})
	if err := os.WriteFile(filepath.Join(data, cfg.Roots), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := New(cfg, filters.Env{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	f.(*Filter).checker.At = smimetest.Now
	return f.(*Filter)
}

func TestFilter(t *testing.T) {
	root := smimetest.Issue(t, nil, "Root", nil)
	ann := smimetest.Issue(t, root, "ann@example.org", nil)
	stranger := smimetest.Issue(t, smimetest.Issue(t, nil, "Stranger", nil), "ann@example.org", nil)
	good := smimetest.ClearSigned(smimetest.Outer, smimetest.Text, ann.Sign(t, []byte(smimetest.Text), true, smimetest.Now))
	unknown := smimetest.ClearSigned(smimetest.Outer, smimetest.Text, stranger.Sign(t, []byte(smimetest.Text), true, smimetest.Now))
	broken := smimetest.ClearSigned(smimetest.Outer, smimetest.Text+"x", ann.Sign(t, []byte(smimetest.Text), true, smimetest.Now))
	unsigned := smimetest.Outer + "\r\nHi\r\n"
	der, err := os.ReadFile("../../mail/cms/testdata/generated/e_rsa_aes256cbc.der")
	if err != nil {
		t.Fatal(err)
	}
	sealed := smimetest.Opaque(smimetest.Outer, "enveloped-data", der)
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
		{"must be signed", unsigned, Config{RequireSigned: true, OnMissing: "reject"}, filters.Reject, "must be signed", "smime=none"},
		{"need not be signed", unsigned, Config{}, "", "", "smime=none"},
		{"must be encrypted", good, Config{RequireEncrypted: true, OnMissing: "quarantine"}, filters.Quarantine, "", "smime=pass"},
		{"is encrypted", sealed, Config{RequireEncrypted: true, RequireSigned: true, OnMissing: "reject"}, "", "", "smime=none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFilter(t, c.cfg, root)
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

// In hard mode a message is deferred while the revocation status is unknown.
func TestRevocationHard(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	root := smimetest.Issue(t, nil, "Root", nil)
	ann := smimetest.Issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{server.URL} })
	f := newFilter(t, Config{Revocation: smime.RevokeHard}, root)
	m, err := mail.NewMessage(mail.Bytes(smimetest.ClearSigned(smimetest.Outer, smimetest.Text, ann.Sign(t, []byte(smimetest.Text), true, smimetest.Now))))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.AtData(context.Background(), mail.NewTransaction(mail.Client{}, ""), m)
	if err != nil || v.Action != filters.Defer || v.Reply.Code != 451 {
		t.Errorf("%+v, %v", v, err)
	}
}

// New reads the configured roots; the roots of one domain are not trusted for
// others.
func TestNew(t *testing.T) {
	root, private := smimetest.Issue(t, nil, "Root", nil), smimetest.Issue(t, nil, "Private", nil)
	data := t.TempDir()
	for name, p := range map[string]*smimetest.Person{"root.pem": root, "private.pem": private} {
		b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Cert.Raw})
		if err := os.WriteFile(filepath.Join(data, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := filters.Env{Data: data}
	made, err := New(Config{Roots: "root.pem", Trust: []TrustRule{{From: []string{"Partner.example"}, Roots: "private.pem"}}}, env)
	if err != nil {
		t.Fatal(err)
	}
	f := made.(*Filter)
	f.checker.At = smimetest.Now
	for from, want := range map[string]string{"pat@partner.example": "good", "pat@example.org": "unknown"} {
		pat := smimetest.Issue(t, private, from, nil)
		msg := smimetest.ClearSigned("From: "+from+"\r\n", smimetest.Text, pat.Sign(t, []byte(smimetest.Text), true, smimetest.Now))
		rep, err := f.checker.Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
		if err != nil || rep.Verdict != want {
			t.Errorf("%s: %v, want %s", from, rep, want)
		}
	}
	if _, err := New(Config{Roots: "nothing.pem"}, env); err == nil {
		t.Error("missing roots were accepted")
	}
	if err := (&Config{}).Check(); err == nil {
		t.Error("no layers at all were allowed")
	}
}
