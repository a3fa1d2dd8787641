package authres

import (
	"strings"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// lineLength is the length at which lines are folded (RFC 5322, 2.1.1).
const lineLength = 78

// maxText is the maximum number of octets written of a reason or comment.
const maxText = 500

// Field returns a complete, folded field ending in CRLF.
func Field(id string, results []mail.AuthResult) []byte {
	return append(appendList([]byte("Authentication-Results: "), id, results), '\r', '\n')
}

// ARCField returns the ARC-Authentication-Results field of an instance (RFC
// 8617, 4.1.1) without a final CRLF.
func ARCField(instance, id string, results []mail.AuthResult) []byte {
	return appendList([]byte("ARC-Authentication-Results: i="+instance+"; "), id, results)
}

func appendList(b []byte, id string, results []mail.AuthResult) []byte {
	w := &folder{out: b, col: len(b)}
	w.add(quote(id))
	n := 0
	for i := range results {
		if words := resultWords(&results[i]); words != nil {
			w.out = append(w.out, ";\r\n\t"...)
			w.col = 8
			w.fresh = true
			for _, word := range words {
				w.add(word)
			}
			n++
		}
	}
	if n == 0 {
		w.out = append(w.out, "; none"...)
	}
	return w.out
}

// folder wraps words into lines.
type folder struct {
	out   []byte
	col   int
	fresh bool // the line is still empty
}

func (w *folder) add(word string) {
	switch {
	case w.fresh || w.col > 0 && w.out[len(w.out)-1] == ' ':
	case w.col+1+len(word) > lineLength:
		w.out = append(w.out, "\r\n\t  "...)
		w.col = 10
	default:
		w.out = append(w.out, ' ')
		w.col++
	}
	w.out = append(w.out, word...)
	w.col += len(word)
	w.fresh = false
}

// resultWords splits a result into the words between which a line may be
// folded. It returns nil if the result cannot be written.
func resultWords(r *mail.AuthResult) []string {
	method, version, ok := strings.Cut(r.Method, "/")
	if !isKeyword(method) || !isKeyword(r.Value) {
		return nil
	}
	if ok {
		method += "/" + strings.Map(digit, version)
	}
	words := []string{method + "=" + r.Value}
	if r.Comment != "" {
		words = append(words, comment(r.Comment))
	}
	if r.Reason != "" {
		words = append(words, "reason="+quote(r.Reason))
	}
	for _, p := range r.Props {
		if p.Value != "" && isKeyword(p.Type) && isKeyword(p.Name) {
			words = append(words, p.Type+"."+p.Name+"="+quoteProp(p.Value))
		}
	}
	return words
}

func digit(r rune) rune {
	if r < '0' || r > '9' {
		return -1
	}
	return r
}

func isKeyword(s string) bool {
	scan := scanner{in: s}
	return s != "" && scan.word() == s
}

// quoteProp returns a pvalue; addresses and domains are not quoted.
func quoteProp(v string) string {
	if local, domain, ok := strings.Cut(v, "@"); ok && (local == "" || isToken(local)) && isToken(domain) {
		return v
	}
	if a, err := mail.ParseAddress(v); err == nil && a != "" {
		return string(a) // the grammar allows quoted local parts
	}
	return quote(v)
}

// quote returns a value: a token (RFC 2045, 5.1) is unchanged, and anything
// else is quoted.
func quote(v string) string {
	if isToken(v) {
		return v
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range safe.Clip(safe.Header(v), maxText) {
		if r == '"' || r == '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String()
}

func comment(v string) string {
	return "(" + strings.NewReplacer("(", "\\(", ")", "\\)", "\\", "\\\\").Replace(safe.Clip(safe.Header(v), maxText)) + ")"
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?=", c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 500
}
