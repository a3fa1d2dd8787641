package listen

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// A power failure while the certificate was being written does not prevent the
// server from starting, and the log names the file that was regenerated.
func TestSelfSignedAfterCrash(t *testing.T) {
	other, err := SelfSigned(t.TempDir(), zerolog.Nop(), "other.example.org")
	if err != nil {
		t.Fatal(err)
	}
	otherText, err := os.ReadFile(other.Key)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey := pem.Decode(otherText)
	for name, damage := range map[string]func(text []byte) []byte{
		"empty":       func([]byte) []byte { return nil },
		"half a file": func(text []byte) []byte { return text[:len(text)/2] },
		"no key":      func(text []byte) []byte { b, _ := pem.Decode(text); return pem.EncodeToMemory(b) },
		"zeros":       func(text []byte) []byte { return make([]byte, len(text)) },
		"another key": func(text []byte) []byte { b, _ := pem.Decode(text); return append(pem.EncodeToMemory(b), otherKey...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			pair, err := SelfSigned(dir, zerolog.Nop(), "mail.example.org")
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(pair.Cert)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(pair.Cert, damage(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			again, err := SelfSigned(dir, zerolog.New(&log), "mail.example.org")
			if err != nil || again != pair {
				t.Fatalf("%v, %v", again, err)
			}
			if _, err := tls.LoadX509KeyPair(again.Cert, again.Key); err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), "damaged self-signed certificate replaced") {
				t.Errorf("log: %s", &log)
			}
		})
	}
}

// Clients configured to trust an earlier version's certificate, whose key was
// in a separate file, see the same certificate after the update.
func TestSelfSignedPairIsJoined(t *testing.T) {
	made, err := SelfSigned(t.TempDir(), zerolog.Nop(), "mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(made.Cert)
	if err != nil {
		t.Fatal(err)
	}
	b, key := pem.Decode(text)
	cert := pem.EncodeToMemory(b)
	for name, c := range map[string]struct {
		cert, key []byte
		same      bool
	}{
		"pair":           {cert, key, true},
		"interrupted":    {text, key, true},
		"damaged key":    {cert, key[:20], false},
		"no certificate": {nil, key, false},
		"key of another": {cert, []byte("x"), false},
		"one file":       {text, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range map[string][]byte{"self-signed.pem": c.cert, "self-signed.key": c.key} {
				if content != nil {
					if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			pair, err := SelfSigned(dir, zerolog.Nop(), "mail.example.org")
			if err != nil {
				t.Fatal(err)
			}
			now, err := os.ReadFile(pair.Cert)
			if err != nil || bytes.HasPrefix(now, cert) != c.same {
				t.Errorf("same certificate: %v, want %v (%v)", !c.same, c.same, err)
			}
			if _, err := tls.LoadX509KeyPair(pair.Cert, pair.Key); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "self-signed.key")); err == nil {
				t.Error("the key is still in a file of its own")
			}
			if fi, err := os.Stat(pair.Cert); err != nil || name != "one file" && name != "interrupted" && fi.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", fi.Mode(), err)
			}
		})
	}
}
