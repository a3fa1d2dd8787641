package check

import (
	"fmt"
	"slices"
	"time"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay/forward/mtasts"
)

// policyNotice is the time before the end of a temporary policy at which check
// begins to warn.
const policyNotice = 14 * 24 * time.Hour

// checkPolicies finds policies that have ended or will end soon, and those that
// no upstream uses.
func checkPolicies(cfg *config.Config, now time.Time, diags *conf.Diagnostics) {
	for _, c := range cfg.Policy {
		switch left, temporary := c.Left(now); {
		case temporary && left <= 0:
			diags.Warn(c.Attr("until"), fmt.Sprintf("policy %q ended on %s and has no effect", c.Name, c.Until),
				"Remove it. If the destination is still broken, its mail is deferred; set a later day to accept the weaker connection.")
		case temporary && left <= policyNotice:
			diags.Warn(c.Attr("until"), fmt.Sprintf("policy %q ends on %s", c.Name, c.Until),
				"Afterwards the usual requirements apply again, and mail that cannot meet them is deferred.")
		}
		if routed := routedTo(cfg, c.Name); routed != "" {
			diags.Warn(c.Range(), fmt.Sprintf("policy %q has no effect, because upstream %q has fixed servers", c.Name, routed),
				"Set tls on the upstream: policies apply to servers found by MX.")
		} else if len(cfg.Upstream) > 0 && !anyMX(cfg) {
			diags.Warn(c.Range(), fmt.Sprintf("policy %q has no effect, because no upstream has mx = true", c.Name), "")
		}
	}
}

// checkPolicyHosts finds MTA-STS policies that other servers cannot fetch or that
// do not list this server.
func checkPolicyHosts(cfg *config.Config, diags *conf.Diagnostics) {
	for _, w := range cfg.Web {
		encrypted := w.ReverseProxy || slices.ContainsFunc(w.Listen, func(at conf.Listen) bool { return w.Mode(at) == "implicit" })
		for _, c := range w.MTASTS {
			if !encrypted {
				diags.Warn(c.Range(), fmt.Sprintf("other servers cannot fetch the policy of %s, because web %q has no TLS", c.Domain, w.Name),
					"They use https and port 443: listen = [\":443\"], or a web server in front and reverse_proxy = true.")
			}
			servers := mtasts.Policy{Mode: mtasts.Enforce, MX: c.Servers(cfg.Hostname)}
			if c.Mode != "none" && !servers.Allows(cfg.Hostname) {
				diags.Warn(c.Attr("mx"), fmt.Sprintf("the policy of %s does not list this server, %s", c.Domain, cfg.Hostname),
					"Servers that enforce the policy do not deliver to this one.")
			}
		}
	}
}

// checkReports finds TLS reports that have nothing to report or are not signed.
func checkReports(cfg *config.Config, diags *conf.Diagnostics) {
	r := cfg.TLSReports
	if r == nil {
		return
	}
	if !anyMX(cfg) {
		diags.Warn(r.Range(), "there is nothing to report, because no upstream has mx = true", "")
		return
	}
	for _, ch := range cfg.Chain {
		for i := range ch.Routes {
			if slices.ContainsFunc(ch.Routes[i].Filters, func(f filters.Config) bool { return f.Name == "sign" }) {
				return
			}
		}
	}
	diags.Warn(r.Attr("from"), "TLS reports are not signed, because no route has a sign filter", "Receivers ignore unsigned reports (RFC 8460, 3).")
}

// anyMX reports whether an upstream finds its servers by MX.
func anyMX(cfg *config.Config) bool {
	for _, u := range cfg.Upstream {
		if u.MX {
			return true
		}
	}
	return false
}

// routedTo returns the upstream with fixed servers to which a route names the
// destination of a policy, or "" if there is none or if another route leads the
// destination to servers found by MX.
func routedTo(cfg *config.Config, pattern string) (fixed string) {
	to, err := mail.ParsePattern(pattern)
	if err != nil {
		return ""
	}
	for _, ch := range cfg.Chain {
		for i := range ch.Routes {
			r := &ch.Routes[i]
			u := cfg.FindUpstream(r.Hop)
			if u == nil {
				continue
			}
			for _, text := range r.To {
				if p, err := mail.ParsePattern(text); err != nil || !p.Covers(to) {
					continue
				}
				if u.MX {
					return ""
				}
				fixed = u.Name
			}
		}
	}
	return fixed
}
