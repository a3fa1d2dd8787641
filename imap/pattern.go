package imap

import (
	"slices"
	"strings"

	"hoplite/maildrop/maildir"
)

// maxPatterns is the maximum number of patterns in a LIST command.
const maxPatterns = 50

// maxPattern is the maximum length of a pattern; names are shorter.
const maxPattern = 1000

// patterns holds the compiled patterns of a LIST or LSUB command.
type patterns struct {
	names *naming
	list  []pattern
	inbox bool // matches INBOX, which is case-insensitive
}

// newPatterns compiles patterns relative to a reference. A pattern that cannot
// be a name matches nothing.
func newPatterns(names *naming, ref string, texts []string) (*patterns, error) {
	if len(texts) > maxPatterns {
		return nil, nof("[LIMIT] Too many patterns")
	}
	p := &patterns{names: names}
	for _, text := range texts {
		full, err := names.decode(ref + text)
		if err != nil {
			continue
		}
		if len(full) > maxPattern {
			return nil, nof("[LIMIT] Pattern too long")
		}
		n := len(maildir.Inbox)
		if len(full) >= n && strings.EqualFold(full[:n], maildir.Inbox) && (len(full) == n || full[n] == names.separator[0]) {
			full = maildir.Inbox + full[n:]
		}
		p.list = append(p.list, newPattern(full, names.separator))
		p.inbox = p.inbox || newPattern(strings.ToUpper(full), names.separator).match(maildir.Inbox)
	}
	return p, nil
}

// match reports whether one of the patterns matches the store's name.
func (p *patterns) match(name string) bool {
	if name == maildir.Inbox {
		return p.inbox
	}
	shown := p.names.shown(name)
	return slices.ContainsFunc(p.list, func(q pattern) bool { return q.match(shown) })
}

// pattern is one LIST pattern.
type pattern struct {
	text string // each run of wildcards is reduced to one
	sep  byte
}

func newPattern(text, sep string) pattern {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '*' || c == '%' {
			// "%*" is "*", and "%%" is "%".
			for i+1 < len(text) && (text[i+1] == '*' || text[i+1] == '%') {
				i++
				if text[i] == '*' {
					c = '*'
				}
			}
		}
		b.WriteByte(c)
	}
	return pattern{b.String(), sep[0]}
}

// match reports whether the pattern matches the whole name. It follows all
// paths through the pattern at once, so the time is bounded by the product of
// the two lengths.
func (p pattern) match(name string) bool {
	var a, b [maxPattern + 2]bool
	now, next := &a, &b
	top := 0 // the highest state that is set
	reach := func(set *[maxPattern + 2]bool, i int) {
		for set[i] = true; i < len(p.text) && (p.text[i] == '*' || p.text[i] == '%'); i++ {
			set[i+1] = true
		}
		top = max(top, i)
	}
	reach(now, 0)
	for k := range len(name) {
		last := top
		top = -1
		for i := 0; i <= last; i++ {
			if !now[i] {
				continue
			}
			now[i] = false
			if i == len(p.text) {
				continue
			}
			switch c := p.text[i]; {
			case c == '*' || c == '%' && name[k] != p.sep:
				reach(next, i)
			case c == name[k]:
				reach(next, i+1)
			}
		}
		if top < 0 {
			return false
		}
		now, next = next, now
	}
	return now[len(p.text)]
}
