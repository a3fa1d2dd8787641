package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"hoplite/internal/files"
	"hoplite/mail/safe"
)

// token is an access token as it is stored.
type token struct {
	// For identifies the application and user that the token was issued to, so
	// that a token is not used after the configuration has changed.
	For      string    `json:"for"`
	Access   string    `json:"access_token,omitempty"`
	Obtained time.Time `json:"obtained"`
	Expires  time.Time `json:"expires"`
	Refresh  string    `json:"refresh_token,omitempty"`
	// Refused is set if the server has refused the token.
	Refused bool `json:"-"`
}

func newToken(t *oauth2.Token, refresh string, now time.Time) token {
	next := token{Access: t.AccessToken, Obtained: now, Expires: t.Expiry, Refresh: firstOf(t.RefreshToken, refresh)}
	if next.Expires.IsZero() {
		next.Expires = now.Add(defaultLife)
	}
	return next
}

// maxEarly is the maximum time before expiry at which a token is renewed.
const maxEarly = 5 * time.Minute

// valid reports whether a server may still accept the token.
func (t *token) valid(now time.Time) bool {
	return t.Access != "" && !t.Refused && now.Before(t.Expires)
}

// fresh reports whether the token need not be renewed yet: more than a fifth of
// its lifetime is left, or more than maxEarly.
func (t *token) fresh(now time.Time) bool {
	early := min(t.Expires.Sub(t.Obtained)/5, maxEarly)
	return t.valid(now) && now.Before(t.Expires.Add(-early))
}

// store stores a token in a file.
type store struct {
	path, issued string // issued is the For value of its tokens
}

func newStore(c *Config, env Env) store {
	h := sha256.New()
	for _, part := range append([]string{c.grant(), c.endpoint().TokenURL, c.ClientID, c.ServiceAccount, string(c.Refresh), env.User}, c.scopes()...) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return store{stateFile(env.Data, env.Name), hex.EncodeToString(h.Sum(nil)[:8])}
}

// load returns the stored token, or an empty one. A token can be requested
// again, so an unreadable file is not a fatal error.
func (s store) load() token {
	var t token
	b, err := os.ReadFile(s.path)
	if err != nil || json.Unmarshal(b, &t) != nil || t.For != s.issued {
		return token{}
	}
	return t
}

func (s store) save(t token) error {
	t.For = s.issued
	b, err := json.Marshal(&t)
	if err != nil {
		return err
	}
	return files.Write(s.path, append(b, '\n'), 0o600)
}

// fileName returns name in a form that is valid as part of a file name.
func fileName(name string) string { return url.PathEscape(name) }

// Error reports that a token could not be obtained. Its text contains no
// secrets.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// describe returns a readable error for a failed request. The library's own
// errors may contain what was sent or received, and a provider may repeat what it
// was sent, so the secrets and everything that looks like a token are removed.
func describe(err error, secrets ...string) error {
	e := explain(err)
	for _, secret := range secrets {
		if secret != "" {
			e.Text = strings.NewReplacer(secret, removed, url.QueryEscape(secret), removed).Replace(e.Text)
		}
	}
	e.Text = tokenLike.ReplaceAllString(e.Text, removed)
	return e
}

// removed replaces secrets in errors.
const removed = "[removed]"

// tokenLike matches text with the length and alphabet of a token. The identifiers
// in the providers' errors are UUIDs, which are shorter.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_.~+/=-]{41,}`)

// explain returns the reason why a request failed.
func explain(err error) *Error {
	var refused *oauth2.RetrieveError
	var failed *url.Error
	switch {
	case errors.Is(err, errNoLogin):
		return &Error{err.Error()}
	case errors.As(err, &refused):
		return &Error{"the token service refused: " + refusal(refused)}
	case errors.As(err, &failed):
		host := ""
		if u, err := url.Parse(failed.URL); err == nil {
			host = u.Host
		}
		reason := "no answer in time"
		if !failed.Timeout() && !errors.Is(failed.Err, context.Canceled) {
			reason = lastCause(failed.Err)
		}
		return &Error{fmt.Sprintf("the token service %s can't be reached: %s", host, safe.Line(reason))}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{"the token service did not answer in time"}
	}
	return &Error{"the reply of the token service can't be used"}
}

// refusal returns the error code and its description (RFC 6749, 5.2), or the
// HTTP status if there is none.
func refusal(e *oauth2.RetrieveError) string {
	code, text := e.ErrorCode, e.ErrorDescription
	if code == "" {
		var body struct {
			Code string `json:"error"`
			Text string `json:"error_description"`
		}
		if json.Unmarshal(e.Body, &body) == nil {
			code, text = body.Code, body.Text
		}
	}
	switch {
	case code == "" && e.Response != nil:
		return safe.Line(e.Response.Status)
	case code == "":
		return "no reason given"
	case text == "":
		return safe.Line(code)
	}
	text, _, _ = strings.Cut(text, "\r\n") // Microsoft adds lines with identifiers
	text, _, _ = strings.Cut(text, " Trace ID:")
	return safe.Line(code + ": " + text)
}

// lastCause returns the last part of an error from package net.
func lastCause(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}
