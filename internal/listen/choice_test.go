package listen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// certFor writes a certificate for names with a key, and returns its pair.
func certFor(t *testing.T, key crypto.Signer, names ...string) Pair {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cert.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return Pair{file, file}
}

func rsaAndECDSA(t *testing.T) (*rsa.PrivateKey, *ecdsa.PrivateKey) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}

// answered returns the key type of the certificate that a client with the given
// configuration receives.
func answered(t *testing.T, server *tls.Config, client *tls.Config) x509.PublicKeyAlgorithm {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Server(a, server).Handshake()
	client.InsecureSkipVerify = true
	c := tls.Client(b, client)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].PublicKeyAlgorithm
}

// If two certificates match a name, each client gets the one that it supports.
func TestRSABesideECDSA(t *testing.T) {
	r, e := rsaAndECDSA(t)
	certs, err := LoadCerts([]Pair{certFor(t, e, "mail.example.org"), certFor(t, r, "mail.example.org")}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	profile, err := ParseProfile("1.0", []string{"TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}, "2999-12-31")
	if err != nil {
		t.Fatal(err)
	}
	server := NewTLS(certs, profile).server(time.Now())
	for name, c := range map[string]struct {
		client *tls.Config
		want   x509.PublicKeyAlgorithm
	}{
		"new":                   {&tls.Config{ServerName: "mail.example.org"}, x509.ECDSA},
		"new, no name":          {&tls.Config{}, x509.ECDSA},
		"RSA only":              {&tls.Config{ServerName: "mail.example.org", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, x509.RSA},
		"RSA only, no name":     {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, x509.RSA},
		"TLS 1.0":               {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, x509.RSA},
		"ECDSA, an older one":   {&tls.Config{ServerName: "mail.example.org", MaxVersion: tls.VersionTLS12}, x509.ECDSA},
		"a name without a file": {&tls.Config{ServerName: "other.example.org"}, x509.ECDSA},
	} {
		t.Run(name, func(t *testing.T) {
			if got := answered(t, server, c.client); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// issuer is an Issuer with at most one certificate.
type issuer struct{ cert *tls.Certificate }

func (i *issuer) Certificate(*tls.ClientHelloInfo) *tls.Certificate { return i.cert }

func (i *issuer) IsChallenge(h *tls.ClientHelloInfo) bool {
	return len(h.SupportedProtos) == 1 && h.SupportedProtos[0] == "acme-tls/1"
}

func (i *issuer) Leaves() []*x509.Certificate {
	if i.cert == nil {
		return nil
	}
	return []*x509.Certificate{i.cert.Leaf}
}

// A file for the name has precedence over the issuer. A stopgap is used until
// the issuer has a certificate.
func TestIssuer(t *testing.T) {
	r, e := rsaAndECDSA(t)
	load := func(p Pair) *tls.Certificate {
		t.Helper()
		c, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return &c
	}
	issued := load(certFor(t, r, "mail.example.org", "new.example.org")) // RSA
	for name, c := range map[string]struct {
		stopgap bool
		cert    *tls.Certificate
		sni     string
		want    x509.PublicKeyAlgorithm
	}{
		"a file for the name":       {false, issued, "mail.example.org", x509.ECDSA},
		"only the issuer's":         {false, issued, "new.example.org", x509.RSA},
		"nobody's":                  {false, issued, "other.example.org", x509.ECDSA},
		"no name":                   {false, issued, "", x509.ECDSA},
		"stopgap, nothing issued":   {true, nil, "mail.example.org", x509.ECDSA},
		"stopgap, issued":           {true, issued, "mail.example.org", x509.RSA},
		"stopgap, issued, no name":  {true, issued, "", x509.RSA},
		"nothing issued, new name":  {false, nil, "new.example.org", x509.ECDSA},
		"stopgap, issued elsewhere": {true, issued, "other.example.org", x509.RSA},
	} {
		t.Run(name, func(t *testing.T) {
			certs, err := LoadCerts([]Pair{certFor(t, e, "mail.example.org")}, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			certs.SetIssuer(&issuer{c.cert}, c.stopgap)
			if got := answered(t, NewTLS(certs, Profile{}).server(time.Now()), &tls.Config{ServerName: c.sni}); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if n := len(certs.Leaves()); n != 1 && c.cert == nil || n != 2 && c.cert != nil {
				t.Errorf("%d certificates", n)
			}
		})
	}
}

// An authority's validation handshake is answered with its protocol, which is
// not offered to other clients.
func TestChallengeHandshake(t *testing.T) {
	r, e := rsaAndECDSA(t)
	certs, err := LoadCerts([]Pair{certFor(t, e, "mail.example.org")}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	p := certFor(t, r, "mail.example.org")
	answer, err := tls.LoadX509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	certs.SetIssuer(&issuer{&answer}, false)
	server := NewTLS(certs, Profile{}).server(time.Now())
	for protos, want := range map[string]string{"acme-tls/1": "acme-tls/1", "http/1.1": ""} {
		a, b := net.Pipe()
		go tls.Server(a, server).Handshake()
		c := tls.Client(b, &tls.Config{ServerName: "mail.example.org", NextProtos: []string{protos}, InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		state := c.ConnectionState()
		if state.NegotiatedProtocol != want || (state.PeerCertificates[0].PublicKeyAlgorithm == x509.RSA) != (want != "") {
			t.Errorf("%s: protocol %q, key %s", protos, state.NegotiatedProtocol, state.PeerCertificates[0].PublicKeyAlgorithm)
		}
		a.Close()
		b.Close()
	}
}
