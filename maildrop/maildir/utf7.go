package maildir

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrUTF7 is returned for text that is not valid modified UTF-7.
var ErrUTF7 = errors.New("invalid modified UTF-7")

var utf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// EncodeUTF7 encodes a name in the modified UTF-7 of IMAP4rev1 and Maildir++
// (RFC 3501, 5.1.3).
func EncodeUTF7(s string) string {
	if printable(s) && !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		if c := s[0]; c >= 0x20 && c < 0x7f {
			b.WriteByte(c)
			if c == '&' {
				b.WriteByte('-')
			}
			s = s[1:]
			continue
		}
		n := strings.IndexFunc(s, func(r rune) bool { return r >= 0x20 && r < 0x7f })
		if n < 0 {
			n = len(s)
		}
		units := utf16.Encode([]rune(s[:n]))
		raw := make([]byte, 0, 2*len(units))
		for _, u := range units {
			raw = append(raw, byte(u>>8), byte(u))
		}
		b.WriteString("&" + utf7.EncodeToString(raw) + "-")
		s = s[n:]
	}
	return b.String()
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// DecodeUTF7 decodes modified UTF-7. It accepts only the canonical encoding, so
// that two different names on disk never look the same to a client.
func DecodeUTF7(s string) (string, error) {
	if !printable(s) {
		return "", ErrUTF7
	}
	if !strings.Contains(s, "&") {
		return s, nil
	}
	var b strings.Builder
	for rest := s; rest != ""; {
		i := strings.IndexByte(rest, '&')
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		code, after, ok := strings.Cut(rest[i+1:], "-")
		if !ok {
			return "", ErrUTF7
		}
		rest = after
		if code == "" {
			b.WriteByte('&')
			continue
		}
		raw, err := utf7.DecodeString(code)
		if err != nil || len(raw)%2 != 0 {
			return "", ErrUTF7
		}
		units := make([]uint16, 0, len(raw)/2)
		for j := 0; j < len(raw); j += 2 {
			units = append(units, uint16(raw[j])<<8|uint16(raw[j+1]))
		}
		b.WriteString(string(utf16.Decode(units)))
	}
	out := b.String()
	if strings.ContainsRune(out, utf8.RuneError) || EncodeUTF7(out) != s {
		return "", ErrUTF7
	}
	return out, nil
}
