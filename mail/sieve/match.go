package sieve

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// comparator is a collation of RFC 4790.
type comparator uint8

const (
	asciiCasemap comparator = iota // the default
	octet
	asciiNumeric
)

var comparators = map[string]comparator{
	"i;ascii-casemap": asciiCasemap,
	"i;octet":         octet,
	"i;ascii-numeric": asciiNumeric,
}

// fold maps a rune to the one that represents its equals.
func (c comparator) fold(r rune) rune {
	if c == asciiCasemap && r >= 'a' && r <= 'z' {
		return r - 'a' + 'A'
	}
	return r
}

// folded returns s with each rune folded. The length does not change.
func (c comparator) folded(s string) string {
	if c != asciiCasemap {
		return s
	}
	b := []byte(s)
	for i, x := range b {
		if x >= 'a' && x <= 'z' {
			b[i] = x - 'a' + 'A'
		}
	}
	return string(b)
}

func (c comparator) compare(a, b string) int {
	if c == asciiNumeric {
		return compareNumbers(a, b)
	}
	return cmp.Compare(c.folded(a), c.folded(b))
}

// compareNumbers compares the numbers that a and b begin with. Text that does
// not begin with a digit is larger than all numbers (RFC 4790, 9.1.1).
func compareNumbers(a, b string) int {
	x, xOK := leadingDigits(a)
	y, yOK := leadingDigits(b)
	switch {
	case !xOK && !yOK:
		return 0
	case !xOK:
		return 1
	case !yOK:
		return -1
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
}

// leadingDigits returns the number at the start of s without leading zeros.
func leadingDigits(s string) (string, bool) {
	n := 0
	for n < len(s) && digit(s[n]) {
		n++
	}
	return strings.TrimLeft(s[:n], "0"), n > 0
}

// matcher is the comparison that a test makes: match type, comparator and keys
// (RFC 5228, 2.7; RFC 5231).
type matcher struct {
	kind  matchKind
	comp  comparator
	rel   string // for :value and :count
	keys  []text
	regex []*expression // parallel to keys; nil for keys with variables
}

type matchKind uint8

const (
	matchIs matchKind = iota
	matchContains
	matchGlob
	matchRegex
	matchValue
	matchCount
)

// matchTags are the tags of tests that compare strings.
var matchTags = map[string]tag{
	"comparator": {value: argString},
	"is":         {},
	"contains":   {},
	"matches":    {},
	"regex":      {ext: "regex"},
	"value":      {ext: "relational", value: argString},
	"count":      {ext: "relational", value: argString},
}

// matcher compiles the comparison of a test with the given keys.
func (c *compiler) matcher(a *arguments, keys []text) *matcher {
	m := &matcher{keys: keys}
	if arg, ok := a.tags["comparator"]; ok {
		name := arg.strs[0]
		if m.comp, ok = comparators[name]; !ok {
			c.fail(a.n, "unknown comparator %q", name)
		} else if m.comp == asciiNumeric {
			c.need(a.n, "this comparator", "comparator-"+name)
		}
	}
	kind := a.only("is", "contains", "matches", "regex", "value", "count")
	switch kind {
	case "contains":
		m.kind = matchContains
	case "matches":
		m.kind = matchGlob
	case "regex":
		m.kind = matchRegex
	case "value", "count":
		m.kind = matchValue
		if kind == "count" {
			m.kind = matchCount
		}
		m.rel = strings.ToLower(a.tags[kind].strs[0])
		if !slices.Contains([]string{"gt", "ge", "lt", "le", "eq", "ne"}, m.rel) {
			c.fail(a.n, ":%s needs one of gt, ge, lt, le, eq and ne", kind)
		}
	}
	if m.comp == asciiNumeric && (m.kind == matchContains || m.kind == matchGlob || m.kind == matchRegex) {
		c.fail(a.n, "the comparator i;ascii-numeric cannot be used with :%s", kind)
	}
	if m.kind == matchRegex {
		m.regex = make([]*expression, len(keys))
		for i, k := range keys {
			if s, ok := k.constant(); ok {
				e, err := compileRegex(s, m.comp)
				if err != "" {
					c.fail(a.n, "regular expression %q: %s", s, err)
				}
				m.regex[i] = e
			}
		}
	}
	return m
}

// any reports whether a value matches a key. A successful :matches or :regex
// sets the match variables (RFC 5229, 3.2).
func (m *matcher) any(r *run, values []string) bool {
	if m.kind == matchCount {
		n := strconv.Itoa(len(values))
		return slices.ContainsFunc(m.keys, func(k text) bool {
			return related(m.rel, m.comp.compare(n, k.expand(r)))
		})
	}
	keys := expandAll(r, m.keys)
	for _, v := range values {
		for i, key := range keys {
			if m.one(r, i, key, v) {
				return true
			}
		}
	}
	return false
}

func (m *matcher) one(r *run, i int, key, value string) bool {
	r.charge(len(key) + len(value))
	switch m.kind {
	case matchContains:
		return strings.Contains(m.comp.folded(value), m.comp.folded(key))
	case matchGlob:
		got, work, ok := glob(key, value, m.comp)
		r.charge(work)
		if ok {
			r.setMatch(got)
		}
		return ok
	case matchRegex:
		e := m.regex[i]
		if e == nil {
			var err string
			if e, err = compileRegex(key, m.comp); err != "" {
				r.fail("regular expression %q: %s", key, err)
			}
		}
		r.charge(len(value) * e.size)
		at := e.re.FindStringSubmatchIndex(value)
		if at == nil {
			return false
		}
		got := make([]string, len(at)/2)
		for k := range got {
			if at[2*k] >= 0 {
				got[k] = value[at[2*k]:at[2*k+1]]
			}
		}
		r.setMatch(got)
		return true
	case matchValue:
		return related(m.rel, m.comp.compare(value, key))
	}
	if m.comp == asciiNumeric {
		return compareNumbers(value, key) == 0
	}
	return len(value) == len(key) && m.comp.folded(value) == m.comp.folded(key)
}

// related reports whether the result of a comparison satisfies a relation of
// RFC 5231.
func related(rel string, order int) bool {
	switch rel {
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	case "le":
		return order <= 0
	case "ne":
		return order != 0
	}
	return order == 0
}

// expression is a regular expression with the work it causes for each octet.
type expression struct {
	re   *regexp.Regexp
	size int
}

const maxInstructions = 2000

// compileRegex compiles a POSIX extended regular expression (the regex
// extension, draft-ietf-sieve-regex). It is matched in linear time, whatever
// the expression.
func compileRegex(s string, comp comparator) (e *expression, problem string) {
	// Without PerlX this is the syntax of egrep. As in POSIX, ^ and $ match at
	// the ends of the value only, and a dot matches any character.
	flags := syntax.OneLine | syntax.DotNL
	if comp == asciiCasemap {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(s, flags)
	if err != nil {
		return nil, strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err.Error()
	}
	if len(prog.Inst) > maxInstructions {
		return nil, "too large"
	}
	re, err := regexp.Compile(tree.String())
	if err != nil {
		return nil, err.Error()
	}
	re.Longest()
	return &expression{re, len(prog.Inst)}, ""
}

// glob matches s against a pattern in which * matches any text, ? one
// character, and a backslash quotes the next character. It returns the text
// that the whole pattern and each wildcard matched, as short as possible from
// the left, and the number of characters compared.
func glob(pattern, s string, comp comparator) (got []string, work int, ok bool) {
	segs := segments(pattern, comp)
	got = []string{s}
	pos := 0
	for i, seg := range segs {
		last := i == len(segs)-1
		start := pos
		for ; ; start++ {
			end, chars, n := seg.match(s, start, comp)
			work += n
			if end >= 0 && (!last || end == len(s)) {
				if i > 0 {
					got = append(got, s[pos:start])
				}
				got = append(got, chars...)
				pos = end
				break
			}
			if i == 0 || start >= len(s) {
				return nil, work, false
			}
			for start+1 < len(s) && !utf8.RuneStart(s[start+1]) {
				start++
			}
		}
	}
	return got, work, true
}

// segment is the part of a pattern between two stars.
type segment []rune

// anyChar stands for ? in a segment.
const anyChar = -1

func segments(pattern string, comp comparator) []segment {
	segs := []segment{nil}
	quoted := false
	for _, c := range pattern {
		last := &segs[len(segs)-1]
		switch {
		case quoted:
			*last = append(*last, comp.fold(c))
			quoted = false
		case c == '\\':
			quoted = true
		case c == '*':
			segs = append(segs, nil)
		case c == '?':
			*last = append(*last, anyChar)
		default:
			*last = append(*last, comp.fold(c))
		}
	}
	return segs
}

// match matches the segment at s[i:]. It returns the offset after it, or -1,
// the characters matched by ?, and the number of characters compared.
func (g segment) match(s string, i int, comp comparator) (end int, chars []string, work int) {
	for _, want := range g {
		work++
		if i >= len(s) {
			return -1, nil, work
		}
		c, n := utf8.DecodeRuneInString(s[i:])
		if want == anyChar {
			chars = append(chars, s[i:i+n])
		} else if comp.fold(c) != want {
			return -1, nil, work
		}
		i += n
	}
	return i, chars, work + 1
}
