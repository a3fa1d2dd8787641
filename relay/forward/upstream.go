// Package forward is a hop that speaks SMTP or LMTP to an upstream server: the
// client side of the protocol, a pool of connections, and the knowledge of
// which recipients exist there.
//
// It hands a message over or says why not, and keeps nothing: what has to
// wait is package queue's.
package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/internal/resolve"
	"hoplite/mail"
)

// Env is what an upstream needs of the house.
type Env struct {
	Hostname string
	Data     string
	Log      zerolog.Logger
	DNS      resolve.Resolver
	// Tokens, if not nil, are asked instead of the configured token_file.
	Tokens TokenSource
	// Own tells whether an address is one of ours: mail exchangers that are we
	// ourselves, and those behind them, are not tried.
	Own func(host string) bool
	// TLS has the roots for verify, if they are not the system's.
	TLS *tls.Config
}

// Upstream is one configured next hop. As a mail.Hop it takes whatever it is
// given and finds out at Send: that is what the queue delivers through. See
// Inline for clients that wait.
type Upstream struct {
	cfg     Config
	data    string
	log     zerolog.Logger
	dns     resolve.Resolver
	own     func(string) bool
	dialer  dialer
	pools   []*pool
	byMX    *lru.Cache[string, *pool]
	known   *known
	next    *Upstream // when this one can't be reached
	weakUse atomic.Int64
}

// maxMXPools bounds how many servers found by MX have a pool.
const maxMXPools = 2000

// New makes an upstream.
func New(cfg Config, env Env) (*Upstream, error) {
	profile, err := listen.ParseProfile(cfg.TLSMin, cfg.TLSSuites, cfg.TLSLegacyUntil)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
	}
	u := &Upstream{cfg: cfg, data: env.Data, log: env.Log, dns: env.DNS, own: env.Own}
	u.dialer = dialer{
		helo: cfg.Helo, policy: cfg.TLS, tls: profile, client: cfg.TellClient, roots: env.TLS, loopOK: cfg.AllowLoopback,
		times: timeouts{cfg.ConnectTimeout, cfg.CommandTimeout, cfg.DataTimeout},
		dial:  (&net.Dialer{}).DialContext,
	}
	if u.dialer.helo == "" {
		u.dialer.helo = env.Hostname
	}
	u.dialer.weakTLS = func(server string, state tls.ConnectionState) {
		u.weakUse.Add(1)
		u.log.Warn().Str("peer", server).Str("tls", tls.VersionName(state.Version)+" "+tls.CipherSuiteName(state.CipherSuite)).
			Msg("weak TLS by the legacy profile")
	}
	if a := cfg.Auth; a != nil {
		u.dialer.auth = &authenticator{user: a.User, password: string(a.Password), mechanism: a.Mechanism, tokens: env.Tokens}
		if a.TokenFile != "" && env.Tokens == nil {
			u.dialer.auth.tokens = tokenFile(under(env.Data, a.TokenFile))
		}
	}
	for _, text := range cfg.Servers {
		s, err := parseServer(text)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
		}
		u.pools = append(u.pools, u.newPool(s))
	}
	if cfg.MX {
		u.byMX, _ = lru.NewWithEvict(maxMXPools, func(_ string, p *pool) { p.close() })
	}
	u.known, err = newKnown(&u.cfg, env.Data)
	return u, err
}

func under(data, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(data, path)
}

func (u *Upstream) newPool(s *server) *pool {
	return newPool(s, u.cfg.Connections, u.cfg.MessagesPerConnection, u.cfg.KeepIdle)
}

// SetFallback names the upstream that is tried when no server of this one can
// be talked to. It is called before any mail is sent.
func (u *Upstream) SetFallback(next *Upstream) { u.next = next }

// Name is the label of the upstream's block.
func (u *Upstream) Name() string { return u.cfg.Name }

// WeakTLS counts the connections that only a legacy profile allowed.
func (u *Upstream) WeakTLS() int64 { return u.weakUse.Load() }

// Close closes the idle connections. Transactions under way end by themselves.
func (u *Upstream) Close() {
	for _, p := range u.pools {
		p.close()
	}
	if u.byMX != nil {
		u.byMX.Purge()
	}
}

// Open starts a handoff that asks nobody before Send.
func (u *Upstream) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &handoff{u: u, tx: tx}, nil
}

// Inline is the upstream for a client that waits: recipients are checked at
// RCPT.
func (u *Upstream) Inline() mail.Hop { return inline{u, u.Check} }

// Quiet is Inline for a dry run: recipients are checked as far as that needs
// no question to the upstream.
func (u *Upstream) Quiet() mail.Hop {
	return inline{u, func(_ context.Context, tx *mail.Transaction, r mail.Rcpt) error {
		_, err := u.known.byRule(tx, r)
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

// handoff is one message on its way to an upstream. It holds no connection
// until Send: a slow client must not keep one of the old server's sessions.
type handoff struct {
	u     *Upstream
	tx    *mail.Transaction
	check func(context.Context, *mail.Transaction, mail.Rcpt) error // nil: at Send only
	rcpts []mail.Rcpt
}

func (h *handoff) Rcpt(ctx context.Context, r mail.Rcpt) error {
	if h.check != nil {
		if err := h.check(ctx, h.tx, r); err != nil {
			return err
		}
	}
	h.rcpts = append(h.rcpts, r)
	return nil
}

func (h *handoff) Close() error { return nil }

// Send hands the message over, one transaction for each group of recipients
// that share servers.
func (h *handoff) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	if len(h.rcpts) == 0 {
		return nil
	}
	p := &parcel{tx: h.tx, rcpts: h.rcpts, msg: m, waits: h.check != nil}
	if p.waits && h.u.cfg.Mode == "auto" {
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		ctx, p.patience = limited, time.AfterFunc(patience, cancel)
		defer p.patience.Stop()
	}
	return h.u.handOver(ctx, p, h.u.next)
}

// patience is how long a client waits for an upstream in mode auto to take
// the message in; then the queue does.
const patience = time.Minute

func (u *Upstream) handOver(ctx context.Context, all *parcel, next *Upstream) []mail.Outcome {
	out := make([]mail.Outcome, len(all.rcpts))
	for _, g := range u.groups(ctx, all.rcpts) {
		for i, o := range u.deliver(ctx, all.only(g.rcpts), g, next) {
			out[g.rcpts[i]] = o
		}
	}
	return out
}

// group is recipients that go to the same servers.
type group struct {
	rcpts []int
	pools []*pool
	err   *mail.Reply // why there are no servers
}

func (u *Upstream) groups(ctx context.Context, rcpts []mail.Rcpt) []group {
	if !u.cfg.MX {
		g := group{pools: order(u.pools)}
		for i := range rcpts {
			g.rcpts = append(g.rcpts, i)
		}
		return []group{g}
	}
	var groups []group
	byDomain := map[string]int{}
	for i, r := range rcpts {
		domain := r.To.ASCIIDomain()
		n, ok := byDomain[domain]
		if !ok {
			n = len(groups)
			byDomain[domain] = n
			g := group{}
			g.pools, g.err = u.exchangers(ctx, r.To)
			groups = append(groups, g)
		}
		groups[n].rcpts = append(groups[n].rcpts, i)
	}
	return groups
}

// deliver hands the parcel to the servers of a group, on as many connections
// as their limits want.
func (u *Upstream) deliver(ctx context.Context, p *parcel, g group, next *Upstream) []mail.Outcome {
	out, left := u.deliverSome(ctx, p, g, next)
	for len(left) > 0 {
		more, again := u.deliverSome(ctx, p.only(left), g, next)
		for k, i := range left {
			out[i] = more[k]
		}
		for k := range again {
			again[k] = left[again[k]]
		}
		left = again
	}
	return out
}

// deliverSome tries the servers of a group until one of them takes the message
// or refuses it for good, then those of next. It tells who was not asked about;
// somebody always was.
func (u *Upstream) deliverSome(ctx context.Context, p *parcel, g group, next *Upstream) (out []mail.Outcome, left []int) {
	start := time.Now()
	if g.err != nil {
		return u.outcomes(p, nil, make(answers, len(p.rcpts)).all(g.err), start), nil
	}
	var last error
	for _, pool := range g.pools {
		c, got, err := u.attempt(ctx, pool, p)
		if err == nil {
			out := u.outcomes(p, c, got, start)
			u.learn(p, got)
			pool.give(c)
			for i := range got {
				if got[i] == nil {
					left = append(left, i)
				}
			}
			return out, left
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	if next != nil && ctx.Err() == nil {
		// One step only: a fallback of the fallback could lead back here.
		return next.handOver(ctx, p, nil), nil
	}
	return u.outcomes(p, nil, make(answers, len(p.rcpts)).all(u.unreachable(last)), start), nil
}

// attempt makes one transaction with one server. A connection that was gone
// before anything was said is replaced once.
func (u *Upstream) attempt(ctx context.Context, pool *pool, p *parcel) (*conn, answers, error) {
	for fresh := false; ; fresh = true {
		if err := pool.resting(); err != nil && p.waits {
			return nil, nil, err
		}
		c, reused, err := pool.take(ctx, &u.dialer, p.tx.Client, fresh)
		if err != nil {
			if ctx.Err() == nil {
				pool.failed(err)
			}
			return nil, nil, err
		}
		fit, done, refusal := u.downgraded(c, p)
		if refusal != nil {
			return c, make(answers, len(p.rcpts)).all(refusal), nil
		}
		got, err := c.sendAll(ctx, fit)
		done()
		if err == nil {
			return c, got, nil
		}
		pool.give(c)
		if !reused {
			pool.failed(err)
			return nil, nil, err
		}
	}
}

// unreachable is the temporary answer when no server could be talked to.
func (u *Upstream) unreachable(err error) *mail.Reply {
	r := &mail.Reply{Code: 451, Enhanced: "4.4.1", Cause: err}
	var said *mail.Reply
	switch {
	case errors.As(err, &said) && said.Host != "":
		r.Enhanced, r.Text = "4.3.2", fmt.Sprintf("%s can't take mail now: %s", said.Host, said)
	case err != nil:
		r.Text = fmt.Sprintf("upstream %s can't be reached now: %s", u.cfg.Name, plainError(err))
	default:
		r.Text = fmt.Sprintf("upstream %s has no server that can be tried", u.cfg.Name)
	}
	return r
}

func (u *Upstream) outcomes(p *parcel, c *conn, got answers, start time.Time) []mail.Outcome {
	took := time.Since(start)
	out := make([]mail.Outcome, len(p.rcpts))
	for i, r := range p.rcpts {
		if got[i] == nil {
			continue
		}
		o := mail.Outcome{Rcpt: r.To, Reply: *got[i], Hop: u.cfg.Name, At: start, Took: took}
		if c != nil {
			o.Host, o.Addr, o.TLS = c.server.name(), c.addr, c.tlsName()
			if got[i].Positive() {
				o.RemoteID = remoteID(got[i].Text)
				o.DSN = c.caps.dsn
			}
		}
		out[i] = o
	}
	return out
}
