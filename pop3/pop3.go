// Package pop3 serves the INBOX of each box of package maildrop by POP3 (RFC
// 1939), with the extensions of RFC 2449, 2595, 3206, 5034 and 6856.
//
// A session takes one snapshot of the INBOX at login and keeps it until QUIT,
// so message numbers never change; messages are deleted only at QUIT. Passwords
// and login throttling are left to internal/users, and sockets, TLS and
// connection limits to internal/listen. Start with session.command and the
// table of commands, which lists the states in which each command is valid.
package pop3

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/maildrop"
)

// Config is the pop3 "pop3" { ... } block of relay.hcl.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	listen.Config
	// CleartextLogin permits passwords on connections without TLS; off by
	// default. Clients on this machine may always send them to loopback addresses
	// and socket files of the listener, unless it has proxy_protocol.
	CleartextLogin bool `hcl:"cleartext_login,optional"`
	// UIDL is the format of the unique ids of messages. It must be the format
	// of the server from which the mailboxes were taken over, or every client
	// downloads all mail again: %u is the UID, %v the UIDVALIDITY, %f the base
	// name of the file, %g the GUID; %08Xu means eight hexadecimal digits. The
	// default is Dovecot's; Courier's is "UID%u-%v", Cyrus's "%v.%u".
	UIDL string `hcl:"uidl,optional" default:"%08Xu%08Xv"`
	// KeepUnseen leaves downloaded messages unseen for IMAP clients; off by
	// default.
	KeepUnseen bool `hcl:"keep_unseen,optional"`
	// LoginDelay is the minimum time between two logins of an account; there is
	// none by default.
	LoginDelay time.Duration `hcl:"login_delay,optional"`
	// IdleTimeout is the longest time a logged-in client may be silent, at
	// least 10 minutes.
	IdleTimeout time.Duration `hcl:"idle_timeout,optional" default:"10m"`
	// LoginTimeout is the time within which a client must log in.
	LoginTimeout time.Duration `hcl:"login_timeout,optional" default:"1m"`
}

// Check reports errors that involve several fields.
func (c *Config) Check() error {
	if err := c.Config.Check(); err != nil {
		return err
	}
	return c.check()
}

func (c *Config) check() error {
	if c.IdleTimeout != 0 && c.IdleTimeout < 10*time.Minute {
		return conf.Fieldf("idle_timeout", "RFC 1939 requires at least 10 minutes")
	}
	if c.UIDL != "" {
		_, err := parseUIDL(c.UIDL)
		return conf.Field("uidl", err)
	}
	return nil
}

// Env holds the server's dependencies on the rest of the program.
type Env struct {
	// Box opens the box of a logged-in account.
	Box  func(mail.Address) (*maildrop.Box, error)
	Gate *login.Gate
	Log  zerolog.Logger
	// Hostname is sent in the greeting.
	Hostname string
}

// Server serves the connections of one listener.
type Server struct {
	cfg  Config
	env  Env
	uidl uidlFormat

	sessions listen.Sessions[*session]
	mu       sync.Mutex
	logins   map[string]time.Time // last logins, if LoginDelay is set
}

// New returns a server. It returns the errors that Config.Check finds.
func New(cfg Config, env Env) (*Server, error) {
	var d Config
	conf.Defaults(&d)
	if cfg.UIDL == "" {
		cfg.UIDL = d.UIDL
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = d.IdleTimeout
	}
	if cfg.LoginTimeout == 0 {
		cfg.LoginTimeout = d.LoginTimeout
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	format, err := parseUIDL(cfg.UIDL)
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, env: env, uidl: format, logins: map[string]time.Time{}}, nil
}

// Refuse returns the response to a client that is refused before its session
// starts.
func Refuse(r listen.Reason) string { return "-ERR [SYS/TEMP] " + string(r) + "\r\n" }

// Handle serves one connection until it ends, and closes it.
func (s *Server) Handle(ctx context.Context, c *listen.Conn) {
	defer c.Close()
	ses := newSession(ctx, s, c)
	if !s.sessions.Enter(ses) {
		return
	}
	defer s.sessions.Leave(ses)
	ses.serve()
}

// Shutdown ends every session. Messages marked as deleted are kept.
func (s *Server) Shutdown() { s.sessions.Shutdown((*session).stop) }

// tooSoon reports whether an account's last login was less than LoginDelay ago.
// If not, it records the new login.
func (s *Server) tooSoon(account string) bool {
	if s.cfg.LoginDelay <= 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for name, at := range s.logins {
		if now.Sub(at) >= s.cfg.LoginDelay {
			delete(s.logins, name)
		}
	}
	if _, recent := s.logins[account]; recent {
		return true
	}
	s.logins[account] = now
	return false
}
