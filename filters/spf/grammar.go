package spf

import (
	"regexp"
	"strings"
)

// The grammar of a record is given in RFC 7208, 12. The spf package stops at
// the first term that matches and is lenient about domains, but a record with
// an error anywhere results in permerror (4.6), even if an earlier term
// matches.
const (
	macroExpand = `%(?:\{[slodiphvSLODIPHV][0-9]*[rR]?[-.+,/_=]*\}|[%_-])`
	macroText   = `(?:` + macroExpand + `|[\x21-\x24\x26-\x7e])*`
	topLabel    = `(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])`
	domainSpec  = macroText + `(?:\.` + topLabel + `\.?|` + macroExpand + `)`
	cidr4       = `(?:/(?:0|[1-9][0-9]?))?`
	cidr6       = `(?:/(?:0|[1-9][0-9]{0,2}))?`
	dualCIDR    = cidr4 + `(?://(?:0|[1-9][0-9]{0,2}))?`
)

var (
	directive = regexp.MustCompile(`^[-+?~]?(?i:all|include:` + domainSpec + `|(?:a|mx)(?::` + domainSpec + `)?` + dualCIDR +
		`|ptr(?::` + domainSpec + `)?|ip4:[0-9.]+` + cidr4 + `|ip6:[0-9a-f:.]+` + cidr6 + `|exists:` + domainSpec + `)$`)
	named    = regexp.MustCompile(`^(?i:(redirect|exp))=` + domainSpec + `$`)
	modifier = regexp.MustCompile(`^[A-Za-z][-A-Za-z0-9_.]*=` + macroText + `$`)
)

// wellFormed reports whether the whole record follows the grammar.
func wellFormed(record string) bool {
	seen := map[string]bool{}
	for term := range strings.SplitSeq(record, " ") {
		name, _, isModifier := strings.Cut(strings.ToLower(term), "=")
		switch {
		case term == "" || strings.EqualFold(term, "v=spf1"), directive.MatchString(term):
		case isModifier && (name == "redirect" || name == "exp"):
			if seen[name] || !named.MatchString(term) {
				return false
			}
			seen[name] = true
		case !modifier.MatchString(term):
			return false
		}
	}
	return true
}

// isRecord reports whether a text is an SPF record (RFC 7208, 4.5).
func isRecord(txt string) bool {
	return len(txt) >= 6 && strings.EqualFold(txt[:6], "v=spf1") && (len(txt) == 6 || txt[6] == ' ')
}
