// Package milter is the filter that asks a mail filter program over the milter
// protocol: rspamd, clamav-milter, opendkim and many others.
//
// It is a client of our own for version 6, back to 2. Header fields go over as
// they are, so that signatures over them hold. What the program may change is
// said in the configuration; it is the one filter that may change a body.
package milter

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
)

// maxPath is the longest name of a socket file (sun_path of Linux).
const maxPath = 107

// Config is the block filter "milter" { ... } of a chain. When the program is
// not there or does not answer, on_error decides; raise timeout for a slow one.
type Config struct {
	// Address is where it listens: "host:port", or "unix:PATH", relative to the
	// data folder.
	Address string `hcl:"address" example:"127.0.0.1:11332"`
	// Allow is what it may change: "headers", "body", "recipients", "sender".
	// Whatever else it changes is left as it was and noted.
	Allow []string `hcl:"allow,optional" default:"headers"`
	// ConnectTimeout is for connecting and agreeing on the protocol.
	ConnectTimeout time.Duration `hcl:"connect_timeout,optional" default:"5s"`
	// CommandTimeout is for the answer to each command and field.
	CommandTimeout time.Duration `hcl:"command_timeout,optional" default:"10s"`
	// DataTimeout is for the body and the last word.
	DataTimeout time.Duration `hcl:"data_timeout,optional" default:"5m"`
	// MaxBody is the largest body that it may put in place of the old one; it is
	// kept in memory.
	MaxBody conf.Bytes `hcl:"max_body,optional" default:"32MiB"`
	// KeepIdle is how long a connection to it is kept for the client's next
	// message; 0 makes a connection for each.
	KeepIdle time.Duration `hcl:"keep_idle,optional" default:"10s"`
}

// Check finds an address that is none, and words that mean nothing.
func (c *Config) Check() error {
	for _, a := range c.Allow {
		switch a {
		case "headers", "body", "recipients", "sender":
		default:
			return conf.Fieldf("allow", `%q: want "headers", "body", "recipients" or "sender"`, a)
		}
	}
	if path, ok := strings.CutPrefix(c.Address, "unix:"); ok {
		if path == "" {
			return conf.Fieldf("address", `no file after "unix:"`)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || strings.ContainsAny(host, " /") {
		return conf.Fieldf("address", `%q: want "host:port" or "unix:PATH"`, c.Address)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return conf.Fieldf("address", "there is no port %q", port)
	}
	return nil
}

// Filter asks the program of a Config.
type Filter struct {
	cfg              Config
	network, address string
	pool             pool
}

// New makes the filter. It does not connect: a program may start after us.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg, network: "tcp", address: cfg.Address, pool: pool{keep: cfg.KeepIdle, held: map[string]*parked{}}}
	if path, ok := strings.CutPrefix(cfg.Address, "unix:"); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(env.Data, path)
		}
		f.network, f.address = "unix", path
		if info, err := os.Stat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
			return nil, conf.Fieldf("address", "%s is no socket", path)
		}
		if len(path) > maxPath {
			return nil, conf.Fieldf("address", "%s is too long for a socket: %d octets is the most", path, maxPath)
		}
	}
	return f, nil
}

// Probe connects and agrees on the protocol.
func (f *Filter) Probe(ctx context.Context) error {
	s, err := open(ctx, f.network, f.address, f.wait)
	if err == nil {
		s.quit()
	}
	return err
}

func (f *Filter) wait(stage string) time.Duration {
	d := f.cfg.CommandTimeout
	switch stage {
	case "connect":
		d = f.cfg.ConnectTimeout
	case "data":
		d = f.cfg.DataTimeout
	}
	if d <= 0 {
		d = 10 * time.Second
	}
	return d
}

// connect gives the session of a transaction, which the milter has been told of
// up to the first known recipients: the one that is held for it, the one of the
// client's last message, or a new one.
func (f *Filter) connect(ctx context.Context, tx *mail.Transaction, known int) (*session, answer, error) {
	if s := f.pool.heldFor(tx); s != nil {
		if s.rcpts == known || s.done {
			return s, answer{}, nil
		}
		f.pool.release(s) // a recipient was refused behind us: it must not hear of it
	}
	client := greetingOf(tx)
	s := f.pool.take(client.key)
	if s == nil {
		var err error
		if s, err = open(ctx, f.network, f.address, f.wait); err != nil {
			return nil, answer{}, err
		}
	}
	a, err := s.begin(ctx, client, tx)
	for i := 0; err == nil && !a.final && i < known; i++ {
		a, err = s.rcpt(ctx, &tx.Envelope.Rcpts[i])
	}
	return s, a, err
}

// stage says something on the session of a transaction, unless the milter has
// said its last word. A connection that waited may be dead by now, because the
// milter was restarted: then all is said again on another one.
func (f *Filter) stage(ctx context.Context, tx *mail.Transaction, known int, say func(*session) (answer, error)) (*session, answer, error) {
	for {
		s, a, err := f.connect(ctx, tx, known)
		if err == nil && a.verdict.Action == "" && !s.done {
			a, err = say(s)
		}
		switch {
		case err == nil:
			return s, a, nil
		case s != nil && s.kept && hungUp(err) && ctx.Err() == nil:
			s.Close()
			continue
		case s != nil:
			s.Close()
		}
		return nil, answer{}, err
	}
}

// AtMail tells of the connection and the reverse path.
func (f *Filter) AtMail(ctx context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	s, a, err := f.stage(ctx, tx, 0, func(*session) (answer, error) { return answer{}, nil })
	if err != nil {
		return filters.Verdict{}, err
	}
	return f.settle(tx, s, a), nil
}

// AtRcpt tells of one recipient.
func (f *Filter) AtRcpt(ctx context.Context, tx *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	s, a, err := f.stage(ctx, tx, len(tx.Envelope.Rcpts), func(s *session) (answer, error) { return s.rcpt(ctx, r) })
	if err != nil {
		return filters.Verdict{}, err
	}
	return f.settle(tx, s, a), nil
}

// settle keeps a session for what comes next, or ends it. A message that is to
// be discarded is taken first.
func (f *Filter) settle(tx *mail.Transaction, s *session, a answer) filters.Verdict {
	switch {
	case a.verdict.Action == filters.Discard:
		a.verdict = filters.Verdict{Reason: "to be discarded"}
	case a.verdict.Action != "" && s.done:
		f.pool.release(s)
		return a.verdict
	}
	f.pool.hold(tx, s)
	return a.verdict
}

// AtData shows the message and hears the verdict.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	var ch *changes
	s, a, err := f.stage(ctx, tx, len(tx.Envelope.Rcpts), func(s *session) (answer, error) {
		ch = newChanges(m, s, int64(f.cfg.MaxBody))
		return s.message(ctx, tx, m, ch)
	})
	if err != nil {
		return filters.Verdict{}, err
	}
	last := s.last
	f.pool.release(s)
	switch {
	case a.verdict.Action != "":
		return a.verdict, nil
	case ch == nil:
		return last, nil
	}
	v := filters.Verdict{}
	if ch.quarantine != "" {
		v = filters.Quarantined(ch.quarantine)
	}
	edits, refused := ch.apply(m, f.cfg.Allow)
	v.Edits, v.Facts = edits, ch.facts(refused)
	return v, nil
}

// facts are what the program did, for the trail.
func (c *changes) facts(refused []string) []mail.Fact {
	var facts []mail.Fact
	for _, n := range []struct {
		what string
		n    int
	}{{"fields added", strings.Count(string(c.first)+string(c.last), "\r\n")}, {"fields removed", len(c.drop)}, {"recipients changed", len(c.add) + len(c.del)}, {"new body", len(c.body)}} {
		if n.n > 0 {
			facts = append(facts, mail.Fact{Key: n.what, Value: fmt.Sprint(n.n)})
		}
	}
	if len(refused) > 0 {
		facts = append(facts, mail.Fact{Key: "not allowed", Value: strings.Join(refused, ", ")})
	}
	return facts
}
