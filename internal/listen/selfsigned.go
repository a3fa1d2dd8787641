package listen

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/files"
)

// SelfSigned returns the file in dir that holds a self-signed certificate for
// names and its key. Both are in one file so that a crash cannot leave a
// certificate without its key. The file is created if it does not exist, is
// damaged, does not cover names, or expires in less than 30 days.
func SelfSigned(dir string, log zerolog.Logger, names ...string) (Pair, error) {
	path := filepath.Join(dir, "self-signed.pem")
	p := Pair{Cert: path, Key: path}
	if err := joinPair(path, filepath.Join(dir, "self-signed.key")); err != nil {
		return p, fmt.Errorf("self-signed certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(path, path)
	switch {
	case err == nil && time.Until(pair.Leaf.NotAfter) > 30*24*time.Hour && covers(pair.Leaf, names):
		return p, nil
	case errors.Is(err, fs.ErrPermission):
		return p, fmt.Errorf("self-signed certificate: %w", err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		log.Warn().Err(err).Str("file", path).Msg("damaged self-signed certificate replaced")
	}
	text, err := sign(names)
	if err != nil {
		return p, fmt.Errorf("make certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return p, err
	}
	return p, writePair(path, text)
}

// joinPair appends the key, which earlier versions wrote to a separate file, to
// the certificate, and removes the separate file. A pair that cannot be read or
// does not match is left to SelfSigned, which replaces it.
func joinPair(cert, key string) error {
	keyText, err := os.ReadFile(key)
	if err != nil {
		return nil
	}
	if text, err := os.ReadFile(cert); err == nil && !bytes.Contains(text, []byte("PRIVATE KEY")) {
		if _, err := tls.X509KeyPair(text, keyText); err == nil {
			if err := writePair(cert, append(text, keyText...)); err != nil {
				return err
			}
		}
	}
	return os.Remove(key)
}

// writePair replaces a file that may have held only a certificate and been
// readable by every user.
func writePair(path string, text []byte) error {
	if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return files.Write(path, text, 0o600)
}

func covers(cert *x509.Certificate, names []string) bool {
	for _, n := range names {
		if cert.VerifyHostname(n) != nil {
			return false
		}
	}
	return true
}

// sign returns a certificate followed by its key, both PEM-encoded.
func sign(names []string) ([]byte, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: names[0]},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, &k.PublicKey, k)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})...), nil
}
