package config

import (
	"fmt"
	"slices"

	"hoplite/filters"
	"hoplite/filters/all"
	"hoplite/internal/conf"
	"hoplite/relay"
)

// BuildFilters creates the filters of a chain or a route, which reads their
// keys and lists. Mistakes are added to the file's diagnostics.
func BuildFilters(chain string, list []filters.Config, env filters.Env, diags *conf.Diagnostics) []filters.Entry {
	var known []string
	for _, k := range all.Kinds {
		known = append(known, k.Name)
	}
	for i := range list {
		if c := &list[i]; !slices.Contains(known, c.Name) {
			diags.Add(c.Range(), fmt.Sprintf("there is no filter %q", c.Name), conf.Known(c.Name, known, ""))
		}
	}
	return filters.Build(chain, list, all.Find, env)
}

// BuildFinishers creates the filters of a route's last stage, which sign or
// seal.
func BuildFinishers(r *relay.RouteConfig, env filters.Env, diags *conf.Diagnostics) []relay.Finisher {
	var list []relay.Finisher
	for _, e := range BuildFilters(r.Name, r.Filters, env, diags) {
		f, ok := e.Filter.(filters.Finisher)
		if !ok {
			diags.Add(e.Block.Range(), fmt.Sprintf("filter %q does nothing in a route", e.Name),
				"Only filters that sign or seal belong there; put it into the chain.")
			continue
		}
		list = append(list, relay.Finisher{Name: e.Name, Finisher: f})
	}
	return list
}
