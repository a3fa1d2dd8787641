package sieve

import (
	"strings"
)

func compileMailboxExists(c *compiler, n *node) condition {
	a := c.arguments(n, nil, argList)
	if a == nil {
		return nil
	}
	names := a.texts(0)
	return testFunc(func(r *run) bool {
		for _, name := range expandAll(r, names) {
			if !r.env.Mailboxes.Exists(name) {
				return false
			}
		}
		return true
	})
}

// compileSpecialUse compiles specialuse_exists (RFC 8579, 3).
func compileSpecialUse(c *compiler, n *node) condition {
	kinds := []argKind{argList}
	if len(n.args) == 2 {
		kinds = []argKind{argString, argList}
	}
	a := c.arguments(n, nil, kinds...)
	if a == nil {
		return nil
	}
	var box []text
	if len(kinds) == 2 {
		box = a.texts(0)
	}
	uses := a.texts(len(kinds) - 1)
	return testFunc(func(r *run) bool {
		for _, use := range expandAll(r, uses) {
			name, ok := r.env.Mailboxes.Special(use)
			if !ok || box != nil && name != box[0].expand(r) {
				return false
			}
		}
		return true
	})
}

func compileEnvironment(c *compiler, n *node) condition {
	a := c.arguments(n, matchTags, argString, argList)
	if a == nil {
		return nil
	}
	name, m := a.texts(0)[0], c.matcher(a, a.texts(1))
	return testFunc(func(r *run) bool {
		v, ok := r.env.item(name.expand(r))
		return ok && m.any(r, []string{v})
	})
}

// item returns an item of the environment (RFC 5183, 4.1).
func (e *Environment) item(name string) (value string, ok bool) {
	switch strings.ToLower(name) {
	case "domain":
		value = e.Domain
	case "host":
		value = e.Host
	case "location":
		value = "MS"
	case "name":
		value = "Hoplite"
	case "phase":
		if value = e.Phase; value == "" {
			value = "during"
		}
	case "remote-host":
		value = e.RemoteHost
	case "remote-ip":
		value = e.RemoteIP
	case "version":
		value = "1"
	}
	return value, value != ""
}
