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
	"hoplite/internal/resolve"
	"hoplite/internal/spool"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/relay/wire"
)

// Addresses leads addresses through aliases and forwards; alias.Resolver does.
type Addresses interface {
	Resolve(addr string) (alias.Resolved, error)
	Ours(domain string) bool
}

// Carry is what at least one hop of a chain supports. Other extensions are not
// offered to clients.
type Carry struct {
	EightBit, UTF8, DSN, Binary bool
	Size                        int64 // 0: no limit
}

// Env is what the door needs of other rooms.
type Env struct {
	Hostname   string
	Log        zerolog.Logger
	Spool      *spool.Dir
	Chain      *Chain
	Trusted    []netip.Prefix
	Postmaster string      // named by HELP
	Addresses  Addresses   // nil: every address stays what it is
	Login      *login.Gate // nil: no AUTH
	// DNS finds the clients' names; nil: nobody looks.
	DNS resolve.Resolver
	// History hears of each finished transaction; nil: nobody does.
	History func(history.Record, zerolog.LogObjectMarshaler)
	// Metrics count what comes in; nil: nobody counts.
	Metrics *Metrics
	// Carry says what may be offered; nil: everything.
	Carry func() Carry
	// Later is where mail for the hop of that name waits when it was refused
	// for now while others have the message already; nil: it can't wait.
	Later func(hop string) mail.Hop
	// Bounce reports recipients that were refused for good while others have
	// the message already; nil: the client's server has to.
	Bounce func(ctx context.Context, tx *mail.Transaction, m *mail.Message, failed []mail.Outcome) error
	// Learn hears of each message's header as it came in, with the name that
	// DNS confirms for the client; nil: nobody does.
	Learn func(head []byte, now time.Time, client string)
	// Run starts the queue for a domain (ETRN) and tells how many messages
	// wait for it; nil: there is none.
	Run func(domain string) (int, error)
	// Verify tells what is remembered of an address at the hop it is routed to,
	// for VRFY; nil: nothing.
	Verify func(mail.Address) (exists, known bool)
}

// Server is one listener block: it turns connections into transactions.
type Server struct {
	cfg     *Config
	env     Env
	lmtp    bool
	log     zerolog.Logger
	opts    wire.Options
	feed    *wire.Feed
	lib     *smtp.Server
	senders *senders
	carry   Carry

	ctx  context.Context // of every session; ends when the server is closed
	stop context.CancelFunc

	mu       sync.Mutex
	conns    map[*wire.Conn]struct{}
	draining bool
}

// New makes the server of a block. Protocol is smtp or lmtp. It serves what
// Handle is given until Close.
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
		Lenient: len(cfg.RelayFrom) > 0,
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
		Panic: func(value any, stack []byte) {
			s.log.Error().Interface("panic", value).Bytes("stack", stack).Msg("session ended by a panic")
		},
	}
	if cfg.Bare == "fix" || cfg.Bare == "" && len(cfg.RelayFrom) > 0 {
		s.opts.Bare = wire.Fix
	}
	s.lib = s.library()
	go s.lib.Serve(s.feed)
	return s
}

// library sets go-smtp up: everything that the wire does not switch on by
// itself, no limits and no TLS of its own.
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

// libraryLog takes what go-smtp says, which is about panics mostly.
type libraryLog struct{ log zerolog.Logger }

// Printf logs one message.
func (l libraryLog) Printf(format string, v ...any) {
	l.log.Error().Msg(fmt.Sprintf(format, v...))
}

// Println logs one message.
func (l libraryLog) Println(v ...any) { l.log.Error().Msg(strings.TrimSpace(fmt.Sprintln(v...))) }

// Refuse is what a client hears that its listener turns away.
func (s *Server) Refuse(r listen.Reason) string {
	return "421 4.7.0 " + s.env.Hostname + " " + string(r) + "\r\n"
}

// Handle serves a connection. It may return before that is over.
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

// Drain asks every session to end: at once with 421 where nothing is under
// way, else when the message has been answered.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for c := range s.conns {
		c.Drain()
	}
}

// Close ends what is left: hops are told to give up. The connections
// themselves are the listener's to close.
func (s *Server) Close() {
	s.stop()
	s.feed.Close()
}

// offer is what a connection may use.
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
		// What a hop can't do of these is refused or reported by it.
		Binary: carry.Binary, RequireTLS: true, DeliverBy: true, Priority: true,
		Auth:    s.mechanisms(c),
		Expand:  s.cfg.Verify == "local" && c.Login() != "",
		Etrn:    s.env.Run != nil && len(s.cfg.Etrn) > 0,
		MailMax: s.cfg.MaxMessages, RcptMax: s.cfg.MaxRecipients,
	}
}

// mechanisms are the ways to log in on this connection.
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
