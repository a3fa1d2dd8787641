package authres

import (
	"strings"
	"unicode"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// Ours finds the Authentication-Results fields of a header block that a reader
// might attribute to a server with one of the given names. If the message
// arrived with them, that server did not add them, and they must be removed
// (RFC 8601, 5).
//
// The name is recognised in any spelling: followed by a version, in possibly
// unterminated quotes, as an encoded word, with escapes, with comments or white
// space around its dots, and with U-labels in place of A-labels. If unnamed is
// true, fields that name no server are included, because readers that accept
// such fields attribute them to the last server.
func Ours(head []byte, names func() []string, unnamed bool) []mail.Span {
	var spans []mail.Span
	var own []string
	for f := range mail.Fields(head) {
		if !f.Is("Authentication-Results") {
			continue
		}
		if own == nil {
			own = names()
		}
		if claims(f, own, unnamed) {
			spans = append(spans, f.Span)
		}
	}
	return spans
}

// claims reports whether one of the names can be read as the authserv-id of a
// field or, if unnamed is true, whether the field has none.
func claims(f mail.Field, names []string, unnamed bool) bool {
	value := string(mime.Unfold(nil, f.Value()))
	plain, _, _ := strings.Cut(withoutComments(value), ";")
	if unnamed && !named(plain) {
		return true
	}
	first, _, _ := strings.Cut(value, ";")
	first = mime.DecodeWords(first)
	for _, reading := range []string{plain, mime.DecodeWords(plain), first, withoutComments(first)} {
		for word := range strings.FieldsFuncSeq(plainID(reading), isNotDomain) {
			for _, name := range names {
				if sameDomain(word, name) {
					return true
				}
			}
		}
	}
	return false
}

// named reports whether the part of a field before the first semicolon, without
// comments, begins with an authserv-id and not with a result such as
// "dkim/1 = pass".
func named(s string) bool {
	method, _, result := strings.Cut(s, "=")
	if result {
		method, _, _ = strings.Cut(method, "/")
		return strings.ContainsAny(strings.TrimSpace(method), " \t")
	}
	return strings.Trim(s, "\" \t") != ""
}

// withoutComments removes comments. An unterminated comment extends to the end
// of the text.
func withoutComments(s string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			if i++; depth == 0 {
				b.WriteString(s[i-1 : i+1])
			}
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// plainID removes quotes, escapes, invisible characters, and the white space
// around dots. Other dots of IDNA become ASCII dots (RFC 3490, 3.1).
func plainID(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '"', r == '\\', r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf):
			return -1
		case r == '\u3002', r == '\uff0e', r == '\uff61':
			return '.'
		}
		return r
	}, s)
	labels := strings.Split(s, ".")
	for i := range labels {
		if i > 0 {
			labels[i] = strings.TrimLeft(labels[i], " \t")
		}
		if i < len(labels)-1 {
			labels[i] = strings.TrimRight(labels[i], " \t")
		}
	}
	return strings.Join(labels, ".")
}

// isNotDomain reports whether a character cannot occur in a domain name.
func isNotDomain(r rune) bool {
	return unicode.IsSpace(r) || r < 0x80 && r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
}

// sameDomain compares domains as A-labels, ignoring case and a final dot.
func sameDomain(a, b string) bool {
	a, b = strings.TrimRight(a, "."), strings.TrimRight(b, ".")
	if strings.EqualFold(a, b) {
		return true
	}
	x, err := mail.Join("x", a)
	y, err2 := mail.Join("x", b)
	return err == nil && err2 == nil && x.ASCIIDomain() == y.ASCIIDomain()
}
