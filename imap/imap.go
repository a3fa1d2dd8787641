// Package imap is the door for mail readers: IMAP4rev1 (RFC 3501) and
// IMAP4rev2 (RFC 9051) with the extensions that clients use, over the boxes of
// package maildrop.
//
// A session is one goroutine that reads a command, runs it, and sends what it
// has to say once the client waits for it. It looks at immutable snapshots of
// the folder it has selected; what others do there reaches its client as the
// difference between two snapshots, at the moments the RFC allows. The octets
// are package imap/wire's business, the files maildrop's, passwords and their
// throttle internal/users'; sockets, TLS and connection limits come from
// internal/listen.
package imap

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/maildrop"
)

// Config is the block imap "imap" { ... } of relay.hcl.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	listen.Config
	// CleartextLogin permits passwords on connections without TLS; off unless
	// set. Clients on this machine may always send them.
	CleartextLogin bool `hcl:"cleartext_login,optional"`
	// AppendLimit is the largest message that a client may store.
	AppendLimit conf.Bytes `hcl:"append_limit,optional" default:"64MiB"`
	// AccountConnections is how many connections one account may have at a time,
	// counted over all IMAP listeners.
	AccountConnections int `hcl:"account_connections,optional" default:"50"`
	// IdleTimeout is how long a client that has logged in may stay silent; 30
	// minutes are the least that the standard allows.
	IdleTimeout time.Duration `hcl:"idle_timeout,optional" default:"30m"`
	// LoginTimeout is how long a client has to log in.
	LoginTimeout time.Duration `hcl:"login_timeout,optional" default:"1m"`
	// SearchTimeout is how long one SEARCH, SORT or THREAD may take before the
	// client hears NO [LIMIT].
	SearchTimeout time.Duration `hcl:"search_timeout,optional" default:"1m"`
}

// Check finds what no single field can know.
func (c *Config) Check() error {
	if err := c.Config.Check(); err != nil {
		return err
	}
	if c.IdleTimeout != 0 && c.IdleTimeout < 30*time.Minute {
		return conf.Fieldf("idle_timeout", "RFC 9051 promises clients at least 30 minutes")
	}
	return nil
}

// Env is what the door needs of the house.
type Env struct {
	// Box opens the box of an account that has logged in.
	Box  func(mail.Address) (*maildrop.Box, error)
	Gate *login.Gate
	// Tally counts the connections of accounts, over all IMAP listeners.
	Tally *listen.Tally
	Log   zerolog.Logger
	// Hostname is in the greeting, Version in the answer to ID.
	Hostname, Version string
}

// Server serves the connections of one listener.
type Server struct {
	cfg     Config
	env     Env
	log     zerolog.Logger
	dialect *dialect

	sessions listen.Sessions[*session]
}

// New makes a server.
func New(cfg Config, env Env) *Server {
	var d Config
	conf.Defaults(&d)
	set(&cfg.AppendLimit, d.AppendLimit)
	set(&cfg.AccountConnections, d.AccountConnections)
	set(&cfg.IdleTimeout, d.IdleTimeout)
	set(&cfg.LoginTimeout, d.LoginTimeout)
	set(&cfg.SearchTimeout, d.SearchTimeout)
	if env.Tally == nil {
		env.Tally = &listen.Tally{}
	}
	return &Server{cfg: cfg, env: env, log: env.Log, dialect: newDialect(extensions)}
}

func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Refuse is what a client hears that is turned away before its session begins.
func Refuse(r listen.Reason) string { return "* BYE " + string(r) + "\r\n" }

// Handle serves one connection to its end and closes it.
func (s *Server) Handle(ctx context.Context, c *listen.Conn) {
	defer c.Close()
	ses := newSession(ctx, s, c)
	if !s.sessions.Enter(ses) {
		return
	}
	defer s.sessions.Leave(ses)
	ses.serve()
}

// Shutdown says BYE to every client and ends its session.
func (s *Server) Shutdown() { s.sessions.Shutdown((*session).stop) }
