// Package acme obtains and renews certificates from an ACME authority (RFC
// 8555). It uses certmagic, with a bridge to this server's log and with storage
// that replaces a name's key and certificate in a single rename.
//
// A Manager answers TLS handshakes and the challenges http-01 and tls-alpn-01
// on the server's own listeners, or opens a listener while a challenge is
// pending. For dns-01 it uses dynamic updates (RFC 2136) or an external
// program. Certificates from files, and the choice between them and ACME
// certificates, are left to the caller. Start with Config and Manager.
package acme

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"

	"hoplite/internal/conf"
)

// Config is the acme { ... } block. The authority must be able to reach this
// server under each name, or challenge = "dns" proves the names.
type Config struct {
	conf.Pos
	// Email is where the authority sends notices.
	Email string `hcl:"email" example:"ann@example.org"`
	// Names are the names of the certificates; the default is hostname and those of
	// the listeners.
	Names []string `hcl:"names,optional" example:"mail.example.org"`
	// CA is the directory of the authority; the default is Let's Encrypt. Its terms
	// are accepted.
	CA string `hcl:"ca,optional" default:"https://acme-v02.api.letsencrypt.org/directory"`
	// CARoot is a PEM file with the certificate that a private authority's server
	// is verified by, relative to the data folder.
	CARoot string `hcl:"ca_root,optional" example:"tls/ca.pem"`
	// Keys are the kinds of keys: "rsa" beside "ecdsa" serves clients that know
	// nothing else.
	Keys []string `hcl:"keys,optional" default:"ecdsa"`
	// ReuseKey keeps the key when a certificate is renewed, so that TLSA records with
	// the parameters 3 1 1 remain valid.
	ReuseKey bool `hcl:"reuse_key,optional"`
	// Challenge is how the names are proved: "http" on port 80, "tls" on port 443,
	// "dns" by the dns block, or "auto" for http or tls, whichever works.
	Challenge string `hcl:"challenge,optional" enum:"auto|http|tls|dns" default:"auto"`
	// HTTPPort and TLSPort are the ports at which the challenges arrive here, if a
	// router forwards 80 and 443 to others.
	HTTPPort int `hcl:"http_port,optional" default:"80"`
	// TLSPort is the port for "tls".
	TLSPort int `hcl:"tls_port,optional" default:"443"`
	// DNS is how TXT records are published for challenge = "dns".
	DNS *DNSConfig `hcl:"dns,block"`
}

// DNSConfig is the dns { ... } block in acme.
type DNSConfig struct {
	conf.Pos
	// Server accepts dynamic updates (RFC 2136) of the zone.
	Server string `hcl:"server,optional" example:"192.0.2.53:53"`
	// Key is the name of the TSIG key.
	Key string `hcl:"key,optional" example:"acme."`
	// Secret is the TSIG key in base64.
	Secret conf.Secret `hcl:"secret,optional" example:"env(\"TSIG_SECRET\")"`
	// Algorithm is that of the TSIG key.
	Algorithm string `hcl:"algorithm,optional" enum:"hmac-sha256|hmac-sha512" default:"hmac-sha256"`
	// Program is run instead, as PROGRAM present NAME VALUE to publish a TXT record
	// and PROGRAM cleanup NAME VALUE to remove it.
	Program string `hcl:"program,optional" example:"/etc/hoplite/dns-update"`
}

// Check reports settings that contradict each other.
func (c *Config) Check() error {
	var errs []error
	for _, n := range c.Names {
		if strings.ContainsAny(n, " /:@") || !strings.Contains(n, ".") {
			errs = append(errs, conf.Fieldf("names", "%q is not a host name", n))
		}
		if strings.HasPrefix(n, "*.") && c.Challenge != "dns" {
			errs = append(errs, conf.Fieldf("challenge", `%s needs challenge = "dns"`, n))
		}
	}
	for _, k := range c.Keys {
		if k != "ecdsa" && k != "rsa" {
			errs = append(errs, conf.Fieldf("keys", `%q is not "ecdsa" or "rsa"`, k))
		}
	}
	if u, err := url.Parse(c.CA); err != nil || u.Scheme != "https" || u.Host == "" {
		errs = append(errs, conf.Fieldf("ca", "not an address such as https://acme.example.org/directory"))
	}
	switch d := c.DNS; {
	case c.Challenge == "dns" && d == nil:
		errs = append(errs, conf.Fieldf("challenge", `"dns" needs a dns block`))
	case d != nil && c.Challenge != "dns":
		errs = append(errs, conf.Fieldf("challenge", `the dns block has no effect without challenge = "dns"`))
	case d != nil && (d.Server == "") == (d.Program == ""):
		errs = append(errs, conf.Fieldf("dns", "set server or program"))
	}
	if d := c.DNS; d != nil && d.Server != "" {
		if _, _, err := net.SplitHostPort(d.Server); err != nil {
			errs = append(errs, conf.Fieldf("dns", "server: %q is not an address with a port", d.Server))
		}
	}
	return errors.Join(errs...)
}

// NamesOr returns the configured names or, if there are none, those of hosts
// that an authority can certify.
func (c *Config) NamesOr(hosts []string) []string {
	if len(c.Names) > 0 {
		return c.Names
	}
	return slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return !strings.Contains(h, ".") || net.ParseIP(h) != nil })
}
