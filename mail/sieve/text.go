package sieve

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// text is a string of a script, in which variables are expanded at each use
// (RFC 5229, 3).
type text struct {
	lit   string
	parts []part // nil if the text has no variables
}

// part is a piece of a text: literal text, a named variable, or a match
// variable.
type part struct {
	lit   string
	name  string // a variable, in lower case
	match int    // the index of a match variable
	kind  partKind
}

type partKind uint8

const (
	literalPart partKind = iota
	namedPart
	globalPart
	matchPart
)

// maxMatch is the largest index of a match variable.
const maxMatch = 31

// constant returns the text if it has no variables.
func (t text) constant() (string, bool) { return t.lit, t.parts == nil }

// expand returns the text with the current values of its variables.
func (t text) expand(r *run) string {
	if t.parts == nil {
		return t.lit
	}
	var b strings.Builder
	for _, p := range t.parts {
		switch p.kind {
		case literalPart:
			b.WriteString(p.lit)
		case namedPart:
			b.WriteString(r.variable(p.name))
		case globalPart:
			b.WriteString(r.globals[p.name])
		case matchPart:
			if p.match < len(r.match) {
				b.WriteString(r.match[p.match])
			}
		}
	}
	r.work += b.Len()
	return b.String()
}

func expandAll(r *run, list []text) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.expand(r)
	}
	return out
}

// text compiles a string of the script.
func (c *compiler) text(n *node, s string) text {
	if !strings.Contains(s, "${") {
		return text{lit: s}
	}
	if c.script.uses["encoded-character"] {
		s = c.encoded(n, s)
	}
	if !c.script.uses["variables"] {
		return text{lit: s}
	}
	var parts []part
	variables := false
	for s != "" {
		start, end, p := c.reference(n, s)
		if start > 0 {
			parts = append(parts, part{lit: s[:start]})
		}
		if end > start {
			parts = append(parts, p)
			variables = true
		}
		s = s[end:]
	}
	if !variables {
		lit := ""
		for _, p := range parts {
			lit += p.lit
		}
		return text{lit: lit}
	}
	return text{parts: parts}
}

// reference returns the position of the first variable reference in s, which
// is empty and at its end if there is none.
func (c *compiler) reference(n *node, s string) (start, end int, p part) {
	for i := 0; ; {
		k := strings.Index(s[i:], "${")
		if k < 0 {
			return len(s), len(s), part{}
		}
		i += k
		name, _, closed := strings.Cut(s[i+2:], "}")
		if !closed {
			return len(s), len(s), part{}
		}
		if p, ok := c.variableRef(n, name); ok {
			return i, i + 3 + len(name), p
		}
		i += 2
	}
}

// variableRef parses the text between "${" and "}". Text that is not a variable
// is left as it is (RFC 5229, 3).
func (c *compiler) variableRef(n *node, name string) (part, bool) {
	if name == "" {
		return part{}, false
	}
	if digit(name[0]) {
		i, err := strconv.Atoi(name)
		if err != nil || strings.Trim(name, "0123456789") != "" {
			return part{}, false
		}
		if i > maxMatch {
			c.fail(n, "match variable ${%s} is above ${%d}", name, maxMatch)
		}
		return part{kind: matchPart, match: i}, true
	}
	name = strings.ToLower(name)
	space, local, dotted := strings.Cut(name, ".")
	if !dotted {
		return part{kind: namedPart, name: name}, identifier(name)
	}
	if !identifier(space) || !identifier(local) {
		return part{}, false
	}
	if space != "global" || !c.script.uses["include"] {
		c.fail(n, "unknown variable namespace %q", space)
	}
	return part{kind: globalPart, name: local}, true
}

// identifier reports whether s is the name of a variable.
func identifier(s string) bool {
	for i := range len(s) {
		if !letter(s[i]) && (i == 0 || !digit(s[i])) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// encoded decodes ${hex:...} and ${unicode:...} (RFC 5228, 2.4.2.4).
func (c *compiler) encoded(n *node, s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		inner, _, closed := strings.Cut(s[2:], "}")
		decoded, ok := "", false
		if closed {
			decoded, ok = c.decodeCharacters(n, inner)
		}
		if !ok {
			b.WriteString("${")
			s = s[2:]
			continue
		}
		b.WriteString(decoded)
		s = s[3+len(inner):]
	}
	if !utf8.ValidString(b.String()) {
		c.fail(n, "the characters given with ${hex:} are not valid UTF-8")
		return ""
	}
	return b.String()
}

// decodeCharacters decodes the text between "${" and "}".
func (c *compiler) decodeCharacters(n *node, inner string) (string, bool) {
	kind, list, _ := strings.Cut(inner, ":")
	var b strings.Builder
	switch strings.ToLower(kind) {
	case "hex":
		for _, h := range strings.Fields(list) {
			v, err := strconv.ParseUint(h, 16, 8)
			if err != nil || len(h) > 2 {
				return "", false
			}
			b.WriteByte(byte(v))
		}
	case "unicode":
		for _, h := range strings.Fields(list) {
			if strings.Trim(strings.ToLower(h), "0123456789abcdef") != "" {
				return "", false
			}
			v, err := strconv.ParseUint(h, 16, 32)
			if err != nil || !utf8.ValidRune(rune(v)) || v > utf8.MaxRune {
				c.fail(n, "%q is not a Unicode character", h)
				return "", true
			}
			b.WriteRune(rune(v))
		}
	default:
		return "", false
	}
	return b.String(), b.Len() > 0
}
