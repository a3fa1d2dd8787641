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

// pair writes a certificate for mail.example.org with a key.
func pair(t *testing.T, name string, key crypto.Signer) Pair {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.org"}, NotAfter: time.Now().Add(time.Hour)}

	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return Pair{path, path}
}

// A client that supports only RSA key exchange gets the RSA certificate, even
// if an ECDSA certificate for the same name is configured first.
func TestCertificateForOldClients(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := LoadCerts([]Pair{pair(t, "ec", ecKey), pair(t, "rsa", rsaKey)}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		client *tls.Config
		rsa    bool
	}{
		{"a modern client", &tls.Config{}, false},
		{"a modern client without a name", &tls.Config{ServerName: ""}, false},
		{"a client with RSA key exchange only", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, true},
	} {
		for _, name := range []string{"mail.example.org", ""} {
			client := c.client.Clone()
			client.ServerName, client.InsecureSkipVerify = name, true
			a, b := net.Pipe()
			server := tls.Server(b, &tls.Config{GetCertificate: certs.Certificate, MinVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}})
			go server.Handshake()
			conn := tls.Client(a, client)
			if err := conn.Handshake(); err != nil {
				t.Errorf("%s, name %q: %v", c.name, name, err)
			} else if _, isRSA := conn.ConnectionState().PeerCertificates[0].PublicKey.(*rsa.PublicKey); isRSA != c.rsa {
				t.Errorf("%s, name %q: RSA %v", c.name, name, isRSA)
			}
			a.Close()
			b.Close()
		}
	}
}
