package listen

import (
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
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Pair holds the names of two PEM files: a certificate followed by its chain,
// and its key.
type Pair struct{ Cert, Key string }

// Certs holds the certificates of the server. Changed files are read again at
// the next handshake; if the new certificate is unusable, the old one stays in
// use.
type Certs struct {
	log zerolog.Logger

	mu    sync.Mutex
	files []*certFile
}

type certFile struct {
	pair Pair
	seen [2]stamp // of the files when last read, usable or not
	cert *tls.Certificate
}

// stamp identifies a version of a file.
type stamp struct {
	mod  time.Time
	size int64
}

// LoadCerts reads the certificates. The first one is used for clients that send
// no server name, or a name that no certificate covers.
func LoadCerts(pairs []Pair, log zerolog.Logger) (*Certs, error) {
	c := &Certs{log: log}
	var errs []error
	for _, p := range pairs {
		f := &certFile{pair: p}
		if err := f.load(); err != nil {
			errs = append(errs, err)
		}
		c.files = append(c.files, f)
	}
	if len(pairs) == 0 {
		errs = append(errs, errors.New("no certificate"))
	}
	return c, errors.Join(errs...)
}

// Certificate returns the certificate for a handshake, for use as
// tls.Config.GetCertificate.
func (c *Certs) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.files {
		f.refresh(c.log)
	}
	if hello.ServerName != "" {
		for _, f := range c.files {
			if f.cert.Leaf.VerifyHostname(hello.ServerName) == nil {
				return f.cert, nil
			}
		}
	}
	return c.files[0].cert, nil
}

// Leaves returns the certificates in use, for checks of their names and dates.
func (c *Certs) Leaves() []*x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	var leaves []*x509.Certificate
	for _, f := range c.files {
		leaves = append(leaves, f.cert.Leaf)
	}
	return leaves
}

func (f *certFile) load() error {
	f.seen = f.stamps()
	cert, err := tls.LoadX509KeyPair(f.pair.Cert, f.pair.Key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", f.pair.Cert, err)
	}
	f.cert = &cert
	return nil
}

func (f *certFile) refresh(log zerolog.Logger) {
	if f.stamps() == f.seen {
		return
	}
	if err := f.load(); err != nil {
		log.Warn().Err(err).Msg("new certificate is unusable; keeping the old one")
		return
	}
	log.Info().Str("file", f.pair.Cert).Time("expires", f.cert.Leaf.NotAfter).Msg("certificate reloaded")
}

func (f *certFile) stamps() (s [2]stamp) {
	for i, name := range []string{f.pair.Cert, f.pair.Key} {
		if fi, err := os.Stat(name); err == nil {
			s[i] = stamp{fi.ModTime(), fi.Size()}
		}
	}
	return s
}

// SelfSigned returns the files in dir that hold a self-signed certificate for
// names. It creates them if they do not exist, are incomplete after a crash, do
// not cover names, or expire in less than 30 days.
func SelfSigned(dir string, names ...string) (Pair, error) {
	p := Pair{filepath.Join(dir, "self-signed.pem"), filepath.Join(dir, "self-signed.key")}
	pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
	switch {
	case err == nil && time.Until(pair.Leaf.NotAfter) > 30*24*time.Hour && covers(pair.Leaf, names):
		return p, nil
	case errors.Is(err, fs.ErrPermission):
		return p, fmt.Errorf("self-signed certificate: %w", err)
	}
	cert, key, err := sign(names)
	if err != nil {
		return p, fmt.Errorf("make certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return p, err
	}
	if err := replace(p.Key, "EC PRIVATE KEY", key); err != nil {
		return p, err
	}
	return p, replace(p.Cert, "CERTIFICATE", cert)
}

func covers(cert *x509.Certificate, names []string) bool {
	for _, n := range names {
		if cert.VerifyHostname(n) != nil {
			return false
		}
	}
	return true
}

func sign(names []string) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
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
	if cert, err = x509.CreateCertificate(rand.Reader, t, t, &k.PublicKey, k); err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalECPrivateKey(k)
	return cert, key, err
}

// replace writes a PEM file; after a crash, either the old or the new file
// exists.
func replace(name, kind string, der []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
