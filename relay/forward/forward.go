// Package forward is a hop that speaks SMTP or LMTP to an upstream server. It
// implements the client side of the protocol, pools connections, and caches
// which recipients exist on the server.
//
// It sends a message or returns the reason why it could not. It does not store
// messages; mail that has to wait is handled by package queue. The security
// requirements for a connection are a single value (require.go).
//
// Start with Upstream, then read deliver.go (which servers are tried), pool.go
// and dial.go (connections), transaction.go and body.go (one message on one
// connection).
package forward

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/internal/oauth"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/rewrite"
	"hoplite/relay/forward/tlsresults"
)

// Env holds an upstream's dependencies on the rest of the program.
type Env struct {
	Hostname string
	Data     string
	Log      zerolog.Logger
	DNS      resolve.Resolver
	// State is the folder for data that is kept across restarts. If it is
	// empty, nothing is kept.
	State string
	// Tokens, if not nil, is used instead of the configured token_file.
	Tokens TokenSource
	// Own reports whether a host name belongs to this server. If this server is
	// one of a domain's mail exchangers, exchangers of the same or a worse
	// preference are not tried (RFC 5321, 5.1).
	Own func(host string) bool
	// Policies holds the requirements for destinations found by MX.
	Policies Policies
	// Results counts the results of TLS sessions with servers found by MX. It may be
	// nil.
	Results *tlsresults.Store
	// Certificate is sent to servers that ask for one. It may be nil.
	Certificate *listen.Certs
	// Directories holds the directories that recipients may refer to, by name.
	Directories map[string]Directory
	// TLS holds the roots for verifying certificates, if they differ from the
	// system's.
	TLS *tls.Config
}

// Directory knows which addresses exist.
type Directory interface {
	// Exists reports whether an address exists. An error means that the
	// directory cannot be asked.
	Exists(ctx context.Context, address string) (bool, error)
	// Cached returns what is known about an address without asking.
	Cached(address string) (exists, known bool)
}

// Upstream is one configured next hop. As a mail.Hop it accepts every recipient
// at RCPT and contacts the server only at Send, as the queue requires. Inline
// returns the hop for clients that wait.
type Upstream struct {
	cfg     Config
	data    string
	log     zerolog.Logger
	net     network
	servers servers
	mx      *exchangers // nil: servers are configured
	rcpts   *recipients
	next    *Upstream      // fallback while this one cannot be reached
	rules   *rewrite.Rules // sender of all mail; nil: unchanged
	pace    *pace          // message rate; nil: no limit
	quota   *quota         // recipients per day; nil: no limit
	tokens  *oauth.Source  // nil without oauth2
	weakUse atomic.Int64
}

// New returns an upstream.
func New(cfg Config, env Env) (*Upstream, error) {
	profile, err := listen.ParseProfile(cfg.TLSMin, cfg.TLSSuites, cfg.TLSLegacyUntil)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
	}
	u := &Upstream{cfg: cfg, data: env.Data, log: env.Log, pace: newPace(cfg.Rate), rules: rewrite.New(mail.Address(cfg.Sender), rewrite.Map{})}
	if env.State != "" {
		u.quota = newQuota(cfg.RecipientsPerDay, filepath.Join(env.State, "recipients-per-day-"+url.PathEscape(cfg.Name)+".json"))
	} else {
		u.quota = newQuota(cfg.RecipientsPerDay, "")
	}
	d := &dialer{
		helo: cmp.Or(cfg.Helo, env.Hostname), tls: profile, tellClient: cfg.TellClient,
		times:  timeouts{cfg.ConnectTimeout, cfg.CommandTimeout, cfg.DataTimeout},
		source: cfg.sources(), family: cfg.Family, disable: cfg.Disable, weakTLS: u.countWeakTLS,
	}
	if env.Certificate != nil {
		d.certificate = env.Certificate.Client
	}
	d.dial = d.dialNet
	if env.TLS != nil {
		d.roots = env.TLS.RootCAs
	}
	if d.auth, err = u.newAuthenticator(env); err != nil {
		return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
	}
	u.net = network{cfg: &u.cfg, dns: env.DNS, dialer: d, policies: env.Policies}
	if u.servers, err = newServers(&u.net, cfg.Servers); err != nil {
		return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
	}
	if cfg.MX {
		u.mx = newExchangers(&u.net, env)
	}
	if u.rcpts, err = newRecipients(u, env); err != nil {
		return nil, fmt.Errorf("upstream %q: recipients: %w", cfg.Name, err)
	}
	return u, nil
}

// newAuthenticator returns the authenticator for logins to the servers, or nil
// if no login is configured.
func (u *Upstream) newAuthenticator(env Env) (*authenticator, error) {
	a := u.cfg.Auth
	if a == nil {
		return nil, nil
	}
	login := &authenticator{user: a.User, password: string(a.Password), mechanism: a.Mechanism, tokens: env.Tokens, insecure: a.Insecure}
	switch {
	case a.Password == "" && a.TokenFile == "" && a.OAuth2 == nil && env.Tokens == nil:
		login.mechanism = "external"
	case env.Tokens != nil:
	case a.TokenFile != "":
		login.tokens = tokenFile(under(env.Data, a.TokenFile))
	case a.OAuth2 != nil:
		source, err := oauth.NewSource(u.cfg.tokens(), oauth.Env{Name: u.cfg.Name, User: a.User, Data: env.Data, Log: env.Log})
		if err != nil {
			return nil, err
		}
		u.tokens, login.tokens = source, source
	}
	return login, nil
}

// Tokens returns the source of access tokens for the oauth2 block, or nil
// without that block.
func (u *Upstream) Tokens() *oauth.Source { return u.tokens }

// countWeakTLS counts and logs a connection that only the legacy profile
// allowed.
func (u *Upstream) countWeakTLS(server string, state tls.ConnectionState) {
	u.weakUse.Add(1)
	u.log.Warn().Str("peer", server).Str("tls", tls.VersionName(state.Version)+" "+tls.CipherSuiteName(state.CipherSuite)).
		Msg("weak TLS by the legacy profile")
}

func under(data, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(data, path)
}

// SetFallback sets the upstream to use while none of this upstream's servers
// can be reached. It must be called before any mail is sent.
func (u *Upstream) SetFallback(next *Upstream) { u.next = next }

// Name returns the label of the upstream's configuration block.
func (u *Upstream) Name() string { return u.cfg.Name }

// WeakTLS returns the number of connections that only a legacy profile allowed.
func (u *Upstream) WeakTLS() int64 { return u.weakUse.Load() }

// Close closes the idle connections. Transactions in progress are not affected.
func (u *Upstream) Close() {
	u.servers.close()
	if u.mx != nil {
		u.mx.pools.Purge()
	}
	if err := u.quota.flush(); err != nil {
		u.log.Warn().Err(err).Msg("upstream closed")
	}
	if err := u.rcpts.memory.flush(); err != nil {
		u.log.Warn().Err(err).Msg("what is known about recipients can't be saved")
	}
}

// Open starts a handoff that does not contact the server before Send.
func (u *Upstream) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &handoff{u: u, tx: tx}, nil
}

// Inline returns the hop for clients that wait. Each recipient is checked at
// RCPT, by call-ahead if that is configured.
func (u *Upstream) Inline() mail.Hop { return inline{u, u.rcpts.check} }

// Quiet is like Inline, but for a dry run: recipients are checked as far as
// possible without contacting the upstream.
func (u *Upstream) Quiet() mail.Hop {
	return inline{u, func(_ context.Context, tx *mail.Transaction, r mail.Rcpt) error {
		_, err := u.rcpts.checkOffline(tx, r)
		return err
	}}
}

type inline struct {
	u     *Upstream
	check func(context.Context, *mail.Transaction, mail.Rcpt) error
}

func (i inline) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &handoff{u: i.u, tx: tx, check: i.check}, nil
}

// Check checks a recipient as [Upstream.Inline] does at RCPT.
func (u *Upstream) Check(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error {
	return u.rcpts.check(ctx, tx, r)
}

// pingTimeout is the time limit for a ping. Some servers send their greeting
// only after 20 s.
const pingTimeout = time.Minute

// Ping reports whether a server can currently be reached, that is, whether it
// greets and accepts EHLO. It tries the configured servers, or with mx those of
// a domain.
func (u *Upstream) Ping(ctx context.Context, domain string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	pools, err := u.poolsFor(ctx, domain)
	if err == nil {
		err = errors.New("no server")
	}
	for _, p := range pools {
		var c *conn
		if c, _, err = p.take(ctx, u.net.dialer, mail.Client{}, true); err == nil {
			p.give(c)
			return nil
		}
		p.unreached(err)
	}
	return u.unreachable(err)
}

// poolsFor returns the pools of the configured servers, or with mx those of a
// domain.
func (u *Upstream) poolsFor(ctx context.Context, domain string) ([]*pool, error) {
	if u.mx == nil {
		return u.servers.pools(ctx)
	}
	pools, _, refusal := u.mx.find(ctx, mail.Address("postmaster@"+domain), false)
	if refusal != nil {
		return nil, refusal
	}
	return pools, nil
}

// AcceptsAll reports whether the upstream accepted a nonexistent address at
// domain.
func (u *Upstream) AcceptsAll(domain string) bool { return u.rcpts.acceptsAll(domain) }

// Verify returns the cached status of an address, for VRFY. ok is false if the
// status is not cached.
func (u *Upstream) Verify(a mail.Address) (exists, ok bool) { return u.rcpts.verify(a) }
