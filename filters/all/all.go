// Package all maps the names in relay.hcl to filters.
package all

import (
	"hoplite/filters"
	"hoplite/filters/arc"
	"hoplite/filters/attach"
	"hoplite/filters/dkim"
	"hoplite/filters/dmarc"
	"hoplite/filters/dnsbl"
	"hoplite/filters/greylist"
	"hoplite/filters/headers"
	"hoplite/filters/hops"
	"hoplite/filters/milter"
	"hoplite/filters/rate"
	"hoplite/filters/reverse"
	"hoplite/filters/sign"
	"hoplite/filters/size"
	"hoplite/filters/smime"
	"hoplite/filters/spf"
)

// Kinds lists all filters, in the order of docs/config.md.
var Kinds = []filters.Kind{
	filters.Of("size", size.New),
	filters.Of("hops", hops.New),
	filters.Of("rate", rate.New),
	filters.Of("reverse", reverse.New),
	filters.Of("dnsbl", dnsbl.New),
	filters.Of("spf", spf.New),
	filters.Of("greylist", greylist.New),
	filters.Of("headers", headers.New),
	filters.Of("milter", milter.New),
	filters.Of("dkim", dkim.New),
	filters.Of("arc", arc.New),
	filters.Of("dmarc", dmarc.New),
	filters.Of("sign", sign.New),
	filters.Of("smime", smime.New),
	filters.Of("attach", attach.New),
}

// Find returns the kind with that name.
func Find(name string) (filters.Kind, bool) {
	for _, k := range Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return filters.Kind{}, false
}
