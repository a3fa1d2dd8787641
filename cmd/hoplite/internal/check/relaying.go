package check

import (
	"fmt"
	"net/netip"
	"strings"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
)

// checkRelaying finds listeners that are open relays.
func checkRelaying(cfg *config.Config, l config.MailListener, diags *conf.Diagnostics) {
	for i, p := range l.RelayFrom {
		if tooLarge(p) {
			diags.Add(l.Element("relay_from", i), fmt.Sprintf("%s would let a large part of the Internet relay", p),
				"Name your own networks, or require a login: auth = \"required\".")
		}
	}
	for i, p := range l.XclientFrom {
		if tooLarge(p) {
			diags.Add(l.Element("xclient_from", i), fmt.Sprintf("any client in %s could claim to be another", p),
				"Name the servers that stand in front of this one.")
		}
	}
	ch := cfg.FindChain(l.Chain)
	if ch == nil || !l.Public() {
		return
	}
	for i := range ch.Routes {
		r := &ch.Routes[i]
		wide := widest(r.To)
		if r.Relay || len(r.User) > 0 || len(r.Client) > 0 || wide == "" || cfg.FindUpstream(r.Hop) == nil {
			continue
		}
		what := "every recipient"
		if wide != "*" {
			what = "every domain below " + strings.TrimPrefix(wide, ".")
		}
		detail := fmt.Sprintf("Any client at %s could send mail to %s through upstream %q.\n"+
			"List your own domains, to = [\"example.org\"], or set relay = true for clients that may relay.", l.Title(), what, r.Hop)
		if len(r.From) > 0 {
			detail += "\nfrom is no protection: any client can use any sender."
		}
		diags.Add(r.Range(), fmt.Sprintf("route %q makes %s an open relay", r.Name, l.Title()), detail)
	}
}

// tooLarge reports whether a network is too large to belong to a single owner.
// Private IPv6 networks are exempt.
func tooLarge(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < 8
	}
	return p.Bits() < 16 && !netip.MustParsePrefix("fc00::/7").Contains(p.Addr())
}

// widest returns a pattern that matches domains of more than one owner: "*" if
// there are no patterns, or for example ".org" for a top-level domain. It
// returns "" if all patterns are narrow.
func widest(to []string) string {
	if len(to) == 0 {
		return "*"
	}
	for _, t := range to {
		if strings.HasPrefix(t, ".") && strings.Count(strings.Trim(t, "."), ".") == 0 {
			return t
		}
	}
	return ""
}
