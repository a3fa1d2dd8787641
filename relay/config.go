package relay

import (
	"errors"
	"net/netip"
	"time"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/mail"
	"hoplite/mail/rewrite"
)

// Config is the smtp "NAME" { ... } or lmtp "NAME" { ... } block.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	listen.Config
	// Chain names the chain whose filters and routes apply to this listener.
	Chain string `hcl:"chain" example:"inbound"`
	// Hostname is the server's name in the greeting, the EHLO reply and Received;
	// it defaults to the top-level hostname.
	Hostname string `hcl:"hostname,optional"`

	listenAccess
	listenOctets
	listenLimits
}

// listenAccess holds the settings that determine what each client may do.
type listenAccess struct {
	// Auth is "required" for submission, "optional", or "off". Clients that have
	// logged in may relay.
	Auth string `hcl:"auth,optional" enum:"off|optional|required" default:"off"`
	// CleartextLogin permits passwords without TLS. Leave it off.
	CleartextLogin bool `hcl:"cleartext_login,optional"`
	// RelayFrom lists the networks whose clients may relay without a login,
	// such as printers, cron jobs and old programs.
	RelayFrom []netip.Prefix `hcl:"relay_from,optional"`
	// Senders selects the reverse paths that a login may use: "own" for the
	// account's address and the aliases that lead to it, "domain" for any in
	// the account's domain, or "any".
	Senders string `hcl:"senders,optional" enum:"own|domain|any" default:"own"`
	// LoginRate is the number of messages that a login may send, for example
	// "500/1h"; "0" means no limit.
	LoginRate conf.Rate `hcl:"login_rate,optional" default:"500/1h"`
	// XclientFrom lists the front-end servers that may pass the real client's
	// address with XCLIENT.
	XclientFrom []netip.Prefix `hcl:"xclient_from,optional"`
	// Verify selects the answers to VRFY and EXPN: "off" (always 252 and 550),
	// or "local" (accounts, aliases and known recipients of upstreams, for
	// clients that have logged in).
	Verify string `hcl:"verify,optional" enum:"off|local" default:"off"`
	// Etrn lists the domains for which clients may start the queue with ETRN.
	Etrn []string `hcl:"etrn,optional"`
}

// listenOctets holds settings for the accepted octets and their conversion.
type listenOctets struct {
	// Bare selects the treatment of NUL, and of CR and LF outside CRLF:
	// "reject" refuses them; "fix" converts them before any filter sees the
	// message and allows commands to end in LF, and then LF.LF ends a message
	// from clients in relay_from. The default is "reject", or "fix" with
	// relay_from.
	Bare string `hcl:"bare,optional" enum:"reject|fix|"`
	// Disable switches extensions off for clients with faulty support:
	// PIPELINING, 8BITMIME, SMTPUTF8, DSN, CHUNKING, SIZE, STARTTLS, AUTH, LIMITS,
	// ENHANCEDSTATUSCODES, REQUIRETLS, DELIVERBY, MT-PRIORITY.
	Disable []string `hcl:"disable,optional"`
	// FixHeaders adds missing Date and Message-ID fields and removes Bcc (RFC 6409):
	// "submission" for clients that may relay, or "never".
	FixHeaders string `hcl:"fix_headers,optional" enum:"submission|never" default:"submission"`
}

// listenLimits holds limits on a listener and on each connection.
type listenLimits struct {
	// MaxSize is the largest message that is received; a "size" filter may set
	// a lower limit.
	MaxSize conf.Bytes `hcl:"max_size,optional" default:"100MiB"`
	// MaxMessages is the maximum number of messages per connection; 0 means no
	// limit.
	MaxMessages int `hcl:"max_messages,optional"`
	// MaxRecipients is the maximum number of recipients per message. RFC 5321
	// requires at least 100.
	MaxRecipients int `hcl:"max_recipients,optional" default:"1000"`
	// MaxCommands is the number of commands other than MAIL, RCPT, DATA and
	// BDAT that a client may send per message; each further one is counted as
	// an error.
	MaxCommands int `hcl:"max_commands,optional" default:"100"`
	// MaxErrors is the number of commands that may fail before the connection
	// is closed; after half as many, replies are delayed.
	MaxErrors int `hcl:"max_errors,optional" default:"20"`
	// MaxLogins is the number of failed logins after which the connection is closed.
	MaxLogins int `hcl:"max_logins,optional" default:"3"`
	// Idle is the longest time a client may be silent between commands.
	Idle time.Duration `hcl:"idle,optional" default:"5m"`
	// DataTimeout is the longest time a client may be silent within a message.
	DataTimeout time.Duration `hcl:"data_timeout,optional" default:"3m"`
	// MinRate is the lowest permitted transfer rate of a message, in octets per
	// second, on average after the first minute.
	MinRate conf.Bytes `hcl:"min_rate,optional" default:"100B"`
}

// Check reports settings that contradict each other.
func (c *Config) Check() error {
	errs := []error{c.Config.Check()}
	if c.TLS == "off" && c.Auth == "required" && !c.CleartextLogin {
		errs = append(errs, conf.Fieldf("auth", "no client could log in: without TLS, logins need cleartext_login = true"))
	}
	if c.MaxRecipients < 1 {
		errs = append(errs, conf.Fieldf("max_recipients", "no mail could be received: use 100 or more"))
	}
	for _, p := range c.RelayFrom {
		if p.Bits() == 0 {
			errs = append(errs, conf.Fieldf("relay_from", "%s is the whole Internet: this would be an open relay", p))
		}
	}
	return errors.Join(errs...)
}

// ChainConfig is the chain "NAME" { ... } block: filters and routes, each
// applied in file order.
type ChainConfig struct {
	conf.Pos
	Name    string           `hcl:"name,label"`
	Filters []filters.Config `hcl:"filter,block"`
	Routes  []RouteConfig    `hcl:"route,block"`
}

// RouteConfig is the route "NAME" { ... } block. The first route that matches a
// recipient is used; a recipient that matches no route is refused with 550
// 5.7.1. All conditions that are set must hold.
type RouteConfig struct {
	conf.Pos
	Name string `hcl:"name,label"`
	// To lists domains or whole addresses of recipients; ".example.org" means
	// every domain below it, and "local" the server's own names and localhost.
	// Without it every recipient matches.
	To []string `hcl:"to,optional" example:"example.org"`
	// From lists domains or addresses of senders; "<>" is the null reverse
	// path.
	From []string `hcl:"from,optional"`
	// User lists the logins that the route applies to.
	User []string `hcl:"user,optional"`
	// Client lists the networks of clients that the route applies to.
	Client []netip.Prefix `hcl:"client,optional"`
	// Relay marks a route to the outside, which only clients that may relay can
	// use.
	Relay bool `hcl:"relay,optional"`
	// Hop is the name of the maildrop or upstream that gets the mail.
	Hop string `hcl:"hop,optional" example:"boxes"`
	// Reply refuses the recipients instead, with a 4xx or 5xx reply of your own: for
	// users who have moved (551), addresses no longer in use (550), or a server
	// under maintenance (450).
	Reply string `hcl:"reply,optional" example:"551 5.1.6 she has moved to <ann@example.net>"`
	// Sender is the address that the mail is sent as, for a next server that accepts
	// mail only from certain addresses. It replaces the reverse path and the From
	// address; the former From address becomes the Reply-To, unless there is one.
	// Signed messages (DKIM, S/MIME, OpenPGP) are refused. Reports go to the
	// original sender if it can receive mail, else to the login or the postmaster.
	Sender string `hcl:"sender,optional" example:"scanner@example.org"`
	// Rewrite replaces addresses in the reverse path, From, Sender and Reply-To, as
	// Postfix's generic(5) does: an address, a domain or ".domain" by an address, or
	// by "@domain", which keeps the local part.
	Rewrite map[string]string `hcl:"rewrite,optional" example:"{ \"root@host.lan\" = \"admin@example.org\", \"host.lan\" = \"@example.org\" }"`
	// Filters holds the filters of the route's last stage, after all edits:
	// "sign", "arc".
	Filters []filters.Config `hcl:"filter,block"`
}

// Check reports a route without a hop or reply, or with both.
func (c *RouteConfig) Check() error {
	_, errTo := mail.ParsePatterns(c.To)
	_, errFrom := mail.ParsePatterns(c.From)
	_, errSender := c.Rules()
	if err := errors.Join(conf.Field("to", errTo), conf.Field("from", errFrom), errSender); err != nil {
		return err
	}
	switch {
	case c.Hop == "" && c.Reply == "":
		return conf.Fieldf("hop", "the route has no destination: set a hop, or a reply to refuse with")
	case c.Hop != "" && c.Reply != "":
		return conf.Fieldf("reply", "set a hop or a reply, not both")
	case c.Reply != "":
		_, err := parseReply(c.Reply)
		return conf.Field("reply", err)
	}
	return nil
}

// Rules returns the route's changes to the sender, or nil if it makes none.
func (c *RouteConfig) Rules() (*rewrite.Rules, error) {
	var sender mail.Address
	var errSender error
	if c.Sender != "" {
		sender, errSender = mail.ParseAddress(c.Sender)
	}
	m, errMap := rewrite.ParseMap(c.Rewrite)
	return rewrite.New(sender, m), errors.Join(conf.Field("sender", errSender), conf.Field("rewrite", errMap))
}
