package main

import (
	"cmp"
	"context"
	"fmt"

	"hoplite/internal/history"
	"hoplite/mail"
	"hoplite/relay"
	"hoplite/relay/forward"
	"hoplite/relay/queue"
)

// buildUpstreams makes the hops that lead to other servers, and tells the
// queue of them.
func (h *house) buildUpstreams() error {
	for _, c := range h.cfg.Upstream {
		if _, ok := h.hops[c.Name]; ok {
			h.diags.Add(c.Range(), fmt.Sprintf("a second hop %q", c.Name), "A maildrop has that name already.")
			continue
		}
		up, err := forward.New(*c, forward.Env{
			Hostname: h.cfg.Hostname, Data: h.data, DNS: h.dns, Own: h.isUs,
			Log: h.log.With().Str("hop", c.Name).Logger(),
		})
		if err != nil {
			return err
		}
		h.upstreams[c.Name] = up
		switch {
		case c.Mode == "queue" || c.MX:
			h.hops[c.Name] = h.queue.Hop(c.Name)
		default:
			h.hops[c.Name] = h.queue.Direct(c.Name, up.Inline(), c.Mode == "auto")
		}
	}
	for _, c := range h.cfg.Upstream {
		if c.Fallback == "" || h.upstreams[c.Name] == nil {
			continue
		}
		next, ok := h.upstreams[c.Fallback]
		if !ok || next == h.upstreams[c.Name] {
			h.diags.Add(c.Attr("fallback"), fmt.Sprintf("there is no other upstream %q to fall back to", c.Fallback), "")
			continue
		}
		h.upstreams[c.Name].SetFallback(next)
	}
	return nil
}

// isUs tells whether a mail exchanger is this server.
func (h *house) isUs(host string) bool {
	if host == h.cfg.Hostname {
		return true
	}
	for _, c := range h.cfg.SMTP {
		if c.Hostname == host {
			return true
		}
	}
	return false
}

// connectQueue gives the queue this house's hops, once it is sure to be moved
// into, and takes away those that are no longer there.
func (h *house) connectQueue(before *house) {
	h.own.Store(h.resolver)
	if before != nil {
		h.queue.Change(h.cfg.queueSettings())
	}
	now := map[string]bool{queue.Router: true}
	for _, c := range h.cfg.Upstream {
		up := h.upstreams[c.Name]
		u := queue.Upstream{Name: c.Name, Hop: up, PerDomain: c.MX, Schedule: queue.Schedule{
			RetryMin: c.FirstRetry, RetryMax: c.MaxRetry, Lifetime: c.GiveUp,
			DelayWarning: c.DelayedAfter, Concurrency: c.Connections,
		}}
		u.Check = up.Check
		h.queue.Add(u)
		now[c.Name] = true
	}
	for name, store := range h.boxes {
		h.queue.Add(queue.Upstream{Name: name, Hop: store, Schedule: queue.DefaultSchedule})
		now[name] = true
	}
	h.queue.Add(queue.Upstream{Name: queue.Router, Hop: &router{h}, Schedule: queue.DefaultSchedule})
	if before == nil {
		return
	}
	for _, c := range before.cfg.Upstream {
		if !now[c.Name] {
			h.queue.Remove(c.Name)
		}
	}
	for name := range before.boxes {
		if !now[name] {
			h.queue.Remove(name)
		}
	}
}

// attempted puts an attempt of the queue into history.
func (g *ground) attempted(a queue.Attempt) {
	to := make([]string, len(a.Outcomes))
	for i, o := range a.Outcomes {
		to[i] = string(o.Rcpt)
	}
	g.history.Add(history.Record{
		ID: a.ID, At: a.Started, Kind: "attempt", From: string(a.From), To: to,
	}, &a)
}

// carry is what every hop of a chain can pass on, as far as it was seen.
func (h *house) carry(chain *relay.Chain) func() relay.Carry {
	return func() relay.Carry {
		c := relay.Carry{EightBit: true, UTF8: true, DSN: true}
		for i := range chain.Routes {
			up, ok := h.upstreams[chain.Routes[i].HopName]
			if !ok {
				continue
			}
			o := up.Offer()
			if !o.Known {
				continue
			}
			c.EightBit, c.UTF8 = c.EightBit && o.EightBit, c.UTF8 && o.UTF8
			if o.Size > 0 && (c.Size == 0 || o.Size < c.Size) {
				c.Size = o.Size
			}
		}
		return c
	}
}

// verify tells what the upstream that an address is routed to said of it.
func (h *house) verify(chain *relay.Chain) func(mail.Address) (exists, known bool) {
	tx := mail.NewTransaction(mail.Client{}, "")
	return func(a mail.Address) (exists, known bool) {
		route := chain.Find(tx, mail.Rcpt{To: a, Orig: a})
		if route == nil || h.upstreams[route.HopName] == nil {
			return false, false
		}
		return h.upstreams[route.HopName].Verify(a)
	}
}

// later is where mail for a hop waits when it was put off while other
// recipients have the message already.
func (h *house) later(name string) mail.Hop { return h.queue.Hop(name) }

// look learns what the upstreams offer, so that the first client hears it.
func (h *house) look(ctx context.Context) {
	for _, up := range h.upstreams {
		for _, said := range up.Look(ctx) {
			h.log.Debug().Str("hop", up.Name()).Str("offer", said).Msg("upstream")
		}
	}
}

// router is a hop that leads each recipient the way that the chains' routes
// say: for reports, and for queued mail whose upstream is gone.
type router struct{ h *house }

func (r *router) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &routed{h: r.h, tx: tx, ways: map[string]mail.Handoff{}}, nil
}

// routed is one message on its way to several hops.
type routed struct {
	h     *house
	tx    *mail.Transaction
	order []string // the hop of each recipient
	ways  map[string]mail.Handoff
}

// Way finds the hop of a recipient, and its address there.
func (r *router) Way(tx *mail.Transaction, to mail.Rcpt) (string, mail.Rcpt, error) {
	name, _, to, err := r.h.way(tx, to)
	return name, to, err
}

// way leads an address to its one end, and finds the hop there.
func (h *house) way(tx *mail.Transaction, to mail.Rcpt) (string, mail.Hop, mail.Rcpt, error) {
	found, err := addresses{h.resolver, h.srs}.Resolve(string(to.To))
	if err != nil || len(found.Finals) != 1 {
		return "", nil, to, &mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "this address leads to several others, or nowhere", Cause: err}
	}
	if a, err := mail.ParseAddress(found.Finals[0].Address); err == nil {
		to.To = a
	}
	to.Folder = cmp.Or(found.Finals[0].Folder, to.Folder)
	name, hop := h.route(tx, to)
	if hop == nil {
		return "", nil, to, mail.NewReply(550, "5.7.1", "no route takes mail for %s", to.To.Domain())
	}
	return name, hop, to, nil
}

// Rcpt finds the route and asks its hop.
func (r *routed) Rcpt(ctx context.Context, to mail.Rcpt) error {
	name, hop, to, err := r.h.way(r.tx, to)
	if err != nil {
		return err
	}
	way, ok := r.ways[name]
	if !ok {
		if way, err = hop.Open(ctx, r.tx); err != nil {
			return err
		}
		r.ways[name] = way
	}
	if err := way.Rcpt(ctx, to); err != nil {
		return err
	}
	r.order = append(r.order, name)
	return nil
}

// route finds the hop of a recipient: what we send ourselves may go out.
func (h *house) route(tx *mail.Transaction, to mail.Rcpt) (string, mail.Hop) {
	own := *tx
	own.Client.MayRelay = true
	for _, c := range h.cfg.Chain {
		if route := h.chains[c.Name].Find(&own, to); route != nil {
			return route.HopName, route.Hop
		}
	}
	return "", nil
}

// Send hands the message over on every way.
func (r *routed) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	sent := map[string][]mail.Outcome{}
	for name, way := range r.ways {
		sent[name] = way.Send(ctx, m)
	}
	out := make([]mail.Outcome, len(r.order))
	for i, name := range r.order {
		out[i], sent[name] = sent[name][0], sent[name][1:]
	}
	return out
}

// Close gives the ways back.
func (r *routed) Close() error {
	for _, way := range r.ways {
		way.Close()
	}
	return nil
}
