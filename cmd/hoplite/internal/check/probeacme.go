package check

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail/safe"
)

// probeChallenges tries whether the authority of the acme block can verify the
// names by http-01, the only challenge that this machine can try by itself.
func probeChallenges(ctx context.Context, w io.Writer, cfg *config.Config) bool {
	if cfg.ACME == nil || cfg.ACME.Challenge == "tls" || cfg.ACME.Challenge == "dns" {
		return true
	}
	dns := inspectDNS(cfg, &conf.Diagnostics{}) // Run has reported its problems
	if dns == nil {
		return false
	}
	good := true
	p := plan{w: w, cfg: cfg}
	lookup := func(ctx context.Context, host string) ([]netip.Addr, error) {
		return resolve.LookupHosts(ctx, dns, host)
	}
	for _, name := range cfg.ACMENames() {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		err := cfg.ACME.Probe(ctx, name, lookup)
		cancel()
		fmt.Fprintln(w)
		if err == nil {
			p.say("", "acme: port 80 of %s leads to this machine.", name)
			continue
		}
		good = false
		for line := range strings.SplitSeq(err.Error(), "\n") {
			p.say("", "acme: %s cannot be verified: %s", name, safe.Line(line))
		}
	}
	return good
}
