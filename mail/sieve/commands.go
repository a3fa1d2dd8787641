package sieve

import (
	"slices"
	"strings"
	"unicode"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// commands maps the names of commands to their compilers. The control commands
// require, if, elsif and else are compiled by compiler.block.
var commands map[string]command

func init() {
	commands = map[string]command{
		"addflag":      {[]string{"imap4flags"}, compileFlags},
		"addheader":    {[]string{"editheader"}, compileAddHeader},
		"deleteheader": {[]string{"editheader"}, compileDeleteHeader},
		"discard":      {nil, compileDiscard},
		"ereject":      {[]string{"ereject"}, compileReject},
		"error":        {[]string{"ihave"}, compileError},
		"fileinto":     {[]string{"fileinto"}, compileFileInto},
		"global":       {[]string{"include"}, compileGlobal},
		"include":      {[]string{"include"}, compileInclude},
		"keep":         {nil, compileKeep},
		"notify":       {[]string{"enotify"}, compileNotify},
		"redirect":     {nil, compileRedirect},
		"reject":       {[]string{"reject"}, compileReject},
		"removeflag":   {[]string{"imap4flags"}, compileFlags},
		"return":       {[]string{"include"}, compileReturn},
		"set":          {[]string{"variables"}, compileSet},
		"setflag":      {[]string{"imap4flags"}, compileFlags},
		"stop":         {nil, compileStop},
		"vacation":     {[]string{"vacation"}, compileVacation},
	}
}

// step is a command at a line of the script.
type step struct {
	line int
	do   func(r *run)
}

func (s step) run(r *run) flow {
	r.line = s.line
	s.do(r)
	return goOn
}

// branch is an if with its elsif and else.
type branch struct {
	tests  []condition
	blocks [][]statement
	last   []statement
}

func (b *branch) run(r *run) flow {
	for i, t := range b.tests {
		if holds(r, t) {
			return r.block(b.blocks[i])
		}
	}
	return r.block(b.last)
}

// control is stop or return.
type control flow

func (c control) run(*run) flow { return flow(c) }

func compileStop(c *compiler, n *node) statement {
	c.arguments(n, nil)
	return control(stop)
}

func compileReturn(c *compiler, n *node) statement {
	c.arguments(n, nil)
	return control(leave)
}

var flagsTag = map[string]tag{"flags": {ext: "imap4flags", value: argList}}

// flags returns a function for the flags of a keep or fileinto: those given
// with :flags, or the internal variable.
func (a *arguments) flags() func(r *run) []string {
	arg, ok := a.tags["flags"]
	if !ok {
		return func(r *run) []string { return slices.Clone(r.flags) }
	}
	list := a.c.texts(a.n, arg.strs)
	return func(r *run) []string { return flagList(expandAll(r, list)) }
}

func compileKeep(c *compiler, n *node) statement {
	a := c.arguments(n, flagsTag)
	if a == nil {
		return nil
	}
	flags := a.flags()
	return step{n.line, func(r *run) {
		r.cancelled, r.kept = true, true
		r.add(Action{Kind: Keep, Flags: flags(r)})
	}}
}

func compileDiscard(c *compiler, n *node) statement {
	if c.arguments(n, nil) == nil {
		return nil
	}
	return step{n.line, func(r *run) {
		r.cancelled = true
		r.add(Action{Kind: Discard})
	}}
}

func compileFileInto(c *compiler, n *node) statement {
	a := c.arguments(n, merge(flagsTag, map[string]tag{
		"copy": {ext: "copy"}, "create": {ext: "mailbox"}, "specialuse": {ext: "special-use", value: argString},
	}), argString)
	if a == nil {
		return nil
	}
	name, use, flags := a.texts(0)[0], a.text("specialuse"), a.flags()
	if s, ok := name.constant(); ok && s == "" {
		c.fail(n, "fileinto needs the name of a folder")
	}
	isCopy, create := a.has("copy"), a.has("create")
	return step{n.line, func(r *run) {
		box := name.expand(r)
		if s := use.expand(r); s != "" {
			if special, ok := r.env.Mailboxes.Special(s); ok {
				box = special
			}
		}
		if box == "" || strings.ContainsFunc(box, unicode.IsControl) {
			r.fail("%q is not the name of a folder", box)
		}
		r.cancelled = r.cancelled || !isCopy
		r.add(Action{Kind: FileInto, Mailbox: box, Flags: flags(r), Copy: isCopy, Create: create})
	}}
}

func compileRedirect(c *compiler, n *node) statement {
	a := c.arguments(n, map[string]tag{"copy": {ext: "copy"}}, argString)
	if a == nil {
		return nil
	}
	to, isCopy := a.texts(0)[0], a.has("copy")
	c.checkAddress(n, to)
	return step{n.line, func(r *run) {
		addr := r.address(to.expand(r))
		r.cancelled = r.cancelled || !isCopy
		r.add(Action{Kind: Redirect, Address: addr, Copy: isCopy})
	}}
}

// checkAddress reports an error if the text is certainly not an address.
func (c *compiler) checkAddress(n *node, t text) {
	if s, ok := t.constant(); ok {
		if _, err := parseOne(s); err != nil {
			c.fail(n, "%q is not an address", s)
		}
	}
}

// address returns the address in s.
func (r *run) address(s string) mail.Address {
	a, err := parseOne(s)
	if err != nil {
		r.fail("%q is not an address", s)
	}
	return a
}

// parseOne parses an address, with or without a display name.
func parseOne(s string) (mail.Address, error) {
	s = strings.TrimSpace(s)
	if a, err := mail.ParseAddress(s); err == nil {
		return a, nil
	}
	list, exact := mime.Identities(s)
	if !exact || len(list) != 1 {
		return "", mail.ErrAddressSyntax
	}
	return mail.Join(list[0].Local, list[0].Domain)
}

func compileReject(c *compiler, n *node) statement {
	a := c.arguments(n, nil, argString)
	if a == nil {
		return nil
	}
	reason := a.texts(0)[0]
	return step{n.line, func(r *run) {
		r.cancelled = true
		r.add(Action{Kind: Reject, Reason: reason.expand(r)})
	}}
}

func compileError(c *compiler, n *node) statement {
	a := c.arguments(n, nil, argString)
	if a == nil {
		return nil
	}
	reason := a.texts(0)[0]
	return step{n.line, func(r *run) { r.fail("%s", reason.expand(r)) }}
}
