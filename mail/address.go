package mail

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Address is a mailbox of the envelope in canonical form, local@domain: the
// local part is quoted when it must be and never otherwise (RFC 5321, 4.1.2),
// the domain is in lower case. The empty Address is the null reverse path.
type Address string

// The limits of RFC 5321, 4.5.3.1, in octets.
const (
	maxLocal  = 64
	maxDomain = 255
	maxPath   = 254 // without the angle brackets
)

// The errors of ParseAddress.
var (
	ErrAddressSyntax = errors.New("not an address of the form local@domain")
	ErrAddressLong   = errors.New("address longer than RFC 5321 allows")
	ErrDomain        = errors.New("not a valid domain")
)

// ParseAddress reads an address as it stands between the angle brackets of
// MAIL or RCPT: dot-string or quoted local part, domain or address literal, no
// source route. UTF-8 is taken (RFC 6531); ask NeedsUTF8 whether it was used.
func ParseAddress(s string) (Address, error) {
	if len(s) > maxPath {
		return "", ErrAddressLong
	}
	local, rest, err := cutLocal(s)
	if err != nil {
		return "", err
	}
	return Join(local, rest)
}

// Join makes an Address of a local part in plain form, without quotes or
// backslashes, and a domain.
func Join(local, domain string) (Address, error) {
	if local == "" || !cleanText(local) {
		return "", ErrAddressSyntax
	}
	if len(local) > maxLocal {
		return "", ErrAddressLong
	}
	if domain = strings.ToLower(domain); !validDomain(domain) {
		return "", ErrDomain
	}
	return Address(QuoteLocal(local) + "@" + domain), nil
}

// cutLocal splits s into the plain local part and what follows its @.
func cutLocal(s string) (local, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		local, rest, ok := strings.Cut(s, "@")
		if !ok || !dotString(local) {
			return "", "", ErrAddressSyntax
		}
		return local, rest, nil
	}
	var plain strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			if i++; i == len(s) {
				return "", "", ErrAddressSyntax
			}
			plain.WriteByte(s[i])
		case '"':
			if i+1 == len(s) || s[i+1] != '@' {
				return "", "", ErrAddressSyntax
			}
			return plain.String(), s[i+2:], nil
		default:
			plain.WriteByte(c)
		}
	}
	return "", "", ErrAddressSyntax
}

// QuoteLocal writes a plain local part as it stands in an address.
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

// cleanText refuses what could break out of a line, in quotes too.
func cleanText(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// dotString tells whether s is a Dot-string of RFC 5321, 4.1.2, with the
// UTF-8 of RFC 6531.
func dotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") || !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '.' && c < 0x80 && !atext(c) {
			return false
		}
	}
	return true
}

func atext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// validDomain takes host names (with the underscore that real ones have),
// U-labels and address literals.
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

// literal reads [192.0.2.1] and [IPv6:2001:db8::1] (RFC 5321, 4.1.3).
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

// asciiDomain turns U-labels into A-labels for look-ups and comparisons. It
// refuses the code points that stand for a dot or an ASCII letter, so that a
// full-width name is not a second spelling of ours.
func asciiDomain(s string) (string, error) {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return idna.Registration.ToASCII(s)
		}
	}
	return s, nil
}

// Local is the local part in plain form, without quotes.
func (a Address) Local() string {
	local, _, err := cutLocal(string(a))
	if err != nil {
		return string(a)
	}
	return local
}

// Domain is what follows the last @, in lower case; empty for the null path.
func (a Address) Domain() string {
	return string(a[strings.LastIndexByte(string(a), '@')+1:])
}

// ASCIIDomain is Domain with A-labels, as DNS and comparisons want it.
func (a Address) ASCIIDomain() string {
	d, err := asciiDomain(a.Domain())
	if err != nil {
		return a.Domain()
	}
	return d
}

// Literal is the address of a domain literal.
func (a Address) Literal() (netip.Addr, bool) {
	d := a.Domain()
	if !strings.HasPrefix(d, "[") {
		return netip.Addr{}, false
	}
	return literal(d)
}

// Key is the form in which two addresses are compared when they should be
// taken for the same mailbox: everything in lower case, A-labels.
func (a Address) Key() string {
	if a == "" {
		return ""
	}
	i := strings.LastIndexByte(string(a), '@')
	return strings.ToLower(string(a[:i+1])) + a.ASCIIDomain()
}

// NeedsUTF8 tells whether the address can only travel with SMTPUTF8.
func (a Address) NeedsUTF8() bool {
	for i := range len(a) {
		if a[i] >= 0x80 {
			return true
		}
	}
	return false
}

// String is the address as it stands between angle brackets.
func (a Address) String() string { return string(a) }
