package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/rs/zerolog"

	"hoplite/internal/files"
)

// Env holds a Manager's dependencies other than its configuration.
type Env struct {
	// Names lists the names to certify.
	Names []string
	// Data is the data folder.
	Data string
	Log  zerolog.Logger
	// Storage stores accounts and certificates. If it is nil, Folder in the
	// data folder is used. Servers that share storage share their certificates.
	Storage func(keys string) certmagic.Storage
}

// Folder returns the folder for certificates with a kind of key.
func Folder(data, keys string) string { return filepath.Join(data, "tls", "acme-"+keys) }

// Manager obtains and renews certificates for a set of names, for each kind of
// key.
type Manager struct {
	names []string
	kinds []*kind
}

// kind holds the certificates with one kind of key.
type kind struct {
	keys   string
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// New returns a Manager, which does not use the network before Start.
func New(c Config, env Env) (*Manager, error) {
	m := &Manager{names: env.Names}
	roots, err := files.Roots(env.Data, c.CARoot)
	if err != nil {
		return nil, fmt.Errorf("acme: ca_root: %w", err)
	}
	if env.Storage == nil {
		env.Storage = func(keys string) certmagic.Storage { return NewStorage(Folder(env.Data, keys)) }
	}
	for _, keys := range c.Keys {
		m.kinds = append(m.kinds, newKind(&c, &env, keys, roots))
	}
	return m, nil
}

func newKind(c *Config, env *Env, keys string, roots *x509.CertPool) *kind {
	k := &kind{keys: keys}
	log := bridge(env.Log)
	k.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return k.config, nil },
		Logger:           log,
	})
	source := certmagic.StandardKeyGenerator{KeyType: certmagic.P256}
	if keys == "rsa" {
		source.KeyType = certmagic.RSA2048
	}
	config := certmagic.Config{
		Storage: env.Storage(keys), KeySource: source, Logger: log,
		ReusePrivateKeys: c.ReuseKey,
		OCSP:             certmagic.OCSPConfig{DisableStapling: true}, // mail clients do not request it
	}
	if len(env.Names) > 0 {
		config.DefaultServerName, config.FallbackServerName = env.Names[0], env.Names[0]
	}
	k.config = certmagic.New(k.cache, config)
	issuer := certmagic.ACMEIssuer{
		CA: c.CA, TestCA: c.CA, Email: c.Email, Agreed: true, TrustedRoots: roots, Logger: log,
		DisableHTTPChallenge:    c.Challenge == "tls" || c.Challenge == "dns",
		DisableTLSALPNChallenge: c.Challenge == "http" || c.Challenge == "dns",
		AltHTTPPort:             c.HTTPPort, AltTLSALPNPort: c.TLSPort,
	}
	if c.DNS != nil {
		issuer.DNS01Solver = c.DNS.solver(log)
	}
	k.issuer = certmagic.NewACMEIssuer(k.config, issuer)
	k.config.Issuers = []certmagic.Issuer{k.issuer}
	return k
}

// Start loads the certificates, and obtains or renews those that are missing or
// due in the background until ctx is done. Failed attempts are repeated.
func (m *Manager) Start(ctx context.Context) error {
	for _, k := range m.kinds {
		if err := k.config.ManageAsync(ctx, m.names); err != nil {
			return fmt.Errorf("acme: %w", err)
		}
	}
	return nil
}

// Close stops the renewals.
func (m *Manager) Close() {
	for _, k := range m.kinds {
		k.cache.Stop()
	}
}

// IsChallenge reports whether a handshake is a tls-alpn-01 validation (RFC
// 8737).
func (m *Manager) IsChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmez.ACMETLS1Protocol
}

// Certificate returns the certificate for a handshake: the first one that the
// client supports. If there is none, it returns nil.
func (m *Manager) Certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	var first *tls.Certificate
	for _, k := range m.kinds {
		cert, err := k.config.GetCertificate(hello)
		if err != nil || cert == nil || len(cert.Certificate) == 0 {
			continue
		}
		if m.IsChallenge(hello) || hello.SupportsCertificate(cert) == nil {
			return cert
		}
		if first == nil && hello.ServerName == "" {
			first = cert // the handshake fails with the reason
		}
	}
	return first
}

// Handler answers http-01 requests and passes on all others.
func (m *Manager) Handler(next http.Handler) http.Handler {
	for _, k := range m.kinds {
		next = k.issuer.HTTPChallengeHandler(next)
	}
	return next
}

// Leaves returns the certificates in use.
func (m *Manager) Leaves() []*x509.Certificate {
	var list []*x509.Certificate
	for _, k := range m.kinds {
		for _, name := range m.names {
			for _, c := range k.cache.AllMatchingCertificates(name) {
				if !slices.ContainsFunc(list, c.Leaf.Equal) {
					list = append(list, c.Leaf)
				}
			}
		}
	}
	return list
}

// ErrUnknownName is returned for a name that the Manager has no certificate
// for.
var ErrUnknownName = errors.New("not one of the names of the acme block")

// Renew replaces the certificates of a name immediately, even if they are not
// due. The old ones are used until the new ones have been obtained.
func (m *Manager) Renew(ctx context.Context, name string) error {
	if !slices.Contains(m.names, name) {
		return fmt.Errorf("%s: %w", name, ErrUnknownName)
	}
	for _, k := range m.kinds {
		var old []string
		for _, c := range k.cache.AllMatchingCertificates(name) {
			old = append(old, c.Hash())
		}
		renew := k.config.RenewCertSync
		if len(old) == 0 {
			renew = func(ctx context.Context, name string, _ bool) error { return k.config.ObtainCertSync(ctx, name) }
		}
		if err := renew(ctx, name, true); err != nil {
			return fmt.Errorf("renew %s: %w", name, err)
		}
		if _, err := k.config.CacheManagedCertificate(ctx, name); err != nil {
			return fmt.Errorf("load the new certificate of %s: %w", name, err)
		}
		k.cache.Remove(old)
	}
	return nil
}
