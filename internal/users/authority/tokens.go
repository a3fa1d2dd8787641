package authority

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"hoplite/internal/users"
	"hoplite/internal/users/openid"
)

// TokensReady reports whether there is a provider whose tokens are accepted.
func (a *Accounts) TokensReady() bool { return len(a.providers("")) > 0 }

// providers returns the providers of a full address, or all of them, sorted by
// domain, if it is empty.
func (a *Accounts) providers(full string) (list []*openid.Provider) {
	if full != "" {
		if one := a.authorityOf(full); one != nil && one.tokens != nil {
			list = append(list, one.tokens)
		}
		return list
	}
	for _, domain := range slices.Sorted(maps.Keys(a.authorities)) {
		if p := a.authorities[domain].tokens; p != nil {
			list = append(list, p)
		}
	}
	return list
}

// VerifyToken returns the account that a token is for, which may exist only at
// its provider. If the client claims a login name, the token must be for it.
func (a *Accounts) VerifyToken(ctx context.Context, name, token string) (*users.Account, error) {
	full := ""
	if name != "" {
		full = a.LoginName(name)
	}
	var refused error = &users.TokenRefused{Status: "invalid_token", Cause: errors.New("tokens are not accepted for this domain")}
	for _, p := range a.providers(full) {
		address, err := p.Verify(ctx, token)
		switch {
		case err != nil && !errors.Is(err, users.ErrBadLogin):
			return nil, err
		case err != nil:
			refused = err
		case full != "" && a.LoginName(address) != full:
			return nil, p.Refuse("invalid_token", fmt.Errorf("the token is for %s, not for %s", address, full))
		default:
			return a.named(address)
		}
	}
	return nil, refused
}
