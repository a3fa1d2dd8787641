// Package oauth obtains and renews OAuth 2.0 access tokens for logins to other
// servers. It supports client credentials with a secret or a certificate (RFC
// 6749, 4.4; RFC 7523), refresh tokens obtained by an administrator's login
// (RFC 8628 or an authorization code), and Google service accounts.
//
// A Source returns a currently valid token and renews it before it expires.
// Tokens are stored in a file that only the server can read, and never appear
// in errors. Sending a token to a server is left to the caller. Start with
// Config and Source.
package oauth

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"hoplite/internal/conf"
)

// Config is the oauth2 { ... } block of a login.
type Config struct {
	conf.Pos
	// Preset sets the addresses and scopes of a provider: "microsoft365" or
	// "gmail".
	Preset string `hcl:"preset,optional" enum:"microsoft365|gmail|"`
	// Tenant is the directory (tenant) ID at Microsoft, or one of its domains.
	Tenant string `hcl:"tenant,optional" example:"example.org"`
	// ClientID is the application (client) ID that the provider has assigned.
	ClientID string `hcl:"client_id,optional" example:"11111111-2222-3333-4444-555555555555"`
	// ClientSecret is the application's secret.
	ClientSecret conf.Secret `hcl:"client_secret,optional" example:"env(\"CLIENT_SECRET\")"`
	// Certificate is a PEM file with a certificate and its private RSA key, which
	// prove the application's identity instead of a secret. The path is relative to
	// the data folder.
	Certificate string `hcl:"certificate,optional" example:"oauth/application.pem"`
	// ServiceAccount is the JSON key file of a Google service account that may act
	// as the user. The path is relative to the data folder.
	ServiceAccount string `hcl:"service_account,optional" example:"oauth/service-account.json"`
	// Refresh is a refresh token. Without it, hoplite oauth login UPSTREAM obtains
	// one.
	Refresh conf.Secret `hcl:"refresh,optional" example:"file(\"/etc/hoplite/refresh-token\")"`
	// Grant is how tokens are obtained: "client_credentials", "refresh_token" after
	// a login, or "service_account". "auto" chooses by what is configured; a secret
	// or certificate at Gmail and any refresh token mean "refresh_token".
	Grant string `hcl:"grant,optional" enum:"auto|client_credentials|refresh_token|service_account" default:"auto"`
	// TokenURL is the address that issues tokens, for providers without a preset.
	TokenURL string `hcl:"token_url,optional" example:"https://login.example.net/token"`
	// DeviceURL is the address at which hoplite oauth login asks for a device code.
	DeviceURL string `hcl:"device_url,optional" example:"https://login.example.net/device"`
	// LoginURL is the page at which users log in when there is no device_url.
	LoginURL string `hcl:"login_url,optional" example:"https://login.example.net/authorize"`
	// Scopes are what the token is for.
	Scopes []string `hcl:"scopes,optional" example:"https://mail.example.net/smtp"`
}

// The grants.
const (
	clientCredentials = "client_credentials"
	refreshToken      = "refresh_token"
	serviceAccount    = "service_account"
)

// grant returns the grant used to obtain tokens.
func (c *Config) grant() string {
	switch {
	case c.Grant != "auto" && c.Grant != "":
		return c.Grant
	case c.ServiceAccount != "":
		return serviceAccount
	case c.Refresh != "", c.Preset == "gmail", c.ClientSecret == "" && c.Certificate == "":
		return refreshToken
	}
	return clientCredentials
}

// provider holds the settings of a preset.
type provider struct {
	token, device, login string
	application          string // scope for client credentials
	delegated            []string
}

// providers maps each preset to the provider's addresses and scopes.
//
// Microsoft:
// learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth,
// read in November 2026. Google:
// developers.google.com/workspace/gmail/imap/xoauth2-protocol, read in November
// 2026; Google does not issue device codes for the mail scope.
var providers = map[string]provider{
	"microsoft365": {
		token:       "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
		device:      "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode",
		login:       "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
		application: "https://outlook.office365.com/.default",
		delegated:   []string{"https://outlook.office.com/SMTP.Send", "offline_access"},
	},
	"gmail": {
		token:       "https://oauth2.googleapis.com/token",
		login:       "https://accounts.google.com/o/oauth2/v2/auth",
		application: "https://mail.google.com/",
		delegated:   []string{"https://mail.google.com/"},
	},
}

// endpoint returns the provider's addresses.
func (c *Config) endpoint() oauth2.Endpoint {
	p := providers[c.Preset]
	pick := func(own, preset string) string {
		if own != "" {
			return own
		}
		return strings.ReplaceAll(preset, "{tenant}", url.PathEscape(c.Tenant))
	}
	e := oauth2.Endpoint{TokenURL: pick(c.TokenURL, p.token), DeviceAuthURL: pick(c.DeviceURL, p.device), AuthURL: pick(c.LoginURL, p.login)}
	if c.Preset != "" {
		e.AuthStyle = oauth2.AuthStyleInParams
	}
	return e
}

// scopes returns the scopes to request.
func (c *Config) scopes() []string {
	p := providers[c.Preset]
	switch {
	case len(c.Scopes) > 0:
		return c.Scopes
	case p.application == "":
		return nil
	case c.grant() == refreshToken:
		return p.delegated
	}
	return []string{p.application}
}

// Complete reports settings that are missing or contradict each other. It is
// called once the preset is known, because the server's block may set it.
func (c *Config) Complete() error {
	var errs []error
	missing := func(field, format string, args ...any) {
		errs = append(errs, conf.At(c.Attr(field), conf.Fieldf(field, format, args...)))
	}
	grant := c.grant()
	if c.Preset == "" && c.TokenURL == "" && grant != serviceAccount {
		missing("token_url", "set a preset or token_url")
	}
	if c.Preset == "microsoft365" && c.Tenant == "" {
		missing("tenant", `microsoft365 needs the tenant: its ID or a domain such as "example.org"`)
	}
	if c.ClientID == "" && grant != serviceAccount {
		missing("client_id", "the application has no client_id")
	}
	switch {
	case grant == clientCredentials && c.Preset == "gmail":
		missing("grant", "Gmail has no client_credentials: use a service_account, or hoplite oauth login")
	case grant == clientCredentials && c.ClientSecret == "" && c.Certificate == "":
		missing("client_secret", "client_credentials need client_secret or certificate")
	case grant == serviceAccount && c.ServiceAccount == "":
		missing("service_account", "name the JSON key file of the service account")
	}
	if c.ClientSecret != "" && c.Certificate != "" {
		missing("certificate", "client_secret and certificate exclude each other")
	}
	for _, u := range []struct{ field, url string }{{"token_url", c.TokenURL}, {"device_url", c.DeviceURL}, {"login_url", c.LoginURL}} {
		if err := checkURL(u.url); err != nil {
			missing(u.field, "%v", err)
		}
	}
	return errors.Join(errs...)
}

// checkURL rejects addresses that would transmit a secret in clear text.
func checkURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return errors.New("not an address such as https://login.example.net/token")
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return errors.New("the secret would be sent in clear text: use https")
	}
	return nil
}
