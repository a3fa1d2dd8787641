package forward

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"hoplite/mail"
)

// TokenSource provides OAuth access tokens and renews them.
type TokenSource interface {
	// Token returns a currently valid token.
	Token(ctx context.Context) (string, error)
	// Refuse reports that the server refused a token. Token must then return
	// another one.
	Refuse(token string)
}

// tokenFile is a TokenSource that reads a file which another program keeps up
// to date.
type tokenFile string

func (f tokenFile) Token(context.Context) (string, error) {
	b, err := os.ReadFile(string(f))
	if err != nil {
		return "", fmt.Errorf("read access token: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// Refuse does nothing: the other program renews the token.
func (f tokenFile) Refuse(string) {}

// authenticator logs in to the upstream.
type authenticator struct {
	user, password string
	mechanism      string
	tokens         TokenSource
	// insecure permits a login over a connection that does not prove the
	// server's identity.
	insecure bool
}

var (
	errNotAsked  = errors.New("the server did not ask for a client certificate, so EXTERNAL can't be used")
	errNoAuth    = errors.New("the server offers no authentication mechanism that can be used")
	errClearAuth = errors.New("the password would be sent in clear text: the server does not offer STARTTLS; auth { insecure = true } allows it")
)

// mayLogin returns an error if the login must not be sent. Secrets are sent
// only to a server whose certificate was verified, to a server on this machine,
// or if the configuration sets insecure.
func (a *authenticator) mayLogin(c *conn) error {
	if a.insecure || c.isLocal() {
		return nil
	}
	err := requirement{least: verified}.meets(c.proof)
	if errors.Is(err, errNoTLS) {
		return errClearAuth
	}
	return err
}

// login runs the SASL exchange (RFC 4954, 4).
func (a *authenticator) login(ctx context.Context, c *conn) error {
	if err := a.mayLogin(c); err != nil {
		return c.failed("AUTH", &insecureError{err})
	}
	if a.mechanism == "external" && !c.proof.certificate {
		return c.failed("AUTH", errNotAsked)
	}
	mech, err := a.choose(c)
	if err != nil {
		return c.failed("AUTH", err)
	}
	if mech != "XOAUTH2" && mech != "OAUTHBEARER" {
		return a.exchange(c, mech, "")
	}
	if a.tokens == nil {
		return c.failed("AUTH", fmt.Errorf("%s needs oauth2 or token_file", mech))
	}
	token, err := a.tokens.Token(ctx)
	if err != nil {
		return c.failed("AUTH", err)
	}
	var refused *loginRefused
	if err = a.exchange(c, mech, token); errors.As(err, &refused) {
		a.tokens.Refuse(token)
		return &tokenRefused{err}
	}
	return err
}

// tokenRefused reports that an access token was refused. It may have been
// revoked, so another one is tried once.
type tokenRefused struct{ error }

func (e *tokenRefused) Unwrap() error { return e.error }

// exchange performs the SASL exchange of one mechanism.
func (a *authenticator) exchange(c *conn, mech, token string) error {
	client, err := a.start(c, mech, token)
	if err != nil {
		return c.failed("AUTH", err)
	}
	_, first, err := client.Start()
	if err != nil {
		return c.failed("AUTH", err)
	}
	line := "AUTH " + mech
	if first != nil {
		line += " " + encode(first)
	}
	for {
		reply, err := c.ask(line, c.times.command)
		if err != nil {
			return c.failed("AUTH", err)
		}
		if reply.Code == 235 {
			return nil
		}
		if reply.Code != 334 {
			if err = refusedLogin(reply); reply.Permanent() {
				err = &loginRefused{err}
			}
			return err
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(reply.Text))
		if err != nil && mech != "LOGIN" { // LOGIN's prompts are ignored
			return c.failed("AUTH", errGarbage)
		}
		answer, err := client.Next(challenge)
		var bearer *sasl.OAuthBearerError
		switch {
		case errors.As(err, &bearer):
			answer = []byte{1} // the refusal follows (RFC 7628, 3.2.3)
		case err != nil:
			c.ask("*", c.times.command)
			return c.failed("AUTH", err)
		}
		line = base64.StdEncoding.EncodeToString(answer)
	}
}

// loginRefused reports that a login was refused permanently.
type loginRefused struct{ error }

func (e *loginRefused) Unwrap() error { return e.error }

// refusedLogin turns a refused login into a temporary failure, because a wrong
// password in the configuration must not bounce mail.
func refusedLogin(reply *mail.Reply) error {
	return &mail.Reply{Code: 451, Enhanced: "4.7.0", Host: reply.Host, Text: "AUTH: login at the upstream was refused: " + reply.String()}
}

func encode(first []byte) string {
	if len(first) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(first)
}

// choose returns the best mechanism that both sides support.
func (a *authenticator) choose(c *conn) (string, error) {
	order := []string{"SCRAM-SHA-256", "PLAIN", "LOGIN"}
	if a.tokens != nil {
		order = []string{"XOAUTH2", "OAUTHBEARER"}
	}
	if a.mechanism != "auto" && a.mechanism != "" {
		order = []string{strings.ToUpper(a.mechanism)}
	}
	for _, mech := range order {
		if has(c.caps.auth, mech) {
			return mech, nil
		}
	}
	return "", fmt.Errorf("%w (it offers %s)", errNoAuth, strings.Join(c.caps.auth, ", "))
}

func (a *authenticator) start(c *conn, mech, token string) (sasl.Client, error) {
	switch mech {
	case "PLAIN":
		return sasl.NewPlainClient("", a.user, a.password), nil
	case "LOGIN":
		return &loginClient{answers: []string{a.user, a.password}}, nil
	case "EXTERNAL":
		return sasl.NewExternalClient(a.user), nil
	case "SCRAM-SHA-256":
		client, err := scram.SHA256.NewClient(a.user, a.password, "")
		if err != nil {
			return nil, err
		}
		return &scramClient{client.NewConversation()}, nil
	}
	if mech == "XOAUTH2" {
		return xoauth2{a.user, token}, nil
	}
	host, port, _ := net.SplitHostPort(c.server.address)
	n, _ := strconv.Atoi(port)
	return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: a.user, Token: token, Host: host, Port: n}), nil
}

// loginClient implements the LOGIN mechanism in a way that every old server
// accepts. It sends no initial response, which some servers refuse with 501 or
// ignore. It then sends the user name and the password, whatever the prompts
// contain: real prompts may be translated, empty, misspelled or end in NUL.
type loginClient struct{ answers []string }

func (l *loginClient) Start() (string, []byte, error) { return "LOGIN", nil, nil }

func (l *loginClient) Next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, errors.New("the server asks for more than user name and password")
	}
	next := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(next), nil
}

// scramClient adapts the SCRAM library to go-sasl.
type scramClient struct{ conv *scram.ClientConversation }

func (s *scramClient) Start() (string, []byte, error) {
	first, err := s.conv.Step("")
	return "SCRAM-SHA-256", []byte(first), err
}

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	answer, err := s.conv.Step(string(challenge))
	return []byte(answer), err
}

// xoauth2 implements Google's and Microsoft's predecessor of OAUTHBEARER.
type xoauth2 struct{ user, token string }

func (x xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

// Next answers an error message with an empty response, so that the server
// sends its refusal.
func (xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }
