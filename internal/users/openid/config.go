// Package openid checks the access tokens that an OpenID Connect provider has
// issued to mail programs.
//
// claims.go decides, without any I/O, whose address a verified token proves.
// keys.go verifies signatures, and provider.go fetches the provider's
// configuration and keys (OpenID Connect Discovery 1.0). SASL, throttling and
// accounts are left to users/login and users/authority. Tokens never appear in
// errors or logs. Start with Config and Provider.
package openid

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"hoplite/internal/conf"
)

// Config is the oauth { ... } block of an accounts block: mail programs log in
// with an access token of an OpenID Connect provider (OAUTHBEARER and XOAUTH2).
// Passwords and app passwords keep working.
type Config struct {
	conf.Pos
	// Issuer is the address of the provider, exactly as it appears in its tokens.
	// Its configuration is read from ISSUER/.well-known/openid-configuration.
	Issuer string `hcl:"issuer" example:"https://idp.example.org/realms/company"`
	// Audience lists the audiences that tokens may be issued for (aud). At least one
	// of them must be in the token.
	Audience []string `hcl:"audience" example:"mail.example.org"`
	// Claim is the claim with the user's address, or with its local part. The address
	// must be in the domain of the accounts block. "email" is accepted only if
	// email_verified is true.
	Claim string `hcl:"claim,optional" default:"email"`
	// Scope lists scopes that the token must have.
	Scope []string `hcl:"scope,optional" example:"mail"`
	// ClockSkew is the tolerated difference between the clocks of this server and
	// the provider.
	ClockSkew time.Duration `hcl:"clock_skew,optional" default:"1m"`
	// CA is a PEM file with the certificate of a private authority that signed the
	// provider's certificate, relative to the data folder.
	CA string `hcl:"ca,optional" example:"tls/company-ca.pem"`
}

// maxSkew is the maximum of ClockSkew.
const maxSkew = 10 * time.Minute

// Check reports settings that are invalid.
func (c *Config) Check() error {
	var errs []error
	if err := checkURL(c.Issuer); err != nil {
		errs = append(errs, conf.Field("issuer", err))
	}
	if len(c.Audience) == 0 || slices.Contains(c.Audience, "") {
		errs = append(errs, conf.Fieldf("audience", "without an audience, tokens for any application would be accepted"))
	}
	if c.Claim == "" {
		errs = append(errs, conf.Fieldf("claim", `name a claim, for example "email"`))
	}
	for _, s := range c.Scope {
		if s == "" || strings.ContainsAny(s, " \t\"\\") {
			errs = append(errs, conf.Fieldf("scope", "%q is not a scope", s))
		}
	}
	if c.ClockSkew < 0 || c.ClockSkew > maxSkew {
		errs = append(errs, conf.Fieldf("clock_skew", "use a duration of at most %s", conf.FormatDuration(maxSkew)))
	}
	return errors.Join(errs...)
}

// Discovery returns the address of the provider's configuration.
func (c *Config) Discovery() string {
	return strings.TrimSuffix(c.Issuer, "/") + "/.well-known/openid-configuration"
}

// checkURL rejects addresses whose answers an attacker could replace.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not an address such as https://idp.example.org", text)
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return fmt.Errorf("%q: the keys would be fetched without TLS: use https", text)
	}
	return nil
}
