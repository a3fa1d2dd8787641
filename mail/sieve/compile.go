package sieve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// library compiles a script together with the scripts that it includes.
type library struct {
	load Loader
	done map[scriptKey]*Script
	open []scriptKey // the included scripts that are being compiled
	errs Errors
}

// scriptKey identifies an included script.
type scriptKey struct {
	name     string
	personal bool
}

// compile compiles one script and adds its errors to l.errs.
func (l *library) compile(name string, text []byte) *Script {
	s := &Script{name: name, uses: make(map[string]bool)}
	commands, err := parse(text)
	if err != nil {
		l.report(name, err.line, err.text)
		return s
	}
	c := &compiler{library: l, script: s}
	s.block = c.block(commands, true)
	return s
}

func (l *library) report(script string, line int, text string) {
	if len(l.errs) < maxErrors {
		l.errs = append(l.errs, &Error{script, line, text})
	}
}

// include returns a compiled script that another one includes. It is nil if an
// optional script does not exist, or after an error.
func (c *compiler) include(n *node, key scriptKey, optional bool) *Script {
	if s, ok := c.done[key]; ok {
		return s
	}
	if slices.Contains(c.open, key) {
		c.fail(n, "script %q includes itself", key.name)
		return nil
	}
	if len(c.done)+len(c.open) >= MaxIncludes {
		c.fail(n, "more than %d included scripts", MaxIncludes)
		return nil
	}
	text, err := c.load(key.name, key.personal)
	if errors.Is(err, ErrNoScript) && optional {
		return nil
	}
	if err != nil {
		c.fail(n, "script %q cannot be included: %v", key.name, err)
		return nil
	}
	c.open = append(c.open, key)
	s := c.library.compile(key.name, text)
	c.open = c.open[:len(c.open)-1]
	c.done[key] = s
	return s
}

// compiler checks the commands of one script and compiles them.
type compiler struct {
	*library
	script *Script
}

func (c *compiler) fail(n *node, format string, args ...any) {
	c.report(c.script.name, n.line, fmt.Sprintf(format, args...))
}

// statement is a compiled command.
type statement interface {
	run(r *run) flow
}

// condition is a compiled test.
type condition interface {
	holds(r *run) bool
}

// command compiles a command.
type command struct {
	exts    []string // the command needs one of these
	compile func(c *compiler, n *node) statement
}

// test compiles a test.
type test struct {
	ext     string
	compile func(c *compiler, n *node) condition
}

// need reports an error unless the script requires one of the extensions.
func (c *compiler) need(n *node, what string, exts ...string) bool {
	if len(exts) == 0 || exts[0] == "" {
		return true
	}
	for _, e := range exts {
		if c.script.uses[e] {
			return true
		}
	}
	c.fail(n, "%s needs require %q at the start of the script", what, exts[0])
	return false
}

// block compiles a list of commands. Only the start of a script may contain
// require.
func (c *compiler) block(list []*node, top bool) (out []statement) {
	for i := 0; i < len(list); i++ {
		n := list[i]
		switch n.name {
		case "require":
			if !top {
				c.fail(n, "require is allowed only before all other commands")
			} else {
				c.require(n)
			}
			continue
		case "if":
			end := i + 1
			for end < len(list) && (list[end].name == "elsif" || list[end].name == "else") {
				end++
			}
			out = append(out, c.branches(list[i:end]))
			i = end - 1
		case "elsif", "else":
			c.fail(n, "%s without if", n.name)
		default:
			if s := c.command(n); s != nil {
				out = append(out, s)
			}
		}
		top = false
	}
	return out
}

func (c *compiler) command(n *node) statement {
	def, ok := commands[n.name]
	if !ok {
		if _, isTest := tests[n.name]; isTest {
			c.fail(n, "%s is a test and belongs after if", n.name)
		} else {
			c.fail(n, "unknown command %q", n.name)
		}
		return nil
	}
	if n.braces {
		c.fail(n, "%s cannot have a block", n.name)
		return nil
	}
	if len(n.tests) > 0 {
		c.fail(n, "%s cannot have a test", n.name)
		return nil
	}
	if !c.need(n, n.name, def.exts...) {
		return nil
	}
	return def.compile(c, n)
}

// require enables extensions (RFC 5228, 3.2).
func (c *compiler) require(n *node) {
	a := c.arguments(n, nil, argList)
	if a == nil || n.braces || len(n.tests) > 0 {
		return
	}
	for _, ext := range a.pos[0].strs {
		if !known(ext) {
			c.fail(n, "extension %q is not supported", ext)
			continue
		}
		c.enable(ext)
	}
}

// enable makes an extension available, with those it implies.
func (c *compiler) enable(ext string) {
	c.script.uses[ext] = true
	if ext == "vacation-seconds" {
		c.script.uses["vacation"] = true // RFC 6131, 2
	}
}

// branches compiles an if with its elsif and else.
func (c *compiler) branches(list []*node) statement {
	b := &branch{}
	decided := false // an earlier test is always true
	for i, n := range list {
		if !n.braces {
			c.fail(n, "%s needs a block in braces", n.name)
			continue
		}
		if len(n.args) > 0 {
			c.fail(n, "%s needs a test", n.name)
			continue
		}
		if n.name == "else" {
			if len(n.tests) > 0 {
				c.fail(n, "else cannot have a test")
			}
			if i != len(list)-1 {
				c.fail(list[i+1], "%s after else", list[i+1].name)
				return b
			}
			if !decided {
				b.last = c.block(n.block, false)
			}
			break
		}
		if len(n.tests) != 1 {
			c.fail(n, "%s needs one test", n.name)
			continue
		}
		if decided {
			continue
		}
		cond := c.test(n.tests[0])
		switch value, fixed := fixed(cond); {
		case fixed && !value:
			// The block may use extensions that do not exist here.
			continue
		case fixed:
			decided = true
		}
		b.tests = append(b.tests, cond)
		b.blocks = append(b.blocks, c.block(n.block, false))
	}
	return b
}

func (c *compiler) test(n *node) condition {
	def, ok := tests[n.name]
	if !ok {
		if _, isCommand := commands[n.name]; isCommand {
			c.fail(n, "%s is a command, not a test", n.name)
		} else {
			c.fail(n, "unknown test %q", n.name)
		}
		return constant(false)
	}
	nested := n.name == "not" || n.name == "anyof" || n.name == "allof"
	if !nested && len(n.tests) > 0 {
		c.fail(n, "%s cannot have a test", n.name)
		return constant(false)
	}
	if !c.need(n, n.name, def.ext) {
		return constant(false)
	}
	cond := def.compile(c, n)
	if cond == nil {
		return constant(false)
	}
	if _, ok := fixed(cond); ok {
		return cond
	}
	return testFunc(func(r *run) bool {
		r.line = n.line
		return cond.holds(r)
	})
}

// tag describes a tagged argument.
type tag struct {
	ext   string  // the extension that defines it, or ""
	value argKind // the argument that follows it; argTag for none
}

// arguments holds the arguments of one command or test by their meaning.
type arguments struct {
	c    *compiler
	n    *node
	tags map[string]argument
	pos  []argument
}

// arguments sorts the arguments of n into tags and positional arguments, which
// must have the given kinds. It returns nil after an error.
func (c *compiler) arguments(n *node, allowed map[string]tag, kinds ...argKind) *arguments {
	a := &arguments{c: c, n: n, tags: make(map[string]argument)}
	list := n.args
	for len(list) > 0 && list[0].kind == argTag {
		name := list[0].tag
		def, ok := allowed[name]
		if !ok {
			c.fail(n, "unknown tag :%s of %s", name, n.name)
			return nil
		}
		if !c.need(n, ":"+name, def.ext) {
			return nil
		}
		if _, twice := a.tags[name]; twice {
			c.fail(n, ":%s is given twice", name)
			return nil
		}
		value := list[0]
		list = list[1:]
		if def.value != argTag {
			if len(list) == 0 || !fits(list[0].kind, def.value) {
				c.fail(n, ":%s needs %s", name, def.value)
				return nil
			}
			value, list = list[0], list[1:]
		}
		a.tags[name] = value
	}
	if len(list) != len(kinds) {
		c.fail(n, "%s needs %s, not %s", n.name, count(len(kinds)), count(len(list)))
		return nil
	}
	for i, k := range kinds {
		if !fits(list[i].kind, k) {
			c.fail(n, "argument %d of %s must be %s, not %s", i+1, n.name, k, list[i].kind)
			return nil
		}
	}
	a.pos = list
	return a
}

// positional returns the number of arguments that are neither tags nor the
// values of tags. Some commands and tests have an optional first argument.
func (n *node) positional(tags map[string]tag) (count int) {
	for i := 0; i < len(n.args); i++ {
		if n.args[i].kind != argTag {
			count++
		} else if tags[n.args[i].tag].value != argTag {
			i++
		}
	}
	return count
}

func count(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// fits reports whether an argument of kind got may be used as want. A single
// string is a list of one.
func fits(got, want argKind) bool {
	return got == want || got == argString && want == argList
}

func (a *arguments) has(name string) bool { _, ok := a.tags[name]; return ok }

// only reports which of the tags is given; two of them are an error.
func (a *arguments) only(names ...string) string {
	found := ""
	for _, name := range names {
		if !a.has(name) {
			continue
		}
		if found != "" {
			a.c.fail(a.n, ":%s and :%s exclude each other", found, name)
		}
		found = name
	}
	return found
}

// text returns the string argument of a tag, or an empty text.
func (a *arguments) text(name string) text {
	if arg, ok := a.tags[name]; ok {
		return a.c.text(a.n, arg.strs[0])
	}
	return text{}
}

// texts returns the strings of a positional argument.
func (a *arguments) texts(i int) []text { return a.c.texts(a.n, a.pos[i].strs) }

func (c *compiler) texts(n *node, list []string) []text {
	out := make([]text, len(list))
	for i, s := range list {
		out[i] = c.text(n, s)
	}
	return out
}

// merge returns the union of sets of tags.
func merge(sets ...map[string]tag) map[string]tag {
	all := make(map[string]tag)
	for _, set := range sets {
		for name, t := range set {
			all[strings.ToLower(name)] = t
		}
	}
	return all
}
