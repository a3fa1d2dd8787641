package main

import (
	"fmt"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/internal/resolve"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// house is everything that one configuration asks for, built on the ground.
// A reload builds a new one beside it.
type house struct {
	*ground
	cfg       *Config
	diags     *conf.Diagnostics
	dns       resolve.Resolver
	certs     *listen.Certs
	accounts  *users.Store
	resolver  *users.Resolver
	logins    *login.Gate
	boxes     map[string]*maildrop.Store
	places    []string // of the stores in boxes, by maildrop.Location
	hops      map[string]mail.Hop
	upstreams map[string]*forward.Upstream
	chains    map[string]*relay.Chain
	doors     []door
}

// build makes a house. Mistakes that only show now are in the diagnostics.
func build(g *ground, cfg *Config, diags *conf.Diagnostics) (*house, error) {
	if cfg.examine(diags); diags.Mistakes() > 0 {
		return nil, diags.Err()
	}
	h := &house{
		ground: g, cfg: cfg, diags: diags,
		boxes:     map[string]*maildrop.Store{},
		hops:      map[string]mail.Hop{},
		upstreams: map[string]*forward.Upstream{},
		chains:    map[string]*relay.Chain{},
	}
	for _, step := range []func() error{
		h.buildDNS, h.buildAccounts, h.buildCerts, h.buildHops, h.buildUpstreams, h.buildChains, h.buildDoors,
	} {
		if err := step(); err != nil {
			h.leaveBoxes()
			return nil, err
		}
	}
	if err := diags.Err(); err != nil {
		h.leaveBoxes()
		return nil, err
	}
	return h, nil
}

func (h *house) buildDNS() error {
	const answers = 20000
	if d := h.cfg.DNS; d != nil {
		h.dns = resolve.NewCached(resolve.NewClient(d.Validates, d.Server), answers)
		return nil
	}
	client, err := resolve.System("/etc/resolv.conf")
	if err != nil {
		return err
	}
	h.dns = resolve.NewCached(client, answers)
	return nil
}

func (h *house) buildAccounts() (err error) {
	h.accounts, err = users.Open(h.cfg.under("users"), h.cfg.names(), h.log)
	if err != nil {
		return err
	}
	h.resolver, err = users.NewResolver(h.accounts, h.cfg.under(h.cfg.Aliases), h.cfg.names(), h.cfg.Postmaster, h.log)
	if err != nil {
		return err
	}
	h.logins = login.NewGate(h.accounts, h.throttle)
	return nil
}

func (h *house) buildCerts() (err error) {
	var pairs []listen.Pair
	for _, t := range h.cfg.Certificate {
		pairs = append(pairs, listen.Pair{Cert: h.cfg.under(t.Cert), Key: h.cfg.under(t.Key)})
	}
	if len(pairs) == 0 {
		pair, err := listen.SelfSigned(h.cfg.under("tls"), h.cfg.names()...)
		if err != nil {
			return err
		}
		pairs = append(pairs, pair)
	}
	h.certs, err = listen.LoadCerts(pairs, h.log)
	return err
}

func (h *house) buildHops() error {
	for _, c := range h.cfg.Maildrop {
		path := maildrop.Location(*c, h.data)
		store, err := h.store(path, c, h.account)
		if err != nil {
			return fmt.Errorf("maildrop %q: %w", c.Name, err)
		}
		h.places = append(h.places, path)
		h.boxes[c.Name] = store
		h.hops[c.Name] = store
	}
	return nil
}

// configureBoxes gives the stores the settings of this house, which takes the
// place of another.
func (h *house) configureBoxes() {
	for _, c := range h.cfg.Maildrop {
		if err := h.boxes[c.Name].Configure(*c, h.account); err != nil {
			h.log.Error().Err(err).Str("maildrop", c.Name).Msg("settings not taken over")
		}
	}
}

// leaveBoxes gives the stores back, once nobody of this house uses them.
func (h *house) leaveBoxes() {
	for _, path := range h.places {
		h.leaveStore(path)
	}
	h.places = nil
}

// account tells a maildrop whose box an address is.
func (h *house) account(a mail.Address) (maildrop.Account, bool) {
	acc, ok := h.accounts.Account(string(a))
	if !ok {
		return maildrop.Account{}, false
	}
	return maildrop.Account{Quota: acc.Quota}, true
}

func (h *house) buildChains() error {
	env := filters.Env{Hostname: h.cfg.Hostname, Names: h.cfg.names(), Data: h.data, Log: h.log, Trusted: h.cfg.Trusted, DNS: h.dns}
	for _, c := range h.cfg.Chain {
		chain := &filters.Chain{Name: c.Name, Entries: makeFilters(c.Name, c.Filters, env, h.diags)}
		if err := chain.Check(); err != nil {
			h.diags.Add(c.Range(), fmt.Sprintf("chain %q: %v", c.Name, err), "")
		}
		whole := &relay.Chain{Filters: chain}
		for i := range c.Routes {
			r := &c.Routes[i]
			hop, ok := h.hops[r.Hop]
			if !ok && r.Reply == "" {
				h.diags.Add(r.Attr("hop"), fmt.Sprintf("there is no hop %q", r.Hop), conf.Known(r.Hop, keys(h.hops), "No maildrop or upstream is configured."))
				continue
			}
			whole.Routes = append(whole.Routes, relay.NewRoute(r, h.cfg.names(), hop, makeFinishers(r, env, h.diags)))
		}
		h.chains[c.Name] = whole
	}
	return nil
}

// inherit gives the filters what those of the house before remember.
func (h *house) inherit(before *house) {
	for name, c := range h.chains {
		if old, ok := before.chains[name]; ok {
			c.Filters.Inherit(old.Filters)
		}
	}
}

// keep lets the filters write down what they remember.
func (h *house) keep() {
	for _, c := range h.chains {
		for i := range c.Filters.Entries {
			e := &c.Filters.Entries[i]
			if k, ok := e.Filter.(filters.Keeper); ok {
				if err := k.Keep(); err != nil {
					h.log.Warn().Err(err).Str("filter", e.Name).Msg("what it remembers is not on disk")
				}
			}
		}
	}
}

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}
