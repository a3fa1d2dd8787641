package imap

import (
	"strings"
	"unicode/utf8"

	"hoplite/imap/wire"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// The store names folders in UTF-8 with "/" between levels. Clients see the
// separator and prefix that the store was set to when they logged in, and
// modified UTF-7 unless they have switched on UTF-8.

func (s *session) separator() string { return s.sep }

func (s *session) quotedSeparator() string { return `"` + s.separator() + `"` }

// unicode tells whether names go over the wire as UTF-8.
func (s *session) unicode() bool { return s.utf8 || s.rev2 }

// text turns a name or pattern off the wire into UTF-8.
func (s *session) text(name string) (string, error) {
	if !s.unicode() {
		plain, err := maildir.DecodeUTF7(name)
		if err == nil {
			return plain, nil
		}
		// Some clients send UTF-8 without having asked for it.
		if strings.Contains(name, "&") {
			return "", maildrop.ErrFolderName
		}
	}
	if !utf8.ValidString(name) {
		return "", maildrop.ErrFolderName
	}
	return name, nil
}

// mailbox is the store's name for a mailbox name off the wire.
func (s *session) mailbox(name string) (string, error) {
	plain, err := s.text(name)
	if err != nil {
		return "", maildrop.ErrFolderName
	}
	return s.storeName(plain)
}

// storeName is the store's name for a mailbox name in UTF-8.
func (s *session) storeName(name string) (string, error) {
	if strings.EqualFold(name, maildir.Inbox) {
		return maildir.Inbox, nil
	}
	sep, prefix := s.separator(), s.prefix
	if prefix != "" {
		if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
			return "", maildrop.ErrFolderName
		}
		name = name[len(prefix):]
	}
	if sep != "/" {
		if strings.Contains(name, "/") {
			return "", maildrop.ErrFolderName
		}
		name = strings.ReplaceAll(name, sep, "/")
	}
	return name, nil
}

// shown is a store's name as clients see it, in UTF-8.
func (s *session) shown(name string) string {
	if name == maildir.Inbox {
		return name
	}
	if sep := s.separator(); sep != "/" {
		name = strings.ReplaceAll(name, "/", sep)
	}
	return s.prefix + name
}

// mailboxName is a store's name as it goes over the wire.
func (s *session) mailboxName(name string) string { return s.encoded(s.shown(name)) }

// encoded writes a name in UTF-8 as an astring.
func (s *session) encoded(name string) string {
	if s.unicode() {
		for i := range len(name) {
			if name[i] >= 0x80 {
				return string(wire.AppendString(nil, name, true))
			}
		}
		return string(wire.AppendAString(nil, name))
	}
	return string(wire.AppendAString(nil, maildir.EncodeUTF7(name)))
}

// pattern is a LIST pattern, ready to be matched many times.
type pattern struct {
	text string // runs of wildcards made one
	sep  byte
}

// maxPattern is the longest pattern that is matched; names are shorter.
const maxPattern = 1000

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

// match compares a whole name. It follows all ways through the pattern at
// once, so its time is bounded by the product of the lengths.
func (p pattern) match(name string) bool {
	var a, b [maxPattern + 2]bool
	now, next := &a, &b
	top := 0 // the last state that is set
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
