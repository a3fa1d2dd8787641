// Package forward is a hop that speaks SMTP or LMTP to an upstream server: the
// client side of the protocol, a pool of connections, and the knowledge of
// which recipients exist there.
//
// It hands a message over or says why not, and stores nothing: mail that has
// to wait is up to package queue. What a connection must prove about its server
// is one value (require.go).
//
// Start reading at Upstream, then deliver.go (which servers are tried),
// pool.go and dial.go (connections), transaction.go and body.go (one message
// on one connection).
package forward

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/relay/forward/mtasts"
)

// Env is what an upstream needs from the program around it.
type Env struct {
	Hostname string
	Data     string
	Log      zerolog.Logger
	DNS      resolve.Resolver
	// State is the folder for what is remembered over restarts; "" keeps
	// nothing.
	State string
	// Tokens, if not nil, are asked instead of the configured token_file.
	Tokens TokenSource
	// Own reports whether a host name is ours: we are then one of the
	// domain's mail exchangers, and those of our preference and worse are not
	// tried (RFC 5321, 5.1).
	Own func(host string) bool
	// TLS has the roots for verifying certificates, if they are not the
	// system's.
	TLS *tls.Config
}

// Upstream is one configured next hop. As a mail.Hop it accepts every recipient
// at RCPT and asks the server at Send, which is how the queue delivers. For
// clients that wait there is Inline.
type Upstream struct {
	cfg       Config
	data      string
	log       zerolog.Logger
	dns       resolve.Resolver
	own       func(string) bool
	dialer    dialer
	endpoints []*endpoint   // as configured by servers
	sts       *mtasts.Cache // nil: MTA-STS is not used
	byMX      *lru.Cache[poolKey, *pool]
	memory    *memory
	file      *rcptFile // nil: recipients is not a file
	next      *Upstream // used while this one can't be reached
	weakUse   atomic.Int64
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
		helo: cfg.Helo, tls: profile, tellClient: cfg.TellClient,
		times:  timeouts{cfg.ConnectTimeout, cfg.CommandTimeout, cfg.DataTimeout},
		source: cfg.sources(), family: cfg.Family, disable: cfg.Disable,
	}
	u.dialer.dial = u.dialer.dialNet
	if env.TLS != nil {
		u.dialer.roots = env.TLS.RootCAs
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
		u.dialer.auth = &authenticator{user: a.User, password: string(a.Password), mechanism: a.Mechanism, tokens: env.Tokens, insecure: a.Insecure}
		if a.TokenFile != "" && env.Tokens == nil {
			u.dialer.auth.tokens = tokenFile(under(env.Data, a.TokenFile))
		}
	}
	for _, text := range cfg.Servers {
		s, err := parseServer(text)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
		}
		u.endpoints = append(u.endpoints, u.newEndpoint(s))
	}
	if cfg.MX {
		u.sts = u.newSTS(env)
		u.byMX, _ = lru.NewWithEvict(maxMXPools, func(_ poolKey, p *pool) { p.close() })
	}
	if err := u.rememberRcpts(env); err != nil {
		return nil, fmt.Errorf("upstream %q: recipients: %w", cfg.Name, err)
	}
	return u, nil
}

// newSTS returns the cache of MTA-STS policies, or nil where TLS is off.
func (u *Upstream) newSTS(env Env) *mtasts.Cache {
	if u.cfg.TLS == "off" || u.dns == nil {
		return nil
	}
	path := ""
	if env.State != "" {
		path = filepath.Join(env.State, "mta-sts-"+url.PathEscape(u.cfg.Name)+".json")
	}
	transport := &http.Transport{DialContext: u.dialWeb, TLSClientConfig: env.TLS, MaxIdleConns: 10, IdleConnTimeout: time.Minute}
	return mtasts.New(u.dns, &http.Client{Transport: transport}, path)
}

// dialWeb connects to a web server whose name a stranger chose: not on this
// machine.
func (u *Upstream) dialWeb(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := resolve.LookupHosts(ctx, u.dns, host)
	for _, a := range addrs {
		if !u.mayConnect(a) || !u.dialer.usesFamily(a) {
			continue
		}
		var c net.Conn
		if c, err = u.dialer.dial(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, cmp.Or(err, error(&stageError{stage: "connect", host: host, err: errors.New("no usable address")}))
}

// rememberRcpts opens what is known about the upstream's recipients.
func (u *Upstream) rememberRcpts(env Env) error {
	path := ""
	if env.State != "" && u.cfg.Recipients == "call-ahead" && !u.cfg.MX {
		path = filepath.Join(env.State, "recipients-"+url.PathEscape(u.cfg.Name))
	}
	var err error
	if u.memory, err = newMemory(u.cfg.KnownMax, path); err != nil {
		u.log.Warn().Err(err).Msg("what was known about recipients can't be read; the upstream is asked again")
	}
	name, isFile := u.cfg.RecipientsFile()
	if !isFile || u.cfg.MX {
		return nil
	}
	u.file = &rcptFile{path: under(env.Data, name)}
	_, err = u.file.read()
	return err
}

func under(data, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(data, path)
}

func (u *Upstream) newPool(s *server, need requirement) *pool {
	return newPool(s, need, u.cfg.Connections, u.cfg.MessagesPerConnection, u.cfg.KeepIdle)
}

// SetFallback names the upstream that is used while no server of this one can
// be reached. It is called before any mail is sent.
func (u *Upstream) SetFallback(next *Upstream) { u.next = next }

// Name is the label of the upstream's block in the configuration.
func (u *Upstream) Name() string { return u.cfg.Name }

// WeakTLS counts the connections that only a legacy profile allowed.
func (u *Upstream) WeakTLS() int64 { return u.weakUse.Load() }

// Close closes the idle connections. Transactions under way are not disturbed.
func (u *Upstream) Close() {
	for _, e := range u.endpoints {
		for _, p := range e.seen() {
			p.close()
		}
	}
	if u.byMX != nil {
		u.byMX.Purge()
	}
	if err := u.memory.flush(); err != nil {
		u.log.Warn().Err(err).Msg("what is known about recipients can't be saved")
	}
}

// Open starts a handoff that does not ask the server before Send.
func (u *Upstream) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &handoff{u: u, tx: tx}, nil
}

// Inline is the upstream for a client that waits: each recipient is checked at
// RCPT, by call-ahead where so configured.
func (u *Upstream) Inline() mail.Hop { return inline{u, u.Check} }

// Quiet is Inline for a dry run: recipients are checked as far as possible
// without asking the upstream.
func (u *Upstream) Quiet() mail.Hop {
	return inline{u, func(_ context.Context, tx *mail.Transaction, r mail.Rcpt) error {
		_, err := u.checkOffline(tx, r)
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
