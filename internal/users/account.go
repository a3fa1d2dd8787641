// Package users stores the accounts of this server and checks their passwords.
//
// An account is a full address with credentials, roles and settings. [Store]
// keeps them in the text file data/users, whose content is a [Book]. An
// [Authenticator], such as Store, checks passwords; a [Throttle] slows down
// clients that guess them. The SASL conversations are in users/login. The
// destination of mail is determined by mail/alias, which finds accounts through
// Store. Start with Account and Store.
package users

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"hoplite/mail"
)

// Admin is the role of accounts that may see all mail traces and the queue.
const Admin = "admin"

// ErrBadLogin is the only error for a failed login, so that it does not
// disclose whether the account exists.
var ErrBadLogin = errors.New("wrong name or password")

// ErrUnavailable means that a password could not be checked. It may be correct.
var ErrUnavailable = errors.New("passwords can't be checked now")

// TokenRefused is the error for a refused access token. errors.Is reports it as
// ErrBadLogin.
type TokenRefused struct {
	Status    string // the reason as a code of OAuth (RFC 6750, 3.1)
	Scope     string // scopes that tokens must have, separated by spaces
	Discovery string // address of the provider's configuration; may be empty
	Cause     error  // for the log; does not contain the token
}

// Error returns the cause.
func (e *TokenRefused) Error() string { return "access token refused: " + e.Cause.Error() }

// Is reports whether target is ErrBadLogin.
func (e *TokenRefused) Is(target error) bool { return target == ErrBadLogin }

// ErrNoAccount is returned by changes to an account that does not exist.
var ErrNoAccount = errors.New("no such account")

// Account is the account of a person or machine that may log in. Accounts
// returned by this package are shared and must not be changed; see
// Store.Update.
type Account struct {
	Name        string   // the full address in lower case (mail.Fold)
	Roles       []string // Admin, or none
	Forward     []string // addresses that its mail is forwarded to; contains its own name to keep a copy
	Quota       int64    // in bytes; 0 means no limit
	Credentials []Credential

	comment []string // lines above it in the file
}

// Is reports whether the account has the role.
func (a *Account) Is(role string) bool { return slices.Contains(a.Roles, role) }

// Credential is one password of an account, stored as SCRAM keys or, until its
// first use, as the hash it was imported with. The main password has no name;
// app passwords have one.
type Credential struct {
	Name   string
	Keys   *Keys  // nil if only Legacy is known
	Legacy string // crypt(3), bcrypt or argon2id in their usual text form
}

// Authenticator checks credentials. Store checks them against the file
// data/users. An implementation that uses a directory server does not have the
// keys, and so does not offer SCRAM.
type Authenticator interface {
	// Verify checks a password. The error is ErrBadLogin, or the reason why
	// logins are currently not possible. Verify takes the same time for names
	// without an account.
	Verify(ctx context.Context, name, password string) (*Account, error)
	// LoginName returns the normal form of the full address that a login name
	// refers to, whether or not the account exists.
	LoginName(name string) string
	// SCRAM returns the keys of an account, all with the same salt; the client
	// must prove that it holds one of them. For a name without an account it
	// returns random keys.
	SCRAM(name string) (*Account, []Keys)
	// SCRAMReady reports whether every account can log in with SCRAM, so that
	// it may be announced. Clients do not fall back from SCRAM to another
	// mechanism.
	SCRAMReady() bool
}

// TokenAuthenticator checks OAuth access tokens. An Authenticator may implement
// it.
type TokenAuthenticator interface {
	// TokensReady reports whether there is a provider whose tokens are accepted.
	TokensReady() bool
	// VerifyToken returns the account that a token is for. name is the login name
	// that the client claims, or empty. The error is ErrBadLogin, a TokenRefused,
	// or the reason why tokens cannot be checked now.
	VerifyToken(ctx context.Context, name, token string) (*Account, error)
}

// CheckName returns an error unless name can be the name of an account:
// local@domain in lower case, safe to use as a folder name.
func CheckName(name string) error {
	local, domain := split(name)
	switch {
	case len(name) > 254:
		return fmt.Errorf("account %.40q...: longer than 254 octets", name)
	case local == "" || domain == "":
		return fmt.Errorf("account %q: want a full address such as ann@example.org", name)
	case strings.HasPrefix(local, ".") || strings.HasPrefix(domain, "."):
		return fmt.Errorf("account %q: a name cannot begin with a dot", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("account %q: not UTF-8", name)
	case name != mail.Fold(name):
		return fmt.Errorf("account %q: write it as %q", name, mail.Fold(name))
	}
	for _, r := range name {
		if unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`/\"<>(),:;#`, r) {
			return fmt.Errorf("account %q: %q cannot be part of a name", name, r)
		}
	}
	if strings.Contains(local, "@") {
		return fmt.Errorf("account %q: more than one @", name)
	}
	return nil
}

// split splits an address at its last @. Both parts are empty if there is none.
func split(addr string) (local, domain string) {
	i := strings.LastIndexByte(addr, '@')
	if i < 0 {
		return "", ""
	}
	return addr[:i], addr[i+1:]
}
