package assembly

import (
	"context"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// Hops holds the maildrops and upstreams of a generation.
type Hops struct {
	// Upstreams holds the hops to other servers, by name.
	Upstreams map[string]*forward.Upstream
	// Known holds the extensions that another process knows for upstreams that
	// this one has not contacted. It may be nil.
	Known map[string]forward.Offer

	stores map[string]*maildrop.Store
	hops   map[string]mail.Hop // destinations of routes, by name
}

func newHops() *Hops {
	return &Hops{Upstreams: map[string]*forward.Upstream{}, stores: map[string]*maildrop.Store{}, hops: map[string]mail.Hop{}}
}

// Stores returns the stores of the maildrops, by name.
func (h *Hops) Stores() map[string]*maildrop.Store { return h.stores }

// AddStore adds a maildrop. Routes use hop, which may be a wrapper around the
// store.
func (h *Hops) AddStore(name string, store *maildrop.Store, hop mail.Hop) {
	h.stores[name], h.hops[name] = store, hop
}

// AddUpstream adds an upstream. Routes use hop, which may be a wrapper around
// it.
func (h *Hops) AddUpstream(name string, up *forward.Upstream, hop mail.Hop) {
	h.Upstreams[name], h.hops[name] = up, hop
}

// HasHop reports whether a maildrop or upstream has been added under name.
func (h *Hops) HasHop(name string) bool { return h.hops[name] != nil }

// NewUpstream creates the upstream for a block without adding it. state is the
// folder for data that is kept across restarts; if it is empty, nothing is
// kept.
func (g *Generation) NewUpstream(c *forward.Config, state string, log zerolog.Logger) (*forward.Upstream, error) {
	directories := map[string]forward.Directory{}
	for name, d := range g.Directories {
		directories[name] = d
	}
	certs, err := g.Config.ClientCertificate(c, log)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: %w", c.Name, err)
	}
	return forward.New(*c, forward.Env{
		Directories: directories, Certificate: certs, Results: g.Results, Hostname: g.Config.Hostname, Data: g.Config.Data, State: state, DNS: g.DNS, Own: g.Config.IsOurs, Log: log,
		Policies: forward.NewPolicies(g.Config.Policy),
	})
}

// LinkFallbacks connects the upstreams with their fallbacks.
func (g *Generation) LinkFallbacks() {
	for _, c := range g.Config.Upstream {
		if c.Fallback == "" || g.Upstreams[c.Name] == nil {
			continue
		}
		next, ok := g.Upstreams[c.Fallback]
		if !ok || next == g.Upstreams[c.Name] {
			g.diags.Add(c.Attr("fallback"), fmt.Sprintf("there is no other upstream %q to fall back to", c.Fallback), "")
			continue
		}
		g.Upstreams[c.Name].SetFallback(next)
	}
}

// Carry returns a function that returns the extensions that a listener offers:
// those supported by at least one hop of a chain. If a message uses an
// extension that a recipient's hop does not support, that recipient is refused,
// so an old server does not restrict the other hops.
func (h *Hops) Carry(chain *relay.Chain) func() relay.Carry {
	return func() relay.Carry {
		var offers []forward.Offer
		for i := range chain.Routes {
			name := chain.Routes[i].HopName
			if up, ok := h.Upstreams[name]; ok {
				offer := up.Offer()
				if !offer.Known {
					offer = h.Known[name]
				}
				offers = append(offers, offer)
			} else if name != "" {
				offers = append(offers, forward.Offer{})
			}
		}
		return carry(offers)
	}
}

// carry combines the extensions of the hops of a chain. A hop that is not an
// upstream, such as a maildrop, supports all extensions.
func carry(offers []forward.Offer) relay.Carry {
	all := relay.Carry{EightBit: true, UTF8: true, DSN: true}
	if len(offers) == 0 {
		return all
	}
	var c relay.Carry
	for _, o := range offers {
		if !o.Known {
			return all
		}
		c.EightBit, c.UTF8, c.DSN = c.EightBit || o.EightBit, c.UTF8 || o.UTF8, true
		c.Size = max(c.Size, o.Size)
	}
	if slices.ContainsFunc(offers, func(o forward.Offer) bool { return o.Size == 0 }) {
		c.Size = 0
	}
	return c
}

// Verify returns a function that reports whether an address exists according to
// its upstream, if that is known.
func (h *Hops) Verify(chain *relay.Chain) func(mail.Address) (exists, known bool) {
	tx := mail.NewTransaction(mail.Client{}, "")
	return func(a mail.Address) (exists, known bool) {
		route := chain.Find(tx, mail.Rcpt{To: a, Orig: a})
		if route == nil || h.Upstreams[route.HopName] == nil {
			return false, false
		}
		return h.Upstreams[route.HopName].Verify(a)
	}
}

// AskUpstreams connects to the upstreams to find out which extensions they
// offer, so that even the first client is offered the right ones.
func (g *Generation) AskUpstreams(ctx context.Context) {
	for _, up := range g.Upstreams {
		for _, line := range up.Look(ctx) {
			g.Log.Debug().Str("hop", up.Name()).Str("offer", line).Msg("upstream")
		}
	}
}
