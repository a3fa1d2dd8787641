// Package config reads relay.hcl into Go values. It defines the blocks, finds
// the file, and provides views of the configuration that several parts of the
// program need.
//
// Each package defines and checks its own block. Rules that involve several
// blocks are in package check.
package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hoplite/imap"
	"hoplite/internal/acme"
	"hoplite/internal/conf"
	"hoplite/internal/directory"
	"hoplite/internal/listen"
	"hoplite/internal/stats"
	"hoplite/internal/users/authority"
	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/pop3"
	"hoplite/relay"
	"hoplite/relay/forward"
	"hoplite/relay/forward/tlsresults"
	"hoplite/web"
)

// Config is relay.hcl.
type Config struct {
	conf.Pos
	// Hostname is the server's name in greetings, EHLO and Received, and the
	// authserv-id of Authentication-Results. It should resolve in DNS. The default
	// is the operating system's host name.
	Hostname string `hcl:"hostname,optional" example:"mail.example.org"`
	// Data is the folder for all state: accounts, queue, mail, history. It is
	// relative to this file. The default is "var", and /var/lib/hoplite for a file
	// below /etc.
	Data string `hcl:"data,optional" example:"var"`
	// Trusted lists the networks whose Received lines are trusted: your own
	// servers and those of a provider in front of them. It does not permit
	// relaying.
	Trusted []netip.Prefix `hcl:"trusted,optional"`
	// Postmaster receives mail for postmaster at every local domain, and
	// delivery reports that cannot be returned to a sender.
	Postmaster string `hcl:"postmaster,optional" example:"ann@example.org"`
	// Aliases is a file in the syntax of Postfix's virtual(5), under data.
	Aliases string `hcl:"aliases,optional" default:"aliases"`
	// Sandbox restricts the running server to writing below data, its maildrops
	// and the folders of its socket files (Linux, by Landlock). A folder elsewhere
	// that a reload adds is writable only after a restart.
	Sandbox bool `hcl:"sandbox,optional" default:"true"`

	DNS         *DNSConfig              `hcl:"dns,block"`
	ACME        *acme.Config            `hcl:"acme,block"`
	Certificate []CertificateConfig     `hcl:"certificate,block" was:"tls"`
	Log         *LogConfig              `hcl:"log,block"`
	History     *HistoryConfig          `hcl:"history,block"`
	Queue       *QueueConfig            `hcl:"queue,block"`
	Metrics     *stats.Config           `hcl:"metrics,block"`
	SMTP        []*relay.Config         `hcl:"smtp,block"`
	LMTP        []*relay.Config         `hcl:"lmtp,block"`
	Chain       []*relay.ChainConfig    `hcl:"chain,block"`
	POP3        []*pop3.Config          `hcl:"pop3,block"`
	IMAP        []*imap.Config          `hcl:"imap,block"`
	Web         []*web.Config           `hcl:"web,block"`
	Maildrop    []*maildrop.Config      `hcl:"maildrop,block"`
	Upstream    []*forward.Config       `hcl:"upstream,block"`
	Directory   []*directory.Config     `hcl:"directory,block"`
	Accounts    []*authority.Config     `hcl:"accounts,block"`
	Policy      []*forward.PolicyConfig `hcl:"policy,block"`
	TLSReports  *tlsresults.Config      `hcl:"tls_reports,block"`
}

// DNSConfig is the dns { ... } block: the DNS server to use instead of the
// system's resolvers.
type DNSConfig struct {
	// Server is the recursive server to ask.
	Server netip.AddrPort `hcl:"server" example:"127.0.0.1:53"`
	// Validates declares that the server validates DNSSEC and that its answers
	// cannot be changed in transit. It is implied for a server on this machine.
	Validates bool `hcl:"validates,optional" was:"trusted"`
}

// CertificateConfig is the certificate "NAME" { ... } block: a certificate for
// TLS. Clients that send a server name (SNI) get the matching one. If there is
// no such block, a self-signed certificate is created at the first start.
type CertificateConfig struct {
	conf.Pos
	Name string `hcl:"name,label,optional"`
	listen.CertConfig
	// Client excludes the certificate from listeners. It is for upstreams that name
	// it in certificate.
	Client bool `hcl:"client,optional"`
}

// LogConfig is the log { ... } block. Lines are written to stderr within 10 ms;
// warnings and errors are written immediately.
type LogConfig struct {
	// Level is the lowest level that is written; each transaction is logged as
	// one line at level info.
	Level string `hcl:"level,optional" enum:"debug|info|warn|error" default:"info"`
	// Format is "json", "text" for people, or "auto": text on a terminal.
	Format string `hcl:"format,optional" enum:"auto|json|text" default:"auto"`
}

// HistoryConfig is the history { ... } block: records of the processing of each
// message.
type HistoryConfig struct {
	// Keep is how long finished transactions and refusals can be looked up.
	Keep time.Duration `hcl:"keep,optional" default:"30d"`
	// Max is the maximum disk space for history; the oldest days are removed
	// first.
	Max conf.Bytes `hcl:"max,optional" default:"1GiB"`
}

// Under returns path below the data folder; absolute paths are unchanged.
func (c *Config) Under(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.Data, path)
}

// Names returns the names of this server, which the pattern "local" matches:
// the hostname, localhost, and the hostnames of listeners.
func (c *Config) Names() []string {
	names := []string{c.Hostname}
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add("localhost")
	for _, l := range c.MailListeners() {
		add(l.Hostname)
	}
	return names
}

// IsOurs reports whether a mail exchanger is this server.
func (c *Config) IsOurs(host string) bool {
	d, err := mail.ParseDomain(host)
	return err == nil && d != "localhost" && slices.Contains(c.Names(), d)
}

// FindChain returns the chain called name, or nil.
func (c *Config) FindChain(name string) *relay.ChainConfig {
	for _, ch := range c.Chain {
		if ch.Name == name {
			return ch
		}
	}
	return nil
}

// ACMENames returns the names for which the acme block obtains certificates:
// the configured ones, or those of the server, and the MTA-STS policy hosts of
// its web listeners.
func (c *Config) ACMENames() []string {
	names := c.ACME.NamesOr(c.Names())
	for _, w := range c.Web {
		for _, p := range w.MTASTS {
			_, domain, _ := strings.Cut(p.Host(), ".")
			if !w.ReverseProxy && !slices.Contains(names, p.Host()) && !slices.Contains(names, "*."+domain) {
				names = append(names[:len(names):len(names)], p.Host())
			}
		}
	}
	return names
}

// ServerCertificates returns the certificate blocks for listeners.
func (c *Config) ServerCertificates() []*CertificateConfig {
	var list []*CertificateConfig
	for i := range c.Certificate {
		if t := &c.Certificate[i]; !t.Client {
			list = append(list, t)
		}
	}
	return list
}

// ClientCertificate loads the certificate that an upstream sends to its servers.
// It returns nil if the upstream names none.
func (c *Config) ClientCertificate(u *forward.Config, log zerolog.Logger) (*listen.Certs, error) {
	if u.Certificate == "" {
		return nil, nil
	}
	for i := range c.Certificate {
		if t := &c.Certificate[i]; t.Name == u.Certificate {
			return listen.LoadCerts([]listen.Pair{{Cert: c.Under(t.Cert), Key: c.Under(t.Key)}}, log)
		}
	}
	return nil, fmt.Errorf("there is no certificate %q", u.Certificate)
}

// FindUpstream returns the upstream called name, or nil.
func (c *Config) FindUpstream(name string) *forward.Config {
	for _, u := range c.Upstream {
		if u.Name == name {
			return u
		}
	}
	return nil
}
