package forward

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hoplite/internal/conf"
	"hoplite/internal/oauth"
	"hoplite/mail"
)

// Config is the upstream "NAME" { ... } block.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	// Servers lists the servers that receive the mail: smtp://HOST[:25],
	// smtps://HOST[:465], lmtp://HOST[:24] or lmtp+unix:///path. Several
	// servers share the load according to ?weight=N (default 1); a server of
	// weight 0 is a reserve, used only if no other can be reached. If a name
	// has several addresses, all of them are tried.
	Servers []string `hcl:"servers,optional" example:"smtp://192.0.2.10:25"`
	// Preset sets the server, the limits and the addresses for OAuth of a provider:
	// "microsoft365" or "gmail". Other attributes have precedence.
	Preset string `hcl:"preset,optional" enum:"microsoft365|gmail|"`
	// MX looks up the servers of each recipient's domain in DNS instead.
	MX bool `hcl:"mx,optional"`
	// Mode is "inline" (the client waits for the upstream's own reply), "queue"
	// (the message is accepted and delivered later), or "auto": in-line while
	// the upstream can be reached, otherwise through the queue.
	Mode string `hcl:"mode,optional" enum:"inline|queue|auto" default:"auto"`
	// Port is the port of servers found by MX.
	Port int `hcl:"port,optional" default:"25"`
	// Source lists the local addresses to connect from, at most one of each
	// family. By default the system chooses.
	Source []string `hcl:"source,optional" example:"192.0.2.1"`
	// Family restricts the servers' addresses to "ipv4" or "ipv6". An IPv6
	// address without a PTR record is a common reason for refusals.
	Family string `hcl:"family,optional" enum:"any|ipv4|ipv6" default:"any"`
	// TLS selects the use of TLS: "off"; "may" uses it if it is offered,
	// whatever the certificate; "require" requires encryption; "verify" also
	// requires a valid certificate for the server's name.
	TLS string `hcl:"tls,optional" enum:"off|may|require|verify" default:"may"`
	// TLSMin is the oldest TLS version: "1.2" or "1.3"; "1.0" and "1.1" only
	// with tls_legacy_until.
	TLSMin string `hcl:"tls_min,optional" enum:"1.0|1.1|1.2|1.3" default:"1.2"`
	// TLSSuites lists cipher suites for TLS 1.2 and older by their IANA names,
	// for old servers; weak ones only with tls_legacy_until.
	TLSSuites []string `hcl:"tls_suites,optional" example:"TLS_RSA_WITH_AES_128_CBC_SHA"`
	// TLSLegacyUntil is the last day on which weak TLS is used. Each use is
	// logged.
	TLSLegacyUntil string `hcl:"tls_legacy_until,optional" example:"2027-06-30"`
	// Certificate is the name of a certificate block. The certificate is sent to
	// servers that ask for one, and is the login if auth has no password and the
	// server offers EXTERNAL.
	Certificate string `hcl:"certificate,optional" example:"partner"`
	// Auth is the login to the upstream. It is sent only over TLS with a valid
	// certificate, whatever tls says, unless the server is on this machine.
	Auth *AuthConfig `hcl:"auth,block"`
	// Sender is the address that all mail is sent as, because the server accepts no
	// other: see sender of a route. Reports of this server are sent with it in From.
	Sender string `hcl:"sender,optional" example:"scanner@example.org"`
	// Recipients selects how recipients are checked at RCPT: "call-ahead" asks
	// the upstream and caches the answer; "file:NAME" reads a file under data
	// with one address or @domain per line; "directory:NAME" asks an LDAP server,
	// and groups are addresses like others, which the upstream expands; "any"
	// accepts every recipient, so that mail to unknown ones bounces. With mx =
	// true every recipient is accepted.
	Recipients string `hcl:"recipients,optional" default:"call-ahead"`
	// KnownFor is the time for which an existing recipient is cached. While the
	// upstream cannot be asked, it is accepted for another 31 days.
	KnownFor time.Duration `hcl:"known_for,optional" default:"12h"`
	// UnknownFor is the time for which a nonexistent recipient is cached.
	UnknownFor time.Duration `hcl:"unknown_for,optional" default:"10m"`
	// KnownMax is the maximum number of cached recipients.
	KnownMax int `hcl:"known_max,optional" default:"100000"`
	// Downgrade re-encodes unsigned 8-bit parts and UTF-8 headers for a server
	// that does not support them, instead of refusing the message. This breaks
	// DKIM signatures; signed (S/MIME, PGP) parts are never changed.
	Downgrade bool `hcl:"downgrade,optional"`
	// Disable lists extensions that are not used even if the servers offer
	// them, for example because they are broken: PIPELINING, 8BITMIME,
	// SMTPUTF8, DSN, CHUNKING, SIZE, STARTTLS, AUTH, LIMITS.
	Disable []string `hcl:"disable,optional" example:"CHUNKING"`
	// Fallback is the name of the upstream that is used while this one cannot
	// be reached.
	Fallback string `hcl:"fallback,optional"`
	// AllowLoopback permits servers whose names resolve to loopback addresses.
	// By default they are skipped, because mail could loop.
	AllowLoopback bool `hcl:"allow_loopback,optional"`
	// TellClient passes the client's address and name on to the upstream, for
	// its log and filters, by "xclient", "xforward" or "proxy" (PROXY v2). The
	// upstream must allow it.
	TellClient string `hcl:"tell_client,optional" was:"client" enum:"no|xclient|xforward|proxy" default:"no"`
	// Helo is the name sent in EHLO; it defaults to the server's hostname.
	Helo string `hcl:"helo,optional"`
	// Connections is the maximum number of connections to one server.
	Connections int `hcl:"connections,optional" default:"20"`
	// Rate is how many messages may be sent, for example "30/1m"; more wait. "0" is no
	// limit.
	Rate conf.Rate `hcl:"rate,optional"`
	// RecipientsPerDay is the maximum number of recipients that servers accept in 24
	// hours; further mail waits. 0 is no limit.
	RecipientsPerDay int `hcl:"recipients_per_day,optional" example:"10000"`
	// MessagesPerConnection is the number of messages after which a connection is
	// closed.
	MessagesPerConnection int `hcl:"messages_per_connection,optional" default:"100"`
	// KeepIdle is the time for which an unused connection is kept open.
	KeepIdle time.Duration `hcl:"keep_idle,optional" default:"15s"`
	// ConnectTimeout limits the TCP connection and the TLS handshake.
	ConnectTimeout time.Duration `hcl:"connect_timeout,optional" default:"30s"`
	// CommandTimeout limits the wait for the greeting and for each reply before
	// the message.
	CommandTimeout time.Duration `hcl:"command_timeout,optional" default:"5m"`
	// DataTimeout limits sending each part of the message, and the wait for the
	// reply to the message.
	DataTimeout time.Duration `hcl:"data_timeout,optional" default:"10m"`
	// FirstRetry is the wait after the queue's first failed attempt. Later
	// waits are longer.
	FirstRetry time.Duration `hcl:"first_retry,optional" default:"5m"`
	// MaxRetry is the longest wait between two attempts.
	MaxRetry time.Duration `hcl:"max_retry,optional" default:"4h"`
	// GiveUp is the time after which the queue returns an undeliverable message
	// to its sender.
	GiveUp time.Duration `hcl:"give_up,optional" default:"5d"`
	// DelayedAfter is the time after which the sender of a waiting message is
	// sent a delay notice; 0 sends none.
	DelayedAfter time.Duration `hcl:"delayed_after,optional" default:"4h"`
}

// AuthConfig is the auth { ... } block of an upstream.
type AuthConfig struct {
	// User is the user name. With EXTERNAL it may be missing: the server then takes
	// it from the certificate.
	User string `hcl:"user,optional" example:"relay@example.org"`
	// Password is the password, preferably env("NAME") or file("path") rather
	// than text in this file.
	Password conf.Secret `hcl:"password,optional" example:"env(\"UPSTREAM_PASSWORD\")"`
	// Mechanism is a SASL mechanism, or "auto" for the best one that the server
	// offers.
	Mechanism string `hcl:"mechanism,optional" enum:"auto|plain|login|scram-sha-256|xoauth2|oauthbearer|external" default:"auto"`
	// Insecure allows the login to a server without a valid certificate, even
	// in clear text. A server on this machine needs no certificate.
	Insecure bool `hcl:"insecure,optional"`
	// TokenFile is a file with an OAuth access token that another program keeps
	// up to date. The path is relative to the data folder.
	TokenFile string `hcl:"token_file,optional"`
	// OAuth2 obtains access tokens and keeps them fresh, instead of a password.
	OAuth2 *oauth.Config `hcl:"oauth2,block"`
}

// Check reports settings that contradict each other.
func (c *Config) Check() error {
	var errs []error
	switch {
	case len(c.Servers) == 0 && !c.MX && c.Preset == "":
		errs = append(errs, conf.Fieldf("servers", `the upstream has no servers: give servers = ["smtp://HOST"] or mx = true`))
	case len(c.Servers) > 0 && c.MX:
		errs = append(errs, conf.Fieldf("mx", "servers and mx exclude each other"))
	case c.MX && c.Mode == "inline":
		errs = append(errs, conf.Fieldf("mode", "servers found by MX can't be asked in-line: use queue or auto"))
	}
	for _, text := range c.Servers {
		s, err := parseServer(text)
		switch {
		case err != nil:
			errs = append(errs, conf.Field("servers", err))
		case c.TLS == "off" && c.Auth != nil && !c.Auth.Insecure && !s.isLocal():
			errs = append(errs, conf.Fieldf("tls", "the login would be sent in clear text: set tls = \"verify\", or insecure = true in auth"))
		}
	}
	errs = append(errs, c.checkSource()...)
	for _, word := range c.Disable {
		if !slices.Contains(extensions, strings.ToUpper(word)) {
			errs = append(errs, conf.Fieldf("disable", "%q is not an extension; there are %s", word, strings.Join(extensions, ", ")))
		}
	}
	if err := checkRecipients(c.Recipients); err != nil {
		errs = append(errs, conf.Field("recipients", err))
	}
	if c.RecipientsPerDay < 0 {
		errs = append(errs, conf.Fieldf("recipients_per_day", "is below zero"))
	}
	if c.Connections < 1 {
		errs = append(errs, conf.Fieldf("connections", "no mail could be sent: use 1 or more"))
	}
	if c.Sender != "" {
		_, err := mail.ParseAddress(c.Sender)
		errs = append(errs, conf.Field("sender", err))
	}
	errs = append(errs, c.checkAuth())
	return errors.Join(errs...)
}

// checkAuth requires exactly one source for the secret.
func (c *Config) checkAuth() error {
	a := c.Auth
	if a == nil {
		return nil
	}
	var given []string
	for _, s := range []struct {
		name string
		set  bool
	}{{"password", a.Password != ""}, {"token_file", a.TokenFile != ""}, {"oauth2", a.OAuth2 != nil}} {
		if s.set {
			given = append(given, s.name)
		}
	}
	external := a.Mechanism == "external" || a.Mechanism == "auto" && len(given) == 0 && c.Certificate != ""
	switch {
	case external && c.Certificate == "":
		return conf.Fieldf("auth", "EXTERNAL needs a client certificate: set certificate on the upstream")
	case external && len(given) > 0:
		return conf.Fieldf("auth", "auth has %s, which EXTERNAL does not use", strings.Join(given, " and "))
	case external:
		return nil
	case a.User == "":
		return conf.Fieldf("auth", "auth has no user")
	case len(given) == 0:
		return conf.Fieldf("auth", "auth has neither password, token_file nor oauth2")
	case len(given) > 1:
		return conf.Fieldf("auth", "auth has %s: choose one", strings.Join(given, " and "))
	case a.OAuth2 == nil:
		return nil
	}
	app := c.tokens()
	return app.Complete()
}

// RecipientsFile returns the name of the configured recipients file, and
// whether one is configured.
func (c *Config) RecipientsFile() (string, bool) {
	return strings.CutPrefix(c.Recipients, "file:")
}

// RecipientsDirectory returns the name of the directory that knows the
// recipients, and whether one is configured.
func (c *Config) RecipientsDirectory() (string, bool) {
	return strings.CutPrefix(c.Recipients, "directory:")
}

// checkRecipients returns an error unless s is a valid value of recipients.
func checkRecipients(s string) error {
	for _, kind := range []string{"file", "directory"} {
		if name, ok := strings.CutPrefix(s, kind+":"); ok && name == "" {
			return fmt.Errorf("%q lacks the name of the %s", s, kind)
		} else if ok {
			return nil
		}
	}
	if s == "call-ahead" || s == "any" {
		return nil
	}
	meant := conf.Suggest(s, []string{"call-ahead", "any"})
	if meant == "" {
		meant = "file:" + s
	}
	return fmt.Errorf(`%q is not one of "call-ahead", "any", "file:NAME", "directory:NAME": did you mean %q?`, s, meant)
}

// extensions lists the keywords accepted in disable.
var extensions = []string{"PIPELINING", "8BITMIME", "BINARYMIME", "SMTPUTF8", "DSN", "CHUNKING", "SIZE", "STARTTLS",
	"AUTH", "LIMITS", "REQUIRETLS", "DELIVERBY", "MT-PRIORITY", "XCLIENT", "XFORWARD"}

// sources returns the addresses in source.
func (c *Config) sources() []netip.Addr {
	var list []netip.Addr
	for _, s := range c.Source {
		if a, err := netip.ParseAddr(s); err == nil {
			list = append(list, a.Unmap())
		}
	}
	return list
}

func (c *Config) checkSource() (errs []error) {
	seen := map[bool]bool{}
	for _, s := range c.Source {
		a, err := netip.ParseAddr(s)
		switch is4 := err == nil && a.Unmap().Is4(); {
		case err != nil:
			errs = append(errs, conf.Fieldf("source", "%q is not an IP address", s))
		case seen[is4]:
			errs = append(errs, conf.Fieldf("source", "%s: only one address of each family can be used", s))
		case c.Family == "ipv4" && !is4, c.Family == "ipv6" && is4:
			errs = append(errs, conf.Fieldf("source", "%s is never used, because family is %q", s, c.Family))
		default:
			seen[is4] = true
		}
	}
	return errs
}

// server is one server of an upstream.
type server struct {
	network string // tcp or unix
	address string // host:port or path
	host    string // for TLS and log messages
	lmtp    bool
	tls     bool // TLS from the first octet
	weight  int
}

// name returns the server's name for replies and logs.
func (s *server) name() string {
	if s.network == "unix" {
		return s.address
	}
	return s.host
}

var serverSchemes = map[string]struct {
	server
	port string
}{
	"smtp":      {server{network: "tcp"}, "25"},
	"smtps":     {server{network: "tcp", tls: true}, "465"},
	"lmtp":      {server{network: "tcp", lmtp: true}, "24"},
	"lmtp+unix": {server{network: "unix", lmtp: true}, ""},
	"smtp+unix": {server{network: "unix"}, ""},
}

func parseServer(text string) (*server, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a server, as in smtp://192.0.2.10:25", text)
	}
	kind, ok := serverSchemes[u.Scheme]
	if !ok || u.User != nil {
		return nil, fmt.Errorf("%q is not a server: it begins with smtp://, smtps://, lmtp:// or lmtp+unix://", text)
	}
	s := kind.server
	s.weight = 1
	if w := u.Query().Get("weight"); w != "" {
		if s.weight, err = strconv.Atoi(w); err != nil || s.weight < 0 || s.weight > 1000 {
			return nil, fmt.Errorf("%q: the weight is a number from 0 to 1000", text)
		}
	}
	if s.network == "unix" {
		if u.Host != "" || len(u.Path) < 2 {
			return nil, fmt.Errorf("%q has no path, as in lmtp+unix:///run/dovecot/lmtp", text)
		}
		s.address, s.host = u.Path, "localhost"
		return &s, nil
	}
	if strings.Contains(u.Hostname(), ":") && u.Host[0] != '[' {
		return nil, fmt.Errorf("%q: an IPv6 address is written in brackets, as in smtp://[2001:db8::1]:25", text)
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("%q is not a server, as in smtp://192.0.2.10:25", text)
	}
	port := u.Port()
	if port == "" {
		port = kind.port
	}
	s.host = u.Hostname()
	s.address = net.JoinHostPort(s.host, port)
	return &s, nil
}
