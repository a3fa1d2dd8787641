package filters

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// Config is the part of a block filter "NAME" { ... } that all filters share.
// Their order in the chain is their order at every stage.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label,repeat"`
	// Shadow lets the filter judge and write down its verdict, and changes
	// nothing: a way to try a rule on real mail.
	Shadow bool `hcl:"shadow,optional"`
	// OnError is what follows when the filter could not judge, or not in time:
	// the sender is asked to come back, or the message goes on as if the filter
	// were not there, is refused, or goes to quarantine.
	OnError string `hcl:"on_error,optional" enum:"defer|pass|reject|quarantine" default:"defer"`
	// Timeout bounds each stage of the filter.
	Timeout time.Duration `hcl:"timeout,optional" default:"30s"`
	// Only are the recipients that the filter is for: addresses, domains,
	// ".example.org" for every domain below it, or "local". Without it the filter is for
	// everyone. A message whose recipients need different filters is asked for
	// in parts (452 4.5.3).
	Only []string `hcl:"only,optional"`
	// Body is the filter's own configuration.
	Body conf.Body `hcl:",remain"`
}

// Build makes the entries of a chain from their blocks: find tells what a Name
// stands for. Mistakes go to the diagnostics of the file, and what has one is
// left out.
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

// place names the n-th filter of a kind in a chain, for a file.
func place(chain string, n int) string {
	chain = url.PathEscape(chain)
	if n > 0 {
		return fmt.Sprintf("%s-%d", chain, n+1)
	}
	return chain
}

// Warner is a filter's configuration that can leave a gap. Warn says which, for
// hoplite check; an empty summary is none.
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
	// JSON leaves out where in the file it stands, which may change.
	settings, err := json.Marshal(own)
	if err != nil {
		settings = nil // then it is like no other
	}
	e.settings = string(settings)
	return e, true
}
