package main

import (
	"context"
	"fmt"
	"slices"

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

// isUs reports whether a mail exchanger is this server.
func (h *house) isUs(host string) bool {
	d, err := mail.ParseDomain(host)
	return err == nil && d != "localhost" && slices.Contains(h.cfg.names(), d)
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
	h.queue.Add(queue.Upstream{Name: queue.Router, Hop: h.router(), Schedule: queue.DefaultSchedule})
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

// router is the hop for what we send ourselves.
func (h *house) router() *relay.Router {
	var chains []*relay.Chain
	for _, c := range h.cfg.Chain {
		chains = append(chains, h.chains[c.Name])
	}
	return relay.NewRouter(addresses{h.resolver, h.srs}, chains)
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
