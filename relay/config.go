// Package relay is the SMTP and LMTP door: one session per connection runs the
// chain, picks the next hop for each recipient, and answers when the hops did.
//
// The octets of SMTP lie below it in relay/wire; what a hop does with the
// message lies behind mail.Hop.
package relay

import (
	"errors"
	"net/netip"
	"time"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/mail"
)

// Config is the block smtp "NAME" { ... } or lmtp "NAME" { ... }.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	listen.Config
	// Chain names the chain that judges and routes what comes in here.
	Chain string `hcl:"chain" example:"inbound"`
	// Hostname is our name on this listener, in greeting, EHLO and Received;
	// without it the top one.
	Hostname string `hcl:"hostname,optional"`

	listenAccess
	listenOctets
	listenLimits
}

// listenAccess is who may do what on a listener.
type listenAccess struct {
	// Auth is "required" for submission, "optional", or "off". Who has logged in
	// may relay.
	Auth string `hcl:"auth,optional" enum:"off|optional|required" default:"off"`
	// CleartextLogin allows passwords without TLS. Leave it off.
	CleartextLogin bool `hcl:"cleartext_login,optional"`
	// RelayFrom are the networks whose clients may relay without a login:
	// printers, cron, old programs.
	RelayFrom []netip.Prefix `hcl:"relay_from,optional"`
	// Senders says which reverse paths a login may use: "own" for the account's
	// address and the aliases that lead to it, "domain" for any in the account's
	// domain, or "any".
	Senders string `hcl:"senders,optional" enum:"own|domain|any" default:"own"`
	// LoginRate is how many messages a login may send, for example "500/1h"; "0"
	// is no limit.
	LoginRate conf.Rate `hcl:"login_rate,optional" default:"500/1h"`
	// XclientFrom are the servers that may tell us the real client by XCLIENT.
	XclientFrom []netip.Prefix `hcl:"xclient_from,optional"`
	// Verify is what VRFY and EXPN answer: "off" (252 and 550 for everybody) or
	// "local" (accounts, aliases, and what is remembered of an upstream's
	// recipients, for clients that have logged in).
	Verify string `hcl:"verify,optional" enum:"off|local" default:"off"`
	// Etrn are the domains for which clients may start the queue with ETRN.
	Etrn []string `hcl:"etrn,optional"`
}

// listenOctets is what a listener takes for mail.
type listenOctets struct {
	// Bare is what happens to a CR or LF that stands alone, and to NUL: "reject",
	// or "fix": put right before any filter sees the message. The default is
	// "reject", with relay_from "fix".
	Bare string `hcl:"bare,optional" enum:"reject|fix|"`
	// Disable switches extensions off, for clients that stumble over them:
	// PIPELINING, 8BITMIME, SMTPUTF8, DSN, CHUNKING, SIZE, STARTTLS, AUTH, LIMITS,
	// ENHANCEDSTATUSCODES, REQUIRETLS, DELIVERBY, MT-PRIORITY.
	Disable []string `hcl:"disable,optional"`
	// FixHeaders adds a missing Date and Message-ID and takes Bcc out (RFC 6409):
	// "submission" for clients that may relay, or "never".
	FixHeaders string `hcl:"fix_headers,optional" enum:"submission|never" default:"submission"`
}

// listenLimits bound a listener and each connection.
type listenLimits struct {
	// MaxSize is the largest message that is read at all; a filter "size" may
	// allow less.
	MaxSize conf.Bytes `hcl:"max_size,optional" default:"100MiB"`
	// MaxMessages is how many messages one connection may bring; 0 is any number.
	MaxMessages int `hcl:"max_messages,optional"`
	// MaxRecipients is for one message. RFC 5321 wants at least 100.
	MaxRecipients int `hcl:"max_recipients,optional" default:"1000"`
	// MaxCommands is how many commands a connection may give for one message.
	MaxCommands int `hcl:"max_commands,optional" default:"100"`
	// MaxErrors is how many commands may be wrong or refused before the
	// connection is closed; from half of it on, answers are delayed.
	MaxErrors int `hcl:"max_errors,optional" default:"20"`
	// MaxLogins is how many failed logins a connection may have.
	MaxLogins int `hcl:"max_logins,optional" default:"3"`
	// Idle is how long a client may be silent between commands.
	Idle time.Duration `hcl:"idle,optional" default:"5m"`
	// DataTimeout is how long it may be silent within a message.
	DataTimeout time.Duration `hcl:"data_timeout,optional" default:"3m"`
	// MinRate is the slowest that a message may flow, measured over a minute.
	MinRate conf.Bytes `hcl:"min_rate,optional" default:"100B"`
}

// Check finds settings that contradict each other.
func (c *Config) Check() error {
	errs := []error{c.Config.Check()}
	if c.TLS == "off" && c.Auth == "required" && !c.CleartextLogin {
		errs = append(errs, conf.Fieldf("auth", "nobody could log in: without TLS, logins need cleartext_login = true"))
	}
	if c.MaxRecipients < 1 {
		errs = append(errs, conf.Fieldf("max_recipients", "no mail could come in: use 100 or more"))
	}
	for _, p := range c.RelayFrom {
		if p.Bits() == 0 {
			errs = append(errs, conf.Fieldf("relay_from", "%s is everybody: this would be an open relay", p))
		}
	}
	return errors.Join(errs...)
}

// ChainConfig is the block chain "NAME" { ... }: filters in their order, then
// routes in theirs.
type ChainConfig struct {
	conf.Pos
	Name    string           `hcl:"name,label"`
	Filters []filters.Config `hcl:"filter,block"`
	Routes  []RouteConfig    `hcl:"route,block"`
}

// RouteConfig is the block route "NAME" { ... }. The first route that matches a
// recipient takes it; what none takes is refused with 550 5.7.1. All conditions
// that are given must hold.
type RouteConfig struct {
	conf.Pos
	Name string `hcl:"name,label"`
	// To are the recipients' domains or whole addresses; ".example.org" is every
	// domain below it, "local" our hostname and localhost. Without it every
	// recipient matches.
	To []string `hcl:"to,optional" example:"example.org"`
	// From are the senders' domains or addresses; "<>" is the null reverse path.
	From []string `hcl:"from,optional"`
	// User are the logins that the route is for.
	User []string `hcl:"user,optional"`
	// Client are the networks of the clients that the route is for.
	Client []netip.Prefix `hcl:"client,optional"`
	// Relay says that the route leads out into the world: it is only for clients
	// that may relay.
	Relay bool `hcl:"relay,optional"`
	// Hop names the maildrop or upstream that takes the mail.
	Hop string `hcl:"hop,optional" example:"boxes"`
	// Reply refuses the recipients instead, with a 4xx or 5xx reply of your own:
	// for people who have moved (551), addresses that are given up (550), or a
	// server that is being rebuilt (450).
	Reply string `hcl:"reply,optional" example:"551 5.1.6 she has moved to <ann@example.net>"`
	// Filters are the route's last stage, after every edit: "sign", "arc".
	Filters []filters.Config `hcl:"filter,block"`
}

// Check wants a hop or a reply.
func (c *RouteConfig) Check() error {
	_, errTo := mail.ParsePatterns(c.To)
	_, errFrom := mail.ParsePatterns(c.From)
	if err := errors.Join(conf.Field("to", errTo), conf.Field("from", errFrom)); err != nil {
		return err
	}
	switch {
	case c.Hop == "" && c.Reply == "":
		return conf.Fieldf("hop", "the route leads nowhere: give a hop, or a reply that refuses")
	case c.Hop != "" && c.Reply != "":
		return conf.Fieldf("reply", "a route has a hop or a reply, not both")
	case c.Reply != "":
		_, err := parseReply(c.Reply)
		return conf.Field("reply", err)
	}
	return nil
}
