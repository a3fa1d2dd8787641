// Package login implements the SASL mechanisms PLAIN, LOGIN, SCRAM-SHA-256,
// SCRAM-SHA-256-PLUS, OAUTHBEARER and XOAUTH2, and password logins of other
// protocols, for all servers.
//
// A [Gate] limits password guessing and makes all failures look alike. A
// users.Authenticator checks the passwords, and the servers encode the
// messages. Start with Gate.
package login

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/internal/users"
	"hoplite/mail"
)

// The names of the mechanisms.
const (
	Plain       = "PLAIN"
	Login       = "LOGIN"
	Scram       = "SCRAM-SHA-256"
	ScramPlus   = "SCRAM-SHA-256-PLUS"
	OAuthBearer = "OAUTHBEARER"
	XOAuth2     = "XOAUTH2"
)

// ErrMechanism is returned if a mechanism is not offered on the connection.
var ErrMechanism = errors.New("mechanism not offered here")

// failAfter is the duration of every refused login. It is constant because the
// time to check a hash varies, and must not disclose whether the account
// exists.
const failAfter = 400 * time.Millisecond

// Gate checks logins. All servers share one Gate.
type Gate struct {
	auth     users.Authenticator
	throttle *users.Throttle
}

// NewGate returns a gate that checks credentials with auth. All gates of the
// process must share one throttle.
func NewGate(auth users.Authenticator, throttle *users.Throttle) *Gate {
	return &Gate{auth, throttle}
}

// Client is the client of a connection.
type Client struct {
	Addr netip.Addr
	TLS  *tls.ConnectionState // nil if the connection is not encrypted
}

// From returns the client of a connection.
func From(c *listen.Conn) Client {
	who := Client{Addr: c.Client.Addr()}
	if state, ok := c.TLS(); ok {
		who.TLS = &state
	}
	return who
}

// Mechanisms returns the mechanisms offered to a client, best first. Without
// TLS, mechanisms that send a password or an access token are offered only if
// cleartext, a setting of the listener, is true.
func (g *Gate) Mechanisms(c Client, cleartext bool) []string {
	var m []string
	if g.auth.SCRAMReady() {
		if binding(c.TLS) != nil {
			m = append(m, ScramPlus)
		}
		m = append(m, Scram)
	}
	if c.TLS != nil || cleartext {
		m = append(m, Plain, Login)
		if g.tokens() != nil {
			m = append(m, OAuthBearer, XOAuth2)
		}
	}
	return m
}

// tokens returns the authenticator of access tokens, or nil if none are
// accepted.
func (g *Gate) tokens() users.TokenAuthenticator {
	if t, ok := g.auth.(users.TokenAuthenticator); ok && t.TokensReady() {
		return t
	}
	return nil
}

// NeedsTLS reports whether a mechanism that is not offered to a client would be
// offered over TLS.
func (g *Gate) NeedsTLS(c Client, mech string) bool {
	switch mech {
	case Plain, Login:
	case ScramPlus:
		return c.TLS == nil && g.auth.SCRAMReady()
	case OAuthBearer, XOAuth2:
		return c.TLS == nil && g.tokens() != nil
	default:
		return false
	}
	return c.TLS == nil
}

// Check checks a name and password that were not sent by SASL (POP3 USER and
// PASS, IMAP LOGIN). The error is users.ErrBadLogin, users.ErrThrottled, or
// users.ErrUnavailable with the reason; only the first is counted as a failure.
func (g *Gate) Check(ctx context.Context, c Client, name, password string) (*users.Account, error) {
	return g.attempt(ctx, c, name, func() (*users.Account, error) { return g.auth.Verify(ctx, name, password) })
}

// attempt runs one check of credentials and counts its result.
func (g *Gate) attempt(ctx context.Context, c Client, name string, verify func() (*users.Account, error)) (*users.Account, error) {
	start := time.Now()
	try, err := g.begin(ctx, c, name)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	a, err := verify()
	if err == nil {
		try.Succeeded()
		return a, nil
	}
	if errors.Is(err, users.ErrBadLogin) {
		g.fail(ctx, try, begun)
		return nil, err
	}
	try.Cancel()
	return nil, fmt.Errorf("%w: login after %s: %w", users.ErrUnavailable, time.Since(start).Round(time.Millisecond), err)
}

// begin starts an attempt to log in. Without a name, which access tokens do not
// need, only the client's network is throttled. The reply to a throttled attempt
// is delayed like the reply to a wrong password.
func (g *Gate) begin(ctx context.Context, c Client, name string) (*users.Attempt, error) {
	start := time.Now()
	account := ""
	if name != "" {
		account = g.auth.LoginName(name)
	}
	try, err := g.throttle.Begin(ctx, c.Addr, account)
	if err != nil {
		wait(ctx, start.Add(failAfter))
		return nil, err
	}
	return try, nil
}

// fail counts a wrong password and waits until failAfter has passed since the
// attempt began.
func (g *Gate) fail(ctx context.Context, try *users.Attempt, begun time.Time) error {
	try.Failed(ctx)
	wait(ctx, begun.Add(failAfter))
	return users.ErrBadLogin
}

func wait(ctx context.Context, until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Cause returns a function that adds to a log line why an access token was
// refused. Other refusals have no cause.
func Cause(err error) func(*zerolog.Event) {
	return func(line *zerolog.Event) {
		if refused := (*users.TokenRefused)(nil); errors.As(err, &refused) {
			line.Str("cause", refused.Error())
		}
	}
}

// LogFailure adds to line, a log line about a refused login, the number of such
// lines suppressed since the last one. If the client causes too many of them,
// LogFailure discards the line and returns nil, which logs nothing.
func (g *Gate) LogFailure(c Client, line *zerolog.Event) *zerolog.Event {
	suppressed, ok := g.throttle.LogFailure(c.Addr)
	if !ok {
		return line.Discard()
	}
	if suppressed > 0 {
		line.Int("suppressed", suppressed)
	}
	return line
}

// Server starts a SASL exchange. On success, done is called with the account
// before the last Next returns. The context limits the whole exchange.
func (g *Gate) Server(ctx context.Context, mech string, c Client, cleartext bool, done func(*users.Account)) (sasl.Server, error) {
	if !slices.Contains(g.Mechanisms(c, cleartext), mech) {
		return nil, ErrMechanism
	}
	check := func(name, password string) error {
		a, err := g.Check(ctx, c, name, password)
		if err == nil {
			done(a)
		}
		return err
	}
	switch mech {
	case Plain:
		return sasl.NewPlainServer(func(identity, name, password string) error {
			if identity != "" && mail.Key(identity) != mail.Key(name) {
				return g.asAnother(ctx, c, name)
			}
			return check(name, password)
		}), nil
	case Login:
		return &loginServer{check: check}, nil
	case OAuthBearer, XOAuth2:
		tokens := g.tokens()
		return &bearerServer{mech: mech, check: func(name, token string) error {
			a, err := g.attempt(ctx, c, name, func() (*users.Account, error) { return tokens.VerifyToken(ctx, name, token) })
			if err == nil {
				done(a)
			}
			return err
		}}, nil
	}
	return &scramServer{gate: g, ctx: ctx, client: c, plus: mech == ScramPlus, done: done}, nil
}

// asAnother refuses a login on behalf of another account as if the password
// were wrong.
func (g *Gate) asAnother(ctx context.Context, c Client, name string) error {
	begun := time.Now()
	try, err := g.begin(ctx, c, name)
	if err != nil {
		return err
	}
	return g.fail(ctx, try, begun)
}

// loginServer implements LOGIN (draft-murchison-sasl-login), which old versions
// of Outlook and printers use. It consists of two prompts and two responses.
type loginServer struct {
	check func(name, password string) error
	name  string
	step  int
}

// Next handles one response of the client.
func (s *loginServer) Next(response []byte) ([]byte, bool, error) {
	if len(response) > maxResponse {
		return nil, true, errors.New("response too long")
	}
	s.step++
	if s.step == 1 {
		if response == nil {
			return []byte("Username:"), false, nil
		}
		s.step = 2 // the initial response was the name
	}
	switch s.step {
	case 2:
		s.name = string(response)
		return []byte("Password:"), false, nil
	case 3:
		return nil, true, s.check(s.name, string(response))
	}
	return nil, true, sasl.ErrUnexpectedClientResponse
}
