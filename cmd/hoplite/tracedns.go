package main

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/filters"
	"hoplite/filters/dmarc"
	"hoplite/filters/dnsbl"
	"hoplite/filters/spf"
	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/trace/inspect"
)

// dnsChecks evaluates authentication as of now, with the configured resolver
// and DNS lists.
type dnsChecks struct {
	dmarc.Lookup
	lists []*dnsbl.Filter
}

// SPF evaluates the record of the sender's domain.
func (c *dnsChecks) SPF(ctx context.Context, client netip.Addr, helo string, from mail.Address) mail.AuthResult {
	r := spf.Check(ctx, c.Resolver, client, helo, from)
	return r.AuthResult(from, helo)
}

// Listings queries every list once.
func (c *dnsChecks) Listings(ctx context.Context, addr netip.Addr) []inspect.Listing {
	var all []inspect.Listing
	asked := map[string]bool{}
	for _, f := range c.lists {
		for _, l := range f.Listings(ctx, addr) {
			if !asked[l.Zone] {
				asked[l.Zone] = true
				all = append(all, inspect.Listing{Zone: l.Zone, Good: l.Weight < 0, Codes: l.Codes, Reason: l.Text, Err: l.Err})
			}
		}
	}
	return all
}

// checks returns the checks for --dns. Without a configuration there are no DNS
// lists, and the system's resolver is used.
func (f *traceFlags) checks() (inspect.Checks, error) {
	cfg, _, err := f.config()
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, err
	}
	c := &dnsChecks{}
	if cfg != nil && cfg.DNS != nil {
		c.Resolver = resolve.NewCached(resolve.NewClient(cfg.DNS.Validates, cfg.DNS.Server), 1000)
	} else {
		system, err := resolve.System("/etc/resolv.conf")
		if err != nil {
			return nil, errors.New("--dns: no DNS server is configured: name one in the dns block of relay.hcl")
		}
		c.Resolver = resolve.NewCached(system, 1000)
	}
	if cfg != nil {
		c.lists = configuredLists(cfg, c.Resolver)
	}
	return c, nil
}

// configuredLists returns the dnsbl filters of all chains.
func configuredLists(cfg *config.Config, dns resolve.Resolver) []*dnsbl.Filter {
	var lists []*dnsbl.Filter
	env := filters.Env{Hostname: cfg.Hostname, Names: cfg.Names(), Data: cfg.Data, Log: zerolog.Nop(), Trusted: cfg.Trusted, DNS: dns}
	for _, chain := range cfg.Chain {
		var blocks []filters.Config
		for _, b := range chain.Filters {
			if b.Name == "dnsbl" {
				blocks = append(blocks, b)
			}
		}
		for _, e := range config.BuildFilters(chain.Name, blocks, env, &conf.Diagnostics{}) {
			if l, ok := e.Filter.(*dnsbl.Filter); ok {
				lists = append(lists, l)
			}
		}
	}
	return lists
}
