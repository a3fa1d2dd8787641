// Package login holds the conversations in which a client shows who it is:
// PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, one implementation for all
// doors. What a password is worth is decided by a users.Authenticator; a Gate
// puts the throttle and equal answers in front of it.
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

// The mechanisms, as they are announced.
const (
	Plain     = "PLAIN"
	Login     = "LOGIN"
	Scram     = "SCRAM-SHA-256"
	ScramPlus = "SCRAM-SHA-256-PLUS"
)

// ErrMechanism is a mechanism that is not offered on this connection.
var ErrMechanism = errors.New("mechanism not offered here")

// failAfter is how long every refused login takes, so that the time tells
// nothing about the name; imported hashes take unlike times to check.
const failAfter = 400 * time.Millisecond

// Gate checks logins for all doors. Make one and hand it to each.
type Gate struct {
	auth     users.Authenticator
	throttle *users.Throttle
}

// NewGate returns a gate in front of auth. The throttle must be the one that all
// gates of the process share.
func NewGate(auth users.Authenticator, throttle *users.Throttle) *Gate {
	return &Gate{auth, throttle}
}

// Client is the connection that wants to log in.
type Client struct {
	Addr netip.Addr
	TLS  *tls.ConnectionState // nil = clear text
}

// From is the client at the other end of a connection.
func From(c *listen.Conn) Client {
	who := Client{Addr: c.Client.Addr()}
	if state, ok := c.TLS(); ok {
		who.TLS = &state
	}
	return who
}

// Mechanisms lists what is offered to a client, the best first. Without TLS a
// password must not be sent; cleartext (a listener's setting) permits it.
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
	}
	return m
}

// Check judges a name and password that a door took in its own way (POP3 USER
// and PASS, IMAP LOGIN). The error is users.ErrBadLogin, users.ErrThrottled, or
// says why nobody can log in right now; only the first counts as a failure.
func (g *Gate) Check(ctx context.Context, c Client, name, password string) (*users.Account, error) {
	start := time.Now()
	try, err := g.begin(ctx, c, name)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	a, err := g.auth.Verify(ctx, name, password)
	if err == nil {
		try.Succeeded()
		return a, nil
	}
	if errors.Is(err, users.ErrBadLogin) {
		return nil, g.fail(ctx, try, begun)
	}
	try.Cancel()
	return nil, fmt.Errorf("login after %s: %w", time.Since(start).Round(time.Millisecond), err)
}

// begin starts an attempt to log in. One that the throttle refuses is answered
// no sooner than a wrong password.
func (g *Gate) begin(ctx context.Context, c Client, name string) (*users.Attempt, error) {
	start := time.Now()
	try, err := g.throttle.Begin(ctx, c.Addr, g.auth.LoginName(name))
	if err != nil {
		wait(ctx, start.Add(failAfter))
		return nil, err
	}
	return try, nil
}

// fail counts a wrong password and answers it failAfter after its begin.
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

// LogFailure returns line for a refused login of a client, with the number of
// refused logins that were not logged since the last. While there are too many,
// it discards the line and returns nil, which logs nothing.
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

// Server starts a conversation. When it ends well, done is called with the
// account before the last Next returns. The context bounds all of it.
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
	}
	return &scramServer{gate: g, ctx: ctx, client: c, plus: mech == ScramPlus, done: done}, nil
}

// asAnother refuses to act as somebody else, in the way a wrong password is
// refused.
func (g *Gate) asAnother(ctx context.Context, c Client, name string) error {
	begun := time.Now()
	try, err := g.begin(ctx, c, name)
	if err != nil {
		return err
	}
	return g.fail(ctx, try, begun)
}

// loginServer is LOGIN (draft-murchison-sasl-login), which old Outlooks and
// printers speak: two questions, two answers.
type loginServer struct {
	check func(name, password string) error
	name  string
	step  int
}

// Next answers one step.
func (s *loginServer) Next(response []byte) ([]byte, bool, error) {
	if len(response) > maxResponse {
		return nil, true, errors.New("response too long")
	}
	s.step++
	if s.step == 1 {
		if response == nil {
			return []byte("Username:"), false, nil
		}
		s.step = 2 // the name came as initial response
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
