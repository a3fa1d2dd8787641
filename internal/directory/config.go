// Package directory looks up addresses, groups and passwords in an LDAP server,
// such as Active Directory or OpenLDAP.
//
// A schema (schema.go) maps an address to a search filter and an entry to an
// [Entry]; a cache (cache.go) determines how long an answer is valid, and for
// how long it is used while the server cannot be asked; expand follows the
// members of a group. These are pure functions of their arguments. The client
// (client.go) owns the connections. [Directory] combines them. What an answer
// means for mail or for a login is left to the callers. Start with Config and
// Directory.
package directory

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"hoplite/internal/conf"
)

// Config is the directory "NAME" { ... } block: an LDAP server that knows
// addresses and passwords. Upstreams and accounts refer to it as
// "directory:NAME".
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	// URL is ldaps://HOST, or ldap://HOST, where STARTTLS is required unless the
	// server is on this machine. Several servers are separated by spaces and tried
	// in this order.
	URL string `hcl:"url" example:"ldaps://dc1.example.org ldaps://dc2.example.org"`
	// BindDN is the account that searches the directory. Active Directory also
	// accepts a user principal name such as "hoplite@example.org". Without it,
	// searches are anonymous.
	BindDN string `hcl:"bind_dn,optional" example:"cn=hoplite,ou=services,dc=example,dc=org"`
	// Password is the password of bind_dn, preferably env("NAME") or file("path")
	// rather than text in this file.
	Password conf.Secret `hcl:"password,optional" example:"env(\"LDAP_PASSWORD\")"`
	// Base is the entry below which addresses are searched.
	Base string `hcl:"base" example:"dc=example,dc=org"`
	// Schema selects the attributes: "ad" for Active Directory (proxyAddresses,
	// mail, member), "inetorg" (mail, mailAlternateAddress, mailLocalAddress,
	// member, uniqueMember, rfc822MailMember), or "posix", which adds memberUid and
	// uses uid as the local part of entries that have no mail attribute.
	Schema string `hcl:"schema" enum:"ad|inetorg|posix" example:"ad"`
	// Filter restricts the entries that are found.
	Filter string `hcl:"filter,optional" example:"(!(msExchHideFromAddressLists=TRUE))"`
	// Disabled selects whether disabled accounts of Active Directory receive mail:
	// "accept", because shared mailboxes and rooms are disabled accounts, or
	// "refuse". They can never log in.
	Disabled string `hcl:"disabled,optional" enum:"accept|refuse" default:"accept"`
	// CA is a PEM file with the certificate of a private authority that signed the
	// server's certificate, relative to the data folder.
	CA string `hcl:"ca,optional" example:"tls/company-ca.pem"`
	// Insecure permits a connection in clear text, or with a certificate that is
	// not valid. Anyone on the network path can then read the passwords.
	Insecure bool `hcl:"insecure,optional"`
	// KnownFor is the time for which an address that was found is cached.
	KnownFor time.Duration `hcl:"known_for,optional" default:"15m"`
	// UnknownFor is the time for which an address that was not found is cached.
	UnknownFor time.Duration `hcl:"unknown_for,optional" default:"1m"`
	// StaleFor is the time for which an address that was found is valid while the
	// directory cannot be asked. All other addresses are then refused
	// temporarily.
	StaleFor time.Duration `hcl:"stale_for,optional" default:"1d"`
	// KnownMax is the maximum number of cached addresses.
	KnownMax int `hcl:"known_max,optional" default:"20000"`
	// Connections is the maximum number of connections for searches, and also the
	// maximum number of concurrent password checks.
	Connections int `hcl:"connections,optional" default:"5"`
	// Timeout limits connecting, and each request.
	Timeout time.Duration `hcl:"timeout,optional" default:"10s"`
}

// Check reports settings that contradict each other.
func (c *Config) Check() error {
	var errs []error
	if _, err := c.servers(); err != nil {
		errs = append(errs, conf.Field("url", err))
	}
	switch {
	case c.BindDN == "" && c.Password != "":
		errs = append(errs, conf.Fieldf("password", "the password has no effect without bind_dn"))
	case c.BindDN != "" && c.Password == "":
		errs = append(errs, conf.Fieldf("bind_dn", "set the password of bind_dn"))
	}
	if _, err := ldap.ParseDN(c.Base); err != nil || c.Base == "" {
		errs = append(errs, conf.Fieldf("base", `%q is not the name of an entry, such as "dc=example,dc=org"`, c.Base))
	}
	if c.Filter != "" {
		if _, err := ldap.CompileFilter(c.Filter); err != nil {
			errs = append(errs, conf.Fieldf("filter", "%q is not a search filter: %v", c.Filter, err))
		}
	}
	if c.Connections < 1 {
		errs = append(errs, conf.Fieldf("connections", "the directory could not be asked: use 1 or more"))
	}
	if c.KnownMax < 1 {
		errs = append(errs, conf.Fieldf("known_max", "use 1 or more"))
	}
	if c.Timeout <= 0 {
		errs = append(errs, conf.Fieldf("timeout", "use a positive duration"))
	}
	return errors.Join(errs...)
}

// server is one LDAP server.
type server struct {
	host, address string
	tls           bool // TLS from the first octet
}

// servers returns the servers of the URL.
func (c *Config) servers() ([]server, error) {
	var list []server
	for _, text := range strings.Fields(c.URL) {
		s, err := parseServer(text)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no server, as in ldaps://ldap.example.org")
	}
	return list, nil
}

func parseServer(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Path != "" && u.Path != "/" {
		return server{}, fmt.Errorf("%q is not a server, as in ldaps://ldap.example.org", text)
	}
	port, ok := map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme]
	if !ok {
		return server{}, fmt.Errorf("%q is not a server: it begins with ldaps:// or ldap://", text)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return server{u.Hostname(), net.JoinHostPort(u.Hostname(), port), u.Scheme == "ldaps"}, nil
}

// isLocal reports whether the server is on this machine, so that no one else
// can read what is sent to it.
func (s server) isLocal() bool {
	ip := net.ParseIP(s.host)
	return s.host == "localhost" || ip != nil && ip.IsLoopback()
}
