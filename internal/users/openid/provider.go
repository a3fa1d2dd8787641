package openid

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/rs/zerolog"

	"hoplite/internal/outage"
	"hoplite/internal/users"
	"hoplite/mail/safe"
)

const (
	// keysFor is the time after which the keys are fetched again, so that a key
	// which the provider has withdrawn is no longer accepted.
	keysFor = time.Hour
	// keysAgain is the minimum time between two fetches because of tokens with an
	// unknown key, which anyone can send.
	keysAgain = 10 * time.Second
	// maxAnswer limits the size of an answer.
	maxAnswer = 1 << 20
)

// Env holds what a provider needs apart from its configuration.
type Env struct {
	// Domain is the domain of the addresses, in normal form.
	Domain string
	// Data is the data folder.
	Data string
	// StaleFor is the time for which known keys are used while the provider
	// cannot be asked.
	StaleFor time.Duration
	// Timeout limits one request.
	Timeout time.Duration
	// Log receives a line when the provider becomes unavailable or available.
	Log zerolog.Logger
}

// Provider checks the tokens of one provider for one domain. It is safe for
// concurrent use.
type Provider struct {
	rules rules
	env   Env
	http  *http.Client
	again time.Duration
	state outage.State
	turn  chan struct{} // held by the goroutine that is asking the provider

	mu    sync.Mutex
	known fetched
}

// fetched is a key set and the time when it was fetched.
type fetched struct {
	keys keySet
	at   time.Time
}

// New returns a provider. It sends no request.
func New(cfg Config, env Env) (*Provider, error) {
	p := &Provider{rules: rules{cfg, env.Domain}, env: env, again: keysAgain, turn: make(chan struct{}, 1)}
	var roots *x509.CertPool // nil: the system's
	if cfg.CA != "" {
		path := cfg.CA
		if !filepath.IsAbs(path) {
			path = filepath.Join(env.Data, path)
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("oauth: ca: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("oauth: ca: %s has no certificate", path)
		}
	}
	p.http = &http.Client{
		Timeout: env.Timeout,
		Transport: limited{&http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		}},
		// A redirect could lead to an address without TLS.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// limited limits the size of answers.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// Inherit takes over the keys of a provider with the same address.
func (p *Provider) Inherit(old *Provider) {
	if p.rules.Issuer == old.rules.Issuer && p.rules.CA == old.rules.CA {
		p.known = old.current()
	}
}

// Outage returns the provider's outage, if there is one.
func (p *Provider) Outage() outage.Outage { return p.state.Outage() }

// Probe fetches the provider's configuration and keys.
func (p *Provider) Probe(ctx context.Context) error {
	_, err := p.fetch(ctx)
	return err
}

// Refuse returns the error for a refused token. The cause may contain text of
// the token.
func (p *Provider) Refuse(status string, cause error) *users.TokenRefused {
	return &users.TokenRefused{Status: status, Scope: strings.Join(p.rules.Scope, " "), Discovery: p.rules.Discovery(), Cause: errors.New(safe.Log(cause.Error()))}
}

// Verify returns the address that a token proves. The error is a
// users.TokenRefused, or the reason why the token cannot be checked now.
func (p *Provider) Verify(ctx context.Context, token string) (address string, err error) {
	if issuer := issuerOf(token); issuer != p.rules.Issuer {
		return "", p.Refuse(invalidToken, fmt.Errorf("not a token of %s", p.rules.Issuer))
	}
	known, err := p.keys(ctx, keysFor)
	if err != nil {
		return "", err
	}
	c, err := known.keys.check(ctx, p.rules.Issuer, token)
	if errors.Is(err, errUnknownKey) && time.Since(known.at) >= p.again {
		if known, err = p.renew(ctx, p.again); err != nil {
			return "", err
		}
		c, err = known.keys.check(ctx, p.rules.Issuer, token)
	}
	if err != nil {
		return "", p.Refuse(invalidToken, err)
	}
	address, status, err := p.rules.judge(c, time.Now())
	if err != nil {
		return "", p.Refuse(status, err)
	}
	return address, nil
}

func (p *Provider) current() fetched {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known
}

// keys returns keys that are not older than limit. While the provider cannot be
// asked, they may be older.
func (p *Provider) keys(ctx context.Context, limit time.Duration) (fetched, error) {
	known := p.current()
	if known.keys != nil && time.Since(known.at) < limit {
		return known, nil
	}
	renewed, err := p.renew(ctx, limit)
	if err != nil && known.keys != nil && time.Since(known.at) < limit+p.env.StaleFor {
		return known, nil
	}
	return renewed, err
}

// renew fetches the keys, unless another goroutine has just done so or the
// provider failed recently.
func (p *Provider) renew(ctx context.Context, limit time.Duration) (fetched, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return fetched{}, ctx.Err()
	}
	defer func() { <-p.turn }()
	if known := p.current(); known.keys != nil && time.Since(known.at) < limit {
		return known, nil
	}
	if err := p.state.Resting(time.Now()); err != nil {
		return fetched{}, err
	}
	keys, err := p.fetch(ctx)
	if ctx.Err() != nil {
		return fetched{}, ctx.Err()
	}
	if p.state.Set(err, time.Now()) {
		if err == nil {
			p.env.Log.Info().Msg("the OpenID provider answers again")
		} else {
			p.env.Log.Warn().Str("cause", safe.Log(err.Error())).Msg("the keys of the OpenID provider cannot be fetched")
		}
	}
	if err != nil {
		return fetched{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = fetched{keys, time.Now()}
	return p.known, nil
}

// fetch reads the provider's configuration and keys.
func (p *Provider) fetch(ctx context.Context) (keySet, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.http), p.rules.Issuer)
	var other *oidc.IssuerMismatchError
	switch {
	case errors.As(err, &other):
		return nil, fmt.Errorf("%s: the provider calls itself %q", p.rules.Discovery(), other.Discovered)
	case err != nil: // may contain the whole answer
		return nil, fmt.Errorf("%s: %s", p.rules.Discovery(), safe.Clip(safe.Line(err.Error()), 200))
	}
	var about struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&about); err != nil {
		return nil, fmt.Errorf("%s: %w", p.rules.Discovery(), err)
	}
	if err := checkURL(about.Keys); err != nil {
		return nil, fmt.Errorf("%s: jwks_uri: %w", p.rules.Discovery(), err)
	}
	keys, err := p.fetchKeys(ctx, about.Keys)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", about.Keys, err)
	}
	return keys, nil
}

func (p *Provider) fetchKeys(ctx context.Context, address string) (keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return parseKeys(text)
}
