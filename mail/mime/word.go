package mime

import (
	"encoding/base64"
	"strings"
)

// DecodeWords decodes the encoded words (RFC 2047) in a header value and
// returns valid UTF-8. Other text, and words in an unknown charset, are left
// unchanged. Adjacent words in the same charset are decoded together, because
// many senders split characters between words.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return valid(s)
	}
	var b strings.Builder
	var run []byte // octets of adjacent words in the same charset
	charset := ""
	flush := func() {
		if charset != "" {
			b.WriteString(DecodeString(charset, string(run)))
		}
		run, charset = run[:0], ""
	}
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		cs, text, n, ok := word(s[i:])
		if !ok {
			flush()
			b.WriteString(valid(s[:i+2]))
			s = s[i+2:]
			continue
		}
		between := s[:i]
		s = s[i+n:]
		// White space between encoded words is not part of the text.
		if charset == "" || strings.Trim(between, " \t\r\n") != "" {
			flush()
			b.WriteString(valid(between))
		} else if cs != charset {
			flush()
		}
		charset = cs
		run = append(run, text...)
	}
	flush()
	b.WriteString(valid(s))
	return b.String()
}

// word parses "=?charset?Q?text?=" at the start of s. n is its length.
func word(s string) (charset, text string, n int, ok bool) {
	const most = 1000 // RFC 2047 allows 75; some senders exceed it
	head := s[2:min(len(s), most)]
	q1 := strings.IndexByte(head, '?')
	if q1 <= 0 || q1+2 >= len(head) || head[q1+2] != '?' {
		return "", "", 0, false
	}
	charset, _, _ = strings.Cut(strings.ToLower(head[:q1]), "*") // RFC 2231, 5: a language
	enc, body := head[q1+1], head[q1+3:]
	end := strings.Index(body, "?=")
	if end < 0 || strings.ContainsAny(charset, " \t\r\n") || !KnownCharset(charset) {
		return "", "", 0, false
	}
	n = 2 + q1 + 3 + end + 2
	switch body = body[:end]; enc {
	case 'Q', 'q':
		return charset, unq(body), n, true
	case 'B', 'b':
		body = strings.TrimRight(body, "= ")
		b, err := base64.RawStdEncoding.DecodeString(body)
		if err != nil && len(b) == 0 && body != "" {
			return "", "", 0, false
		}
		return charset, string(b), n, true
	}
	return "", "", 0, false
}

// unq decodes the Q encoding.
func unq(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			b = append(b, ' ')
		case c == '=' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
