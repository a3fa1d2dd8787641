package login

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"

	"hoplite/internal/users"
)

// bearerServer implements OAUTHBEARER (RFC 7628) and its predecessor XOAUTH2
// (developers.google.com/workspace/gmail/imap/xoauth2-protocol). The client sends
// a token. If it is refused, the client receives the reason in JSON, which it
// acknowledges before the exchange fails.
type bearerServer struct {
	mech    string
	check   func(name, token string) error
	refused error
}

// Next handles one response of the client.
func (s *bearerServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case s.refused != nil:
		return nil, true, s.refused
	case response == nil:
		return []byte{}, false, nil // request the missing initial response
	case len(response) > maxResponse:
		return nil, true, errors.New("response too long")
	}
	parse := parseBearer
	if s.mech == XOAuth2 {
		parse = parseXOAuth2
	}
	name, token, ok := parse(string(response))
	if !ok {
		return nil, true, sasl.ErrUnexpectedClientResponse
	}
	err := s.check(name, token)
	if errors.Is(err, users.ErrBadLogin) {
		s.refused = err
		return challenge(s.mech, err), false, nil
	}
	return nil, true, err
}

// challenge returns the reason for a refusal in the form of the mechanism (RFC
// 7628, 3.2.2).
func challenge(mech string, err error) []byte {
	refused := &users.TokenRefused{Status: "invalid_token"}
	errors.As(err, &refused)
	var text []byte
	if mech == XOAuth2 {
		text, _ = json.Marshal(struct { // strings cannot fail
			Status  string `json:"status"`
			Schemes string `json:"schemes"`
			Scope   string `json:"scope"`
		}{"401", "bearer", refused.Scope})
		return text
	}
	text, _ = json.Marshal(struct {
		Status    string `json:"status"`
		Scope     string `json:"scope,omitempty"`
		Discovery string `json:"openid-configuration,omitempty"`
	}{refused.Status, refused.Scope, refused.Discovery})
	return text
}

// parseBearer returns the login name, which may be empty, and the token of an
// OAUTHBEARER message (RFC 7628, 3.1): n,a=NAME,^Ahost=H^Aauth=Bearer TOKEN^A^A.
func parseBearer(message string) (name, token string, ok bool) {
	flag, rest, _ := strings.Cut(message, ",")
	identity, rest, ok := strings.Cut(rest, ",")
	if !ok || flag != "n" && flag != "y" {
		return "", "", false
	}
	if identity != "" {
		if name, ok = strings.CutPrefix(identity, "a="); !ok || name == "" {
			return "", "", false
		}
		name = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
	}
	if rest, ok = strings.CutPrefix(rest, "\x01"); !ok {
		return "", "", false
	}
	token, ok = tokenIn(rest)
	return name, token, ok
}

// parseXOAuth2 returns the login name and token of an XOAUTH2 message:
// user=NAME^Aauth=Bearer TOKEN^A^A.
func parseXOAuth2(message string) (name, token string, ok bool) {
	if name, ok = strings.CutPrefix(message, "user="); !ok {
		return "", "", false
	}
	name, rest, _ := strings.Cut(name, "\x01")
	token, ok = tokenIn(rest)
	return name, token, ok && name != ""
}

// tokenIn returns the token in a list of pairs. Other pairs are ignored (RFC
// 7628, 3.1).
func tokenIn(pairs string) (token string, ok bool) {
	pairs, ok = strings.CutSuffix(pairs, "\x01\x01")
	if !ok {
		return "", false
	}
	for pair := range strings.SplitSeq(pairs, "\x01") {
		value, is := strings.CutPrefix(pair, "auth=")
		if !is {
			continue
		}
		scheme, rest, _ := strings.Cut(value, " ")
		if token != "" || !strings.EqualFold(scheme, "Bearer") {
			return "", false
		}
		token = strings.TrimLeft(rest, " ")
		if token == "" || strings.Trim(token, tokenOctets) != "" {
			return "", false
		}
	}
	return token, token != ""
}

// tokenOctets are the octets of which a token consists (RFC 6750, 2.1).
const tokenOctets = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
