package mail

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"hoplite/mail/safe"
)

// Address is an envelope address, local@domain, as returned by [ParseAddress].
// The local part is as the client wrote it, but quoted only if necessary (RFC
// 5321, 4.1.2). The domain is in lower case but otherwise as the client spelled
// it. This is the form for the wire and for display; [Address.Key] returns the
// form for comparison. The empty Address is the null reverse path.
type Address string

// Limits of RFC 5321, 4.5.3.1, in octets.
const (
	maxLocal  = 64
	maxDomain = 255
	maxPath   = 254 // excluding the angle brackets
)

// The errors of ParseAddress.
var (
	ErrAddressSyntax = errors.New("not an address of the form local@domain")
	ErrAddressLong   = errors.New("address longer than RFC 5321 allows")
	ErrDomain        = errors.New("not a valid domain")
)

// ParseAddress parses the text between the angle brackets of MAIL or RCPT: a
// local part, quoted or not, and a domain or address literal. Source routes are
// not accepted. Two forms that RFC 5321 forbids but real mail contains are
// accepted: misplaced dots in the local part (a..b, a.), which are kept, and a
// final dot after the domain, which is removed. UTF-8 is accepted (RFC 6531),
// except for control characters and characters that change the direction of
// text; [Address.NeedsUTF8] reports whether the address uses it.
func ParseAddress(s string) (Address, error) {
	if len(s) > maxPath {
		return "", ErrAddressLong
	}
	local, domain, quoted, err := cutLocal(s)
	if err != nil {
		return "", err
	}
	if domain, err = checkParts(local, domain); err != nil {
		return "", err
	}
	if quoted {
		local = QuoteLocal(local)
	}
	if len(local)+1+len(domain) == len(s) && s[len(local)+1:] == domain && s[:len(local)] == local {
		return Address(s), nil
	}
	return Address(local + "@" + domain), nil
}

// Join returns the Address with the given domain and local part, which must be
// without quotes and backslashes.
func Join(local, domain string) (Address, error) {
	domain, err := checkParts(local, domain)
	if err != nil {
		return "", err
	}
	return Address(QuoteLocal(local) + "@" + domain), nil
}

// checkParts checks an unquoted local part and a domain, and returns the domain
// as it appears in an Address.
func checkParts(local, domain string) (string, error) {
	if local == "" || !cleanText(local) {
		return "", ErrAddressSyntax
	}
	if len(local) > maxLocal {
		return "", ErrAddressLong
	}
	domain = foldDomain(domain)
	if !validDomain(domain) {
		return "", ErrDomain
	}
	return domain, nil
}

// ParseDomain returns the normal form of a domain or address literal, which is
// the same for all spellings of a domain: lower case, A-labels, and no final
// dot.
func ParseDomain(s string) (string, error) {
	s = foldDomain(s)
	if !validDomain(s) {
		return "", ErrDomain
	}
	return asciiDomain(s)
}

// foldDomain returns a domain in lower case and NFC, without its final dot.
func foldDomain(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if !isASCII(s) {
		s = norm.NFC.String(s)
	}
	return s
}

// cutLocal splits s into the unquoted local part and the text after its @.
func cutLocal(s string) (local, rest string, quoted bool, err error) {
	if !strings.HasPrefix(s, `"`) {
		local, rest, ok := strings.Cut(s, "@")
		if !ok || !atoms(local) {
			return "", "", false, ErrAddressSyntax
		}
		return local, rest, false, nil
	}
	var plain strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			if i++; i == len(s) {
				return "", "", true, ErrAddressSyntax
			}
			plain.WriteByte(s[i])
		case '"':
			if i+1 == len(s) || s[i+1] != '@' {
				return "", "", true, ErrAddressSyntax
			}
			return plain.String(), s[i+2:], true, nil
		default:
			plain.WriteByte(c)
		}
	}
	return "", "", true, ErrAddressSyntax
}

// QuoteLocal returns an unquoted local part in the form used in an address (RFC
// 5321), quoted if necessary.
func QuoteLocal(plain string) string {
	if dotString(plain) {
		return plain
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(plain) {
		if c := plain[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(plain[i])
	}
	b.WriteByte('"')
	return b.String()
}

// cleanText reports whether s is UTF-8 that cannot break out of a line, even in
// quotes. The two joiners are allowed, because words in Persian and Indic
// scripts need them.
func cleanText(s string) bool {
	for _, r := range s {
		if safe.Hidden(r) && r != '\u200c' && r != '\u200d' {
			return false
		}
	}
	return true
}

// dotString reports whether s is a Dot-string of RFC 5321, 4.1.2, with the
// UTF-8 of RFC 6531.
func dotString(s string) bool {
	return atoms(s) && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// atoms reports whether s may be used as a local part without quotes. Misplaced
// dots are allowed, because some providers assign addresses such as a..b and a.
func atoms(s string) bool {
	only := true // s consists of dots only
	for i := range len(s) {
		c := s[i]
		if c < 0x80 && c != '.' && !atext(c) {
			return false
		}
		only = only && c == '.'
	}
	return !only && utf8.ValidString(s)
}

func atext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// validDomain accepts host names, U-labels and address literals. Host names may
// contain underscores, as some real ones do.
func validDomain(s string) bool {
	if s == "" || len(s) > maxDomain {
		return false
	}
	if s[0] == '[' {
		_, ok := literal(s)
		return ok
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c < 0x80 && c != '-' && c != '_' && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') {
				return false
			}
		}
	}
	if !utf8.ValidString(s) {
		return false
	}
	_, err := asciiDomain(s)
	return err == nil
}

// literal parses [192.0.2.1] and [ipv6:2001:db8::1] (RFC 5321, 4.1.3).
func literal(s string) (netip.Addr, bool) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(s, "["), "]")
	if !ok {
		return netip.Addr{}, false
	}
	six, isSix := strings.CutPrefix(inner, "ipv6:")
	addr, err := netip.ParseAddr(six)
	if err != nil || addr.Zone() != "" || addr.Is6() != isSix {
		return netip.Addr{}, false
	}
	return addr, true
}

// asciiDomain converts U-labels to A-labels. It refuses code points that map to
// a dot or an ASCII letter, so that a full-width name cannot be an alternative
// spelling of an ASCII name.
func asciiDomain(s string) (string, error) {
	if isASCII(s) {
		return s, nil
	}
	return idna.Registration.ToASCII(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Local returns the local part without quotes.
func (a Address) Local() string {
	local, _, _, err := cutLocal(string(a))
	if err != nil {
		return string(a)
	}
	return local
}

// Domain returns the text after the last @, in lower case. It is empty for the
// null path.
func (a Address) Domain() string {
	return string(a[strings.LastIndexByte(string(a), '@')+1:])
}

// ASCIIDomain returns the normal form of the domain, for lookups and
// comparisons.
func (a Address) ASCIIDomain() string {
	d, err := asciiDomain(a.Domain())
	if err != nil {
		return a.Domain()
	}
	return d
}

// ASCII returns the address with A-labels, which can be sent without SMTPUTF8;
// ok is false if the local part needs SMTPUTF8.
func (a Address) ASCII() (ascii Address, ok bool) {
	if !a.NeedsUTF8() {
		return a, true
	}
	i := strings.LastIndexByte(string(a), '@')
	if i < 0 || !isASCII(string(a[:i])) {
		return a, false
	}
	ascii = a[:i+1] + Address(a.ASCIIDomain())
	return ascii, !ascii.NeedsUTF8()
}

// Literal returns the IP address of a domain literal.
func (a Address) Literal() (netip.Addr, bool) {
	d := a.Domain()
	if !strings.HasPrefix(d, "[") {
		return netip.Addr{}, false
	}
	return literal(d)
}

// Key returns the normal form of the address, which is the same for all its
// spellings. The local part is in lower case and quoted only if necessary; the
// domain has A-labels.
func (a Address) Key() string { return Key(string(a)) }

// Key returns the normal form of an address, or of a login name without a
// domain. Invalid addresses are folded as far as possible.
func Key(s string) string {
	if isKey(s) {
		return s
	}
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return foldText(s)
	}
	local, domain := foldText(s[:i]), foldDomain(strings.TrimRight(s[i+1:], "."))
	if ascii, err := asciiDomain(domain); err == nil {
		domain = ascii
	}
	if plain, rest, quoted, err := cutLocal(local + "@"); err == nil && quoted && rest == "" {
		if local = plain; !atoms(local) {
			local = QuoteLocal(local)
		}
	}
	return local + "@" + domain
}

// Fold returns an address in the form used for account names: lower case, NFC,
// and no final dot, but with the domain spelling otherwise unchanged.
func Fold(s string) string {
	if isKey(s) {
		return s
	}
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return foldText(s)
	}
	return foldText(s[:i]) + "@" + foldDomain(strings.TrimRight(s[i+1:], "."))
}

// isKey is a quick check for addresses that are certainly already in the form
// returned by Key, as nearly all are: ASCII, lower case, unquoted.
func isKey(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' || c == '"' {
			return false
		}
	}
	return s == "" || s[len(s)-1] != '.'
}

// foldText returns a local part in lower case. Non-ASCII text is normalised to
// NFC before and after, because lower-casing can decompose characters.
func foldText(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

// NeedsUTF8 reports whether the address, as spelled, can be sent only with
// SMTPUTF8.
func (a Address) NeedsUTF8() bool { return !isASCII(string(a)) }

// String returns the address as it appears between angle brackets.
func (a Address) String() string { return string(a) }
