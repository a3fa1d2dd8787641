// Package attach looks into attachments, however they were packed: MIME parts,
// uuencode, BinHex 4.0, winmail.dat (TNEF), zip, gzip and tar, messages in
// messages, and what S/MIME signed or compressed. As a filter it applies rules to what is found; [List] only says
// what there is.
//
// What is in an archive is what a stranger wants to be unpacked: everything is
// bounded by depth, number, size and ratio, and what is beyond a bound is said
// to be unread.
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

// Config is the block filter "attach" { ... } of a chain.
type Config struct {
	// Rules are tried in order for each thing found; the harshest action of all
	// that match is taken. Without rules the filter only writes down what a
	// message holds.
	Rules []Rule `hcl:"rule,block"`
	// Depth is how many containers in containers are opened.
	Depth int `hcl:"depth,optional" default:"4"`
	// Files is how many things are looked at in one message.
	Files int `hcl:"files,optional" default:"1000"`
	// Unpacked is how much may come out of all containers of one message.
	Unpacked conf.Bytes `hcl:"unpacked,optional" default:"100MiB"`
	// Ratio is how many times its own size a container may unpack to, from
	// 1 MiB on.
	Ratio int `hcl:"ratio,optional" default:"200"`
}

// Rule says what happens to mail with certain attachments. Of the conditions
// that are given, all must hold for the same thing; of a list, one entry.
type Rule struct {
	// Name is what the rule is called in logs and refusals.
	Name string `hcl:"name,label"`
	// Action is what follows.
	Action string `hcl:"action,optional" enum:"reject|quarantine|tag" default:"reject"`
	// Names are patterns for the name, as in "*.pdf.exe"; capitals do not
	// matter. Every name that a mail program might show counts.
	Names []string `hcl:"names,optional"`
	// Extensions are what a name may end in, without the dot; "programs" stands
	// for everything that a double click starts.
	Extensions []string `hcl:"extensions,optional"`
	// Types are media types, as claimed or as the content shows: "image/*",
	// "application/zip".
	Types []string `hcl:"types,optional"`
	// Larger is a size above which the rule holds.
	Larger conf.Bytes `hcl:"larger,optional"`
	// Encrypted holds for archives that need a password, what is in them, and
	// mail encrypted by S/MIME.
	Encrypted bool `hcl:"encrypted,optional"`
	// Unread holds for what could not be looked into: damaged, of a kind that
	// is not known, or beyond the limits above.
	Unread bool `hcl:"unread,optional"`
	// Tricks are ways to pass for something else: double-extension,
	// hidden-extension, reversed-name, several-names, path, type-mismatch,
	// macros; "any" stands for all of them.
	Tricks []string `hcl:"tricks,optional"`
}

// Check finds rules that could never hold, or would for everything.
func (c *Config) Check() error {
	for _, r := range c.Rules {
		if len(r.Names)+len(r.Extensions)+len(r.Types)+len(r.Tricks) == 0 && r.Larger == 0 && !r.Encrypted && !r.Unread {
			return conf.Fieldf("rule", "rule %q has no condition and would hold for every part", r.Name)
		}
		for _, n := range r.Names {
			if _, err := path.Match(n, ""); err != nil {
				return conf.Fieldf("rule", "rule %q: %q is not a pattern", r.Name, n)
			}
		}
		for _, t := range r.Tricks {
			if t != "any" && !slices.Contains(attachments.Tricks, t) {
				return conf.Fieldf("rule", "rule %q: there is no trick %q; there are %s and any", r.Name, t, strings.Join(attachments.Tricks, ", "))
			}
		}
	}
	if c.Depth < 0 || c.Files < 0 || c.Ratio < 0 {
		return conf.Fieldf("depth", "limits cannot be below zero")
	}
	return nil
}

// Warn reports rules under which attachments pass that could not be looked into.
func (c *Config) Warn() (summary, detail string) {
	if len(c.Rules) == 0 || slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Unread }) {
		return "", ""
	}
	return "no rule of the filter attach has unread = true",
		`What cannot be looked into passes: unknown and damaged archives, and what is beyond the limits. Add rule "unread" { unread = true }.`
}

// Filter keeps to a Config.
type Filter struct {
	cfg    Config
	limits attachments.Limits
}

// New makes the filter.
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

// order is how harsh the actions are.
var order = []string{"", "tag", "quarantine", "reject"}

// AtData lists what the message holds and applies the rules.
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
		v = filters.Rejected(550, "5.7.1", "attachment not accepted: %s", safe.Reply(reason))
	case "quarantine":
		v = filters.Quarantined(reason)
	case "tag":
		v = filters.Tagged(reason)
	}
	v.Reason, v.Facts = reason, facts
	return v
}

// maxListed bounds what goes on the trail of a message without rules.
const maxListed = 20

// listed is what a message holds besides its text.
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

// holds says whether the rule is about the item, and by which of its marks.
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
