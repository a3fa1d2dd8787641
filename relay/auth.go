package relay

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"hoplite/internal/users"
	"hoplite/mail"
)

// loginTime is the maximum duration of a SASL dialogue.
const loginTime = 2 * time.Minute

// AuthMechanisms returns the mechanisms offered. The library calls it; the
// reply to EHLO uses Server.offer.
func (s *session) AuthMechanisms() []string { return s.srv.mechanisms(s.conn) }

// Auth begins a SASL dialogue.
func (s *session) Auth(mech string) (sasl.Server, error) {
	offered := s.srv.mechanisms(s.conn)
	switch {
	case s.srv.env.Login == nil || s.srv.cfg.Auth == "off":
		return nil, s.reply(mail.NewReply(502, "5.5.1", "AUTH is not offered"))
	case slices.Contains(offered, mech):
	case s.conn.Socket().CanTLS() && s.srv.env.Login.NeedsTLS(loginClient(s.conn), mech):
		return nil, s.reply(mail.NewReply(538, "5.7.11", "Must issue a STARTTLS command first"))
	default:
		return nil, s.reply(mail.NewReply(504, "5.5.4", "Unrecognized authentication mechanism"))
	}
	ctx, cancel := context.WithTimeout(s.srv.ctx, loginTime)
	srv, err := s.srv.env.Login.Server(ctx, mech, loginClient(s.conn), s.srv.cfg.CleartextLogin, func(a *users.Account) {
		s.conn.SetLogin(a.Name)
		s.srv.env.Metrics.login(s.srv.cfg.Name, "235")
	})
	if err != nil {
		cancel()
		return nil, s.reply(&mail.Reply{Code: 454, Enhanced: "4.7.0", Text: "Temporary authentication failure", Cause: err})
	}
	return &dialogue{Server: srv, session: s, mech: mech, cancel: cancel}, nil
}

// dialogue translates login errors into replies, so that the client learns no
// further details.
type dialogue struct {
	sasl.Server
	session *session
	mech    string
	cancel  context.CancelFunc
}

// Next handles one of the client's responses.
func (d *dialogue) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := d.Server.Next(response)
	if err == nil {
		if done {
			d.cancel()
		}
		return challenge, done, nil
	}
	d.cancel()
	r := loginReply(err)
	d.session.srv.env.Metrics.login(d.session.srv.cfg.Name, strconv.Itoa(r.Code))
	log := d.session.srv.env.Login.LogFailure(loginClient(d.session.conn), d.session.srv.log.Info()).Str("peer", d.session.conn.Ident().Client.String()).Str("mechanism", d.mech)
	if r.Cause != nil {
		log = log.Err(r.Cause)
	}
	log.Str("reply", r.String()).Msg("login refused")
	return nil, true, d.session.reply(r)
}

func loginReply(err error) *mail.Reply {
	var ours *smtp.SMTPError
	var token *users.TokenRefused
	switch {
	case errors.As(err, &token):
		return &mail.Reply{Code: 535, Enhanced: "5.7.8", Text: "Authentication failed: access token refused", Cause: err}
	case errors.Is(err, users.ErrBadLogin):
		return mail.NewReply(535, "5.7.8", "Authentication failed: wrong username or password")
	case errors.Is(err, users.ErrThrottled):
		return mail.NewReply(454, "4.7.0", "Too many failed logins, try again later")
	case errors.Is(err, users.ErrUnavailable):
		return &mail.Reply{Code: 454, Enhanced: "4.7.0", Text: "Temporary authentication failure", Cause: err}
	case errors.As(err, &ours):
		return mail.NewReply(ours.Code, "", "%s", ours.Message)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return mail.NewReply(454, "4.7.0", "Authentication timed out")
	}
	return &mail.Reply{Code: 501, Enhanced: "5.5.2", Text: "Invalid response for this mechanism", Cause: err}
}
