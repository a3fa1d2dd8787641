package filters

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// Config is the part of a filter "NAME" { ... } block that all filters share.
// At every stage, filters run in the order of their blocks.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label,repeat"`
	// Shadow runs the filter and records its verdict without acting on it, so
	// that a rule can be tried on real mail.
	Shadow bool `hcl:"shadow,optional"`
	// OnError is the action if the filter fails or exceeds its timeout: the
	// client is asked to retry (defer), or the message continues without the
	// filter (pass), is rejected, or is quarantined.
	OnError string `hcl:"on_error,optional" enum:"defer|pass|reject|quarantine" default:"defer"`
	// Timeout limits each stage of the filter.
	Timeout time.Duration `hcl:"timeout,optional" default:"30s"`
	// Only lists the recipients the filter applies to: addresses, domains,
	// ".example.org" for every domain below it, or "local". The default is all
	// recipients. If the recipients of a message need different filters, the
	// client is asked to send it separately (452 4.5.3).
	Only []string `hcl:"only,optional"`
	// Body is the filter's own configuration.
	Body conf.Body `hcl:",remain"`
}

// Build creates the entries of a chain from their blocks; find returns the Kind
// with a name. Mistakes are added to the diagnostics of the file, and filters
// with mistakes are omitted.
func Build(chain string, list []Config, find func(name string) (Kind, bool), env Env) []Entry {
	var entries []Entry
	seen := map[string]int{}
	for i := range list {
		c := &list[i]
		kind, ok := find(c.Name)
		if !ok {
			continue
		}
		own := env
		own.Log = env.Log.With().Str("filter", c.Name).Logger()
		own.Place = place(chain, seen[c.Name])
		if e, ok := c.build(kind, own); ok {
			entries = append(entries, e)
		}
		seen[c.Name]++
	}
	return entries
}

// place returns a name for the n-th filter of a kind in a chain. The name can
// be used in file names.
func place(chain string, n int) string {
	chain = url.PathEscape(chain)
	if n > 0 {
		return fmt.Sprintf("%s-%d", chain, n+1)
	}
	return chain
}

// Warner is implemented by configurations that can leave mail unchecked by
// mistake. Warn describes the gap for hoplite check; the summary is empty if
// there is none.
type Warner interface {
	Warn() (summary, detail string)
}

func (c *Config) build(kind Kind, env Env) (e Entry, ok bool) {
	own := kind.Config()
	if !c.Body.Decode(own) {
		return Entry{}, false
	}
	if w, ok := own.(Warner); ok {
		if summary, detail := w.Warn(); summary != "" {
			c.Body.Warn(summary, detail)
		}
	}
	f, err := kind.New(own, env)
	if err != nil {
		c.Body.Report(err)
		return Entry{}, false
	}
	e = Entry{Name: c.Name, Filter: f, Shadow: c.Shadow, OnError: Action(c.OnError), Timeout: c.Timeout, Block: c}
	if e.Only, err = mail.ParsePatterns(c.Only, env.Names...); err != nil {
		c.Body.Report(conf.At(c.Attr("only"), err))
		return Entry{}, false
	}
	// The settings are compared as JSON, because it does not contain positions
	// in the file, which may change.
	settings, err := json.Marshal(own)
	if err != nil {
		settings = nil // differs from every other filter
	}
	e.settings = string(settings)
	return e, true
}
