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
	entries map[string]entry // by the normal form of the pattern
	domains map[string]bool  // those with an alias, in normal form
	unread  error            // a line whose address is not known
	cut     bool             // the file could not be read to its end, so there may be other aliases
}

// entry is one alias.
type entry struct {
	to   []string // as written
	line int
	err  error // the mistake in it; nobody knows where the address leads
}

// ErrMistake means that the alias of an address has a mistake, so that it is not
// known where the address leads. Mail for it is to wait.
var ErrMistake = errors.New("error in the aliases file")

// Mistake is a mistake in one line of an aliases file.
type Mistake struct {
	File string
	Line int
	Err  error
}

func (m *Mistake) Error() string { return fmt.Sprintf("%s:%d: %v", m.File, m.Line, m.Err) }

// Unwrap returns the mistake without its place.
func (m *Mistake) Unwrap() error { return m.Err }

// Mistakes returns the mistakes in an error of [Parse]. Rest is the error if it is
// anything else: the file could not be read.
func Mistakes(err error) (list []*Mistake, rest error) {
	if err == nil {
		return nil, nil
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, e := range all {
		m, ok := e.(*Mistake)
		if !ok {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// Parse reads an aliases file and reports its mistakes as name:line, up to 20 of
// them and the number of others. The table holds what could be read; an address
// whose alias has a mistake resolves to [ErrMistake].
func Parse(r io.Reader, name string) (*Table, error) {
	p := parser{table: &Table{entries: map[string]entry{}, domains: map[string]bool{}}, name: name}
	in := bufio.NewReaderSize(r, maxLine)
	for {
		text, long, err := in.ReadLine()
		if err != nil {
			p.flush()
			if err != io.EOF {
				p.table.unread, p.table.cut = err, true
				return p.table, fmt.Errorf("%s:%d: %w", name, p.n+1, err)
			}
			return p.table, p.err()
		}
		p.n++
		if used := p.line(string(text)); used && long {
			p.long = true
		}
		for long && err == nil {
			_, long, err = in.ReadLine()
		}
	}
}

// parser joins each indented line to the line above it.
type parser struct {
	table   *Table
	name    string
	n       int    // number of the current line
	logical string // a line and its continuations so far
	start   int    // the line where it began
	long    bool   // it is longer than maxLine
	errs    []error
	more    int // mistakes beyond maxErrors
}

func (p *parser) report(line int, err error) {
	if len(p.errs) < maxErrors {
		p.errs = append(p.errs, &Mistake{p.name, line, err})
	} else {
		p.more++
	}
}

// err returns the mistakes found.
func (p *parser) err() error {
	if p.more > 0 {
		p.errs = append(p.errs, &Mistake{p.name, p.n, fmt.Errorf("%d more aliases have errors, which are not listed", p.more)})
	}
	return errors.Join(p.errs...)
}

// line adds a physical line. It returns false if the line is a comment, or
// continues nothing.
func (p *parser) line(full string) bool {
	text := strings.TrimSpace(full)
	switch {
	case text == "" || text[0] == '#':
		return false
	case full[0] != ' ' && full[0] != '\t':
		p.flush()
		p.logical, p.start = text, p.n
	case p.logical == "":
		p.report(p.n, errors.New("line begins with a space but there is no line to continue"))
		p.table.addMistake(text, p.n, errors.New("line begins with a space"))
		return false
	case len(p.logical)+len(text) > maxLine:
		p.long = true
	default:
		p.logical += " " + text
	}
	return true
}

// flush adds the logical line to the table.
func (p *parser) flush() {
	if p.logical != "" {
		var err error
		if p.long {
			err = fmt.Errorf("longer than %d octets", maxLine)
		} else {
			err = p.table.add(p.logical, p.start)
		}
		if err != nil {
			p.report(p.start, err)
			p.table.addMistake(p.logical, p.start, err)
		}
	}
	p.logical, p.long = "", false
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
	t.entries[key] = entry{to: to, line: line}
	t.declare(key)
	return nil
}

// addMistake adds the address of a line with a mistake, as far as it can be told.
func (t *Table) addMistake(text string, line int, err error) {
	words, _ := cutWords(text)
	key := ""
	if len(words) > 0 {
		key = strings.TrimSuffix(mail.Key(words[0]), ":")
	}
	if key == "" || strings.HasSuffix(key, "@") || len(t.entries) >= maxAliases {
		t.unread = fmt.Errorf("line %d: %w", line, err)
		if _, after, ok := strings.Cut(text, "@"); ok {
			domain, _, _ := strings.Cut(strings.NewReplacer(",", " ", "\t", " ", "\"", " ").Replace(after), " ")
			t.declare(mail.Key("@" + domain))
		}
		return
	}
	t.entries[key] = entry{line: line, err: err}
	t.declare(key)
}

// declare makes the domain of a key one of ours.
func (t *Table) declare(key string) {
	if i := strings.LastIndexByte(key, '@'); i >= 0 {
		t.domains[key[i+1:]] = true
	} else if d, err := mail.ParseDomain(key); err == nil && strings.Contains(d, ".") {
		t.domains[d] = true // virtual(5): "example.org anything" declares a domain
	}
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
// at least one word and no empty ones, or with an error those before it.
func cutWords(text string) (words []string, err error) {
	begin, quoted := -1, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c < ' ' && c != '\t' || c == 0x7f:
			return words, fmt.Errorf("control character %#02x", c)
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
		return words, errors.New("a quote is not closed")
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

// Each calls f with each alias without a mistake, its addresses and its line, in file order.
func (t *Table) Each(f func(pattern string, to []string, line int)) {
	if t == nil {
		return
	}
	for _, key := range slices.SortedFunc(maps.Keys(t.entries), func(a, b string) int { return t.entries[a].line - t.entries[b].line }) {
		if t.entries[key].err == nil {
			f(key, t.entries[key].to, t.entries[key].line)
		}
	}
}

// hasDomain reports whether any alias is in the given domain, which is in
// normal form.
func (t *Table) hasDomain(domain string) bool { return t != nil && t.domains[domain] }
