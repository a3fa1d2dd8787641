package pop3

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/maildrop"
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

// capa is CAPA (RFC 2449, 5).
func (s *session) capa(string) error {
	s.ok("this server can:")
	for _, line := range []string{"TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8 USER", "LANG", "EXPIRE NEVER"} {
		s.w.WriteString(line + "\r\n")
	}
	if d := s.srv.cfg.LoginDelay; d > 0 {
		s.say("LOGIN-DELAY ", "%d", int((d+time.Second-1)/time.Second))
	}
	if s.account == nil {
		if s.mayLogin() {
			s.w.WriteString("USER\r\n")
		}
		if mechs := s.srv.env.Gate.Mechanisms(login.From(s.conn), s.cleartext()); len(mechs) > 0 {
			s.say("SASL ", "%s", strings.Join(mechs, " "))
		}
		if s.conn.CanTLS() {
			s.w.WriteString("STLS\r\n")
		}
	}
	s.w.WriteString("IMPLEMENTATION Hoplite\r\n.\r\n")
	return nil
}

// stls is STLS (RFC 2595, 4).
func (s *session) stls(string) error {
	if !s.conn.CanTLS() {
		s.err("TLS is not available")
		return nil
	}
	if s.r.Buffered() > 0 {
		// Whoever put commands behind STLS wants them taken for protected.
		s.err("commands behind STLS")
		s.w.Flush()
		return errBye
	}
	s.ok("begin TLS now")
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

// doUTF8 is UTF8 (RFC 6856, 2). Messages go out as they are stored anyway.
func (s *session) doUTF8(arg string) error {
	if arg != "" {
		s.err("UTF8 takes no argument")
		return nil
	}
	s.utf8 = true
	s.ok("UTF-8 it is")
	return nil
}

// lang is LANG (RFC 6856, 3). There is one language.
func (s *session) lang(arg string) error {
	switch {
	case arg == "":
		s.ok("languages:")
		s.w.WriteString("en English\r\n.\r\n")
	case arg == "*" || strings.EqualFold(arg, "en") || strings.HasPrefix(strings.ToLower(arg), "en-"):
		s.ok("en English")
	default:
		s.err("only English is spoken here")
	}
	return nil
}

// doUser is USER. It tells nothing about whether there is such a user.
func (s *session) doUser(arg string) error {
	switch {
	case arg == "":
		s.err("USER wants a name")
	case !s.mayLogin():
		s.err("use TLS first")
	default:
		s.user = arg
		s.ok("now the password")
	}
	return nil
}

// pass is PASS. Its argument is the password with all its spaces.
func (s *session) pass(arg string) error {
	if s.user == "" {
		s.err("USER first")
		return nil
	}
	name := s.user
	s.user = ""
	if !s.mayLogin() {
		s.err("use TLS first")
		return nil
	}
	account, err := s.srv.env.Gate.Check(s.ctx, login.From(s.conn), name, arg)
	return s.welcome(account, err)
}

// auth is AUTH (RFC 5034); without an argument it lists the mechanisms, which
// old clients ask for in this way.
func (s *session) auth(arg string) error {
	if arg == "" {
		s.ok("mechanisms:")
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
		if !s.mayLogin() && slices.Contains([]string{login.Plain, login.Login}, mech) {
			s.err("use TLS first")
		} else {
			s.err("no such mechanism")
		}
		return nil
	}
	if err != nil {
		return s.welcome(nil, err)
	}
	var response []byte // nil: the client has said nothing yet
	if given {
		if response, err = decode(initial); err != nil {
			s.err("bad base64")
			return nil
		}
	}
	for {
		challenge, done, err := srv.Next(response)
		if err != nil || done && len(challenge) == 0 {
			return s.welcome(account, err)
		}
		s.say("+ ", "%s", base64.StdEncoding.EncodeToString(challenge))
		line, err := s.line(maxSASL)
		if err != nil {
			return err
		}
		if line == "*" {
			s.err("AUTH cancelled")
			return nil
		}
		if done {
			// The client only acknowledges what the server had to say last.
			return s.welcome(account, nil)
		}
		if response, err = decode(line); err != nil {
			s.err("bad base64")
			return nil
		}
	}
}

// decode reads base64, "=" for the empty string (RFC 5034, 4).
func decode(text string) ([]byte, error) {
	if text == "=" || text == "" {
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(text)
}

// welcome answers a login, and opens the mailbox after a good one.
func (s *session) welcome(account *users.Account, err error) error {
	switch {
	case errors.Is(err, users.ErrThrottled):
		s.err("[SYS/TEMP] too many failed logins, try again later")
		return s.failed()
	case errors.Is(err, users.ErrBadLogin):
		s.log.Info().Str("stage", "login").Str("verdict", "refused").Msg("pop3 login")
		s.err("[AUTH] wrong name or password")
		return s.failed()
	case err != nil || account == nil:
		s.log.Warn().Err(err).Msg("pop3 login")
		s.err("[SYS/TEMP] login is not possible now")
		return s.failed()
	}
	if s.srv.tooSoon(account.Name) {
		s.err("[LOGIN-DELAY] come back in %s", s.srv.cfg.LoginDelay)
		return nil
	}
	in, err := s.open(account)
	if errors.Is(err, errInUse) {
		s.err("[IN-USE] another POP3 session has this mailbox")
		return nil
	}
	if err != nil {
		s.log.Error().Err(err).Str("user", account.Name).Msg("pop3 mailbox")
		s.err("[SYS/TEMP] mailbox is not available")
		return nil
	}
	s.account, s.inbox = account, in
	s.ok("%d messages", len(in.msgs))
	return nil
}

// failed counts a bad login and ends the session after some.
func (s *session) failed() error {
	if s.logins++; s.logins >= maxLogins {
		s.w.Flush()
		return errBye
	}
	return nil
}

var errInUse = errors.New("mailbox in use")

// open opens the account's INBOX for this session alone.
func (s *session) open(account *users.Account) (*inbox, error) {
	box, err := s.srv.env.Box(mail.Address(account.Name))
	if err != nil {
		return nil, err
	}
	unlock, ok := box.LockPOP3()
	if !ok {
		box.Close()
		return nil, errInUse
	}
	in := &inbox{box: box, unlock: unlock, deleted: map[int]bool{}, fetched: map[int]bool{}}
	if in.folder, err = box.Folder("INBOX"); err == nil {
		if in.snap, err = in.folder.Sync(); err != nil {
			in.folder.Close()
		}
	}
	if err != nil {
		unlock()
		box.Close()
		return nil, err
	}
	in.msgs = popOrder(in.snap.Messages)
	return in, nil
}

// popOrder is the order of message numbers: by UID, unless an earlier server
// wrote another one into the uidlist.
func popOrder(msgs []*maildrop.Message) []*maildrop.Message {
	ordered := slices.IndexFunc(msgs, func(m *maildrop.Message) bool { return m.Ext != "" && order(m) > 0 })
	if ordered < 0 {
		return msgs
	}
	msgs = slices.Clone(msgs)
	// Those without a place follow, as they came later.
	slices.SortStableFunc(msgs, func(a, b *maildrop.Message) int {
		x, y := order(a), order(b)
		switch {
		case x == y:
			return 0
		case x == 0:
			return 1
		case y == 0 || x < y:
			return -1
		}
		return 1
	})
	return msgs
}
