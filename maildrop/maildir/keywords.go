package maildir

import (
	"fmt"
	"strconv"
	"strings"
)

// KeywordsFile is the file that names the keyword letters of a folder.
const KeywordsFile = "dovecot-keywords"

// Keywords holds the names of the keyword letters, or "" for unused letters.
type Keywords [MaxLetters]string

// ParseKeywords parses a dovecot-keywords file and skips invalid lines.
func ParseKeywords(text string) Keywords {
	var k Keywords
	for line := range strings.Lines(text) {
		num, name, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		n, err := strconv.Atoi(num)
		if !ok || err != nil || n < 0 || n >= MaxLetters || !ValidKeyword(name) || k[n] != "" {
			continue
		}
		k[n] = name
	}
	return k
}

// Bytes returns the contents of the file.
func (k Keywords) Bytes() []byte {
	var b []byte
	for i, name := range k {
		if name != "" {
			b = fmt.Appendf(b, "%d %s\n", i, name)
		}
	}
	return b
}

// ValidKeyword reports whether name can be a keyword: an atom of RFC 9051 of at
// most 128 octets that does not start with a backslash.
func ValidKeyword(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return true
}
