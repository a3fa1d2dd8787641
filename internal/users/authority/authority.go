package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/directory"
	"hoplite/internal/files"
	"hoplite/internal/outage"
	"hoplite/internal/users"
	"hoplite/internal/users/openid"
	"hoplite/mail"
	"hoplite/mail/safe"
)

// maxPassword is the maximum length of a password in octets. Some servers close
// the connection on longer lines, which would look like an outage.
const maxPassword = 1024

// Env holds what authorities need apart from their configuration.
type Env struct {
	// Hostname is the name sent in EHLO.
	Hostname string
	// Data is the data folder.
	Data string
	// Directories holds the directories, by name.
	Directories map[string]*directory.Directory
	// Log receives a line when an authority becomes unavailable or available.
	Log zerolog.Logger
}

// checker checks a password. It returns the account, or errRefused, or the
// reason why the authority cannot be asked.
type checker interface {
	check(ctx context.Context, name, password string) (account string, err error)
	probe(ctx context.Context) error
}

// Authority checks the passwords and access tokens of one domain.
type Authority struct {
	cfg     Config
	log     zerolog.Logger
	checker checker          // nil: passwords are those of accounts here
	tokens  *openid.Provider // nil: no access tokens
	pairs   *pairs
	slots   chan struct{}
	domains []string // the domains with this login, in which an account may be
	state   outage.State
}

// New returns an authority. It does not connect.
func New(cfg Config, env Env) (*Authority, error) {
	a := &Authority{cfg: cfg, log: env.Log, pairs: newPairs(cfg.KnownFor, cfg.StaleFor), slots: make(chan struct{}, cfg.Connections)}
	if cfg.OAuth != nil {
		var err error
		a.tokens, err = openid.New(*cfg.OAuth, openid.Env{Domain: cfg.Name, Data: env.Data, StaleFor: cfg.StaleFor, Timeout: cfg.Timeout, Log: env.Log})
		if err != nil {
			return nil, fmt.Errorf("accounts %q: %w", cfg.Name, err)
		}
	}
	if cfg.Login == "" {
		return a, nil
	}
	if name, ok := cfg.Directory(); ok {
		a.checker = byDirectory{env.Directories[name], name}
		return a, nil
	}
	s, err := parseServer(cfg.Login)
	if err != nil {
		return nil, err
	}
	r := &remote{server: s, helo: env.Hostname, timeout: cfg.Timeout, local: cfg.User == "local"}
	if r.roots, err = files.Roots(env.Data, cfg.CA); err != nil {
		return nil, fmt.Errorf("accounts %q: ca: %w", cfg.Name, err)
	}
	a.checker = r
	return a, nil
}

// Inherit takes over the known passwords and keys of an authority with the same
// login and provider.
func (a *Authority) Inherit(old *Authority) {
	if a.tokens != nil && old.tokens != nil {
		a.tokens.Inherit(old.tokens)
	}
	if a.cfg.Login == old.cfg.Login && a.cfg.User == old.cfg.User && a.cfg.CA == old.cfg.CA && slices.Equal(a.domains, old.domains) {
		a.pairs.key, a.pairs.known = old.pairs.key, old.pairs.known
	}
}

// Probe connects to the server that checks passwords, if there is one, without
// a login.
func (a *Authority) Probe(ctx context.Context) error {
	if a.checker == nil {
		return nil
	}
	return a.checker.probe(ctx)
}

// Tokens returns the provider of access tokens, or nil.
func (a *Authority) Tokens() *openid.Provider { return a.tokens }

// Outage returns the outage of the server that checks passwords, if there is
// one.
func (a *Authority) Outage() outage.Outage { return a.state.Outage() }

// verify returns the account of a user. The error is users.ErrBadLogin, or the
// reason why the password cannot be checked now.
func (a *Authority) verify(ctx context.Context, name, password string) (string, error) {
	if account, ok := a.pairs.get(name, password, false, time.Now()); ok {
		return account, nil
	}
	err := a.state.Resting(time.Now())
	var account string
	if err == nil {
		account, err = a.ask(ctx, name, password)
	}
	switch {
	case err == nil && !a.owns(account):
		a.log.Warn().Str("account", safe.Log(account)).Msg("login refused: the primary address is in a domain without this login")
		return "", users.ErrBadLogin
	case err == nil:
		a.pairs.add(name, password, account, time.Now())
		return account, nil
	case errors.Is(err, errRefused):
		a.pairs.remove(name, password)
		return "", users.ErrBadLogin
	}
	if account, ok := a.pairs.get(name, password, true, time.Now()); ok {
		return account, nil
	}
	return "", fmt.Errorf("accounts %q: %w", a.cfg.Name, err)
}

// owns reports whether an account is in a domain with this login. Users can often
// change their address in a directory, and must not become users of another
// domain by it.
func (a *Authority) owns(account string) bool {
	domain := mail.Address(mail.Key(account)).Domain()
	return domain == a.cfg.Name || slices.Contains(a.domains, domain)
}

// ask asks the server.
func (a *Authority) ask(ctx context.Context, name, password string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	select {
	case a.slots <- struct{}{}:
	case <-limited.Done():
		return "", fmt.Errorf("too many concurrent password checks: %w", limited.Err())
	}
	defer func() { <-a.slots }()
	account, err := a.checker.check(ctx, name, password)
	failure := err
	if errors.Is(err, errRefused) {
		failure = nil
	}
	record := a.state.Set
	if _, ok := errors.AsType[*replyError](failure); ok {
		record = a.state.Note // otherwise one client could block the logins of all
	}
	if ctx.Err() == nil && record(failure, time.Now()) {
		if failure == nil {
			a.log.Info().Msg("the server that checks passwords answers again")
		} else {
			a.log.Warn().Str("cause", safe.Log(err.Error())).Msg("the server that checks passwords cannot be asked; logins fail temporarily")
		}
	}
	return account, err
}

// byDirectory checks passwords with a directory.
type byDirectory struct {
	dir  *directory.Directory // nil if the configuration is only being checked
	name string
}

func (b byDirectory) check(ctx context.Context, name, password string) (string, error) {
	if b.dir == nil {
		return "", fmt.Errorf("there is no directory %q", b.name)
	}
	e, err := b.dir.Login(ctx, name, password)
	switch {
	case errors.Is(err, directory.ErrPassword):
		return "", errRefused
	case errors.Is(err, directory.ErrReply):
		return "", &replyError{err.Error()}
	case err != nil:
		return "", err
	case e.Address == "":
		return name, nil
	}
	return e.Address, nil
}

// probe does nothing: the directory is probed by itself.
func (b byDirectory) probe(context.Context) error { return nil }

// Accounts checks passwords: those of a domain with an authority by asking it,
// and others with the accounts of this server. It also checks access tokens. It
// implements users.Authenticator and users.TokenAuthenticator.
type Accounts struct {
	*users.Store
	authorities map[string]*Authority
	addresses   map[string]*directory.Directory // by domain
	first       string                          // domain assumed for names without one
}

// NewAccounts returns accounts with an authority for each block.
func NewAccounts(store *users.Store, blocks []*Config, env Env) (*Accounts, error) {
	a := &Accounts{Store: store, authorities: map[string]*Authority{}, addresses: map[string]*directory.Directory{}}
	log := env.Log
	for i, c := range blocks {
		env.Log = log.With().Str("accounts", c.Name).Logger()
		one, err := New(*c, env)
		if err != nil {
			return nil, err
		}
		for _, other := range blocks {
			if other.Login == c.Login {
				one.domains = append(one.domains, other.Name)
			}
		}
		a.authorities[c.Name] = one
		if name, ok := c.AddressDirectory(); ok && env.Directories[name] != nil {
			a.addresses[c.Name] = env.Directories[name]
		}
		if i == 0 {
			a.first = c.Name
		}
	}
	return a, nil
}

// Authorities returns the authorities by domain.
func (a *Accounts) Authorities() map[string]*Authority { return a.authorities }

// LoginName returns the full address for a login name. A name without a domain
// that is not an account belongs to the domain of the first accounts block.
func (a *Accounts) LoginName(name string) string {
	full := a.Store.LoginName(name)
	if a.first == "" || strings.Contains(name, "@") {
		return full
	}
	if _, ok := a.Account(full); ok {
		return full
	}
	return mail.Key(name) + "@" + a.first
}

// MayExist reports whether a login name has an account here, or is in a domain
// whose users only its authority knows.
func (a *Accounts) MayExist(name string) bool {
	full := a.LoginName(name)
	_, here := a.Account(full)
	return here || a.authorityOf(full) != nil && users.CheckName(full) == nil
}

// authorityOf returns the authority for a full address, or nil.
func (a *Accounts) authorityOf(full string) *Authority {
	return a.authorities[full[strings.LastIndexByte(full, '@')+1:]]
}

// SCRAMReady reports whether SCRAM may be announced. A server that checks
// passwords needs the password itself.
func (a *Accounts) SCRAMReady() bool {
	for _, one := range a.authorities {
		if one.checker != nil {
			return false
		}
	}
	return a.Store.SCRAMReady()
}

// Verify checks a password. The passwords that an account has here are checked
// first.
func (a *Accounts) Verify(ctx context.Context, name, password string) (*users.Account, error) {
	full := a.LoginName(name)
	authority := a.authorityOf(full)
	if authority == nil || authority.checker == nil {
		return a.Store.Verify(ctx, name, password)
	}
	if len(password) > maxPassword {
		return nil, users.ErrBadLogin
	}
	if own, ok := a.Account(full); ok && len(own.Credentials) > 0 {
		found, err := a.Store.Verify(ctx, full, password)
		if err == nil || !errors.Is(err, users.ErrBadLogin) {
			return found, err
		}
	}
	if users.CheckName(full) != nil {
		return nil, users.ErrBadLogin
	}
	account, err := authority.verify(ctx, full, password)
	if err != nil {
		return nil, err
	}
	return a.named(account)
}

// named returns the account with a name, which may exist only at its authority.
func (a *Accounts) named(name string) (*users.Account, error) {
	name = mail.Fold(name)
	if found, ok := a.Account(name); ok {
		return found, nil
	}
	if users.CheckName(name) != nil {
		return nil, users.ErrBadLogin
	}
	return &users.Account{Name: name}, nil
}
