package forward

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"hoplite/relay/forward/dane"
)

// assurance is the degree to which a connection proves the server's identity,
// weakest first.
type assurance uint8

const (
	clearText assurance = iota // an attacker on the path can read and change it
	encrypted                  // TLS with a certificate that was not verified
	verified                   // TLS with a valid certificate for the server's name
)

// requirement is the proof that a connection to a destination must provide
// before mail is sent over it. It is computed once for each destination and is
// part of the pool's key. Only meets compares it with a connection.
type requirement struct {
	least assurance
	// startTLS is set if STARTTLS is used where the server offers it, even if
	// clear text is allowed.
	startTLS bool
	// dane holds the server's TLSA records. If there are any, they replace
	// public certificate authorities (RFC 7672). base is the domain to which
	// they belong. names holds the acceptable names in a certificate, separated
	// by spaces.
	dane        dane.Records
	base, names string
	// sts is set if the domain's MTA-STS policy requires the certificate (RFC
	// 8461).
	sts bool
	// policy describes the policy block that determines least, if there is one.
	// weakened is set if the block replaced all other requirements.
	policy   string
	weakened bool
}

// requirementFor returns the requirement for connections to a server of an
// upstream. A Unix socket is local, so TLS is used on it only if it is
// required. A login requires a verified certificate, regardless of tls.
func requirementFor(cfg *Config, s *server) requirement {
	if cfg.Auth != nil && !cfg.Auth.Insecure && !s.isLocal() {
		return requirement{least: verified, startTLS: true}
	}
	r := levels[cmp.Or(cfg.TLS, "may")]
	if r.least == clearText && s.network == "unix" {
		r.startTLS = false
	}
	return r
}

// withDANE returns the requirement raised to the level that a server's TLSA
// records demand. They require TLS even if none of them is usable (RFC 7672,
// 2.2).
func (r requirement) withDANE(records dane.Records, base, host, domain string) requirement {
	usable := records.Usable()
	if len(usable) == 0 {
		r.least, r.startTLS = max(r.least, encrypted), true
		return r
	}
	r.least, r.startTLS, r.dane, r.base = verified, true, records, base
	if slices.ContainsFunc(usable, func(t dane.Record) bool { return t.Usage == dane.UsageTA }) {
		r.names = strings.Join(slices.Compact([]string{base, host, domain}), " ")
	}
	return r
}

// withSTS returns the requirement raised to the level of an enforced MTA-STS
// policy.
func (r requirement) withSTS() requirement {
	r.least, r.startTLS, r.sts = verified, true, true
	return r
}

// name returns the server name sent in TLS (SNI), which the certificate must be
// for.
func (r requirement) name(s *server) string { return cmp.Or(r.base, s.host) }

// check checks the certificates of a TLS connection and returns the resulting
// proof.
func (r requirement) check(state tls.ConnectionState, s *server, roots *x509.CertPool) proof {
	p := proof{state: &state, policy: r.policy}
	switch {
	case !r.dane.None():
		var matched dane.Record
		if matched, p.doubt = dane.Verify(state, r.dane.Usable(), strings.Fields(r.names)); p.doubt == nil {
			p.by = "DANE " + matched.String() + " matched"
		}
	default:
		if p.doubt = verify(state, s.host, roots); p.doubt == nil && r.sts {
			p.by = "verified by MTA-STS"
		}
	}
	return p
}

// proof describes the proof of the server's identity that a connection
// provides.
type proof struct {
	// state is nil in clear text.
	state *tls.ConnectionState
	// doubt is the reason why the certificate is not valid for the server's
	// name, or nil if it is valid.
	doubt error
	// by describes the proof if it is stronger than a valid certificate.
	by string
	// failed is the error of the TLS handshake that caused mail to be sent in
	// clear text.
	failed error
	// certificate is set if the server asked for our certificate and received it.
	certificate bool
	// policy describes the policy block that determined the requirement.
	policy string
}

func (p proof) assurance() assurance {
	switch {
	case p.state == nil:
		return clearText
	case p.doubt != nil:
		return encrypted
	}
	return verified
}

// meets returns the reason why a connection does not meet the requirement, or
// nil if it does.
func (r requirement) meets(p proof) error {
	if p.assurance() >= r.least {
		return nil
	}
	err := p.doubt
	if p.state == nil {
		err = errNoTLS
	}
	if r.policy != "" {
		return fmt.Errorf("%w (%s)", err, r.policy)
	}
	return err
}

// String describes the proof, for outcomes, log lines and traces.
func (p proof) String() string {
	text := p.plain()
	if p.certificate {
		text += ", client certificate sent"
	}
	if p.policy != "" {
		text += ", " + p.policy
	}
	return text
}

// plain describes the proof of the server's identity.
func (p proof) plain() string {
	switch p.assurance() {
	case verified:
		return tls.VersionName(p.state.Version) + ", " + cmp.Or(p.by, "verified")
	case encrypted:
		return tls.VersionName(p.state.Version) + ", certificate not verified"
	}
	if p.failed != nil {
		return "clear text (" + plainError(p.failed) + ")"
	}
	return "clear text"
}

// cipher returns the TLS version and cipher suite, for example "TLSv1.3
// TLS_AES_128_GCM_SHA256", or "" in clear text.
func (p proof) cipher() string {
	if p.state == nil {
		return ""
	}
	return strings.Replace(tls.VersionName(p.state.Version), "TLS ", "TLSv", 1) + " " + tls.CipherSuiteName(p.state.CipherSuite)
}

// insecureError means that a connection does not meet its requirement.
type insecureError struct{ err error }

func (e *insecureError) Error() string { return e.err.Error() }
func (e *insecureError) Unwrap() error { return e.err }

// errNoTLS means that TLS is required but the server does not offer STARTTLS.
var errNoTLS = errors.New("the server does not offer STARTTLS, and TLS is required")

// verify checks the chain and the name of a server's certificate; nil roots
// mean the system's.
func verify(state tls.ConnectionState, name string, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	leaf := state.PeerCertificates[0]
	opts := x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(opts); err != nil {
		return certificateError(leaf, name, err)
	}
	return nil
}

// certificateDoubt is a problem with a certificate in plain language, with its cause.
type certificateDoubt struct {
	text  string
	cause error
}

func (d *certificateDoubt) Error() string { return d.text }
func (d *certificateDoubt) Unwrap() error { return d.cause }

// certificateError describes the problem with a certificate in plain language.
func certificateError(leaf *x509.Certificate, name string, err error) error {
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
	)
	switch now := time.Now(); {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil && now.Before(invalid.Cert.NotBefore):
		return &certificateDoubt{fmt.Sprintf("the certificate of %s is not valid before %s", name, invalid.Cert.NotBefore.UTC().Format(time.DateTime)), err}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return &certificateDoubt{fmt.Sprintf("the certificate of %s expired on %s", name, invalid.Cert.NotAfter.UTC().Format(time.DateOnly)), err}
	case errors.As(err, &host):
		return &certificateDoubt{fmt.Sprintf("the certificate is for %s, not for %s", certificateNames(leaf), name), err}
	case errors.As(err, &unknown):
		return &certificateDoubt{fmt.Sprintf("the certificate of %s is not signed by a trusted authority", name), err}
	}
	return fmt.Errorf("the certificate of %s is not valid: %w", name, err)
}

// certificateNames returns up to three of the names that a certificate is for.
func certificateNames(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) == 0:
		return "no host name"
	case len(names) > 3:
		names = append(names[:3], "others")
	}
	return strings.Join(names, ", ")
}

// LoginVerified reports whether a login makes every connection to some of the
// upstream's servers, or to all of them, require a verified certificate,
// whatever tls says.
func (c *Config) LoginVerified() (some, all bool) {
	if c.Auth == nil || c.Auth.Insecure {
		return false, false
	}
	local := 0
	for _, text := range c.Servers {
		if s, err := parseServer(text); err == nil && s.isLocal() {
			local++
		}
	}
	return local == 0 || local < len(c.Servers), local == 0
}

// isLocal reports whether a server's configured address is on this machine.
func (s *server) isLocal() bool {
	ip := net.ParseIP(s.host)
	return s.network == "unix" || s.host == "localhost" || ip != nil && ip.IsLoopback()
}
