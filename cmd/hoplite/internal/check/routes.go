package check

import (
	"fmt"
	"net/netip"
	"slices"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay"
)

// checkRoutes finds routes in a chain that can never match.
func checkRoutes(cfg *config.Config, ch *relay.ChainConfig, diags *conf.Diagnostics) {
	if len(ch.Routes) == 0 {
		diags.Warn(ch.Range(), fmt.Sprintf("chain %q has no route", ch.Name), "All its mail is refused with 550 5.7.1.")
	}
	for i := range ch.Routes {
		r := &ch.Routes[i]
		for j := range i {
			if before := &ch.Routes[j]; covers(before, r) {
				diags.Add(r.Range(), fmt.Sprintf("route %q can never match", r.Name),
					fmt.Sprintf("Route %q on line %d comes first and matches all its mail.", before.Name, before.Range().Start.Line))
				break
			}
		}
	}
}

// checkRelayRoutes finds routes for clients that may relay, in chains whose
// listeners do not permit relaying. Mail forwarded by an alias or account also
// uses such routes.
func checkRelayRoutes(cfg *config.Config, ch *relay.ChainConfig, known *Addresses, diags *conf.Diagnostics) {
	if slices.ContainsFunc(cfg.MailListeners(), func(l config.MailListener) bool { return l.Chain == ch.Name && l.Relays() }) {
		return
	}
	for i := range ch.Routes {
		if r := &ch.Routes[i]; r.Relay && !known.forwardsOut(r) {
			diags.Warn(r.Attr("relay"), fmt.Sprintf("route %q matches only what aliases and accounts forward, and none does", r.Name),
				fmt.Sprintf("It is for clients that may relay, and no listener of chain %q permits any: set auth or relay_from on one.", ch.Name))
		}
	}
}

// covers reports whether a matches every recipient that b matches.
func covers(a, b *relay.RouteConfig) bool {
	if a.Relay && !b.Relay {
		return false
	}
	return coversAll(a.To, b.To, coversPattern) && coversAll(a.From, b.From, coversPattern) &&
		coversAll(a.User, b.User, func(x, y string) bool { return mail.Key(x) == mail.Key(y) }) &&
		coversAll(a.Client, b.Client, func(x, y netip.Prefix) bool { return x.Bits() <= y.Bits() && x.Contains(y.Addr()) })
}

// coversAll reports whether each condition in b is covered by a condition in a.
// An empty list matches everything.
func coversAll[T any](a, b []T, covers func(T, T) bool) bool {
	if len(a) == 0 {
		return true
	}
	if len(b) == 0 {
		return false
	}
	for _, y := range b {
		if !slices.ContainsFunc(a, func(x T) bool { return covers(x, y) }) {
			return false
		}
	}
	return true
}

// coversPattern reports whether pattern a matches every address that pattern b
// matches.
func coversPattern(a, b string) bool {
	p, errA := mail.ParsePattern(a)
	q, errB := mail.ParsePattern(b)
	return errA == nil && errB == nil && p.Covers(q)
}
