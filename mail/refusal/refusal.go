// Package refusal explains the replies with which well-known mail servers
// refuse mail: what the text means, who can fix the problem, and how to
// proceed. The entries are in refusals.txt, each with its source.
//
// Find matches the whole reply. The meanings of the codes alone are in package
// mail (LookupCode).
package refusal

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hoplite/mail"
)

// Refusal is the entry for one type of refusal.
type Refusal struct {
	By     string // the operator of the servers that send the refusal
	Cause  string // the meaning of the refusal
	Job    string // the role that can fix the problem
	Next   string // the recommended next step
	Source string // where the refusal is documented
	Since  string // the month when the entry was compared with Source, for example 2026-11
	Read   string // what it was compared with instead, if Source could not be read

	codes []codeRange
	texts [][]string // alternatives; all parts of one must occur; in lower case
}

// codeRange is a single code or a range, for example 5.7.606-649.
type codeRange struct {
	prefix   string // "5.7."
	from, to int
}

//go:embed refusals.txt
var data string

// all parses the data once. An error in the data is a bug, which a test
// detects.
var all = sync.OnceValue(func() []Refusal {
	list, err := parse(data)
	if err != nil {
		panic(err)
	}
	return list
})

// All returns every entry in order of precedence.
func All() []Refusal { return slices.Clone(all()) }

// maxText is the maximum number of octets of a text that are examined.
const maxText = 8 << 10

// Find returns the entry that matches a reply or the text of a bounce best. It
// returns nothing for a text that no entry matches, or for codes without a text,
// which do not show whose server sent them.
func Find(text string) []Refusal {
	if len(text) > maxText {
		text = text[:maxText]
	}
	if IsBareCode(text) {
		return nil
	}
	_, enhanced := mail.FindCodes(text)
	lower := fold(text)
	for _, r := range all() {
		if r.hasCode(enhanced) && r.hasText(lower) && (len(r.texts) > 0 || len(r.codes) > 0) {
			return []Refusal{r}
		}
	}
	return nil
}

// IsBareCode reports whether a text consists only of codes.
func IsBareCode(text string) bool {
	basic, enhanced := mail.FindCodes(text)
	return strings.Trim(strings.NewReplacer(basic, "", enhanced, "").Replace(fold(text)), " -.;:#") == ""
}

// ByCode returns all entries that name the enhanced code of a text.
func ByCode(text string) []Refusal {
	_, enhanced := mail.FindCodes(text)
	var list []Refusal
	for _, r := range all() {
		if enhanced != "" && len(r.codes) > 0 && r.hasCode(enhanced) {
			list = append(list, r)
		}
	}
	return list
}

// fold normalises text for comparison: lower case, with each run of white space
// replaced by a single space.
func fold(text string) string { return strings.Join(strings.Fields(strings.ToLower(text)), " ") }

// hasCode reports whether the entry applies to a code. A reply without an
// enhanced code is matched only by its text.
func (r *Refusal) hasCode(enhanced string) bool {
	if len(r.codes) == 0 || enhanced == "" && len(r.texts) > 0 {
		return true
	}
	i := strings.LastIndexByte(enhanced, '.') + 1
	n, err := strconv.Atoi(enhanced[i:])
	return err == nil && slices.ContainsFunc(r.codes, func(c codeRange) bool {
		return c.prefix == enhanced[:i] && c.from <= n && n <= c.to
	})
}

func (r *Refusal) hasText(lower string) bool {
	return len(r.texts) == 0 || slices.ContainsFunc(r.texts, func(parts []string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(lower, p) })
	})
}

// parse reads entries separated by empty lines.
func parse(text string) ([]Refusal, error) {
	var list []Refusal
	for n, block := range strings.Split(text, "\n\n") {
		var r Refusal
		filled := false
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			key, value, ok := strings.Cut(line, ": ")
			if !ok {
				return nil, fmt.Errorf("entry %d: %q is not a field", n, line)
			}
			if err := r.set(key, value); err != nil {
				return nil, fmt.Errorf("entry %d: %w", n, err)
			}
			filled = true
		}
		if filled {
			list = append(list, r)
		}
	}
	return list, nil
}

func (r *Refusal) set(key, value string) error {
	switch key {
	case "by":
		r.By = value
	case "cause":
		r.Cause = value
	case "job":
		r.Job = value
	case "next":
		r.Next = value
	case "read":
		r.Read = value
	case "source":
		i := strings.LastIndexByte(value, ' ')
		r.Source, r.Since = value[:max(i, 0)], value[i+1:]
	case "text":
		for one := range strings.SplitSeq(value, " | ") {
			var parts []string
			for p := range strings.SplitSeq(one, " & ") {
				parts = append(parts, fold(strings.Trim(p, "() ")))
			}
			r.texts = append(r.texts, parts)
		}
	case "code":
		for word := range strings.FieldsSeq(value) {
			c, err := parseCode(word)
			if err != nil {
				return err
			}
			r.codes = append(r.codes, c)
		}
	default:
		return fmt.Errorf("there is no field %q", key)
	}
	return nil
}

func parseCode(s string) (codeRange, error) {
	code, last, ranged := strings.Cut(s, "-")
	i := strings.LastIndexByte(code, '.') + 1
	c := codeRange{prefix: code[:i]}
	var err error
	if c.from, err = strconv.Atoi(code[i:]); err != nil {
		return c, fmt.Errorf("%q is not an enhanced code", s)
	}
	if c.to = c.from; ranged {
		if c.to, err = strconv.Atoi(last); err != nil || c.to < c.from {
			return c, fmt.Errorf("%q is not a range of codes", s)
		}
	}
	return c, nil
}
