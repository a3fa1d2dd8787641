package pop3

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"hoplite/internal/users"
	"hoplite/internal/users/login"
)

// cleartext reports whether passwords may be sent without TLS, either because
// the listener permits it or because they do not leave this machine.
func (s *session) cleartext() bool { return s.srv.cfg.CleartextLogin || s.conn.OnHost() }

// mayLogin reports whether the client may send a password on the connection in
// its current state.
func (s *session) mayLogin() bool {
	_, tls := s.conn.TLS()
	return tls || s.cleartext()
}

// handleCapa runs CAPA (RFC 2449, 5).
func handleCapa(s *session, _ string) error {
	s.ok("Capabilities follow")
	for _, line := range []string{"TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8 USER", "LANG", "EXPIRE NEVER"} {
		s.w.WriteString(line + "\r\n")
	}
	if d := s.srv.cfg.LoginDelay; d > 0 {
		s.send("LOGIN-DELAY ", "%d", int((d+time.Second-1)/time.Second))
	}
	if s.inbox == nil {
		if s.mayLogin() {
			s.w.WriteString("USER\r\n")
		}
		if mechs := s.srv.env.Gate.Mechanisms(login.From(s.conn), s.cleartext()); len(mechs) > 0 {
			s.send("SASL ", "%s", strings.Join(mechs, " "))
		}
		if s.conn.CanTLS() {
			s.w.WriteString("STLS\r\n")
		}
	}
	s.w.WriteString("IMPLEMENTATION Hoplite\r\n.\r\n")
	return nil
}

// handleBye runs QUIT before login.
func handleBye(s *session, _ string) error {
	s.ended = true
	s.ok("Logging out")
	return nil
}

// handleSTLS runs STLS (RFC 2595, 4).
func handleSTLS(s *session, _ string) error {
	if !s.conn.CanTLS() {
		s.err("TLS not available")
		return nil
	}
	if s.r.Buffered() > 0 {
		// An attacker could have injected the plaintext commands that follow,
		// so that they would run as if TLS had protected them.
		s.err("Commands after STLS")
		s.w.Flush()
		return errBye
	}
	s.ok("Begin TLS negotiation")
	if err := s.w.Flush(); err != nil {
		return err
	}
	if err := s.conn.StartTLS(); err != nil {
		s.log.Debug().Err(err).Msg("pop3 STLS")
		return errBye
	}
	s.user = ""
	return nil
}

// handleUTF8 runs UTF8 (RFC 6856, 2). Messages are then sent as stored.
func handleUTF8(s *session, arg string) error {
	if arg != "" {
		s.err("UTF8 takes no argument")
		return nil
	}
	s.utf8 = true
	s.ok("UTF8 enabled")
	return nil
}

// handleLang runs LANG (RFC 6856, 3). English is the only language.
func handleLang(s *session, arg string) error {
	switch {
	case arg == "":
		s.ok("Languages follow")
		s.w.WriteString("en English\r\n.\r\n")
	case arg == "*" || strings.EqualFold(arg, "en") || strings.HasPrefix(strings.ToLower(arg), "en-"):
		s.ok("en English")
	default:
		s.err("Language not available")
	}
	return nil
}

// handleUser runs USER. The response does not reveal whether the user exists.
func handleUser(s *session, arg string) error {
	switch {
	case arg == "":
		s.err("USER needs a name")
	case !s.mayLogin():
		s.err("Plaintext authentication disallowed on non-secure connections")
	default:
		s.user = arg
		s.ok("Send password")
	}
	return nil
}

// handlePass runs PASS. Spaces in the argument belong to the password.
func handlePass(s *session, arg string) error {
	if s.user == "" {
		s.err("Send USER first")
		return nil
	}
	name := s.user
	s.user = ""
	if !s.mayLogin() {
		s.err("Plaintext authentication disallowed on non-secure connections")
		return nil
	}
	account, err := s.srv.env.Gate.Check(s.ctx, login.From(s.conn), name, arg)
	return s.authenticated(account, err)
}

// handleAuth runs AUTH (RFC 5034). Without an argument it lists the mechanisms,
// as old clients expect.
func handleAuth(s *session, arg string) error {
	if arg == "" {
		s.ok("Mechanisms follow")
		for _, m := range s.srv.env.Gate.Mechanisms(login.From(s.conn), s.cleartext()) {
			s.w.WriteString(m + "\r\n")
		}
		s.w.WriteString(".\r\n")
		return nil
	}
	mech, initial, given := strings.Cut(arg, " ")
	mech = strings.ToUpper(mech)
	var account *users.Account
	srv, err := s.srv.env.Gate.Server(s.ctx, mech, login.From(s.conn), s.cleartext(), func(a *users.Account) { account = a })
	if errors.Is(err, login.ErrMechanism) {
		if s.srv.env.Gate.NeedsTLS(login.From(s.conn), mech) {
			s.err("Plaintext authentication disallowed on non-secure connections")
		} else {
			s.err("Unsupported authentication mechanism")
		}
		return nil
	}
	if err != nil {
		return s.authenticated(nil, err)
	}
	var response []byte // nil until the client sends one
	if given {
		if response, err = decodeBase64(initial); err != nil {
			s.err("Invalid base64 data")
			return nil
		}
	}
	for {
		challenge, done, err := srv.Next(response)
		if err != nil || done && len(challenge) == 0 {
			return s.authenticated(account, err)
		}
		s.send("+ ", "%s", base64.StdEncoding.EncodeToString(challenge))
		line, err := s.line(maxSASL)
		if err != nil {
			return err
		}
		if line == "*" {
			s.err("AUTH cancelled")
			return nil
		}
		if done {
			// The client only acknowledges the server's last message.
			return s.authenticated(account, nil)
		}
		if response, err = decodeBase64(line); err != nil {
			s.err("Invalid base64 data")
			return nil
		}
	}
}

// decodeBase64 decodes a response. "=" is an empty response (RFC 5034, 4).
func decodeBase64(text string) ([]byte, error) {
	if text == "=" || text == "" {
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(text)
}

// authenticated completes a login attempt with result account and err. If the
// credentials are valid, the session enters the transaction state.
func (s *session) authenticated(account *users.Account, err error) error {
	switch {
	case errors.Is(err, users.ErrThrottled):
		s.logFailure("throttled", err)
		s.err("[SYS/TEMP] Too many failed logins, try again later")
		return s.countFailure()
	case errors.Is(err, users.ErrBadLogin):
		s.logFailure("refused", err)
		s.err("[AUTH] Authentication failed")
		return s.countFailure()
	case err != nil || account == nil:
		s.log.Warn().Err(err).Msg("pop3 login")
		s.err("[SYS/TEMP] Temporary authentication failure")
		return s.countFailure()
	}
	if s.srv.tooSoon(account.Name) {
		s.err("[LOGIN-DELAY] Minimum time between logins is %s", s.srv.cfg.LoginDelay)
		return nil
	}
	in, err := openInbox(s.srv, account)
	if errors.Is(err, errInUse) {
		s.err("[IN-USE] Mailbox is locked by another POP3 session")
		return nil
	}
	if err != nil {
		s.log.Error().Err(err).Str("user", account.Name).Msg("pop3 mailbox")
		s.err("[SYS/TEMP] Mailbox not available")
		return nil
	}
	s.inbox = in
	s.ok("Logged in, %d messages", len(in.messages))
	return nil
}

// countFailure counts a failed login. After maxLogins failures it ends the
// session.
func (s *session) countFailure() error {
	if s.logins++; s.logins >= maxLogins {
		s.w.Flush()
		return errBye
	}
	return nil
}

// logFailure logs a refused login, unless the client has already caused too
// many.
func (s *session) logFailure(verdict string, err error) {
	s.srv.env.Gate.LogFailure(login.From(s.conn), s.log.Info()).Func(login.Cause(err)).Str("stage", "login").Str("verdict", verdict).Msg("pop3 login")
}
