package sieve

import (
	"slices"
	"strings"
)

// tests maps the names of tests to their compilers. It is filled in by init
// because tests contain tests.
var tests map[string]test

func init() {
	tests = map[string]test{
		"address":                  {"", compileAddress},
		"allof":                    {"", compileAllOf},
		"anyof":                    {"", compileAnyOf},
		"body":                     {"body", compileBody},
		"currentdate":              {"date", compileDate},
		"date":                     {"date", compileDate},
		"duplicate":                {"duplicate", compileDuplicate},
		"environment":              {"environment", compileEnvironment},
		"envelope":                 {"envelope", compileEnvelope},
		"exists":                   {"", compileExists},
		"false":                    {"", compileConstant},
		"hasflag":                  {"imap4flags", compileHasFlag},
		"header":                   {"", compileHeader},
		"ihave":                    {"ihave", compileIHave},
		"mailboxexists":            {"mailbox", compileMailboxExists},
		"not":                      {"", compileNot},
		"notify_method_capability": {"enotify", compileNotifyCapability},
		"size":                     {"", compileSize},
		"specialuse_exists":        {"special-use", compileSpecialUse},
		"string":                   {"variables", compileString},
		"true":                     {"", compileConstant},
		"valid_notify_method":      {"enotify", compileNotifyMethod},
	}
}

// holds evaluates a condition and counts it.
func holds(r *run, c condition) bool {
	r.step()
	return c.holds(r)
}

// testFunc is a condition without parts that others look into.
type testFunc func(r *run) bool

func (f testFunc) holds(r *run) bool { return f(r) }

// constant is a condition whose value is known when the script is compiled.
type constant bool

func (c constant) holds(*run) bool { return bool(c) }

// fixed returns the value of a condition that is the same for all messages.
func fixed(c condition) (value, ok bool) {
	switch c := c.(type) {
	case constant:
		return bool(c), true
	case ihave:
		return bool(c), true
	}
	return false, false
}

func compileConstant(c *compiler, n *node) condition {
	if c.arguments(n, nil) == nil {
		return nil
	}
	value := n.name == "true"
	return testFunc(func(*run) bool { return value })
}

// ihave is the test for extensions (RFC 5463). Those that exist are enabled for
// the commands that follow.
type ihave bool

func (h ihave) holds(*run) bool { return bool(h) }

func compileIHave(c *compiler, n *node) condition {
	a := c.arguments(n, nil, argList)
	if a == nil {
		return nil
	}
	for _, ext := range a.pos[0].strs {
		if !known(ext) {
			return ihave(false)
		}
	}
	for _, ext := range a.pos[0].strs {
		c.enable(ext)
	}
	return ihave(true)
}

func compileNot(c *compiler, n *node) condition {
	if c.arguments(n, nil) == nil {
		return nil
	}
	if len(n.tests) != 1 {
		c.fail(n, "not needs one test")
		return nil
	}
	t := c.test(n.tests[0])
	if v, ok := fixed(t); ok {
		return constant(!v)
	}
	return testFunc(func(r *run) bool { return !holds(r, t) })
}

func compileAllOf(c *compiler, n *node) condition { return compileSeveral(c, n, false) }

func compileAnyOf(c *compiler, n *node) condition { return compileSeveral(c, n, true) }

// compileSeveral compiles allof and anyof. A test whose value is decisive ends
// the list: what follows may use extensions that do not exist here.
func compileSeveral(c *compiler, n *node, decisive bool) condition {
	if c.arguments(n, nil) == nil {
		return nil
	}
	if len(n.tests) == 0 {
		c.fail(n, "%s needs a list of tests in parentheses", n.name)
		return nil
	}
	var list []condition
	open := false // a test before is not fixed
	for _, t := range n.tests {
		cond := c.test(t)
		v, ok := fixed(cond)
		if ok && v == decisive {
			if !open {
				return constant(decisive)
			}
			list = append(list, cond)
			break
		}
		open = open || !ok
		list = append(list, cond)
	}
	if !open {
		return constant(!decisive)
	}
	return testFunc(func(r *run) bool {
		for _, t := range list {
			if holds(r, t) == decisive {
				return decisive
			}
		}
		return !decisive
	})
}

// indexTags select one of several fields with a name (RFC 5260, 6).
var indexTags = map[string]tag{
	"index": {ext: "index", value: argNumber},
	"last":  {ext: "index"},
}

// index is the selection made by :index and :last.
type index struct {
	n    int // 0 for all fields
	last bool
}

func (a *arguments) index() index {
	i := index{last: a.has("last")}
	if arg, ok := a.tags["index"]; ok {
		if arg.num < 1 || arg.num > 1<<20 {
			a.c.fail(a.n, ":index begins at 1")
		}
		i.n = int(arg.num)
	} else if i.last && a.n.name != "addheader" {
		a.c.fail(a.n, ":last needs :index")
	}
	return i
}

// choose returns the selected fields.
func (i index) choose(list []*field) []*field {
	switch {
	case i.n == 0:
		return list
	case i.n > len(list):
		return nil
	case i.last:
		return list[len(list)-i.n : len(list)-i.n+1]
	}
	return list[i.n-1 : i.n]
}

func compileHeader(c *compiler, n *node) condition {
	a := c.arguments(n, merge(matchTags, indexTags), argList, argList)
	if a == nil {
		return nil
	}
	names, m, at := a.texts(0), c.matcher(a, a.texts(1)), a.index()
	return testFunc(func(r *run) bool {
		var values []string
		for _, name := range expandAll(r, names) {
			for _, f := range at.choose(r.msg.find(r, name)) {
				values = append(values, f.text())
			}
		}
		return m.any(r, values)
	})
}

func compileExists(c *compiler, n *node) condition {
	a := c.arguments(n, nil, argList)
	if a == nil {
		return nil
	}
	names := a.texts(0)
	return testFunc(func(r *run) bool {
		for _, name := range expandAll(r, names) {
			if len(r.msg.find(r, name)) == 0 {
				return false
			}
		}
		return true
	})
}

func compileSize(c *compiler, n *node) condition {
	a := c.arguments(n, map[string]tag{"over": {}, "under": {}}, argNumber)
	if a == nil {
		return nil
	}
	limit := a.pos[0].num
	switch a.only("over", "under") {
	case "over":
		return testFunc(func(r *run) bool { return r.msg.src.Size() > limit })
	case "under":
		return testFunc(func(r *run) bool { return r.msg.src.Size() < limit })
	}
	c.fail(n, "size needs :over or :under")
	return nil
}

func compileString(c *compiler, n *node) condition {
	a := c.arguments(n, matchTags, argList, argList)
	if a == nil {
		return nil
	}
	sources, m := a.texts(0), c.matcher(a, a.texts(1))
	return testFunc(func(r *run) bool {
		values := expandAll(r, sources)
		if m.kind == matchCount { // RFC 5229, 5
			values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
		}
		return m.any(r, values)
	})
}

func compileHasFlag(c *compiler, n *node) condition {
	kinds := []argKind{argList}
	if n.positional(matchTags) == 2 {
		c.need(n, "a variable", "variables")
		kinds = []argKind{argList, argList}
	}
	a := c.arguments(n, matchTags, kinds...)
	if a == nil {
		return nil
	}
	var names []text
	if len(kinds) == 2 {
		names = a.texts(0)
	}
	m := c.matcher(a, a.texts(len(kinds)-1))
	return testFunc(func(r *run) bool {
		flags := r.flags
		if names != nil {
			flags = nil
			for _, name := range expandAll(r, names) {
				flags = append(flags, flagList([]string{r.variable(strings.ToLower(name))})...)
			}
		}
		return m.any(r, flags)
	})
}
