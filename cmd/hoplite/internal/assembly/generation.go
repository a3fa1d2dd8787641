// Package assembly creates the parts of the program that both the server and a
// dry run need for a configuration: the DNS resolver, accounts and addresses
// (directory.go), hops (hops.go), chains and routes. A Generation holds them; a
// reload creates a new one alongside the old one.
//
// Everything that outlives a reload (queue, history, sockets), and all
// listeners, belong to package server. Start with Generation.
package assembly

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/directory"
	"hoplite/internal/resolve"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/mail/srs"
	"hoplite/maildrop"
	"hoplite/relay"
	"hoplite/relay/forward/tlsresults"
)

// Generation holds the parts described by one configuration. They are created
// in this order: OpenDNS, OpenDirectories, OpenDirectory, the hops, BuildChains.
type Generation struct {
	Config *config.Config
	Log    zerolog.Logger
	DNS    resolve.Resolver
	// Directories holds the LDAP servers, by name.
	Directories map[string]*directory.Directory
	*Directory
	*Hops
	// Chains holds the chains with their filters and routes, by name.
	Chains map[string]*relay.Chain
	// Results counts the results of TLS sessions with upstreams. It may be nil.
	Results *tlsresults.Store

	diags *conf.Diagnostics
}

// New returns an empty generation. Mistakes that are found only while its parts
// are created are added to diags.
func New(cfg *config.Config, diags *conf.Diagnostics, log zerolog.Logger) *Generation {
	return &Generation{Config: cfg, Log: log, Hops: newHops(), Chains: map[string]*relay.Chain{}, diags: diags}
}

// OpenDNS creates the configured resolver, or the system's.
func (g *Generation) OpenDNS() error {
	const answers = 20000
	if d := g.Config.DNS; d != nil {
		g.DNS = resolve.NewCached(resolve.NewClient(d.Validates, d.Server), answers)
		return nil
	}
	client, err := resolve.System("/etc/resolv.conf")
	if err != nil {
		return err
	}
	g.DNS = resolve.NewCached(client, answers)
	return nil
}

// OpenDirectories creates the LDAP directories, without connecting to them.
func (g *Generation) OpenDirectories() error {
	g.Directories = map[string]*directory.Directory{}
	for _, c := range g.Config.Directory {
		d, err := directory.New(*c, directory.Env{Data: g.Config.Data, Log: g.Log.With().Str("directory", c.Name).Logger()})
		if err != nil {
			return err
		}
		g.Directories[c.Name] = d
	}
	return nil
}

// OpenDirectory reads accounts and aliases. previous is the directory that it
// replaces, or nil. If the rewriter is nil, rewritten addresses are not
// recognised.
func (g *Generation) OpenDirectory(previous *Directory, throttle *users.Throttle, rewriter *srs.Rewriter) (err error) {
	accounts, err := openAccounts(g.Config, g.Directories, g.Log)
	if err != nil {
		return err
	}
	g.Directory, err = openDirectory(g.Config, accounts, previous, throttle, rewriter, g.Log)
	return err
}

// BuildChains creates the filters and routes of every chain. Routes can only
// refer to hops that have already been added.
func (g *Generation) BuildChains() error {
	env := filters.Env{Hostname: g.Config.Hostname, Names: g.Config.Names(), Data: g.Config.Data, Log: g.Log, Trusted: g.Config.Trusted, DNS: g.DNS}
	for _, c := range g.Config.Chain {
		chain := &filters.Chain{Name: c.Name, Entries: config.BuildFilters(c.Name, c.Filters, env, g.diags)}
		if err := chain.Check(); err != nil {
			g.diags.Add(c.Range(), fmt.Sprintf("chain %q: %v", c.Name, err), "")
		}
		whole := &relay.Chain{Filters: chain}
		for i := range c.Routes {
			r := &c.Routes[i]
			hop, ok := g.hops[r.Hop]
			if !ok && r.Reply == "" {
				known := slices.Collect(maps.Keys(g.hops))
				g.diags.Add(r.Attr("hop"), fmt.Sprintf("there is no hop %q", r.Hop), conf.Known(r.Hop, known, "No maildrop or upstream is configured."))
				continue
			}
			route := relay.NewRoute(r, g.Config.Names(), hop, config.BuildFinishers(r, env, g.diags))
			if up := g.Upstreams[r.Hop]; up != nil && r.Sender == "" {
				route.SendAs(up.Sender())
			}
			whole.Routes = append(whole.Routes, route)
		}
		g.Chains[c.Name] = whole
	}
	return nil
}

// Err returns the mistakes found so far, or nil.
func (g *Generation) Err() error { return g.diags.Err() }

// Inherit passes the state of the previous generation's filters and upstreams,
// and the answers of its directories and authorities, to those of g.
func (g *Generation) Inherit(previous *Generation) {
	for name, up := range g.Upstreams {
		if old, ok := previous.Upstreams[name]; ok {
			up.Inherit(old)
		}
	}
	for name, c := range g.Chains {
		if old, ok := previous.Chains[name]; ok {
			c.Filters.Inherit(old.Filters)
		}
	}
	for name, d := range g.Directories {
		if old, ok := previous.Directories[name]; ok {
			d.Inherit(old)
		}
	}
	for domain, a := range g.Accounts.Authorities() {
		if old, ok := previous.Accounts.Authorities()[domain]; ok {
			a.Inherit(old)
		}
	}
}

// SaveFilters writes the state of all filters to disk.
func (g *Generation) SaveFilters() {
	for _, c := range g.Chains {
		for i := range c.Filters.Entries {
			e := &c.Filters.Entries[i]
			if k, ok := e.Filter.(filters.Keeper); ok {
				if err := k.Keep(); err != nil {
					g.Log.Warn().Err(err).Str("filter", e.Name).Msg("filter state not saved")
				}
			}
		}
	}
}

// Box opens the mailbox of an account in the maildrop to which its mail is
// routed, or in the first maildrop if there is no such route.
func (g *Generation) Box(a mail.Address) (*maildrop.Box, error) {
	tx := mail.NewTransaction(mail.Client{}, "")
	r := mail.Rcpt{To: a, Orig: a}
	for _, c := range g.Config.Chain {
		if route := g.Chains[c.Name].Find(tx, r); route != nil {
			if store, ok := g.stores[route.HopName]; ok {
				return store.Box(a)
			}
		}
	}
	for _, c := range g.Config.Maildrop {
		return g.stores[c.Name].Box(a)
	}
	return nil, fmt.Errorf("no maildrop is configured")
}
