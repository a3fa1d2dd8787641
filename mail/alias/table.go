package alias

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"hoplite/mail"
)

// Limits on an aliases file.
const (
	maxLine    = 256 << 10
	maxAliases = 1_000_000
	maxErrors  = 20
)

// Table is the content of an aliases file, in the syntax of Postfix's virtual(5):
//
//	# pattern        results
//	info@example.org ann@example.org, bob@example.net
//	root             ann
//	@example.com     @example.org
//	@example.net     ann@example.org
//
// A nil Table has no aliases.
type Table struct {
	entries map[string]entry // keyed by the pattern in normal form
	domains map[string]bool  // domains with an alias, in normal form
}

// entry is one alias.
type entry struct {
	to   []string // as written
	line int
}

// Parse reads an aliases file. The error lists every mistake as name:line. The
// table contains the entries that could be read.
func Parse(r io.Reader, name string) (*Table, error) {
	p := parser{table: &Table{entries: map[string]entry{}, domains: map[string]bool{}}, name: name}
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		p.n++
		if !p.line(in.Text()) {
			return p.table, errors.Join(p.errs...)
		}
	}
	p.flush()
	if err := in.Err(); err != nil {
		p.report(p.n+1, err)
	}
	return p.table, errors.Join(p.errs...)
}

// parser joins each indented line to the line above it.
type parser struct {
	table   *Table
	name    string
	n       int    // number of the current line
	logical string // a line and its continuations so far
	start   int    // number of its first line
	errs    []error
}

func (p *parser) report(line int, err error) {
	if len(p.errs) < maxErrors {
		p.errs = append(p.errs, fmt.Errorf("%s:%d: %w", p.name, line, err))
	}
}

// line adds a physical line. It returns false if the rest of the file cannot be
// read.
func (p *parser) line(full string) bool {
	text := strings.TrimSpace(full)
	switch {
	case text == "" || text[0] == '#':
	case full[0] != ' ' && full[0] != '\t':
		p.flush()
		p.logical, p.start = text, p.n
	case p.logical == "":
		p.report(p.n, errors.New("line begins with a space but there is no line to continue"))
	case len(p.logical)+len(text) > maxLine:
		p.report(p.start, fmt.Errorf("longer than %d octets", maxLine))
		return false
	default:
		p.logical += " " + text
	}
	return true
}

// flush adds the logical line to the table.
func (p *parser) flush() {
	if p.logical != "" {
		if err := p.table.add(p.logical, p.start); err != nil {
			p.report(p.start, err)
		}
	}
	p.logical = ""
}

// add reads one logical line.
func (t *Table) add(text string, line int) error {
	words, err := cutWords(text)
	if err != nil {
		return err
	}
	key, to := mail.Key(words[0]), words[1:]
	if err := t.check(key, to); err != nil {
		return err
	}
	t.entries[key] = entry{to, line}
	if i := strings.LastIndexByte(key, '@'); i >= 0 {
		t.domains[key[i+1:]] = true
	} else if d, err := mail.ParseDomain(key); err == nil && strings.Contains(d, ".") {
		t.domains[d] = true // virtual(5): "example.org anything" declares a domain
	}
	return nil
}

// check returns an error if an alias is invalid.
func (t *Table) check(key string, to []string) error {
	switch {
	case strings.HasSuffix(key, ":"):
		return fmt.Errorf("%q: the syntax is that of virtual(5), without a colon after the name", key)
	case len(to) == 0:
		return fmt.Errorf("%s: no address to send to", key)
	case strings.HasSuffix(key, "@"):
		return fmt.Errorf("%q: no domain after the @", key)
	case len(t.entries) >= maxAliases:
		return fmt.Errorf("more than %d aliases", maxAliases)
	case len(to) > maxFinals:
		return fmt.Errorf("%s: more than %d addresses", key, maxFinals)
	}
	if old, ok := t.entries[key]; ok {
		return fmt.Errorf("%s: already defined on line %d", key, old.line)
	}
	for _, a := range to {
		switch {
		case a[0] == '#':
			return fmt.Errorf("%s: a comment needs a line of its own", key)
		case a[0] == '|', a[0] == '/', strings.HasPrefix(a, ":include:"):
			return fmt.Errorf("%s: %q: only addresses are allowed, no programs or files", key, a)
		case strings.HasSuffix(a, "@"):
			return fmt.Errorf("%s: %q: no domain after the @", key, a)
		case a[0] == '@' && key[0] != '@':
			return fmt.Errorf("%s: %q: only a whole domain can be sent to a whole domain", key, a)
		}
	}
	return nil
}

// cutWords splits a line at commas and white space outside quotes. It returns
// at least one word, and no empty words.
func cutWords(text string) (words []string, err error) {
	begin, quoted := -1, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c < ' ' && c != '\t' || c == 0x7f:
			return nil, fmt.Errorf("control character %#02x", c)
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
			if begin < 0 {
				begin = i
			}
		case !quoted && (c == ' ' || c == '\t' || c == ','):
			if begin >= 0 {
				words = append(words, text[begin:i])
			}
			begin = -1
		case begin < 0:
			begin = i
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	if begin >= 0 {
		words = append(words, text[begin:])
	}
	if len(words) == 0 {
		return nil, errors.New("no address")
	}
	return words, nil
}

// get returns the alias for a pattern in normal form.
func (t *Table) get(key string) (entry, bool) {
	if t == nil {
		return entry{}, false
	}
	e, ok := t.entries[key]
	return e, ok
}

// Each calls f with each alias, its addresses and its line, in file order.
func (t *Table) Each(f func(pattern string, to []string, line int)) {
	if t == nil {
		return
	}
	for _, key := range slices.SortedFunc(maps.Keys(t.entries), func(a, b string) int { return t.entries[a].line - t.entries[b].line }) {
		f(key, t.entries[key].to, t.entries[key].line)
	}
}

// hasDomain reports whether any alias is in the given domain, which is in
// normal form.
func (t *Table) hasDomain(domain string) bool { return t != nil && t.domains[domain] }
