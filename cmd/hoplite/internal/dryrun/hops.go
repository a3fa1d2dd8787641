package dryrun

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/relay/forward"
)

// dryHop replaces a hop. It checks recipients as the real hop does but stores
// nothing.
type dryHop struct {
	name  string
	real  mail.Hop     // checks recipients; nil accepts all
	from  mail.Address // the sender
	words string
	// policies holds the policies that may apply; nil for hops without them.
	policies forward.Policies
	taken    *ways
}

// ways collects the recipients that dry hops accepted.
type ways struct {
	mu   sync.Mutex
	list []way
}

func (d *dryHop) Open(ctx context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	h := &dryHandoff{hop: d, tx: tx}
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
	tx    *mail.Transaction
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
	h.hop.taken.mu.Lock()
	defer h.hop.taken.mu.Unlock()
	words := h.hop.words
	if p := h.hop.policies.For(r.To, time.Now()); p != nil {
		words += ", " + p.String()
	}
	if from := h.tx.Envelope.From; from != h.hop.from {
		words += ", sent as " + string(from)
	}
	h.hop.taken.list = append(h.hop.taken.list, way{string(r.To), h.hop.name, words, r})
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

// later replaces the queue of a hop, in which mail for some addresses of an alias
// waits if the hop refuses them temporarily.
func (r *run) later(name string, _ bool) mail.Hop {
	from, _ := mail.ParseAddress(r.q.From)
	return &dryHop{name: name, from: from, words: "by the queue, because it was refused temporarily", taken: r.taken}
}

// openHops adds a dry hop for each maildrop and upstream. It uses the real
// accounts and mailboxes, but only reads them.
func (r *run) openHops() error {
	cfg := r.g.Config
	from, _ := mail.ParseAddress(r.q.From) // an invalid address is refused at MAIL
	for _, c := range cfg.Maildrop {
		block := *c
		if _, err := os.Stat(cfg.MailFolder(c)); err != nil { // not created yet: the server has never been started
			block.Path = filepath.Join(r.tmp, "mail", "{domain}", "{user}")
		}
		store, err := maildrop.Open(block, maildrop.Env{Data: cfg.Data, Log: r.g.Log, Account: r.g.MailboxOf, NoIndex: true})
		if err != nil {
			return fmt.Errorf("maildrop %q: %w", c.Name, err)
		}
		r.g.AddStore(c.Name, store, &dryHop{name: c.Name, real: store, from: from, words: "into its Maildir", taken: r.taken})
	}
	for _, c := range cfg.Upstream {
		up, err := r.g.NewUpstream(c, "", r.g.Log)
		if err != nil {
			return err
		}
		dry := &dryHop{name: c.Name, real: up.Quiet(), from: from, words: describe(c), taken: r.taken}
		if c.MX {
			dry.policies = forward.NewPolicies(cfg.Policy)
		}
		if r.q.Ask && !c.MX {
			dry.real = up.Inline()
		}
		r.g.AddUpstream(c.Name, up, dry)
	}
	return nil
}

// describe describes how mail is sent to an upstream.
func describe(c *forward.Config) string {
	to := "the MX of its domain"
	if !c.MX {
		to = strings.Join(c.Servers, ", ")
	}
	mode := map[string]string{"inline": "in-line", "queue": "by the queue", "auto": "in-line, by the queue while it is down"}[c.Mode]
	tls := c.TLS
	if some, _ := c.LoginVerified(); some {
		tls = "verify"
	}
	return fmt.Sprintf("to %s, %s, TLS %s", to, mode, tls)
}
