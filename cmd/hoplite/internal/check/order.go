package check

import (
	"fmt"
	"slices"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/relay"
)

// checkOrder finds filters in a chain that need another filter before them, and
// filters that have no effect in a chain.
func checkOrder(ch *relay.ChainConfig, entries []filters.Entry, diags *conf.Diagnostics) {
	var before []string
	for i := range ch.Filters {
		f := &ch.Filters[i]
		has := func(name string) bool { return slices.Contains(before, name) }
		switch {
		case f.Name == "dmarc" && enforces(f) && (!has("spf") || !has("dkim")):
			diags.Warn(f.Range(), `filter "dmarc" enforces without filters "spf" and "dkim" before it`,
				"What they would find counts as failed, so good mail is refused.")
		case f.Name == "greylist" && !has("spf"):
			diags.Warn(f.Range(), `filter "greylist" has no filter "spf" before it`,
				"Mail that passes SPF need not wait; put spf first.")
		}
		before = append(before, f.Name)
	}
	for _, e := range entries {
		if !judges(e.Filter) {
			diags.Warn(e.Block.Range(), fmt.Sprintf("filter %q does nothing in a chain", e.Name),
				"Put it into the route by which the mail leaves.")
		}
	}
}

func enforces(f *filters.Config) bool {
	return !f.Shadow && slices.Contains(f.Body.Written(), `mode = "enforce"`)
}

// judges reports whether a filter has a stage that runs in a chain.
func judges(f filters.Filter) bool {
	switch f.(type) {
	case filters.Connecter, filters.Mailer, filters.Rcpter, filters.Dataer:
		return true
	}
	return false
}
