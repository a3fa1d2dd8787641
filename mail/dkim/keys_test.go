package dkim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func pkcs8(t *testing.T, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestParsePrivateKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// A 512-bit key, which Go no longer generates.
	const weak = `-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu
KUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQJAIJLixBy2qpFoS4DSmoEm
o3qGy0t6z09AIJtH+5OeRV1be+N4cDYJKffGzDa88vQENZiRm0GRq6a+HPGQMd2k
TQIhAKMSvzIBnni7ot/OSie2TmJLY4SwTQAevXysE2RbFDYdAiEBCUEaRQnMnbp7
9mxDXDf6AU0cN/RPBjb9qSHDcWZHGzUCIG2Es59z8ugGrDY+pxLQnwfotadxd+Uy
v/Ow5T0q5gIJAiEAyS4RaI9YG8EWx/2w0T67ZUVAw8eOMB6BIUg0Xcu+3okCIBOs
/5OiPgoTdSy7bcF9IGpSE8ZgGKzgYQVZeN97YE00
-----END RSA PRIVATE KEY-----
`
	for _, c := range []struct {
		name, fault string
		text        []byte
	}{
		{"Ed25519", "", pkcs8(t, edKey)},
		{"RSA", "", pkcs8(t, rsaKey)},
		{"RSA by opendkim-genkey", "", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})},
		{"text before the key", "", append([]byte("# a key\n"), pkcs8(t, edKey)...)},
		{"ECDSA", "neither an RSA nor an Ed25519 key", pkcs8(t, ec)},
		{"no PEM", "no PEM block", []byte("hello")},
		{"empty", "no PEM block", nil},
		{"rubbish", "read private key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})},
		{"512 bits", "", []byte(weak)},
	} {
		key, err := ParsePrivateKey(c.text)
		switch {
		case c.name == "512 bits":
			if err == nil {
				t.Errorf("%s: accepted", c.name)
			}
		case c.fault == "" && (err != nil || key == nil):
			t.Errorf("%s: %v", c.name, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s: %v, want %q", c.name, err, c.fault)
		}
	}
}

// Keys are read once, and again only if their file has changed.
func TestKeyFiles(t *testing.T) {
	data := t.TempDir()
	file := KeyFile(data, "Example.ORG", "s1")
	if want := filepath.Join(data, "dkim", "example.org", "s1.pem"); file != want {
		t.Fatalf("%s, want %s", file, want)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte, at time.Time) {
		t.Helper()
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	var keys Keys
	_, err := keys.Of(data, "example.org", "s1", "")
	if err == nil || !strings.Contains(err.Error(), "hoplite dkim keygen example.org --selector s1") {
		t.Errorf("no key: %v", err)
	}
	start := time.Now().Add(-time.Hour)
	write(file, pkcs8(t, edKey), start)
	first, err := keys.Of(data, "example.org", "s1", "")
	if err != nil || !first.Public().(ed25519.PublicKey).Equal(edKey.Public()) {
		t.Fatalf("%v, %v", first, err)
	}
	write(file, []byte("damaged, but nobody notices"+strings.Repeat(" ", len(pkcs8(t, edKey))-27)), start)
	if again, err := keys.Of(data, "example.org", "s1", ""); err != nil || !again.Public().(ed25519.PublicKey).Equal(first.Public()) {
		t.Errorf("an unchanged file was read again: %v", err)
	}
	write(file, pkcs8(t, rsaKey), start.Add(time.Second))
	if changed, err := keys.Of(data, "example.org", "s1", ""); err != nil || !changed.Public().(*rsa.PublicKey).Equal(rsaKey.Public()) {
		t.Errorf("changed file: %v, %v", changed, err)
	}
	write(filepath.Join(data, "other.pem"), pkcs8(t, edKey), start)
	for _, name := range []string{"other.pem", filepath.Join(data, "other.pem")} {
		if key, err := keys.Of(data, "example.org", "s1", name); err != nil || key == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(file, []byte("x"), start)
	if _, err := keys.Of(data, "example.org", "s1", ""); err == nil || !strings.Contains(err.Error(), "DKIM key of example.org") {
		t.Errorf("damaged: %v", err)
	}
	if _, err := keys.Load(filepath.Join(data, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
