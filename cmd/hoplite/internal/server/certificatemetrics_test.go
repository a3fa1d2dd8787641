package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hoplite/internal/listen"
)

// writePair writes a self-signed certificate for a name that is valid for a number
// of days, and its key, to one file.
func writePair(t *testing.T, file, name string, days int, key crypto.Signer) listen.Pair {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(days)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, days)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return listen.Pair{Cert: path, Key: path}
}

// hoplite_certificate_seconds reports the time left for each name and kind of
// key. If two certificates have both in common, the later expiry applies.
func TestCertificateMetrics(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := listen.LoadCerts([]listen.Pair{
		writePair(t, "a.pem", "mail.example.org", 20, ec),
		writePair(t, "b.pem", "mail.example.org", 80, ec),
		writePair(t, "c.pem", "mail.example.org", 13, old),
		writePair(t, "d.pem", "imap.example.org", 2, ec),
	}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(certificateMetrics{certs})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 1 || families[0].GetName() != "hoplite_certificate_seconds" {
		t.Fatalf("got %v", families)
	}
	want := map[[2]string]float64{{"mail.example.org", "ecdsa"}: 80, {"mail.example.org", "rsa"}: 13, {"imap.example.org", "ecdsa"}: 2}
	got := map[[2]string]float64{}
	for _, m := range families[0].GetMetric() {
		var id [2]string
		for _, l := range m.GetLabel() {
			id[map[string]int{"name": 0, "key": 1}[l.GetName()]] = l.GetValue()
		}
		got[id] = m.GetGauge().GetValue() / (24 * time.Hour).Seconds()
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for id, days := range want {
		if math.Abs(got[id]-days) > 0.05 {
			t.Errorf("%v: %.2f days left, want %.0f", id, got[id], days)
		}
	}
}
