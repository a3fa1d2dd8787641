package sieve

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// include runs another script (RFC 6609).
type include struct {
	line   int
	script *Script
	once   bool
}

func (i include) run(r *run) flow {
	r.line = i.line
	if i.once && r.once[i.script] {
		return goOn
	}
	if r.once == nil {
		r.once = make(map[*Script]bool)
	}
	r.once[i.script] = true
	if r.runScript(i.script) == stop {
		return stop
	}
	return goOn
}

func compileInclude(c *compiler, n *node) statement {
	a := c.arguments(n, map[string]tag{"personal": {}, "global": {}, "once": {}, "optional": {}}, argString)
	if a == nil {
		return nil
	}
	name := a.pos[0].strs[0]
	if !ValidName(name) {
		c.fail(n, "%q is not the name of a script", name)
		return nil
	}
	key := scriptKey{name, a.only("personal", "global") != "global"}
	s := c.include(n, key, a.has("optional"))
	if s == nil {
		return nil
	}
	return include{n.line, s, a.has("once")}
}

// ValidName reports whether s may be the name of a script (RFC 5804, 1.6). Names
// are used as file names.
func ValidName(s string) bool {
	bad := func(r rune) bool {
		return r == '/' || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
	}
	return s != "" && s[0] != '.' && len(s) <= 200 && !strings.ContainsFunc(s, bad)
}

func compileGlobal(c *compiler, n *node) statement {
	a := c.arguments(n, nil, argList)
	if a == nil || !c.need(n, "global", "variables") {
		return nil
	}
	var names []string
	for _, s := range a.pos[0].strs {
		if s = strings.ToLower(s); !identifier(s) {
			c.fail(n, "%q is not the name of a variable", s)
		}
		names = append(names, s)
	}
	return step{n.line, func(r *run) {
		for _, s := range names {
			r.shared[s] = true
		}
	}}
}
