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

// TokenSource gives OAuth access tokens; whoever renews them is behind it.
type TokenSource interface {
	// Token is a token that is good now.
	Token(ctx context.Context) (string, error)
}

// tokenFile is a TokenSource over a file that somebody else keeps fresh.
type tokenFile string

func (f tokenFile) Token(context.Context) (string, error) {
	b, err := os.ReadFile(string(f))
	if err != nil {
		return "", fmt.Errorf("read access token: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// authenticator logs in at the upstream.
type authenticator struct {
	user, password string
	mechanism      string
	tokens         TokenSource
}

// errNoAuth is a server at which we can't log in as configured.
var (
	errNoAuth    = errors.New("the server offers no login method that we may use")
	errClearAuth = errors.New("the password would go over the network in clear text: set tls to require or verify")
)

// login runs the SASL exchange (RFC 4954, 4). Passwords never leave in clear
// text, but for servers on this machine.
func (a *authenticator) login(ctx context.Context, c *conn, host string) error {
	if c.tls == nil && !local(c) {
		return &step{"AUTH", errClearAuth}
	}
	client, err := a.client(ctx, c)
	if err != nil {
		return &step{"AUTH", err}
	}
	mech, first, err := client.Start()
	if err != nil {
		return &step{"AUTH", err}
	}
	line := "AUTH " + mech
	if first != nil {
		line += " " + encode(first)
	}
	for {
		reply, err := c.ask(line, c.times.command)
		if err != nil {
			return &step{"AUTH", err}
		}
		switch {
		case reply.Code == 235:
			return nil
		case reply.Code != 334:
			// A wrong password of ours is no fault of the message: it stays.
			refused := *reply
			if refused.Permanent() {
				refused = mail.Reply{Code: 451, Enhanced: "4.7.0", Host: reply.Host,
					Text: "login at the upstream was refused: " + reply.String()}
			}
			return &refused
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(reply.Text))
		if err != nil {
			return &step{"AUTH", errGarbage}
		}
		answer, err := client.Next(challenge)
		if err != nil {
			c.ask("*", c.times.command)
			return &step{"AUTH", err}
		}
		line = base64.StdEncoding.EncodeToString(answer)
	}
}

func encode(first []byte) string {
	if len(first) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(first)
}

func local(c *conn) bool {
	if c.server.network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(c.addr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// client picks the best mechanism that both sides have.
func (a *authenticator) client(ctx context.Context, c *conn) (sasl.Client, error) {
	order := []string{"SCRAM-SHA-256", "PLAIN", "LOGIN"}
	if a.tokens != nil {
		order = []string{"XOAUTH2", "OAUTHBEARER"}
	}
	if a.mechanism != "auto" && a.mechanism != "" {
		order = []string{strings.ToUpper(a.mechanism)}
	}
	for _, mech := range order {
		if has(c.caps.auth, mech) {
			return a.start(ctx, c, mech)
		}
	}
	return nil, fmt.Errorf("%w (it offers %s)", errNoAuth, strings.Join(c.caps.auth, ", "))
}

func (a *authenticator) start(ctx context.Context, c *conn, mech string) (sasl.Client, error) {
	switch mech {
	case "PLAIN":
		return sasl.NewPlainClient("", a.user, a.password), nil
	case "LOGIN":
		return sasl.NewLoginClient(a.user, a.password), nil
	case "SCRAM-SHA-256":
		client, err := scram.SHA256.NewClient(a.user, a.password, "")
		if err != nil {
			return nil, err
		}
		return &scramClient{client.NewConversation()}, nil
	}
	if a.tokens == nil {
		return nil, fmt.Errorf("%s needs token_file", mech)
	}
	token, err := a.tokens.Token(ctx)
	if err != nil {
		return nil, err
	}
	if mech == "XOAUTH2" {
		return xoauth2{a.user, token}, nil
	}
	host, port, _ := net.SplitHostPort(c.server.address)
	n, _ := strconv.Atoi(port)
	return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: a.user, Token: token, Host: host, Port: n}), nil
}

// scramClient is SCRAM as go-sasl wants it.
type scramClient struct{ conv *scram.ClientConversation }

func (s *scramClient) Start() (string, []byte, error) {
	first, err := s.conv.Step("")
	return "SCRAM-SHA-256", []byte(first), err
}

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	answer, err := s.conv.Step(string(challenge))
	return []byte(answer), err
}

// xoauth2 is Google's and Microsoft's mechanism before OAUTHBEARER.
type xoauth2 struct{ user, token string }

func (x xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

// Next answers the error text that comes instead of success, so that the
// refusal itself can follow.
func (xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }
