package check

import (
	"fmt"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
)

// checkSenders finds sender replacements that would leave delivery reports
// without a recipient, and fallbacks that would refuse signed mail.
func checkSenders(cfg *config.Config, diags *conf.Diagnostics) {
	noPostmaster := func(at conf.Range) {
		if cfg.Postmaster == "" {
			diags.Warn(at, "reports about mail whose sender is replaced have no recipient",
				"Set postmaster: most devices have no mailbox.")
		}
	}
	for _, ch := range cfg.Chain {
		for i := range ch.Routes {
			if r := &ch.Routes[i]; r.Sender != "" {
				noPostmaster(r.Attr("sender"))
			}
		}
	}
	for _, u := range cfg.Upstream {
		if u.Sender != "" {
			noPostmaster(u.Attr("sender"))
		}
		if f := cfg.FindUpstream(u.Fallback); f != nil && f.Sender != "" && f.Sender != u.Sender {
			diags.Warn(u.Attr("fallback"), fmt.Sprintf("upstream %q falls back to %q, which sends all mail as %s", u.Name, f.Name, f.Sender),
				"Mail that was signed for another sender is refused there: set the same sender on both.")
		}
	}
}
