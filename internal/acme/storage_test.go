package acme

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
)

func txt(name, value string) []libdns.Record {
	return []libdns.Record{libdns.TXT{Name: name, Text: value, TTL: time.Minute}}
}

const (
	keyPEM  = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"
	certPEM = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n"
)

// The three parts of a certificate change together: after a crash before the
// last one is written, the old ones are still used.
func TestPairIsReplacedAtOnce(t *testing.T) {
	ctx := context.Background()
	s := NewStorage(t.TempDir())
	const base = "certificates/ca/mail.example.org/mail.example.org"
	store := func(part, value string) {
		t.Helper()
		if err := s.Store(ctx, base+part, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	load := func(part string) string {
		t.Helper()
		b, err := s.Load(ctx, base+part)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	store(".key", keyPEM)
	store(".crt", certPEM)
	if s.Exists(ctx, base+".crt") {
		t.Error("a certificate without its notes exists")
	}
	store(".json", `{"n":1}`)
	if load(".key") != keyPEM || load(".crt") != certPEM || load(".json") != `{"n":1}` {
		t.Errorf("%q, %q, %q", load(".key"), load(".crt"), load(".json"))
	}
	store(".key", strings.Replace(keyPEM, "AAAA", "DDDD", 1))
	store(".crt", strings.Replace(certPEM, "BBBB", "EEEE", 1))
	if load(".key") != keyPEM || load(".crt") != certPEM {
		t.Error("half of the new pair is visible")
	}
	store(".json", `{"n":2}`)
	if !strings.Contains(load(".key"), "DDDD") || !strings.Contains(load(".crt"), "EEEE") || load(".json") != `{"n":2}` {
		t.Error("the new pair is not there")
	}
	file, _, _ := s.bundle(base + ".key")
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if info, err := s.Stat(ctx, base+".crt"); err != nil || !info.IsTerminal {
		t.Errorf("%+v, %v", info, err)
	}
	if err := s.Delete(ctx, base+".key"); err != nil || s.Exists(ctx, base+".crt") {
		t.Errorf("after its removal: %v", err)
	}
	if err := s.Delete(ctx, base+".crt"); err != nil {
		t.Error(err)
	}
	if _, err := s.Load(ctx, base+".crt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load: %v", err)
	}
}

// Other values are stored in separate files.
func TestOtherValues(t *testing.T) {
	ctx := context.Background()
	s := NewStorage(t.TempDir())
	if err := s.Store(ctx, "acme/ca/users/ann.json", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Load(ctx, "acme/ca/users/ann.json"); err != nil || string(b) != "x" || !s.Exists(ctx, "acme/ca/users/ann.json") {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := s.Stat(ctx, "acme/ca/users/ann.json"); err != nil {
		t.Error(err)
	}
	if err := s.Delete(ctx, "acme/ca/users/ann.json"); err != nil || s.Exists(ctx, "acme/ca/users/ann.json") {
		t.Errorf("delete: %v", err)
	}
}
