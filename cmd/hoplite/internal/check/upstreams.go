package check

import (
	"fmt"
	"slices"
	"strings"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/relay/forward"
)

// checkUpstreams finds upstreams that point back to this server, form a cycle
// of fallbacks, or are unused.
func checkUpstreams(cfg *config.Config, diags *conf.Diagnostics) {
	used := map[string]bool{}
	for _, ch := range cfg.Chain {
		for i := range ch.Routes {
			used[ch.Routes[i].Hop] = true
		}
	}
	for _, u := range cfg.Upstream {
		if u.Fallback != u.Name {
			used[u.Fallback] = true
		}
	}
	if d := cfg.DNS; d != nil && !validates(d) && usesMX(cfg) {
		diags.Warn(cfg.Attr("dns"), fmt.Sprintf("DANE cannot be used: the answers of DNS server %s are not trusted", d.Server),
			"Mail to other domains is only protected by MTA-STS. Set validates = true if the server validates DNSSEC and its answers cannot be changed on their way, or use one on this machine.")
	}
	for _, u := range cfg.Upstream {
		if !used[u.Name] {
			diags.Warn(u.Range(), fmt.Sprintf("no route uses upstream %q, and it is no fallback", u.Name), "")
		}
		if way := fallbackCircle(cfg, u); way != nil {
			diags.Add(u.Attr("fallback"), "fallbacks lead back to the same upstream: "+strings.Join(way, " -> "), "")
		}
		for i, s := range u.Servers {
			if owner := ownListener(cfg, s); owner != "" {
				diags.Warn(u.Element("servers", i), fmt.Sprintf("upstream %q leads to this server itself: %s", u.Name, owner),
					"The mail would go round until it has too many Received fields.")
			}
		}
	}
}

// fallbackCircle returns the names of the upstreams in a cycle of fallbacks
// through u, or nil. An upstream that is its own fallback is reported by
// checkNames.
func fallbackCircle(cfg *config.Config, u *forward.Config) []string {
	way := []string{u.Name}
	for next := cfg.FindUpstream(u.Fallback); next != nil && next != u; next = cfg.FindUpstream(next.Fallback) {
		if slices.Contains(way, next.Name) {
			return nil // a cycle that does not include u
		}
		if way = append(way, next.Name); next.Fallback == u.Name {
			return append(way, u.Name)
		}
	}
	return nil
}

// ownListener returns the listener of this server that a server of an upstream
// refers to, or "".
func ownListener(cfg *config.Config, server string) string {
	host, port, ok := serverAddress(server)
	if !ok {
		return ""
	}
	for _, l := range cfg.MailListeners() {
		for _, at := range l.Listen {
			if at.Network != "tcp" {
				continue
			}
			own, ownPort := splitPort(at.Address)
			own = strings.Trim(own, "[]")
			here := loopback(host) || cfg.IsOurs(host)
			if port == ownPort && (own == host || own == "" && here || loopback(own) && loopback(host) && (host == "localhost" || own == "localhost")) {
				return l.Title()
			}
		}
	}
	return ""
}
