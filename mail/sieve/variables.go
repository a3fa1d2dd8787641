package sieve

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// compileFlags compiles setflag, addflag and removeflag (RFC 5232, 3).
func compileFlags(c *compiler, n *node) statement {
	kinds := []argKind{argList}
	if len(n.args) == 2 {
		c.need(n, "a variable", "variables")
		kinds = []argKind{argString, argList}
	}
	a := c.arguments(n, nil, kinds...)
	if a == nil {
		return nil
	}
	variable := ""
	if len(kinds) == 2 {
		if variable = strings.ToLower(a.pos[0].strs[0]); !identifier(variable) {
			c.fail(n, "%q is not the name of a variable", variable)
		}
	}
	list := a.texts(len(kinds) - 1)
	return step{n.line, func(r *run) {
		old := r.flags
		if variable != "" {
			old = flagList([]string{r.variable(variable)})
		}
		flags := flagList(expandAll(r, list))
		switch n.name {
		case "addflag":
			flags = union(old, flags)
		case "removeflag":
			flags = slices.DeleteFunc(slices.Clone(old), func(f string) bool {
				return slices.ContainsFunc(flags, func(x string) bool { return strings.EqualFold(x, f) })
			})
		}
		if variable != "" {
			r.set(variable, false, strings.Join(flags, " "))
		} else {
			r.flags = flags
		}
	}}
}

// modifiers of set, in the order in which they are applied (RFC 5229, 4.1; RFC
// 5435, 6). One of each group may be given.
var modifiers = [][]string{
	{"lower", "upper"}, {"lowerfirst", "upperfirst"}, {"quotewildcard"}, {"encodeurl"}, {"length"},
}

func compileSet(c *compiler, n *node) statement {
	a := c.arguments(n, map[string]tag{
		"lower": {}, "upper": {}, "lowerfirst": {}, "upperfirst": {}, "quotewildcard": {}, "length": {},
		"encodeurl": {ext: "enotify"},
	}, argString, argString)
	if a == nil {
		return nil
	}
	name, global := strings.ToLower(a.pos[0].strs[0]), false
	if local, ok := strings.CutPrefix(name, "global."); ok && c.script.uses["include"] {
		name, global = local, true
	}
	if !identifier(name) {
		c.fail(n, "%q is not the name of a variable", name)
	}
	var mods []string
	for _, group := range modifiers {
		if m := a.only(group...); m != "" {
			mods = append(mods, m)
		}
	}
	value := a.texts(1)[0]
	return step{n.line, func(r *run) {
		v := value.expand(r)
		for _, m := range mods {
			v = modify(m, v)
		}
		r.set(name, global, v)
	}}
}

// modify applies a modifier of set.
func modify(modifier, v string) string {
	switch modifier {
	case "lower", "upper":
		return asciiCase(v, modifier == "upper")
	case "lowerfirst", "upperfirst":
		if v == "" {
			return v
		}
		return asciiCase(v[:1], modifier == "upperfirst") + v[1:]
	case "quotewildcard":
		return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(v)
	case "encodeurl":
		return strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
	}
	return fmt.Sprint(utf8.RuneCountInString(v))
}

// asciiCase changes the case of ASCII letters only, which is all that RFC 5229
// requires and what scripts from other servers expect.
func asciiCase(v string, upper bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case upper && r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case !upper && r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, v)
}
