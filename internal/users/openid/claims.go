package openid

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"hoplite/internal/users"
	"hoplite/mail"
)

// Status codes of refused tokens (RFC 6750, 3.1).
const (
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// claims are the claims of a token whose signature has been verified.
type claims map[string]any

// rules are the conditions that a token must meet.
type rules struct {
	Config
	domain string // in normal form
}

// judge returns the address that a token proves. status is empty unless the
// token is refused.
func (r *rules) judge(c claims, now time.Time) (address, status string, err error) {
	if err := r.checkTimes(c, now); err != nil {
		return "", invalidToken, err
	}
	if c["iss"] != r.Issuer {
		return "", invalidToken, fmt.Errorf("issued by %v", c["iss"])
	}
	if aud := c.list("aud"); !slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(r.Audience, a) }) {
		return "", invalidToken, fmt.Errorf("issued for the audience %q", aud)
	}
	address, err = r.address(c)
	if err != nil {
		return "", invalidToken, err
	}
	scopes := append(c.words("scope"), c.words("scp")...)
	for _, want := range r.Scope {
		if !slices.Contains(scopes, want) {
			return "", insufficientScope, fmt.Errorf("the scope %q is missing; the token has %q", want, scopes)
		}
	}
	return address, "", nil
}

// checkTimes checks the period in which a token is valid (RFC 7519, 4.1). A
// token without an end is refused.
func (r *rules) checkTimes(c claims, now time.Time) error {
	expires, ok := c.time("exp")
	switch {
	case !ok:
		return errors.New("without an expiry time")
	case !now.Before(expires.Add(r.ClockSkew)):
		return fmt.Errorf("expired at %s", expires.UTC().Format(time.RFC3339))
	}
	for _, name := range []string{"nbf", "iat"} {
		if _, given := c[name]; !given {
			continue
		}
		if at, ok := c.time(name); !ok || now.Add(r.ClockSkew).Before(at) {
			return fmt.Errorf("not yet valid: %s is %v", name, c[name])
		}
	}
	return nil
}

// address returns the address in the configured claim.
func (r *rules) address(c claims) (string, error) {
	value, ok := c[r.Claim].(string)
	if !ok || value == "" {
		return "", fmt.Errorf("without the claim %q", r.Claim)
	}
	// Some providers send the boolean as a string.
	if verified := c["email_verified"]; r.Claim == "email" && verified != true && verified != "true" {
		return "", fmt.Errorf("the provider has not verified the address %q", value)
	}
	if !strings.Contains(value, "@") {
		value += "@" + r.domain
	}
	address := mail.Fold(value)
	if err := users.CheckName(address); err != nil {
		return "", fmt.Errorf("the claim %q is not an address: %w", r.Claim, err)
	}
	key := mail.Key(address)
	if domain := key[strings.LastIndexByte(key, '@')+1:]; domain != r.domain {
		return "", fmt.Errorf("the address %q is not in %s", address, r.domain)
	}
	return address, nil
}

// list returns a claim that is a string or a list of strings.
func (c claims) list(name string) []string {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// words returns the words of a claim: of a string with spaces (RFC 8693, 4.2),
// or of a list.
func (c claims) words(name string) (words []string) {
	for _, s := range c.list(name) {
		words = append(words, strings.Fields(s)...)
	}
	return words
}

// time returns a claim that is a number of seconds.
func (c claims) time(name string) (time.Time, bool) {
	seconds, ok := c[name].(float64)
	if !ok || math.Abs(seconds) > 1e11 { // the year 5138
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
