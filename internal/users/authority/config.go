// Package authority checks the logins of users whose accounts are on another
// server: passwords at an IMAP or SMTP server or a directory, and access tokens
// of an OpenID Connect provider.
//
// The replies of a server become a verdict in verdict.go, and pairs of a name
// and a correct password are remembered in pairs.go: both are pure. imap.go and
// smtp.go hold the two dialogues, dial.go the connection. An [Authority] is one
// such server, and [Accounts] combines them with the accounts of this server.
// Passwords are sent only over TLS with a valid certificate, or to a server on
// this machine. Tokens are checked by users/openid, and tokens.go finds their
// accounts. Throttling is left to users/login. Start with Config and
// Accounts.
package authority

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"hoplite/internal/conf"
	"hoplite/internal/users/openid"
	"hoplite/mail"
)

// Config is the accounts "DOMAIN" { ... } block: users of a domain whose
// passwords are checked by another server, or who log in with access tokens, or
// both. They need no account here. Passwords that hoplite user app-password
// creates work as well.
type Config struct {
	conf.Pos
	Name string `hcl:"domain,label"`
	// Login is the server that checks the passwords: imaps://HOST, imap://HOST,
	// smtps://HOST (port 465), submission://HOST (port 587), smtp://HOST (port 25), or
	// "directory:NAME". TLS with a valid certificate is required, except on this
	// machine. It is required unless there is an oauth block.
	Login string `hcl:"login,optional" example:"imaps://old.example.org"`
	// Addresses is "directory:NAME" if mailboxes of the domain are here: an address
	// of the directory is the mailbox of its entry's primary address, and a group is
	// its members. Leave it out if the domain's mail goes to an upstream.
	Addresses string `hcl:"addresses,optional" example:"directory:ad"`
	// User is the user name at that server: the whole "address", or the "local"
	// part. Directories find users by their addresses.
	User string `hcl:"user,optional" enum:"address|local" default:"address"`
	// CA is a PEM file with the certificate of a private authority that signed the
	// server's certificate, relative to the data folder.
	CA string `hcl:"ca,optional" example:"tls/company-ca.pem"`
	// KnownFor is the time for which a correct password is accepted without asking
	// again.
	KnownFor time.Duration `hcl:"known_for,optional" default:"10m"`
	// StaleFor is the time for which a correct password is accepted while the
	// server cannot be asked, and known keys of an OpenID provider are used while it
	// cannot be asked. All other logins then fail temporarily.
	StaleFor time.Duration `hcl:"stale_for,optional" default:"1h"`
	// Connections is the maximum number of concurrent password checks.
	Connections int `hcl:"connections,optional" default:"10"`
	// Timeout limits one check.
	Timeout time.Duration `hcl:"timeout,optional" default:"15s"`
	// OAuth accepts access tokens of an OpenID Connect provider.
	OAuth *openid.Config `hcl:"oauth,block"`
}

// Check reports settings that contradict each other.
func (c *Config) Check() error {
	var errs []error
	if d, err := mail.ParseDomain(c.Name); err != nil {
		errs = append(errs, fmt.Errorf("accounts %q: not a domain: %w", c.Name, err))
	} else {
		c.Name = d
	}
	if name, ok := c.Directory(); ok {
		switch {
		case name == "":
			errs = append(errs, conf.Fieldf("login", `"directory:" lacks the name of the directory`))
		case c.CA != "":
			errs = append(errs, conf.Fieldf("ca", "set ca in the directory block instead"))
		}
	} else if c.Login != "" {
		if _, err := parseServer(c.Login); err != nil {
			errs = append(errs, conf.Field("login", err))
		}
	} else if c.OAuth == nil {
		errs = append(errs, conf.Fieldf("login", "set login, an oauth block, or both"))
	}
	if name, ok := c.AddressDirectory(); c.Addresses != "" && (!ok || name == "") {
		errs = append(errs, conf.Fieldf("addresses", `%q is not a directory, as in "directory:ad"`, c.Addresses))
	}
	if c.Connections < 1 {
		errs = append(errs, conf.Fieldf("connections", "no password could be checked: use 1 or more"))
	}
	if c.Timeout <= 0 {
		errs = append(errs, conf.Fieldf("timeout", "use a positive duration"))
	}
	return errors.Join(errs...)
}

// Directory returns the name of the directory that checks the passwords, and
// whether one does.
func (c *Config) Directory() (string, bool) { return strings.CutPrefix(c.Login, "directory:") }

// AddressDirectory returns the name of the directory with the domain's addresses,
// and whether there is one.
func (c *Config) AddressDirectory() (string, bool) {
	return strings.CutPrefix(c.Addresses, "directory:")
}

// server is the server of an authority.
type server struct {
	smtp          bool // otherwise IMAP
	tls           bool // TLS from the first octet
	host, address string
}

var schemes = map[string]struct {
	server
	port string
}{
	"imap":        {server{}, "143"},
	"imaps":       {server{tls: true}, "993"},
	"smtp":        {server{smtp: true}, "25"},
	"submission":  {server{smtp: true}, "587"},
	"smtps":       {server{smtp: true, tls: true}, "465"},
	"submissions": {server{smtp: true, tls: true}, "465"},
}

func parseServer(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Path != "" && u.Path != "/" {
		return server{}, fmt.Errorf("%q is not a server, as in imaps://old.example.org", text)
	}
	kind, ok := schemes[u.Scheme]
	if !ok {
		return server{}, fmt.Errorf("%q is not a server: write imaps://, imap://, smtps://, submission://, smtp:// or directory: first", text)
	}
	s := kind.server
	port := u.Port()
	if port == "" {
		port = kind.port
	}
	s.host, s.address = u.Hostname(), net.JoinHostPort(u.Hostname(), port)
	return s, nil
}

// isLocal reports whether the server is on this machine.
func (s server) isLocal() bool {
	ip := net.ParseIP(s.host)
	return s.host == "localhost" || ip != nil && ip.IsLoopback()
}
