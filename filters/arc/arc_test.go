package arc

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
	"hoplite/mail/dkim"
)

func message(t *testing.T, text string) *mail.Message {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A message that is sealed by one server, then changed and sealed by the next,
// has a valid chain of two sets.
func TestSealAndValidate(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))
	record := "TXT \"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)) + "\"\n"
	dns := resolvetest.MustZone("s._domainkey.one.example " + record + "s._domainkey.two.example " + record)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := "From: ann@example.org\r\nSubject: x\r\n\r\nHello\r\n"
	for i, domain := range []string{"one.example", "two.example"} {
		data := t.TempDir()
		file := dkim.KeyFile(data, domain, "s")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		made, err := New(Config{Domain: domain, Selector: "s"}, filters.Env{Data: data, Hostname: "mx." + domain, DNS: dns})
		if err != nil {
			t.Fatal(err)
		}
		f := made.(*Filter)
		tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
		v, err := f.AtData(context.Background(), tx, message(t, text))
		if err != nil || v.Action != "" || len(v.Facts) != i || v.Auth[0].Value != []string{"none", "pass"}[i] {
			t.Fatalf("at %s: %+v, %v", domain, v, err)
		}
		tx.Trail.Auth = v.Auth
		text = strings.Replace(text, "Subject: ", "Subject: ["+domain+"] ", 1)
		top, err := f.AtSend(context.Background(), tx, message(t, text))
		if err != nil {
			t.Fatal(err)
		}
		text = string(top) + text
	}
	f := &Filter{dns: dns}
	v, err := f.AtData(context.Background(), mail.NewTransaction(mail.Client{}, ""), message(t, text))
	if err != nil || v.Auth[0].Value != "pass" || len(v.Facts) != 2 {
		t.Errorf("at the end: %+v, %v", v, err)
	}
	if _, err := f.AtSend(context.Background(), mail.NewTransaction(mail.Client{}, ""), message(t, text)); err == nil {
		t.Error("a filter without a key sealed a message")
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		good bool
	}{
		{Config{}, true},
		{Config{Domain: "example.org", Selector: "s"}, true},
		{Config{Domain: "example.org"}, false},
		{Config{Selector: "s"}, false},
		{Config{Domain: "example.org", Selector: "../s"}, false},
	} {
		if err := c.cfg.Check(); (err == nil) != c.good {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	if _, err := New(Config{Domain: "example.org", Selector: "s"}, filters.Env{Data: t.TempDir()}); err == nil {
		t.Error("a missing key was not reported at the start")
	}
}
