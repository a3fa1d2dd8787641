// Package milter is the filter that consults an external program over the
// milter protocol, such as rspamd, clamav-milter or opendkim.
//
// It speaks versions 2 to 6. Header fields are passed unchanged, so that
// signatures over them stay valid. The configuration determines what the
// program may change; this is the only filter that may change a body.
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

// maxPath is the maximum length of a socket path (sun_path on Linux).
const maxPath = 107

// Config is the filter "milter" { ... } block of a chain. If the program is not
// running or does not answer, on_error applies; raise timeout for a slow
// program.
type Config struct {
	// Address is the address on which the program listens: "host:port", or
	// "unix:PATH" relative to the data folder.
	Address string `hcl:"address" example:"127.0.0.1:11332"`
	// Allow lists what the program may change: "headers", "body", "recipients",
	// "sender". Other changes are recorded but not applied.
	Allow []string `hcl:"allow,optional" default:"headers"`
	// ConnectTimeout limits connecting and negotiating.
	ConnectTimeout time.Duration `hcl:"connect_timeout,optional" default:"5s"`
	// CommandTimeout limits the wait for the reply to each command and field.
	CommandTimeout time.Duration `hcl:"command_timeout,optional" default:"10s"`
	// DataTimeout limits sending the body and the wait for the final reply.
	DataTimeout time.Duration `hcl:"data_timeout,optional" default:"5m"`
	// MaxBody is the maximum size of a replacement body, which is kept in
	// memory.
	MaxBody conf.Bytes `hcl:"max_body,optional" default:"32MiB"`
	// KeepIdle is how long a connection is kept open for the client's next
	// message; with 0, each message uses a new one.
	KeepIdle time.Duration `hcl:"keep_idle,optional" default:"10s"`
}

// Check reports an invalid address and unknown values.
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
		return conf.Fieldf("address", "%q is not a port", port)
	}
	return nil
}

// Filter consults the program of a Config.
type Filter struct {
	cfg              Config
	network, address string
	pool             pool
}

// New returns the filter. It does not connect: the program may start later.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg, network: "tcp", address: cfg.Address, pool: pool{keep: cfg.KeepIdle, held: map[string]*parked{}}}
	if path, ok := strings.CutPrefix(cfg.Address, "unix:"); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(env.Data, path)
		}
		f.network, f.address = "unix", path
		if info, err := os.Stat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
			return nil, conf.Fieldf("address", "%s is not a socket", path)
		}
		if len(path) > maxPath {
			return nil, conf.Fieldf("address", "%s is too long for a socket: the limit is %d octets", path, maxPath)
		}
	}
	return f, nil
}

// Probe connects and negotiates.
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

// connect returns the session for a transaction: the one held for the
// transaction, the one of the client's previous message, or a new one. The
// milter has seen everything up to the recipients accepted so far.
func (f *Filter) connect(ctx context.Context, tx *mail.Transaction, known int) (*session, answer, error) {
	if s := f.pool.heldFor(tx); s != nil {
		if s.rcpts == known || s.done {
			return s, answer{}, nil
		}
		f.pool.release(s) // a later filter refused a recipient that the milter has already seen
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

// stage runs say on the session of a transaction, unless the milter has already
// decided. If a connection that was kept open is broken, for example because
// the milter was restarted, everything is repeated on a new one.
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

// AtMail passes the connection and the reverse path to the milter.
func (f *Filter) AtMail(ctx context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	s, a, err := f.stage(ctx, tx, 0, func(*session) (answer, error) { return answer{}, nil })
	if err != nil {
		return filters.Verdict{}, err
	}
	return f.settle(tx, s, a), nil
}

// AtRcpt passes one recipient to the milter.
func (f *Filter) AtRcpt(ctx context.Context, tx *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	s, a, err := f.stage(ctx, tx, len(tx.Envelope.Rcpts), func(s *session) (answer, error) { return s.rcpt(ctx, r) })
	if err != nil {
		return filters.Verdict{}, err
	}
	return f.settle(tx, s, a), nil
}

// settle keeps a session for the next stage or ends it. If the milter wants to
// discard the message, it is accepted at this stage.
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

// AtData passes the message to the milter and returns the verdict.
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

// facts describes what the program did, for the trail.
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
