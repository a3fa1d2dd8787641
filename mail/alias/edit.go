package alias

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"hoplite/mail"
)

// Set returns the text of an aliases file in which pattern resolves to the
// addresses in to, or has no alias if to is empty. All other lines and comments
// are unchanged. Set does not validate its arguments: the caller must parse the
// result.
func Set(text, pattern string, to []string) string {
	var out strings.Builder
	line := ""
	if len(to) > 0 {
		line = pattern + "\t" + strings.Join(to, ", ") + "\n"
	}
	inside, done := false, false
	for full := range strings.Lines(text) {
		if !strings.HasSuffix(full, "\n") {
			full += "\n"
		}
		trimmed := strings.TrimSpace(full)
		switch {
		case trimmed == "" || trimmed[0] == '#': // a comment does not end an alias
		case full[0] == ' ' || full[0] == '\t':
			if inside {
				continue
			}
		default:
			words, err := cutWords(trimmed)
			inside = err == nil && mail.Key(words[0]) == mail.Key(pattern)
			if inside {
				if !done {
					out.WriteString(line)
				}
				done = true
				continue
			}
		}
		out.WriteString(full)
	}
	if !done {
		out.WriteString(line)
	}
	return out.String()
}

// Lookup returns the addresses that a pattern resolves to in the file, and the
// line of its alias; ok is false if it has no alias.
func (t *Table) Lookup(pattern string) (to []string, line int, ok bool) {
	e, ok := t.get(mail.Key(pattern))
	return e.to, e.line, ok && e.err == nil
}

// CheckText returns an error if an address has characters that an editor or a
// terminal does not show as they are: control characters, line and paragraph
// separators, or octets that are not UTF-8.
func CheckText(address string) error {
	if !utf8.ValidString(address) {
		return fmt.Errorf("%q is not valid UTF-8", address)
	}
	for _, r := range address {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) {
			return fmt.Errorf("%q has the control character %U", address, r)
		}
	}
	return nil
}
