// Package imap serves the boxes of package maildrop by IMAP4rev1 (RFC 3501) and
// IMAP4rev2 (RFC 9051), with widely used extensions.
//
// Each session is one goroutine that reads a command, runs it, and sends the
// responses when no further command has arrived. It works on immutable
// snapshots of the selected folder. Changes made elsewhere are reported to the
// client as the difference between two snapshots, at the points where the RFC
// permits it.
//
// The state of a connection determines which commands are valid. A command's
// handler takes the type of the state that it requires: session (always),
// account (after login) or mailbox (after SELECT). The table in extensions.go
// connects each capability with the commands, FETCH items, search keys and
// syntax that it provides. Start with session.command, then read a handler, for
// example handleFetch.
//
// The protocol grammar is left to imap/wire, message content to imap/summary,
// SORT and THREAD to imap/order, files to maildrop, passwords and login
// throttling to internal/users, and sockets, TLS and connection limits to
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

// Config is the imap "imap" { ... } block of relay.hcl.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	listen.Config
	// CleartextLogin permits passwords on connections without TLS; off by
	// default. Clients on this machine may always send them to loopback addresses
	// and socket files of the listener, unless it has proxy_protocol.
	CleartextLogin bool `hcl:"cleartext_login,optional"`
	// AppendLimit is the size of the largest message that a client may store.
	AppendLimit conf.Bytes `hcl:"append_limit,optional" default:"64MiB"`
	// AccountConnections is the maximum number of connections of one account,
	// counted over all IMAP listeners. A mail program that watches 20 folders
	// has 20 of them, on each device.
	AccountConnections int `hcl:"account_connections,optional" default:"100"`
	// IdleTimeout is the longest time a logged-in client may be silent, at
	// least 30 minutes.
	IdleTimeout time.Duration `hcl:"idle_timeout,optional" default:"30m"`
	// KeepAlive is the time after which TCP probes whether a silent client is
	// still connected. Each probe wakes a phone.
	KeepAlive time.Duration `hcl:"keep_alive,optional" default:"5m"`
	// LoginTimeout is the time within which a client must log in.
	LoginTimeout time.Duration `hcl:"login_timeout,optional" default:"1m"`
	// SearchTimeout is the time after which a SEARCH, SORT or THREAD is refused
	// with NO [LIMIT].
	SearchTimeout time.Duration `hcl:"search_timeout,optional" default:"1m"`
}

// Check reports errors that involve several fields.
func (c *Config) Check() error {
	if err := c.Config.Check(); err != nil {
		return err
	}
	if c.IdleTimeout != 0 && c.IdleTimeout < 30*time.Minute {
		return conf.Fieldf("idle_timeout", "RFC 9051 requires at least 30 minutes")
	}
	if c.KeepAlive < 0 {
		return conf.Fieldf("keep_alive", "must be positive")
	}
	return nil
}

// Env holds the server's dependencies on the rest of the program.
type Env struct {
	// Box opens the box of a logged-in account.
	Box  func(mail.Address) (*maildrop.Box, error)
	Gate *login.Gate
	// Tally counts the connections of each account across all IMAP listeners.
	Tally *listen.Tally
	// Works holds the budgets of accounts across all IMAP listeners.
	Works *Works
	Log   zerolog.Logger
	// Hostname is sent in the greeting, and Version in the response to ID.
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

// New returns a server.
func New(cfg Config, env Env) *Server {
	var d Config
	conf.Defaults(&d)
	set(&cfg.AppendLimit, d.AppendLimit)
	set(&cfg.AccountConnections, d.AccountConnections)
	set(&cfg.IdleTimeout, d.IdleTimeout)
	set(&cfg.KeepAlive, d.KeepAlive)
	set(&cfg.LoginTimeout, d.LoginTimeout)
	set(&cfg.SearchTimeout, d.SearchTimeout)
	if env.Tally == nil {
		env.Tally = &listen.Tally{}
	}
	if env.Works == nil {
		env.Works = &Works{}
	}
	return &Server{cfg: cfg, env: env, log: env.Log, dialect: newDialect(extensions)}
}

// set replaces a zero value with a default.
func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Refuse returns the response to a client that is refused before its session
// starts.
func Refuse(r listen.Reason) string { return "* BYE " + string(r) + "\r\n" }

// Handle serves one connection until it ends, and closes it.
func (s *Server) Handle(ctx context.Context, c *listen.Conn) {
	defer c.Close()
	if err := c.SetKeepAlive(s.cfg.KeepAlive); err != nil {
		s.log.Debug().Err(err).Msg("imap keep-alive")
	}
	ses := newSession(ctx, s, c)
	if !s.sessions.Enter(ses) {
		return
	}
	defer s.sessions.Leave(ses)
	ses.serve()
}

// Shutdown sends BYE to every client and ends the sessions.
func (s *Server) Shutdown() { s.sessions.Shutdown((*session).stop) }
