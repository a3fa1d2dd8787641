package sieve

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// token is a lexical element of a script (RFC 5228, 8.1).
type token struct {
	kind tokenKind
	text string // an identifier or tag in lower case, the content of a string, or a punctuation mark
	num  int64
	line int
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenIdent
	tokenTag
	tokenNumber
	tokenString
	tokenMark
)

// String describes the token in an error.
func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the script"
	case tokenTag:
		return ":" + t.text
	case tokenNumber:
		return "a number"
	case tokenString:
		return "a string"
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer splits a script into tokens.
type lexer struct {
	s    string
	line int
}

// syntaxError is raised by the lexer and the parser and turned into an [Error]
// by parse.
type syntaxError struct {
	line int
	text string
}

func (l *lexer) fail(format string, args ...any) {
	panic(syntaxError{l.line, fmt.Sprintf(format, args...)})
}

// next returns the next token.
func (l *lexer) next() token {
	l.skip()
	t := token{line: l.line}
	if l.s == "" {
		return t
	}
	switch c := l.s[0]; {
	case letter(c):
		t.kind, t.text = tokenIdent, l.word()
		if t.text == "text" && strings.HasPrefix(l.s, ":") {
			l.s = l.s[1:]
			t.kind, t.text = tokenString, l.multiLine()
		}
	case c == ':':
		l.s = l.s[1:]
		if l.s == "" || !letter(l.s[0]) {
			l.fail("a tag needs a name after its colon")
		}
		t.kind, t.text = tokenTag, l.word()
	case digit(c):
		t.kind, t.num = tokenNumber, l.number()
	case c == '"':
		t.kind, t.text = tokenString, l.quoted()
	case strings.IndexByte("{}()[],;", c) >= 0:
		t.kind, t.text = tokenMark, l.s[:1]
		l.s = l.s[1:]
	default:
		r, _ := utf8.DecodeRuneInString(l.s)
		l.fail("unexpected character %q", r)
	}
	return t
}

// skip skips white space and comments.
func (l *lexer) skip() {
	for l.s != "" {
		switch c := l.s[0]; {
		case c == '\n':
			l.line++
			l.s = l.s[1:]
		case c == ' ' || c == '\t' || c == '\r':
			l.s = l.s[1:]
		case c == '#':
			end := strings.IndexByte(l.s, '\n')
			if end < 0 {
				end = len(l.s)
			}
			l.s = l.s[end:]
		case strings.HasPrefix(l.s, "/*"):
			end := strings.Index(l.s[2:], "*/")
			if end < 0 {
				l.fail("a comment is not closed")
			}
			l.line += strings.Count(l.s[:end+2], "\n")
			l.s = l.s[end+4:]
		default:
			return
		}
	}
}

// word reads an identifier and returns it in lower case.
func (l *lexer) word() string {
	n := 0
	for n < len(l.s) && (letter(l.s[n]) || digit(l.s[n])) {
		n++
	}
	w := strings.ToLower(l.s[:n])
	l.s = l.s[n:]
	return w
}

// number reads a number with an optional quantifier K, M or G.
func (l *lexer) number() int64 {
	n := int64(0)
	for l.s != "" && digit(l.s[0]) {
		if n > (math.MaxInt64>>30-9)/10 {
			l.fail("number too large")
		}
		n = n*10 + int64(l.s[0]-'0')
		l.s = l.s[1:]
	}
	if l.s == "" || !letter(l.s[0]) {
		return n
	}
	switch q := l.word(); q {
	case "k":
		return n << 10
	case "m":
		return n << 20
	case "g":
		return n << 30
	default:
		l.fail("unknown quantifier %q after a number; K, M or G is allowed", q)
	}
	return 0
}

// quoted reads a quoted string.
func (l *lexer) quoted() string {
	start := l.line
	var b strings.Builder
	for i := 1; i < len(l.s); i++ {
		switch c := l.s[i]; c {
		case '"':
			l.s = l.s[i+1:]
			return crlf(b.String())
		case '\\':
			if i++; i < len(l.s) {
				b.WriteByte(l.s[i])
				if l.s[i] == '\n' {
					l.line++
				}
			}
		case '\n':
			l.line++
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	l.line = start
	l.fail("a string is not closed")
	return ""
}

// multiLine reads the rest of a multi-line string, after "text:".
func (l *lexer) multiLine() string {
	line, rest, ok := strings.Cut(l.s, "\n")
	line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t")
	if !ok || line != "" && line[0] != '#' {
		l.fail("text: must be the last word of its line")
	}
	start := l.line
	l.line++
	var b strings.Builder
	for {
		line, after, ok := strings.Cut(rest, "\n")
		rest = after
		if strings.TrimSuffix(line, "\r") == "." {
			l.s = rest
			l.line++
			return crlf(b.String())
		}
		if !ok {
			l.line = start
			l.fail("the text: string is not closed by a line with a single dot")
		}
		l.line++
		b.WriteString(strings.TrimPrefix(line, "."))
		b.WriteByte('\n')
	}
}

// crlf returns s with CRLF line endings, as strings in a script have whatever
// the file uses.
func crlf(s string) string {
	if strings.IndexByte(s, '\n') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

func digit(c byte) bool { return c >= '0' && c <= '9' }
