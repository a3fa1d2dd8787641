package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// dryHop stands for a hop: it asks about recipients like the real one, and
// keeps nothing.
type dryHop struct {
	name  string
	real  mail.Hop // asked about recipients
	words string
	seen  *ways
}

// ways gathers what dry hops were asked to take.
type ways struct {
	mu   sync.Mutex
	list []way
}

func (d *dryHop) Open(ctx context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	h := &dryHandoff{hop: d}
	if d.real != nil {
		var err error
		if h.real, err = d.real.Open(ctx, tx); err != nil {
			return nil, err
		}
	}
	return h, nil
}

type dryHandoff struct {
	hop   *dryHop
	real  mail.Handoff
	rcpts []mail.Rcpt
}

func (h *dryHandoff) Rcpt(ctx context.Context, r mail.Rcpt) error {
	if h.real != nil {
		if err := h.real.Rcpt(ctx, r); err != nil {
			return err
		}
	}
	h.rcpts = append(h.rcpts, r)
	h.hop.seen.mu.Lock()
	defer h.hop.seen.mu.Unlock()
	h.hop.seen.list = append(h.hop.seen.list, way{string(r.To), h.hop.name, h.hop.words})
	return nil
}

func (h *dryHandoff) Send(context.Context, *mail.Message) []mail.Outcome {
	out := make([]mail.Outcome, len(h.rcpts))
	for i, r := range h.rcpts {
		out[i] = mail.Outcome{Rcpt: r.To, Hop: h.hop.name, At: time.Now(),
			Reply: *mail.NewReply(250, "2.0.0", "nothing was sent: this is a dry run")}
	}
	return out
}

func (h *dryHandoff) Close() error {
	if h.real != nil {
		return h.real.Close()
	}
	return nil
}

// dryHouse is a house without a queue and without doors, for explain. Accounts,
// aliases and boxes are read where they are; what has to be written is written
// in tmp, so that the running server is not disturbed and nothing is left behind.
func dryHouse(cfg *Config, diags *conf.Diagnostics, ask bool, tmp string, log zerolog.Logger) (*house, *ways, error) {
	seen := &ways{}
	h := &house{
		ground:    &ground{data: cfg.Data, log: log, throttle: users.NewThrottle()},
		cfg:       cfg,
		diags:     diags,
		boxes:     map[string]*maildrop.Store{},
		hops:      map[string]mail.Hop{},
		upstreams: map[string]*forward.Upstream{},
		chains:    map[string]*relay.Chain{},
	}
	for _, step := range []func() error{h.buildDNS, h.buildAccounts, func() error { return h.dryHops(ask, tmp, seen) }, h.buildChains} {
		if err := step(); err != nil {
			h.closeHops()
			return nil, nil, err
		}
	}
	return h, seen, diags.Err()
}

// closeHops ends what the hops of a dry house run.
func (h *house) closeHops() {
	for _, s := range h.boxes {
		s.Close()
	}
	for _, up := range h.upstreams {
		up.Close()
	}
}

func (h *house) dryHops(ask bool, tmp string, seen *ways) error {
	for _, c := range h.cfg.Maildrop {
		own := *c
		if !there(h.cfg.mailFolder(c)) { // before the first start: it is not for us to make it
			own.Path = filepath.Join(tmp, "mail", "{domain}", "{user}")
		}
		store, err := maildrop.Open(own, maildrop.Env{Data: h.data, Log: h.log, Account: h.account, NoIndex: true})
		if err != nil {
			return fmt.Errorf("maildrop %q: %w", c.Name, err)
		}
		h.boxes[c.Name] = store
		h.hops[c.Name] = &dryHop{c.Name, store, "into its Maildir", seen}
	}
	for _, c := range h.cfg.Upstream {
		up, err := forward.New(*c, forward.Env{Hostname: h.cfg.Hostname, Data: h.data, DNS: h.dns, Own: h.isUs, Log: h.log})
		if err != nil {
			return err
		}
		dry := &dryHop{name: c.Name, real: up.Quiet(), words: upstreamWords(c), seen: seen}
		if ask && !c.MX {
			dry.real = up.Inline()
		}
		h.upstreams[c.Name], h.hops[c.Name] = up, dry
	}
	return nil
}

// upstreamWords says how mail leaves by an upstream.
func upstreamWords(c *forward.Config) string {
	to := "the MX of its domain"
	if !c.MX {
		to = strings.Join(c.Servers, ", ")
	}
	mode := map[string]string{"inline": "in-line", "queue": "by the queue", "auto": "in-line, by the queue while it is down"}[c.Mode]
	return fmt.Sprintf("to %s, %s, TLS %s", to, mode, c.TLS)
}
