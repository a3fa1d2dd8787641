package imap

import (
	"encoding/base64"
	"errors"
	"fmt"

	"hoplite/imap/wire"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/mail"
)

// cleartext tells whether a password may be sent without TLS: when the listener
// says so, or the wire does not leave this machine.
func (s *session) cleartext() bool {
	return s.srv.cfg.CleartextLogin || s.conn.OnHost()
}

func (s *session) mayLogin() bool {
	_, tls := s.conn.TLS()
	return tls || s.cleartext()
}

func (s *session) doStartTLS() error {
	if !s.end() {
		return nil
	}
	if !s.conn.CanTLS() {
		s.p.Fail("STARTTLS is not available")
		return nil
	}
	if s.r.Buffered() {
		// Whoever put commands behind STARTTLS wants them taken for protected.
		s.untagged("BYE commands behind STARTTLS")
		return errBye
	}
	s.tagged("OK begin TLS now")
	if err := s.w.Flush(); err != nil {
		return err
	}
	s.r.Release()
	if err := s.conn.StartTLS(); err != nil {
		s.log.Debug().Err(err).Msg("imap STARTTLS")
		return errBye
	}
	return nil
}

func (s *session) doLogin() error {
	s.p.SP()
	name := s.p.AString()
	s.p.SP()
	password := s.p.AString()
	if !s.end() {
		return nil
	}
	if !s.mayLogin() {
		return nof("[PRIVACYREQUIRED] use TLS first")
	}
	a, err := s.srv.env.Gate.Check(s.ctx, login.From(s.conn), name, password)
	return s.welcome(a, err, "LOGIN")
}

func (s *session) doAuthenticate() error {
	s.p.SP()
	mech := s.p.Command()
	initial, given := s.p.Initial()
	if !s.end() {
		return nil
	}
	var account *users.Account
	srv, err := s.srv.env.Gate.Server(s.ctx, mech, login.From(s.conn), s.cleartext(), func(a *users.Account) { account = a })
	if errors.Is(err, login.ErrMechanism) {
		if mech == login.Plain || mech == login.Login {
			return nof("[PRIVACYREQUIRED] use TLS first")
		}
		return nof("[CANNOT] mechanism not offered")
	}
	if err != nil {
		return s.welcome(nil, err, "AUTHENTICATE")
	}
	var response []byte // nil: the client has said nothing yet
	if given {
		if response, err = decode(initial); err != nil {
			s.p.Fail("bad base64")
			return nil
		}
	}
	for {
		challenge, done, err := srv.Next(response)
		if err != nil {
			return s.welcome(nil, err, "AUTHENTICATE")
		}
		if done && len(challenge) == 0 {
			return s.welcome(account, nil, "AUTHENTICATE")
		}
		if err := s.proceed(base64.StdEncoding.EncodeToString(challenge)); err != nil {
			return err
		}
		line, err := s.r.Line()
		if err != nil {
			return err
		}
		if string(line) == "*" {
			s.p.Fail("AUTHENTICATE cancelled")
			return nil
		}
		if done {
			// The client only acknowledges what the server had to say last.
			return s.welcome(account, nil, "AUTHENTICATE")
		}
		if response, err = decode(string(line)); err != nil {
			s.p.Fail("bad base64")
			return nil
		}
	}
}

// decode never returns nil without an error, since nil means no response.
func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// welcome ends a login: it opens the account's box or says no.
func (s *session) welcome(a *users.Account, err error, how string) error {
	switch {
	case errors.Is(err, users.ErrThrottled):
		s.log.Info().Str("verdict", "throttled").Msg("imap login")
		return nof("[UNAVAILABLE] too many failed logins, try again later")
	case errors.Is(err, users.ErrBadLogin), err == nil && a == nil:
		s.log.Info().Str("verdict", "refused").Msg("imap login")
		return nof("[AUTHENTICATIONFAILED] wrong name or password")
	case err != nil:
		if s.ctx.Err() != nil || s.stopping.Load() {
			return errBye
		}
		s.log.Info().Err(err).Str("verdict", "failed").Msg("imap login")
		return nof("[AUTHENTICATIONFAILED] login failed")
	}
	if !s.srv.env.Tally.Enter(a.Name, s.srv.cfg.AccountConnections) {
		return nof("[LIMIT] too many connections of this account")
	}
	if err := s.open(a); err != nil {
		s.srv.env.Tally.Leave(a.Name)
		s.log.Error().Err(err).Str("account", a.Name).Msg("imap login")
		return nof("[UNAVAILABLE] mailbox cannot be opened, try again later")
	}
	s.log = s.log.With().Str("account", a.Name).Logger()
	_, tls := s.conn.TLS()
	s.log.Info().Str("verdict", "accepted").Bool("tls", tls).Msg("imap login")
	s.r.Limits = wire.Member
	s.tagged("OK [CAPABILITY %s] %s completed", s.capabilities(), how)
	return nil
}

func (s *session) open(a *users.Account) error {
	addr, err := mail.ParseAddress(a.Name)
	if err != nil {
		return fmt.Errorf("account %q: %w", a.Name, err)
	}
	box, err := s.srv.env.Box(addr)
	if err != nil {
		return err
	}
	s.account, s.box = a, box
	s.sep, s.prefix = box.Store().Separator(), box.Store().Prefix()
	return nil
}
