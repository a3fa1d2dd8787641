package rewrite

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// Map replaces addresses. It consists of pairs as in Postfix's generic(5): an
// address, a domain or ".domain" maps to an address, or to "@domain", which
// keeps the local part. A whole address takes precedence over its domain, and a
// domain over its parent domains. The zero Map changes nothing.
type Map struct {
	to map[mail.Pattern]string
}

// ParseMap parses the pairs from a configuration. The error names every invalid
// pair.
func ParseMap(pairs map[string]string) (Map, error) {
	m := Map{to: make(map[mail.Pattern]string, len(pairs))}
	var errs []error
	for _, from := range slices.Sorted(maps.Keys(pairs)) {
		to := pairs[from]
		pattern, err := mail.ParsePattern(from)
		if err == nil && (pattern == mail.PatternNull || pattern == mail.PatternLocal) {
			err = fmt.Errorf("%q: give an address, a domain or .domain", from)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if m.to[pattern], err = parseTarget(to); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", from, err))
		}
	}
	return m, errors.Join(errs...)
}

func parseTarget(to string) (string, error) {
	if domain, ok := strings.CutPrefix(to, "@"); ok {
		d, err := mail.ParseDomain(domain)
		if err != nil {
			return "", fmt.Errorf("%q: %w", to, err)
		}
		return "@" + d, nil
	}
	a, err := mail.ParseAddress(to)
	if err != nil {
		return "", fmt.Errorf("%q is neither an address nor @domain", to)
	}
	return string(a), nil
}

// Apply returns the replacement for a, or a itself if there is none.
func (m Map) Apply(a mail.Address) mail.Address {
	if len(m.to) == 0 || a == "" {
		return a
	}
	to := m.target(mail.Pattern(a.Key()))
	if to == "" {
		return a
	}
	if domain, ok := strings.CutPrefix(to, "@"); ok {
		if b, err := mail.Join(a.Local(), domain); err == nil {
			return b
		}
		return a
	}
	return mail.Address(to)
}

// target returns the replacement given by the most specific pattern for an
// address, or "" if no pattern matches.
func (m Map) target(key mail.Pattern) string {
	if to, ok := m.to[key]; ok {
		return to
	}
	domain := key[strings.LastIndexByte(string(key), '@')+1:]
	if to, ok := m.to[domain]; ok {
		return to
	}
	for i := range len(domain) {
		if domain[i] == '.' {
			if to, ok := m.to[domain[i:]]; ok {
				return to
			}
		}
	}
	return ""
}

// mailbox returns the replacement for an address in a header, and reports
// whether it differs from the address.
func (m Map) mailbox(a mime.Address) (mail.Address, bool) {
	old, err := mail.Join(a.Local, a.Domain)
	if err != nil {
		return m.unparsed(a)
	}
	to := m.Apply(old)
	return to, to != old
}

// unparsed returns the replacement for an address whose local part is invalid,
// for example because it is in Latin-1. The octets of the local part are kept.
func (m Map) unparsed(a mime.Address) (mail.Address, bool) {
	domain, err := mail.ParseDomain(a.Domain)
	if err != nil || len(m.to) == 0 {
		return "", false
	}
	switch to := m.target(mail.Pattern("@" + domain)); {
	case to == "":
		return "", false
	case to[0] == '@':
		return mail.Address(mail.QuoteLocal(a.Local) + to), true
	default:
		return mail.Address(to), true
	}
}

// list maps the addresses of a field and returns descriptions of the changes.
func (m Map) list(list []mime.Address) (mapped []mailbox, changes []string) {
	mapped = mailboxes(list)
	if len(m.to) == 0 {
		return mapped, nil
	}
	k := 0
	for _, a := range list {
		if a.Addr() == "" {
			continue
		}
		if to, ok := m.mailbox(a); ok {
			changes = append(changes, mapped[k].addr+" -> "+string(to))
			mapped[k].addr = string(to)
		}
		k++
	}
	return mapped, changes
}
