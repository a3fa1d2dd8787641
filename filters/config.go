package filters

import (
	"strings"
	"time"

	"hoplite/internal/conf"
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
	// Only are the recipients that the filter is for: addresses, domains, or
	// ".example.org" for every domain below it. Without it the filter is for
	// everyone. A message whose recipients need different filters is asked for
	// in parts (452 4.5.3).
	Only []string `hcl:"only,optional"`
	// Body is the filter's own configuration.
	Body conf.Body `hcl:",remain"`
}

// Build makes the entry of a chain from its block: kind is what Name stands
// for. Mistakes go to the diagnostics of its file, ok is false then.
func (c *Config) Build(kind Kind, env Env) (e Entry, ok bool) {
	own := kind.Config()
	if !c.Body.Decode(own) {
		return Entry{}, false
	}
	f, err := kind.New(own, env)
	if err != nil {
		c.Body.Report(err)
		return Entry{}, false
	}
	e = Entry{Name: c.Name, Filter: f, Shadow: c.Shadow, OnError: Action(c.OnError), Timeout: c.Timeout}
	for _, o := range c.Only {
		e.Only = append(e.Only, strings.ToLower(o))
	}
	return e, true
}
