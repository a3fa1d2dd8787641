// Package attach is the filter that applies rules to the attachments of a
// message, however they are packed. Package mail/attachments lists the
// attachments and explains the limits.
package attach

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/mail/attachments"
	"hoplite/mail/safe"
)

// Config is the filter "attach" { ... } block of a chain.
type Config struct {
	// Rules lists the rules, which are applied to each item found. If several
	// match, the most severe action is taken. Without rules the filter only
	// records the contents of a message.
	Rules []Rule `hcl:"rule,block"`
	// Depth is the maximum number of nested containers that are opened.
	Depth int `hcl:"depth,optional" default:"4"`
	// Files is the maximum number of items listed for one message.
	Files int `hcl:"files,optional" default:"1000"`
	// Unpacked is the maximum number of octets unpacked from all containers of
	// one message.
	Unpacked conf.Bytes `hcl:"unpacked,optional" default:"100MiB"`
	// Ratio is the maximum ratio of a container's unpacked size to its own
	// size; it applies from 1 MiB of unpacked data on.
	Ratio int `hcl:"ratio,optional" default:"200"`
}

// Rule is an action for mail with certain attachments. All of its conditions
// must match the same item; a list matches if one of its entries does.
type Rule struct {
	// Name identifies the rule in logs and replies.
	Name string `hcl:"name,label"`
	// Action is the action for the message.
	Action string `hcl:"action,optional" enum:"reject|quarantine|tag" default:"reject"`
	// Names lists patterns for file names, such as "*.pdf.exe"; case is
	// ignored. Every name that a mail program might show is compared.
	Names []string `hcl:"names,optional"`
	// Extensions lists file name extensions without the dot; "programs" stands
	// for every extension of a file that runs when opened.
	Extensions []string `hcl:"extensions,optional"`
	// Types lists media types, as declared or as detected from the content:
	// "image/*", "application/zip".
	Types []string `hcl:"types,optional"`
	// Larger matches items above this size.
	Larger conf.Bytes `hcl:"larger,optional"`
	// Encrypted matches archives that need a password, their contents, and mail
	// encrypted with S/MIME.
	Encrypted bool `hcl:"encrypted,optional"`
	// Unread matches items that cannot be scanned completely: damaged or
	// unknown containers, parts that different mail programs would decode
	// differently, and anything beyond the limits above.
	Unread bool `hcl:"unread,optional"`
	// Tricks lists ways to disguise a file: double-extension, hidden-extension,
	// reversed-name, several-names, path, type-mismatch, macros; "any" selects
	// all of them.
	Tricks []string `hcl:"tricks,optional"`
}

// Check reports rules that could never match or would match everything.
func (c *Config) Check() error {
	for _, r := range c.Rules {
		if len(r.Names)+len(r.Extensions)+len(r.Types)+len(r.Tricks) == 0 && r.Larger == 0 && !r.Encrypted && !r.Unread {
			return conf.Fieldf("rule", "rule %q has no condition and would match every part", r.Name)
		}
		for _, n := range r.Names {
			if _, err := path.Match(n, ""); err != nil {
				return conf.Fieldf("rule", "rule %q: %q is not a pattern", r.Name, n)
			}
		}
		for _, t := range r.Tricks {
			if t != "any" && !slices.Contains(attachments.Tricks, t) {
				return conf.Fieldf("rule", "rule %q: unknown trick %q; want one of %s or any", r.Name, t, strings.Join(attachments.Tricks, ", "))
			}
		}
	}
	if c.Depth < 0 || c.Files < 0 || c.Ratio < 0 {
		return conf.Fieldf("depth", "limits must not be negative")
	}
	return nil
}

// Warn reports rules that let unscanned attachments pass.
func (c *Config) Warn() (summary, detail string) {
	if len(c.Rules) == 0 || slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Unread }) {
		return "", ""
	}
	return "no rule of the attach filter has unread = true",
		`Attachments that cannot be scanned pass: unknown and damaged archives, and anything beyond the limits. Add rule "unread" { unread = true }.`
}

// Filter applies a Config.
type Filter struct {
	cfg    Config
	limits attachments.Limits
}

// New returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	for i := range cfg.Rules {
		r := &cfg.Rules[i]
		for _, list := range [][]string{r.Names, r.Extensions, r.Types} {
			for j := range list {
				list[j] = strings.ToLower(list[j])
			}
		}
	}
	return &Filter{cfg, attachments.Limits{Depth: cfg.Depth, Files: cfg.Files, Size: int64(cfg.Unpacked), Ratio: int64(cfg.Ratio),
		Dir: filepath.Join(env.Data, "spool")}}, nil
}

// order lists the actions by severity.
var order = []string{"", "tag", "quarantine", "reject"}

// AtData lists the contents of the message and applies the rules.
func (f *Filter) AtData(ctx context.Context, _ *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	items, err := attachments.List(ctx, m.Base, m.Base.Size(), f.limits)
	if err != nil {
		return filters.Verdict{}, fmt.Errorf("attach: %w", err)
	}
	v := filters.Verdict{}
	action, reason := "", ""
	for _, it := range items {
		for i := range f.cfg.Rules {
			r := &f.cfg.Rules[i]
			why, ok := r.holds(&it)
			if !ok {
				continue
			}
			v.Facts = append(v.Facts, mail.Fact{Key: r.Name, Value: it.String() + ": " + why})
			if slices.Index(order, r.Action) > slices.Index(order, action) {
				action, reason = r.Action, fmt.Sprintf("%s (%s): %s", r.Name, it.Label(), why)
			}
		}
	}
	if len(f.cfg.Rules) == 0 {
		v.Facts = listed(items)
	}
	return act(v, action, reason), nil
}

func act(v filters.Verdict, action, reason string) filters.Verdict {
	facts := v.Facts
	switch action {
	case "reject":
		v = filters.Rejected(550, "5.7.1", "Attachment not accepted: %s", safe.Reply(reason))
	case "quarantine":
		v = filters.Quarantined(reason)
	case "tag":
		v = filters.Tagged(reason)
	}
	v.Reason, v.Facts = reason, facts
	return v
}

// maxListed limits the entries on the trail of a message without rules.
const maxListed = 20

// listed describes the contents of a message, except its text.
func listed(items []attachments.Item) (facts []mail.Fact) {
	for _, it := range items {
		if it.Name == "" && it.Via == "mime" {
			continue
		}
		if len(facts) == maxListed {
			return append(facts, mail.Fact{Key: "attachment", Value: "and more"})
		}
		facts = append(facts, mail.Fact{Key: "attachment", Value: it.String()})
	}
	return facts
}

// holds reports whether the rule matches the item, and the reason.
func (r *Rule) holds(it *attachments.Item) (why string, ok bool) {
	var whys []string
	names := it.Names
	if len(names) == 0 && it.Name != "" {
		names = []string{it.Name}
	}
	one := func(given bool, f func() (string, bool)) bool {
		if !given {
			return true
		}
		w, ok := f()
		if ok {
			whys = append(whys, w)
		}
		return ok
	}
	ok = one(len(r.Names) > 0, func() (string, bool) { return r.byName(names) }) &&
		one(len(r.Extensions) > 0, func() (string, bool) { return r.byExtension(names) }) &&
		one(len(r.Types) > 0, func() (string, bool) { return r.byType(it) }) &&
		one(r.Larger > 0, func() (string, bool) { return fmt.Sprintf("%d octets", it.Size), it.Size > int64(r.Larger) }) &&
		one(r.Encrypted, func() (string, bool) { return "encrypted", it.Encrypted }) &&
		one(r.Unread, func() (string, bool) { return it.Unread, it.Unread != "" }) &&
		one(len(r.Tricks) > 0, func() (string, bool) { return r.byTrick(it) })
	return strings.Join(whys, ", "), ok
}

func (r *Rule) byName(names []string) (string, bool) {
	for _, n := range names {
		for _, pattern := range r.Names {
			for _, form := range []string{n, attachments.BaseName(n)} {
				if ok, _ := path.Match(pattern, strings.ToLower(strings.ReplaceAll(form, "/", "\\"))); ok {
					return "named " + pattern, true
				}
			}
		}
	}
	return "", false
}

func (r *Rule) byExtension(names []string) (string, bool) {
	for _, n := range names {
		ext := attachments.Extension(n)
		if ext == "" {
			continue
		}
		if slices.Contains(r.Extensions, ext) || attachments.Executable(ext) && slices.Contains(r.Extensions, "programs") {
			return "." + ext, true
		}
	}
	return "", false
}

func (r *Rule) byType(it *attachments.Item) (string, bool) {
	for _, t := range []string{it.Kind, it.Type} {
		for _, pattern := range r.Types {
			if ok, _ := path.Match(pattern, t); ok && t != "" {
				return "of type " + t, true
			}
		}
	}
	return "", false
}

func (r *Rule) byTrick(it *attachments.Item) (string, bool) {
	for _, t := range it.Tricks {
		if slices.Contains(r.Tricks, t) || slices.Contains(r.Tricks, "any") {
			return t, true
		}
	}
	return "", false
}
