package oauth

import (
	"context"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/oauth2"
)

// Env holds a Source's dependencies other than its configuration.
type Env struct {
	// Name is the name of the upstream, which identifies the token in the data
	// folder.
	Name string
	// User is the account that the token is for.
	User string
	// Data is the data folder.
	Data string
	Log  zerolog.Logger
	// HTTP is used to reach the provider. If it is nil, a client with a time
	// limit is used.
	HTTP *http.Client
}

// Source supplies the access tokens for one login. It is safe for concurrent
// use.
type Source struct {
	granter granter
	store   store
	http    *http.Client
	log     zerolog.Logger
	initial string // the configured refresh token
	secret  string // the configured client secret

	failures atomic.Int64
	turn     chan struct{} // held by the goroutine that is asking the provider

	mu    sync.Mutex
	token token
	why   error // the last failure; nil after success
	pause time.Duration
	retry time.Time // earliest time to ask the provider again
}

// After a failure, the provider is asked again after a pause, which grows with
// each failure.
const (
	pauseMin = 5 * time.Second
	pauseMax = 2 * time.Minute
	// askTimeout is the time limit for one request.
	askTimeout = 30 * time.Second
	// defaultLife is the assumed lifetime of a token if the provider does not
	// state it.
	defaultLife = 5 * time.Minute
)

// NewSource returns a Source. It reads the configured keys, but asks the
// provider only when a token is needed.
func NewSource(c Config, env Env) (*Source, error) {
	g, err := newGranter(&c, env.User, env.Data)
	if err != nil {
		return nil, err
	}
	s := &Source{
		granter: g, store: newStore(&c, env), http: env.HTTP, log: env.Log, initial: string(c.Refresh), secret: string(c.ClientSecret),
		turn: make(chan struct{}, 1),
	}
	if s.http == nil {
		s.http = httpClient()
	}
	s.token = s.store.load()
	return s, nil
}

// httpClient returns a client that follows no redirect, which would send the
// secrets in a request to another address, perhaps in clear text.
func httpClient() *http.Client {
	return &http.Client{
		Timeout:       askTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// stateFile is where the token of a login is kept.
func stateFile(data, name string) string {
	return filepath.Join(data, "state", "oauth-"+fileName(name)+".json")
}

// Failures returns the number of failed token requests.
func (s *Source) Failures() int64 { return s.failures.Load() }

// Token returns a currently valid token. One caller renews it before it
// expires, while the others still use the old one.
func (s *Source) Token(ctx context.Context) (string, error) {
	if t := s.current(); t.fresh(time.Now()) {
		return t.Access, nil
	}
	select {
	case s.turn <- struct{}{}:
	default:
		if t := s.current(); t.valid(time.Now()) {
			return t.Access, nil
		}
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	defer func() { <-s.turn }()
	t, err := s.renew(ctx)
	if err != nil && !t.valid(time.Now()) {
		return "", err
	}
	return t.Access, nil
}

// Refuse reports that the server refused a token. The token is not used again;
// the next call to Token obtains another one.
func (s *Source) Refuse(access string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.Access == access {
		s.token.Refused = true
	}
}

// Expires returns the expiry time of the current token, or zero if there is
// none.
func (s *Source) Expires() time.Time {
	if t := s.current(); t.Access != "" {
		return t.Expires
	}
	return time.Time{}
}

func (s *Source) current() token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// renew requests a token from the provider, unless another process has stored
// one or the provider failed recently. If it fails, it returns the old token
// with the error. The caller must hold the turn.
func (s *Source) renew(ctx context.Context) (token, error) {
	now := time.Now()
	old := s.current()
	if old.fresh(now) {
		return old, nil
	}
	stored := s.store.load()
	if stored.fresh(now) && stored.Access != old.Access {
		s.set(stored, nil)
		return stored, nil
	}
	refresh := firstOf(stored.Refresh, old.Refresh, s.initial)
	if err := s.resting(now); err != nil && refresh == old.Refresh {
		return old, err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, s.http), askTimeout)
	defer cancel()
	got, err := s.granter.grant(ctx, refresh)
	if err != nil {
		err = describe(err, s.secret, refresh, old.Access)
		s.failures.Add(1)
		old.Refresh = refresh
		s.set(old, err)
		return old, err
	}
	next := newToken(got, refresh, now)
	if err := s.store.save(next); err != nil {
		s.log.Warn().Err(err).Msg("access token not saved; it is requested again after a restart")
	}
	s.set(next, nil)
	return next, nil
}

// resting returns the last failure until the provider may be asked again.
func (s *Source) resting(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.retry) {
		return s.why
	}
	return nil
}

// set records the result of a request.
func (s *Source) set(t token, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.why = t, err
	if err == nil {
		s.pause, s.retry = 0, time.Time{}
		return
	}
	s.pause = min(max(2*s.pause, pauseMin), pauseMax)
	s.retry = time.Now().Add(s.pause)
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
