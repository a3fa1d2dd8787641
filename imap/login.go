package imap

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/rs/zerolog"

	"hoplite/imap/wire"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
)

// handleNoop runs NOOP (RFC 9051, 6.1.2). Changes are reported after every
// command.
func handleNoop(_ *session, c *call) error { return c.args.End() }

// handleCapability runs CAPABILITY (RFC 9051, 6.1.1).
func handleCapability(s *session, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	c.out.untagged("CAPABILITY %s", s.capabilities())
	return nil
}

// handleLogout runs LOGOUT (RFC 9051, 6.1.3).
func handleLogout(s *session, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	c.out.untagged("BYE Logging out")
	s.ended = true
	return nil
}

// handleID runs ID (RFC 2971). The version is disclosed only after login.
func handleID(s *session, c *call) error {
	c.args.SP()
	params := c.args.ID()
	if err := c.args.End(); err != nil {
		return err
	}
	ev := s.log.Debug()
	for _, p := range params {
		ev = ev.Str("client_"+strings.ToLower(p[0]), p[1])
	}
	ev.Msg("imap client")
	if s.account == nil {
		c.out.untagged(`ID ("name" "Hoplite")`)
	} else {
		c.out.untagged(`ID ("name" "Hoplite" "version" %q)`, s.srv.env.Version)
	}
	return nil
}

// handleEnable runs ENABLE (RFC 9051, 6.3.1). Names that cannot be enabled are
// ignored.
func handleEnable(a *account, c *call) error {
	c.args.SP()
	words := c.args.Words()
	if err := c.args.End(); err != nil {
		return err
	}
	var on strings.Builder
	for _, w := range words {
		if e, ok := a.session.srv.dialect.enable[w]; ok {
			e.run(a)
			on.WriteString(" " + e.name)
		}
	}
	c.out.untagged("ENABLED%s", on.String())
	return nil
}

// cleartext reports whether passwords may be sent without TLS, either because
// the listener permits it or because they do not leave this machine.
func (s *session) cleartext() bool { return s.srv.cfg.CleartextLogin || s.conn.OnHost() }

// mayLogin reports whether a password may be sent on the connection in its
// current state.
func (s *session) mayLogin() bool {
	_, tls := s.conn.TLS()
	return tls || s.cleartext()
}

// handleStartTLS runs STARTTLS (RFC 9051, 6.2.1).
func handleStartTLS(s *session, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	if !s.conn.CanTLS() {
		return badf("STARTTLS not available")
	}
	if s.in.Buffered() {
		// An attacker could have injected the plaintext commands that follow,
		// so that they would run as if TLS had protected them.
		s.out.untagged("BYE Commands after STARTTLS")
		return errBye
	}
	s.out.tagged(c.tag, "OK Begin TLS negotiation now")
	c.completed = true
	if err := s.out.Flush(); err != nil {
		return err
	}
	s.in.Release()
	if err := s.conn.StartTLS(); err != nil {
		s.log.Debug().Err(err).Msg("imap STARTTLS")
		return errBye
	}
	return nil
}

// handleLogin runs LOGIN (RFC 9051, 6.2.3).
func handleLogin(s *session, c *call) error {
	c.args.SP()
	name := c.args.AString()
	c.args.SP()
	password := c.args.AString()
	if err := c.args.End(); err != nil {
		return err
	}
	if !s.mayLogin() {
		return errTLSRequired
	}
	a, err := s.srv.env.Gate.Check(s.ctx, login.From(s.conn), name, password)
	return s.authenticated(c, a, err)
}

// handleAuthenticate runs AUTHENTICATE (RFC 9051, 6.2.2; RFC 4959).
func handleAuthenticate(s *session, c *call) error {
	c.args.SP()
	mech := c.args.Command()
	initial, given := c.args.Initial()
	if err := c.args.End(); err != nil {
		return err
	}
	var account *users.Account
	srv, err := s.srv.env.Gate.Server(s.ctx, mech, login.From(s.conn), s.cleartext(), func(a *users.Account) { account = a })
	if errors.Is(err, login.ErrMechanism) {
		if s.srv.env.Gate.NeedsTLS(login.From(s.conn), mech) {
			return errTLSRequired
		}
		return nof("[CANNOT] Unsupported authentication mechanism")
	}
	if err != nil {
		return s.authenticated(c, nil, err)
	}
	var response []byte // nil until the client sends one
	if given {
		if response, err = decodeBase64(initial); err != nil {
			return err
		}
	}
	for {
		challenge, done, err := srv.Next(response)
		if err != nil {
			return s.authenticated(c, nil, err)
		}
		if done && len(challenge) == 0 {
			return s.authenticated(c, account, nil)
		}
		if err := s.out.proceed(base64.StdEncoding.EncodeToString(challenge)); err != nil {
			return err
		}
		line, err := s.in.Line()
		if err != nil {
			return err
		}
		if string(line) == "*" {
			return badf("AUTHENTICATE cancelled")
		}
		if done {
			// The client only acknowledges the server's last message.
			return s.authenticated(c, account, nil)
		}
		if response, err = decodeBase64(string(line)); err != nil {
			return err
		}
	}
}

// decodeBase64 decodes a response. It returns nil only with an error, because
// nil means that no response was sent.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, badf("Invalid base64 data")
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// authenticated completes a login attempt with result a and err. If the
// credentials are valid, the session enters the authenticated state.
func (s *session) authenticated(c *call, a *users.Account, err error) error {
	switch {
	case errors.Is(err, users.ErrThrottled):
		s.logFailure().Str("verdict", "throttled").Msg("imap login")
		return nof("[UNAVAILABLE] Too many failed logins, try again later")
	case errors.Is(err, users.ErrBadLogin), err == nil && a == nil:
		s.logFailure().Func(login.Cause(err)).Str("verdict", "refused").Msg("imap login")
		return nof("[AUTHENTICATIONFAILED] Authentication failed")
	case err != nil:
		if s.ctx.Err() != nil || s.stopping.Load() {
			return errBye
		}
		if errors.Is(err, users.ErrUnavailable) {
			s.logFailure().Err(err).Str("verdict", "unavailable").Msg("imap login")
			return nof("[UNAVAILABLE] Temporary authentication failure")
		}
		s.log.Info().Err(err).Str("verdict", "failed").Msg("imap login")
		return nof("[AUTHENTICATIONFAILED] Authentication failed")
	}
	if !s.srv.env.Tally.Enter(a.Name, s.srv.cfg.AccountConnections) {
		return nof("[LIMIT] Too many connections for this account (account_connections)")
	}
	account, err := openAccount(s, a)
	if err != nil {
		s.srv.env.Tally.Leave(a.Name)
		s.log.Error().Err(err).Str("account", a.Name).Msg("imap login")
		return nof("[UNAVAILABLE] Mailbox can't be opened, try again later")
	}
	s.account = account
	s.conn.LoggedIn()
	s.log = s.log.With().Str("account", a.Name).Logger()
	_, tls := s.conn.TLS()
	s.log.Info().Str("verdict", "accepted").Bool("tls", tls).Msg("imap login")
	s.in.Limits = wire.LoggedIn
	c.code = "[CAPABILITY " + s.capabilities() + "]"
	return nil
}

// logFailure returns a log event for a refused login, or nil if the client has
// caused too many of them.
func (s *session) logFailure() *zerolog.Event {
	return s.srv.env.Gate.LogFailure(login.From(s.conn), s.log.Info())
}
