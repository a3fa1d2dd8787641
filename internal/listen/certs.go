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

// Certs holds the certificates of the server. Changed files are reloaded at the
// next handshake; if the new certificate is unusable, the old one stays in use.
type Certs struct {
	log    zerolog.Logger
	issuer Issuer // nil if there is none
	// stopgap is set if the files are used only until the issuer has a
	// certificate.
	stopgap bool

	mu    sync.Mutex
	files []*certFile
}

// Issuer supplies certificates that change while the server runs.
type Issuer interface {
	// Certificate returns a certificate for a handshake, or nil.
	Certificate(hello *tls.ClientHelloInfo) *tls.Certificate
	// IsChallenge reports whether a handshake is an ACME validation by a
	// certificate authority, which Certificate answers with the application
	// protocol acme-tls/1 (RFC 8737).
	IsChallenge(hello *tls.ClientHelloInfo) bool
	// Leaves returns the certificates in use.
	Leaves() []*x509.Certificate
}

// SetIssuer adds an issuer. It must be called before the certificates are used.
// A file for the name that a client sends has precedence. If stopgap is set,
// the other files are used only until the issuer has a certificate.
func (c *Certs) SetIssuer(i Issuer, stopgap bool) { c.issuer, c.stopgap = i, stopgap }

type certFile struct {
	pair Pair
	seen [2]stamp // the files' stamps when last read, even if unusable
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
// tls.Config.GetCertificate. It is the first one for the server name that the
// client supports. Old clients need an RSA certificate, which may be configured
// alongside another for the same name.
func (c *Certs) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.isChallenge(hello) {
		return c.issuer.Certificate(hello), nil
	}
	own, match := c.fromFiles(hello)
	if c.issuer == nil || match && !c.stopgap {
		return own, nil
	}
	if issued := c.issuer.Certificate(hello); issued != nil && (c.stopgap || fits(issued, hello.ServerName)) {
		return issued, nil
	}
	return own, nil
}

// isChallenge reports whether the issuer answers a handshake.
func (c *Certs) isChallenge(hello *tls.ClientHelloInfo) bool {
	return c.issuer != nil && c.issuer.IsChallenge(hello)
}

// fits reports whether a certificate is for a name that a client sent.
func fits(cert *tls.Certificate, name string) bool {
	return name != "" && cert.Leaf.VerifyHostname(name) == nil
}

// fromFiles returns the file's certificate for a handshake, and whether it is
// for the name that the client sent. If several match the name, for example RSA
// and ECDSA, the first one that the client supports is used.
func (c *Certs) fromFiles(hello *tls.ClientHelloInfo) (cert *tls.Certificate, match bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.files {
		f.refresh(c.log)
	}
	for _, named := range []bool{true, false} {
		for _, f := range c.files {
			if named && !fits(f.cert, hello.ServerName) {
				continue
			}
			if hello.SupportsCertificate(f.cert) == nil {
				return f.cert, named
			}
			if cert == nil {
				cert, match = f.cert, named
			}
		}
		if cert != nil {
			break // none is usable: the handshake fails with the reason
		}
	}
	return cert, match
}

// Client returns the first certificate, for use as
// tls.Config.GetClientCertificate. It is sent whatever authorities the server
// names, because many servers name none, or the wrong ones.
func (c *Certs) Client(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[0].refresh(c.log)
	return c.files[0].cert, nil
}

// Leaves returns the certificates in use, for checks of their names and expiry
// dates.
func (c *Certs) Leaves() []*x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	var leaves []*x509.Certificate
	if c.issuer != nil {
		leaves = c.issuer.Leaves()
	}
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
