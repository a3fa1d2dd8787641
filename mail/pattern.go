package mail

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Pattern matches addresses. It is a whole address (ann@example.org), a domain
// (example.org or @example.org), all domains below one (.example.org), the null
// reverse path (<>), or "local", which matches the names of this server.
// [ParsePattern] returns the normal form. Routes, filters, and the queue and
// trace commands all use patterns.
type Pattern string

// Patterns with a special meaning.
const (
	PatternNull  Pattern = "<>"
	PatternLocal Pattern = "local"
)

// ParsePattern parses a pattern as written by an administrator.
func ParsePattern(s string) (Pattern, error) {
	switch Pattern(strings.ToLower(s)) {
	case PatternNull:
		return PatternNull, nil
	case PatternLocal:
		return PatternLocal, nil
	}
	if local, domain, ok := strings.Cut(s, "@"); ok && local != "" {
		a, err := ParseAddress(s)
		if err != nil {
			return "", fmt.Errorf("pattern %q: %w", s, err)
		}
		return Pattern(a.Key()), nil
	} else if ok {
		s = domain
	}
	below, isBelow := strings.CutPrefix(s, ".")
	d, err := ParseDomain(below)
	if err != nil {
		return "", fmt.Errorf("pattern %q: %w, want an address, a domain, .domain, local or <>", s, err)
	}
	if isBelow {
		d = "." + d
	}
	return Pattern(d), nil
}

// UnmarshalText parses a pattern from a configuration.
func (p *Pattern) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePattern(string(text))
	return err
}

// Covers reports whether p matches every address that q matches.
func (p Pattern) Covers(q Pattern) bool {
	if p == q {
		return true
	}
	if q == PatternLocal || q == PatternNull || p == PatternLocal || p == PatternNull {
		return false
	}
	domain := string(q[strings.LastIndexByte(string(q), '@')+1:])
	if p[0] == '.' {
		return strings.HasSuffix(domain, string(p)) // ".b.a" lies within ".a" too
	}
	return string(p) == domain
}

// Patterns is a set of compiled patterns. The zero value matches nothing.
type Patterns struct {
	exact map[string]struct{} // domains and whole addresses
	below map[string]struct{} // including the leading dot
	null  bool
}

// NewPatterns returns a set of patterns. local lists the names matched by the
// pattern "local". Patterns that are not in normal form are parsed; the error
// names the invalid ones.
func NewPatterns(list []Pattern, local ...string) (Patterns, error) {
	var p Patterns
	var errs []error
	for _, text := range list {
		one, err := ParsePattern(string(text))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if one != PatternLocal {
			p.add(one)
			continue
		}
		for _, name := range local {
			if d, err := ParseDomain(name); err == nil {
				p.add(Pattern(d))
			}
		}
	}
	return p, errors.Join(errs...)
}

// ParsePatterns is like NewPatterns but accepts patterns as written by an
// administrator.
func ParsePatterns(list []string, local ...string) (Patterns, error) {
	patterns := make([]Pattern, len(list))
	for i, s := range list {
		patterns[i] = Pattern(s)
	}
	return NewPatterns(patterns, local...)
}

func (p *Patterns) add(one Pattern) {
	switch {
	case one == PatternNull:
		p.null = true
	case one[0] == '.':
		if p.below == nil {
			p.below = map[string]struct{}{}
		}
		p.below[string(one)] = struct{}{}
	default:
		if p.exact == nil {
			p.exact = map[string]struct{}{}
		}
		p.exact[string(one)] = struct{}{}
	}
}

// Empty reports whether the set contains no patterns.
func (p *Patterns) Empty() bool { return !p.null && len(p.exact) == 0 && len(p.below) == 0 }

// Domains returns the domains in the set, sorted, excluding those of whole
// addresses.
func (p *Patterns) Domains() []string {
	var list []string
	for d := range p.exact {
		if !strings.Contains(d, "@") {
			list = append(list, d)
		}
	}
	for d := range p.below {
		list = append(list, d[1:])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Match reports whether a pattern matches a. Only "<>" matches the null path.
func (p *Patterns) Match(a Address) bool {
	if a == "" {
		return p.null
	}
	if len(p.exact) == 0 && len(p.below) == 0 {
		return false
	}
	key := a.Key()
	if _, ok := p.exact[key]; ok {
		return true
	}
	return p.matchDomain(key[strings.LastIndexByte(key, '@')+1:])
}

// MatchDomain reports whether a pattern matches all addresses of a domain.
func (p *Patterns) MatchDomain(domain string) bool {
	if d, err := ParseDomain(domain); err == nil {
		domain = d
	}
	return p.matchDomain(domain)
}

func (p *Patterns) matchDomain(domain string) bool {
	if _, ok := p.exact[domain]; ok {
		return true
	}
	if len(p.below) == 0 {
		return false
	}
	for i := range len(domain) {
		if domain[i] == '.' {
			if _, ok := p.below[domain[i:]]; ok {
				return true
			}
		}
	}
	return false
}
