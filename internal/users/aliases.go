package users

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Limits of the aliases file.
const (
	maxAliasLine = 256 << 10
	maxAliases   = 1_000_000
)

// aliases is the aliases file: virtual(5) of Postfix.
//
//	# who            where to
//	info@example.org ann@example.org, bob@example.net
//	root             ann
//	@example.com     @example.org
//	@example.net     ann@example.org
type aliases struct {
	m       map[string]alias
	domains map[string]bool // those that the file speaks for
}

type alias struct {
	to   []string
	line int
}

// parseAliases reads the file and reports every mistake as name:line. What it
// could read is returned with them.
func parseAliases(r io.Reader, name string) (*aliases, error) {
	as := &aliases{m: map[string]alias{}, domains: map[string]bool{}}
	var errs []error
	var logical string // a line and the indented ones that go on with it
	start, n := 0, 0
	end := func() {
		if err := as.add(logical, start); err != nil && len(errs) < 20 {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, start, err))
		}
		logical = ""
	}
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxAliasLine)
	for in.Scan() {
		n++
		text := strings.TrimSpace(in.Text())
		switch {
		case text == "" || text[0] == '#':
		case in.Text()[0] != ' ' && in.Text()[0] != '\t':
			end()
			logical, start = text, n
		case logical == "":
			if len(errs) < 20 {
				errs = append(errs, fmt.Errorf("%s:%d: line begins with a space but continues nothing", name, n))
			}
		case len(logical)+len(text) > maxAliasLine:
			errs = append(errs, fmt.Errorf("%s:%d: longer than %d octets", name, start, maxAliasLine))
			return as, errors.Join(errs...)
		default:
			logical += " " + text
		}
	}
	end()
	if err := in.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%s:%d: %w", name, n+1, err))
	}
	return as, errors.Join(errs...)
}

// add reads one logical line.
func (as *aliases) add(text string, line int) error {
	if text == "" {
		return nil
	}
	words, err := addressWords(text)
	if err != nil {
		return err
	}
	key, to := Canonical(words[0]), words[1:]
	if strings.HasSuffix(key, ":") {
		return fmt.Errorf("%q: this is the syntax of virtual(5), without a colon after the name", key)
	}
	if len(to) == 0 {
		return fmt.Errorf("%s: leads nowhere", key)
	}
	if strings.HasSuffix(key, "@") {
		return fmt.Errorf("%q: no domain after the @", key)
	}
	if old, ok := as.m[key]; ok {
		return fmt.Errorf("%s: is in line %d already", key, old.line)
	}
	if len(as.m) >= maxAliases {
		return fmt.Errorf("more than %d aliases", maxAliases)
	}
	if len(to) > maxFinals {
		return fmt.Errorf("%s: more than %d addresses", key, maxFinals)
	}
	for _, t := range to {
		switch {
		case t[0] == '#':
			return fmt.Errorf("%s: a comment needs a line of its own", key)
		case strings.HasPrefix(t, "|"), strings.HasPrefix(t, "/"), strings.HasPrefix(t, ":include:"):
			return fmt.Errorf("%s: %q: only addresses, no programs or files", key, t)
		case strings.HasSuffix(t, "@"):
			return fmt.Errorf("%s: %q: no domain after the @", key, t)
		case t[0] == '@' && key[0] != '@':
			return fmt.Errorf("%s: %q: only a whole domain leads to a whole domain", key, t)
		}
	}
	as.m[key] = alias{to, line}
	if _, domain := split(key); domain != "" {
		as.domains[domain] = true
	} else if strings.Contains(key, ".") { // virtual(5): "example.org anything"
		as.domains[key] = true
	}
	return nil
}

// addressWords cuts a line at commas and spaces outside quotes.
func addressWords(text string) (words []string, err error) {
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

// readAliases reads a file; one that is not there has no aliases.
func readAliases(path string) (*aliases, error) {
	none := &aliases{m: map[string]alias{}, domains: map[string]bool{}}
	if path == "" {
		return none, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("read aliases: %w", err)
	}
	defer f.Close()
	return parseAliases(f, path)
}
