package maildir

import (
	"fmt"
	"strconv"
	"strings"
)

// KeywordsFile is where a folder's keyword letters have their names.
const KeywordsFile = "dovecot-keywords"

// Keywords are the names of the keyword letters, "" where a letter has none.
type Keywords [MaxLetters]string

// ParseKeywords reads a dovecot-keywords file; lines of another form are
// passed over.
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

// Bytes writes the file.
func (k Keywords) Bytes() []byte {
	var b []byte
	for i, name := range k {
		if name != "" {
			b = fmt.Appendf(b, "%d %s\n", i, name)
		}
	}
	return b
}

// ValidKeyword tells whether name can be a keyword: an atom of RFC 9051 that
// does not begin with a backslash, of at most 128 octets.
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
