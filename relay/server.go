// Package relay is the SMTP and LMTP server. A session per connection runs the
// chain of its listener: filters decide whether a message is accepted, routes
// select the next hop for each recipient, and the client receives its reply
// once the hops have answered.
//
// The octets of SMTP are handled by relay/wire, and delivery by implementations
// of mail.Hop such as relay/queue and relay/forward. Start with session.Mail,
// then Rcpt and Data.
package relay

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rs/zerolog"

	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/internal/quiet"
	"hoplite/internal/resolve"
	"hoplite/internal/spool"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/relay/wire"
)

// Addresses resolves addresses through aliases and forwards.
type Addresses interface {
	Resolve(addr string) (alias.Resolved, error)
	Ours(domain string) bool
}

// Carry holds the extensions that at least one hop of a chain supports. Others
// are not offered to clients.
type Carry struct {
	EightBit, UTF8, DSN, Binary bool
	Size                        int64 // 0: no limit
}

// Env holds a server's dependencies on other packages. All of them except
// Hostname, Spool and Chain are optional.
type Env struct {
	Hostname string
	// Names returns the names of this server: the hostnames of all listeners,
	// and the names in certificates. Authentication-Results fields from remote
	// clients that carry one of these names are removed.
	Names      func() []string
	Log        zerolog.Logger
	Spool      *spool.Dir
	Chain      *Chain
	Trusted    []netip.Prefix
	Postmaster string      // named by HELP
	Addresses  Addresses   // nil: addresses are not resolved
	Login      *login.Gate // nil: no AUTH
	// Rewritten reports whether an address is a sender that this server rewrote
	// when it forwarded mail.
	Rewritten func(mail.Address) bool
	// DNS looks up the reverse names of clients.
	DNS resolve.Resolver
	// History records finished transactions.
	History func(history.Record, zerolog.LogObjectMarshaler)
	// Metrics counts transactions and logins.
	Metrics *Metrics
	// Carry returns the extensions that the hops support. If Carry is nil, they
	// support all.
	Carry func() Carry
	// Later returns the queue of a hop. The queue receives the message for
	// recipients that failed temporarily after others already received the
	// message. checked is false for recipients that the hop has not accepted at
	// RCPT.
	Later func(hop string, checked bool) mail.Hop
	// Bounce reports recipients that failed permanently after others already
	// received the message. It returns the address that receives the report,
	// which is empty if none is due. If Bounce is nil, the client receives the
	// refusal.
	Bounce func(ctx context.Context, tx *mail.Transaction, m *mail.Message, failed []mail.Outcome) (to mail.Address, err error)
	// Learn is called with the header of each message as received and the
	// confirmed reverse name of the client.
	Learn func(head []byte, now time.Time, client string)
	// Proxied is called when most clients come from one trusted address, as from a
	// proxy that does not pass on their addresses. It may be nil.
	Proxied func(addr netip.Addr)
	// Run starts the queue for a domain (ETRN) and returns the number of
	// messages waiting for it.
	Run func(domain string) (int, error)
	// Verify returns the known status of an address at its hop, for VRFY.
	Verify func(mail.Address) (exists, known bool)
}

// Server serves the connections of one listener block.
type Server struct {
	cfg     *Config
	env     Env
	lmtp    bool
	log     zerolog.Logger
	opts    wire.Options
	feed    *wire.Feed
	lib     *smtp.Server
	senders *senders
	proxies proxyWatch
	carry   Carry

	ctx  context.Context // of all sessions; Close cancels it
	stop context.CancelFunc

	mu       sync.Mutex
	conns    map[*wire.Conn]struct{}
	draining bool
}

// New returns the server of a block; protocol is smtp or lmtp. The caller
// closes the server after its last connection.
func New(cfg *Config, protocol string, env Env) *Server {
	s := &Server{
		cfg: cfg, env: env, lmtp: protocol == "lmtp",
		log:   env.Log.With().Str("listener", cfg.Name).Logger(),
		feed:  wire.NewFeed(),
		carry: Carry{EightBit: true, UTF8: true, DSN: true},
		conns: make(map[*wire.Conn]struct{}),
	}
	if cfg.Hostname != "" {
		s.env.Hostname = cfg.Hostname
	}
	if s.env.Chain == nil {
		s.env.Chain = &Chain{}
	}
	s.senders = newSenders(cfg, s.env.Addresses)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.opts = wire.Options{
		Hostname: s.env.Hostname,
		LMTP:     s.lmtp,
		Limits: wire.Limits{
			Idle: cfg.MaxCommands, Errors: cfg.MaxErrors, Slow: cfg.MaxErrors / 2, Auths: cfg.MaxLogins,
			Messages: cfg.MaxMessages, IdleTime: cfg.Idle, BodyTime: cfg.DataTimeout, MinRate: int64(cfg.MinRate),
		},
		Lenient: len(cfg.RelayFrom) > 0, BareFrom: cfg.RelayFrom,
		XClient: cfg.XclientFrom,
		Disable: cfg.Disable,
		Offer:   s.offer,
		Answer:  s.answer,
		Library: s.feed.Push,
		Annotate: func(c *wire.Conn, r mail.Reply) mail.Reply {
			if s, ok := c.State.(*session); ok && s.tx != nil {
				return s.tx.withID(&r)
			}
			return r
		},
		Closed: s.forget,
		Panic:  func(value any) { quiet.Panic(s.log.Error(), value).Msg("session ended by a panic") },
	}
	if cfg.Bare == "fix" || cfg.Bare == "" && len(cfg.RelayFrom) > 0 {
		s.opts.Bare = wire.Fix
	}
	s.lib = s.library()
	go s.lib.Serve(s.feed)
	return s
}

// library returns go-smtp's server. All extensions whose parameters it parses
// are enabled, because wire refuses those that are not offered. It has no
// limits and no TLS.
func (s *Server) library() *smtp.Server {
	lib := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return sessionOf(s, wire.ConnOf(c.Conn())), nil
	}))
	lib.Domain, lib.LMTP = s.env.Hostname, s.lmtp
	lib.MaxLineLength, lib.AllowInsecureAuth = 0, true
	lib.EnableSMTPUTF8, lib.EnableDSN, lib.EnableREQUIRETLS = true, true, true
	lib.EnableDELIVERBY, lib.EnableMTPRIORITY = true, true
	lib.ErrorLog = libraryLog{s.log}
	return lib
}

// libraryLog logs the messages of go-smtp, most of which are about panics.
type libraryLog struct{ log zerolog.Logger }

// Printf logs one message. The library's recovering function calls it with the
// value and stack of a panic.
func (l libraryLog) Printf(format string, v ...any) {
	if strings.HasPrefix(format, "panic") && len(v) > 1 {
		quiet.Panic(l.log.Error(), v[1]).Msg("session ended by a panic")
		return
	}
	l.log.Error().Msg(fmt.Sprintf(format, v...))
}

// Println logs one message.
func (l libraryLog) Println(v ...any) { l.log.Error().Msg(strings.TrimSpace(fmt.Sprintln(v...))) }

// Refuse returns the reply to a client that the listener does not accept.
func (s *Server) Refuse(r listen.Reason) string {
	return "421 4.7.0 " + s.env.Hostname + " " + string(r) + "\r\n"
}

// Handle serves a connection. It may return before the connection ends.
func (s *Server) Handle(c *listen.Conn) {
	conn := wire.New(c, &s.opts)
	s.mu.Lock()
	s.conns[conn] = struct{}{}
	if s.draining {
		conn.Drain()
	}
	s.mu.Unlock()
	conn.Serve()
}

func (s *Server) forget(c *wire.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Drain asks every session to end: idle ones immediately with 421, others after
// the reply to the current message.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for c := range s.conns {
		c.Drain()
	}
}

// countClient counts the client of a connection. It logs a warning if most clients
// appear to come through a trusted proxy that hides their addresses.
func (s *Server) countClient(c *mail.Client) {
	if c.MayRelay || !c.Addr.IsValid() {
		return
	}
	if names := s.proxies.add(c.Addr.Addr(), c.Trusted, c.Helo, time.Now()); names > 0 {
		s.log.Warn().Str("peer", c.Addr.Addr().String()).Int("names", names).
			Msg("most clients come from one trusted address, which looks like a proxy: set proxy_protocol there and here, or sender checks are skipped for all of them")
		if s.env.Proxied != nil {
			s.env.Proxied(c.Addr.Addr())
		}
	}
}

// Close cancels operations that sessions are waiting for. The listener closes
// the connections.
func (s *Server) Close() {
	s.stop()
	s.feed.Close()
}

// offer returns the extensions offered to a connection.
func (s *Server) offer(c *wire.Conn) wire.Offer {
	carry := s.carry
	if s.env.Carry != nil {
		carry = s.env.Carry()
	}
	size := int64(s.cfg.MaxSize)
	if carry.Size > 0 && (size == 0 || carry.Size < size) {
		size = carry.Size
	}
	return wire.Offer{
		Size:     size,
		EightBit: carry.EightBit, UTF8: carry.UTF8, DSN: carry.DSN, Chunking: true,
		// A hop that does not support one of these refuses the message or
		// reports it.
		Binary: carry.Binary, RequireTLS: true, DeliverBy: true, Priority: true,
		Auth:    s.mechanisms(c),
		Expand:  s.cfg.Verify == "local" && c.Login() != "",
		Etrn:    s.env.Run != nil && len(s.cfg.Etrn) > 0,
		MailMax: s.cfg.MaxMessages, RcptMax: s.cfg.MaxRecipients,
	}
}

// mechanisms returns the SASL mechanisms offered to a connection.
func (s *Server) mechanisms(c *wire.Conn) []string {
	if s.env.Login == nil || s.cfg.Auth == "off" || c.Login() != "" {
		return nil
	}
	return s.env.Login.Mechanisms(loginClient(c), s.cfg.CleartextLogin)
}

func loginClient(c *wire.Conn) login.Client {
	l := login.Client{Addr: c.Ident().Client.Addr()}
	if state, ok := c.Socket().TLS(); ok {
		l.TLS = &state
	}
	return l
}
