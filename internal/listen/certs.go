package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
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
// tls.Config.GetCertificate: the first one for the server name that the client can
// use. Old clients need an RSA certificate, which may stand beside another for the
// same name.
func (c *Certs) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.files {
		f.refresh(c.log)
	}
	var first *tls.Certificate
	for _, named := range []bool{true, false} {
		for _, f := range c.files {
			if named && (hello.ServerName == "" || f.cert.Leaf.VerifyHostname(hello.ServerName) != nil) {
				continue
			}
			if hello.SupportsCertificate(f.cert) == nil {
				return f.cert, nil
			}
			if first == nil {
				first = f.cert
			}
		}
		if first != nil {
			break // none is usable: the handshake fails and says why
		}
	}
	return first, nil
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
