package summary

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Casemap returns s in the form that the collation i;unicode-casemap compares
// (RFC 5051): each character is mapped to title case and then decomposed.
func Casemap(s string) string {
	if ascii(s) {
		return strings.ToUpper(s)
	}
	b := make([]byte, 0, len(s)+len(s)/2)
	for len(s) > 0 {
		b, s = appendMapped(b, s)
	}
	return string(b)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendMapped appends the first character of s, mapped, and returns the rest.
func appendMapped(b []byte, s string) ([]byte, string) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return append(b, s[0]), s[1:] // not UTF-8
	}
	var buf [utf8.UTFMax]byte
	title := buf[:utf8.EncodeRune(buf[:], unicode.ToTitle(r))]
	if d := norm.NFKD.Properties(title).Decomposition(); d != nil {
		title = d
	}
	return append(b, title...), s[n:]
}

// Fold maps s for comparison in SEARCH. The result is the same for strings that
// i;unicode-casemap considers equal, but in lower case, which most text already
// is.
func Fold(s string) []byte {
	if ascii(s) {
		return []byte(strings.ToLower(s))
	}
	return AppendFold(make([]byte, 0, len(s)+len(s)/2), []byte(s))
}

// tableEnd is the first character after those in table.
const tableEnd = 0x530

// table holds the results for Latin, Greek and Cyrillic characters.
var table = func() (t [tableEnd]string) {
	for r := range t {
		t[r] = string(appendFolded(nil, string(rune(r))))
	}
	return t
}()

// AppendFold appends text as mapped by Fold.
func AppendFold(b, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c-'A' < 26 {
				c += 'a' - 'A'
			}
			b = append(b, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r < tableEnd:
			b = append(b, table[r]...)
		case unmapped(r):
			b = append(b, text[i:i+n]...)
		default: // or not UTF-8
			b = appendFolded(b, string(text[i:i+n]))
		}
		i += n
	}
	return b
}

// unmapped reports whether a character is in one of the large blocks of which
// no character is mapped.
func unmapped(r rune) bool { return r >= 0x3400 && r < 0xa000 || r >= 0xac00 && r < 0xd7a4 }

// appendFolded appends one character as mapped by Fold.
func appendFolded(b []byte, s string) []byte {
	start := len(b)
	b, _ = appendMapped(b, s)
	mapped := string(b[start:])
	if !utf8.ValidString(mapped) {
		return b
	}
	b = b[:start]
	for _, r := range mapped {
		b = utf8.AppendRune(b, unicode.ToLower(r))
	}
	return b
}
