package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoplite/filters"
	"hoplite/mail"
	"hoplite/mail/dkim"
)

func writeKey(t *testing.T, data, domain, selector string, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := dkim.KeyFile(data, domain, selector)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if ed, ok := key.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(ed)
	}
	return "v=DKIM1; p=" + base64.StdEncoding.EncodeToString(pub)
}

func TestSign(t *testing.T) {
	data := t.TempDir()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edKey := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	records := map[string]string{
		"r._domainkey.example.org":     writeKey(t, data, "example.org", "r", rsaKey),
		"e._domainkey.example.org":     writeKey(t, data, "example.org", "e", edKey),
		"s._domainkey.sub.example.org": writeKey(t, data, "sub.example.org", "s", edKey),
	}
	f, err := New(Config{Domains: []Domain{{Name: "Example.org", Selector: "r", Second: "e"}, {Name: "sub.example.org", Selector: "s"}}, Unsigned: "reject"},
		filters.Env{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, want string }{
		{"two keys", "Ann <ann@Example.ORG>", "example.org/r example.org/e"},
		{"below the domain", "ann@x.example.org", "example.org/r example.org/e"},
		{"a domain of its own", "ann@sub.example.org", "sub.example.org/s"},
		{"in a group", "friends: ann@example.org, b@example.com;", "example.org/r example.org/e"},
		{"another domain", "eve@example.com", "refused"},
		{"a look-alike", "eve@notexample.org", "refused"},
		{"none", "", "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := mail.NewMessage(mail.Bytes("From: " + c.from + "\r\nBcc: x@example.org\r\nSubject: x\r\n\r\nHello\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			var bcc mail.Span
			for f := range mail.Fields(m.Head) {
				if f.Is("Bcc") {
					bcc = f.Span
				}
			}
			m = m.Edited([]byte("Received: by us\r\n"), bcc) // the outgoing message must be signed
			top, err := f.(filters.Finisher).AtSend(context.Background(), mail.NewTransaction(mail.Client{}, ""), m)
			if reply := (*mail.Reply)(nil); errors.As(err, &reply) {
				if c.want != "refused" {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := m.Edited(top).WriteTo(&out); err != nil {
				t.Fatal(err)
			}
			sent, err := mail.NewMessage(mail.Bytes(out.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			results, _, err := dkim.Verify(context.Background(), sent, func(_ context.Context, name string) ([]string, error) {
				return []string{records[name]}, nil
			})
			var got []string
			for _, r := range results {
				if r.Value != "pass" {
					t.Errorf("%s: %s", r.Value, r.Reason)
				}
				got = append(got, r.Domain+"/"+r.Selector)
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("signed by %v, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestKeyChangesAreSeen(t *testing.T) {
	data := t.TempDir()
	writeKey(t, data, "example.org", "s", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)))
	f, err := New(Config{Domains: []Domain{{Name: "example.org", Selector: "s"}}}, filters.Env{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	second := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	writeKey(t, data, "example.org", "s", second)
	file := dkim.KeyFile(data, "example.org", "s")
	if err := os.Chtimes(file, time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	k, err := f.(*Filter).keys.Load(file)
	if err != nil || !k.Public().(ed25519.PublicKey).Equal(second.Public()) {
		t.Errorf("still the old key, %v", err)
	}
}

func TestBadKeys(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no PEM": "hello", "rubbish": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if _, err := dkim.ParsePrivateKey([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(Config{Domains: []Domain{{Name: "example.org", Selector: "s"}}}, filters.Env{Data: t.TempDir()}); err == nil {
		t.Error("a missing key was not noticed at the start")
	}
	for _, c := range []Config{{}, {Domains: []Domain{{Name: "example.org"}}}, {Domains: []Domain{{Name: "example.org", Selector: "../x"}}}} {
		if c.Check() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
