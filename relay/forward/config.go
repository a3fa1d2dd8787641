package forward

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hoplite/internal/conf"
)

// Config is the block upstream "NAME" { ... }.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	// Servers are where the mail goes: smtp://HOST[:25], smtps://HOST[:465],
	// lmtp://HOST[:24] or lmtp+unix:///path. Several share the load by
	// ?weight=N (default 1); one of weight 0 is only used when no other answers.
	Servers []string `hcl:"servers,optional" example:"smtp://192.0.2.10:25"`
	// MX finds the server of each recipient's domain by DNS instead.
	MX bool `hcl:"mx,optional"`
	// Mode is "inline" (the client waits for the upstream's own answer),
	// "queue" (we answer for the message and send it on), or "auto": in-line
	// while the upstream answers, else the queue.
	Mode string `hcl:"mode,optional" enum:"inline|queue|auto" default:"auto"`
	// Port is used for servers found by MX.
	Port int `hcl:"port,optional" default:"25"`
	// TLS towards the upstream: "off"; "may" takes it when offered, whatever the
	// certificate; "require" insists on encryption; "verify" on a good
	// certificate for the server's name too.
	TLS string `hcl:"tls,optional" enum:"off|may|require|verify" default:"may"`
	// TLSMin is the oldest version: "1.2" or "1.3"; "1.0" and "1.1" only with
	// tls_legacy_until.
	TLSMin string `hcl:"tls_min,optional" enum:"1.0|1.1|1.2|1.3" default:"1.2"`
	// TLSSuites are cipher suites for TLS 1.2 and older by their IANA names, for
	// old servers; weak ones only with tls_legacy_until.
	TLSSuites []string `hcl:"tls_suites,optional" example:"TLS_RSA_WITH_AES_128_CBC_SHA"`
	// TLSLegacyUntil is the last day on which weak TLS is used. Each use is
	// logged.
	TLSLegacyUntil string `hcl:"tls_legacy_until,optional" example:"2027-06-30"`
	// Auth is the login at the upstream. Without TLS it is not sent, unless the
	// server is on this machine.
	Auth *AuthConfig `hcl:"auth,block"`
	// Recipients decides at RCPT which recipients exist: "call-ahead" asks the
	// upstream and remembers the answer; "file:NAME" reads a file under data with
	// one address or @domain per line; "any" accepts every recipient, so that
	// unknown ones become bounces. With mx = true every recipient is accepted.
	Recipients string `hcl:"recipients,optional" default:"call-ahead"`
	// KnownFor is how long a recipient is remembered to exist.
	KnownFor time.Duration `hcl:"known_for,optional" default:"12h"`
	// UnknownFor is how long a recipient is remembered not to exist.
	UnknownFor time.Duration `hcl:"unknown_for,optional" default:"10m"`
	// KnownMax is how many recipients are remembered.
	KnownMax int `hcl:"known_max,optional" default:"100000"`
	// Downgrade re-encodes unsigned 8-bit parts and UTF-8 headers for a server
	// that can't take them, instead of refusing the message. This breaks DKIM
	// signatures; signed (S/MIME, PGP) parts are never touched.
	Downgrade bool `hcl:"downgrade,optional"`
	// Fallback names the upstream that is tried when this one can't be reached.
	Fallback string `hcl:"fallback,optional"`
	// AllowLoopback permits servers that DNS says are on this machine, which
	// otherwise would be a loop.
	AllowLoopback bool `hcl:"allow_loopback,optional"`
	// TellClient passes our client's address and name on to the upstream, for its
	// log and its filters: by "xclient", "xforward" or "proxy" (PROXY v2), or "no".
	// The upstream must allow it.
	TellClient string `hcl:"tell_client,optional" was:"client" enum:"no|xclient|xforward|proxy" default:"no"`
	// Helo is how we call ourselves there; without it our hostname.
	Helo string `hcl:"helo,optional"`
	// Connections is how many we open to each server at once.
	Connections int `hcl:"connections,optional" default:"20"`
	// MessagesPerConnection is after how many messages a new connection is made.
	MessagesPerConnection int `hcl:"messages_per_connection,optional" default:"100"`
	// KeepIdle is how long an unused connection is kept.
	KeepIdle time.Duration `hcl:"keep_idle,optional" default:"15s"`
	// ConnectTimeout is for the connection and the greeting.
	ConnectTimeout time.Duration `hcl:"connect_timeout,optional" default:"30s"`
	// CommandTimeout is for each reply before the message.
	CommandTimeout time.Duration `hcl:"command_timeout,optional" default:"2m"`
	// DataTimeout is for each part of the message, and for the last reply.
	DataTimeout time.Duration `hcl:"data_timeout,optional" default:"10m"`
	// FirstRetry, MaxRetry and GiveUp are the queue's schedule: the second
	// attempt, the longest pause, and when the sender gets the message back.
	FirstRetry time.Duration `hcl:"first_retry,optional" default:"5m"`
	// MaxRetry is the longest pause between two attempts.
	MaxRetry time.Duration `hcl:"max_retry,optional" default:"4h"`
	// GiveUp is when the sender gets the message back.
	GiveUp time.Duration `hcl:"give_up,optional" default:"5d"`
	// DelayedAfter is when the sender hears that the message is late; 0 never.
	DelayedAfter time.Duration `hcl:"delayed_after,optional" default:"4h"`
}

// AuthConfig is the block auth { ... } of an upstream.
type AuthConfig struct {
	// User is the login name.
	User string `hcl:"user"`
	// Password is the password: better env("NAME") or file("path") than text.
	Password conf.Secret `hcl:"password,optional" example:"env(\"UPSTREAM_PASSWORD\")"`
	// Mechanism is "auto" for the best that the server offers, or one of them.
	Mechanism string `hcl:"mechanism,optional" enum:"auto|plain|login|scram-sha-256|xoauth2|oauthbearer" default:"auto"`
	// Insecure allows the login over a connection whose server is not proved by
	// a valid certificate, even in clear text. A server on this machine needs no
	// proof.
	Insecure bool `hcl:"insecure,optional"`
	// TokenFile holds an OAuth access token; whoever renews it replaces the file.
	// Relative to the data folder.
	TokenFile string `hcl:"token_file,optional"`
}

// Check finds settings that contradict each other.
func (c *Config) Check() error {
	var errs []error
	switch {
	case len(c.Servers) == 0 && !c.MX:
		errs = append(errs, conf.Fieldf("servers", `the upstream leads nowhere: give servers = ["smtp://HOST"] or mx = true`))
	case len(c.Servers) > 0 && c.MX:
		errs = append(errs, conf.Fieldf("mx", "servers and mx exclude each other"))
	case c.MX && c.Mode == "inline":
		errs = append(errs, conf.Fieldf("mode", "servers found by MX can't be asked in-line: use queue or auto"))
	}
	for _, s := range c.Servers {
		if _, err := parseServer(s); err != nil {
			errs = append(errs, conf.Field("servers", err))
		}
	}
	if err := checkRecipients(c.Recipients); err != nil {
		errs = append(errs, conf.Field("recipients", err))
	}
	if c.Connections < 1 {
		errs = append(errs, conf.Fieldf("connections", "no mail could leave: use 1 or more"))
	}
	if a := c.Auth; a != nil && a.Password == "" && a.TokenFile == "" {
		errs = append(errs, conf.Fieldf("auth", "the login has neither password nor token_file"))
	}
	return errors.Join(errs...)
}

// RecipientsFile returns the file that lists the recipients, as the
// configuration names it, and whether there is one.
func (c *Config) RecipientsFile() (string, bool) {
	return strings.CutPrefix(c.Recipients, "file:")
}

// checkRecipients refuses a source of recipients that is not known.
func checkRecipients(s string) error {
	name, isFile := strings.CutPrefix(s, "file:")
	switch {
	case s == "call-ahead" || s == "any" || isFile && name != "":
		return nil
	case isFile:
		return errors.New(`"file:" lacks the name of the file`)
	}
	meant := conf.Suggest(s, []string{"call-ahead", "any"})
	if meant == "" {
		meant = "file:" + s
	}
	return fmt.Errorf(`%q is not one of "call-ahead", "any", "file:NAME": did you mean %q?`, s, meant)
}

// server is one place where an upstream listens.
type server struct {
	network string // tcp or unix
	address string // host:port or path
	host    string // for TLS and messages
	lmtp    bool
	tls     bool // from the first octet
	weight  int
}

// name is the server in messages and logs.
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
