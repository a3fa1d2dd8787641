package wire

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"
)

// Parser takes one command apart. The first mistake stays: from then on every
// call returns a zero value, so that only Err need be looked at, at the end.
type Parser struct {
	b   []byte
	i   int
	err error
}

// NewParser returns a parser of a command as Reader.Command gives it.
func NewParser(cmd []byte) *Parser { return &Parser{b: cmd} }

// Err is the first mistake, a *SyntaxError.
func (p *Parser) Err() error { return p.err }

// Rest is what has not been read.
func (p *Parser) Rest() []byte { return p.b[p.i:] }

// End demands that nothing be left, and returns Err.
func (p *Parser) End() error {
	if p.err == nil && p.i < len(p.b) {
		p.fail("unexpected %q at the end", p.near())
	}
	return p.err
}

// Fail makes the command a mistake for a reason that only its caller knows.
func (p *Parser) Fail(why string) { p.fail("%s", why) }

func (p *Parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = syntax(format, args...)
	}
}

// near is a bit of what comes next, fit to be shown.
func (p *Parser) near() string {
	return strings.ToValidUTF8(string(p.b[p.i:min(len(p.b), p.i+20)]), "?")
}

// peek is the next octet, 0 at the end or after a mistake.
func (p *Parser) peek() byte {
	if p.err != nil || p.i >= len(p.b) {
		return 0
	}
	return p.b[p.i]
}

// take reads the octet c if it is next.
func (p *Parser) take(c byte) bool {
	if p.peek() != c || c == 0 {
		return false
	}
	p.i++
	return true
}

// want demands the octet c.
func (p *Parser) want(c byte) {
	if !p.take(c) {
		p.fail("expected %q before %q", string(c), p.near())
	}
}

// SP demands one space.
func (p *Parser) SP() { p.want(' ') }

// Close demands a closing parenthesis.
func (p *Parser) Close() { p.want(')') }

// More tells whether something follows, and reads the space before it.
func (p *Parser) More() bool { return p.i < len(p.b) && p.take(' ') }

func (p *Parser) run(ok func(byte) bool) string {
	if p.err != nil {
		return ""
	}
	start := p.i
	for p.i < len(p.b) && ok(p.b[p.i]) {
		p.i++
	}
	return string(p.b[start:p.i])
}

const (
	classAtom = 1 << iota
	classAString
	classTag
	classList
)

var classes = func() (t [256]byte) {
	for c := 0x21; c < 0x7f; c++ {
		t[c] = classAtom | classAString | classTag | classList
	}
	for _, c := range []byte(`(){%*"\`) {
		t[c] = 0
	}
	for _, c := range []byte("%*") {
		t[c] = classList
	}
	t[']'] = classAString | classTag | classList
	t['+'] &^= classTag
	return t
}()

func atomChar(c byte) bool    { return classes[c]&classAtom != 0 }
func astringChar(c byte) bool { return classes[c]&classAString != 0 }
func tagChar(c byte) bool     { return classes[c]&classTag != 0 }
func listChar(c byte) bool    { return classes[c]&classList != 0 || c >= 0x80 }
func digit(c byte) bool       { return c >= '0' && c <= '9' }

// Tag reads a command's tag.
func (p *Parser) Tag() string {
	t := p.run(tagChar)
	if t == "" {
		p.fail("missing tag")
	}
	return t
}

// Command reads a command's name, in upper case.
func (p *Parser) Command() string {
	n := strings.ToUpper(p.run(atomChar))
	if n == "" {
		p.fail("missing command")
	}
	return n
}

// Atom reads an atom.
func (p *Parser) Atom() string {
	a := p.run(atomChar)
	if a == "" {
		p.fail("expected an atom before %q", p.near())
	}
	return a
}

// word reads an atom in upper case.
func (p *Parser) word() string { return strings.ToUpper(p.Atom()) }

// label reads the letters, digits, dots and signs of a keyword, upper case.
func (p *Parser) label() string {
	return strings.ToUpper(p.run(func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || digit(c) || c == '.' || c == '-' || c == '='
	}))
}

// AString reads an atom (with "]") or a string.
func (p *Parser) AString() string {
	if c := p.peek(); c == '"' || c == '{' || c == '~' && p.i+1 < len(p.b) && p.b[p.i+1] == '{' {
		return p.String()
	}
	s := p.run(astringChar)
	if s == "" {
		p.fail("expected a string before %q", p.near())
	}
	return s
}

// NString reads a string or NIL; ok is false for NIL.
func (p *Parser) NString() (s string, ok bool) {
	if c := p.peek(); c != '"' && c != '{' {
		if w := p.word(); w != "NIL" {
			p.fail("expected a string or NIL")
		}
		return "", false
	}
	return p.String(), true
}

// String reads a quoted string or a literal.
func (p *Parser) String() string {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '~', '{':
		return p.literal()
	}
	p.fail("expected a string before %q", p.near())
	return ""
}

func (p *Parser) quoted() string {
	p.i++
	var b []byte
	for start := p.i; p.i < len(p.b); p.i++ {
		switch c := p.b[p.i]; c {
		case '"':
			s := p.b[start:p.i]
			if b != nil {
				s = append(b, s...)
			}
			p.i++
			if !utf8.Valid(s) {
				p.fail("quoted string is not UTF-8")
				return ""
			}
			return string(s)
		case '\\':
			b = append(b, p.b[start:p.i]...)
			if b == nil {
				b = []byte{}
			}
			if p.i+1 == len(p.b) || p.b[p.i+1] != '"' && p.b[p.i+1] != '\\' {
				p.fail("bad escape in quoted string")
				return ""
			}
			p.i++
			start = p.i
		case 0, '\r', '\n':
			p.fail("bad character in quoted string")
			return ""
		}
	}
	p.fail("quoted string has no end")
	return ""
}

// literal reads the literal that the reader put into the command.
func (p *Parser) literal() string {
	eol := bytes.IndexByte(p.b[p.i:], '\n')
	if eol < 0 {
		p.fail("bad literal")
		return ""
	}
	line := p.b[p.i : p.i+eol+1]
	lit, start, ok := literal(line)
	body := p.i + eol + 1
	if !ok || start != 0 || lit.Size > int64(len(p.b)-body) {
		p.fail("bad literal")
		return ""
	}
	p.i = body + int(lit.Size)
	s := p.b[body:p.i]
	if bytes.IndexByte(s, 0) >= 0 {
		p.fail("NUL in a literal")
		return ""
	}
	return string(s)
}

// ListMailbox reads a mailbox pattern: what Mailbox reads, with wildcards.
func (p *Parser) ListMailbox() string {
	if c := p.peek(); c == '"' || c == '{' {
		return p.String()
	}
	s := p.run(listChar)
	if s == "" {
		p.fail("expected a pattern before %q", p.near())
	}
	return s
}

// Number reads an unsigned number of 32 bits.
func (p *Parser) Number() uint32 {
	n := p.Number64()
	if n > 1<<32-1 {
		p.fail("number too large")
	}
	return uint32(n)
}

// Number64 reads an unsigned number of 63 bits.
func (p *Parser) Number64() uint64 {
	s := p.run(digit)
	if s == "" {
		p.fail("expected a number before %q", p.near())
		return 0
	}
	if len(s) > 20 {
		p.fail("number too large")
		return 0
	}
	var n uint64
	for _, c := range []byte(s) {
		if n > (1<<63-1)/10 {
			p.fail("number too large")
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	if n > 1<<63-1 {
		p.fail("number too large")
		return 0
	}
	return n
}

// list reads "(" elements separated by spaces ")"; empty says whether it may
// be "()".
func (p *Parser) list(empty bool, element func()) {
	p.want('(')
	if empty && p.take(')') {
		return
	}
	for n := 0; p.err == nil; n++ {
		if n == maxItems {
			p.fail("list too long")
			return
		}
		element()
		if p.take(')') {
			return
		}
		p.SP()
	}
}

// Flags reads a list of flags in parentheses.
func (p *Parser) Flags() []string {
	var f []string
	p.list(true, func() { f = append(f, p.flag()) })
	return f
}

// flagsOrList reads flags with or without parentheses, as STORE has them.
func (p *Parser) flagsOrList() []string {
	if p.peek() == '(' {
		return p.Flags()
	}
	f := []string{p.flag()}
	for p.err == nil && p.More() {
		if f = append(f, p.flag()); len(f) > maxItems {
			p.fail("list too long")
		}
	}
	return f
}

func (p *Parser) flag() string {
	if p.take('\\') {
		return `\` + p.Atom()
	}
	return p.Atom()
}

// DateTime reads an INTERNALDATE in quotes, as in " 5-Feb-1994 21:52:25 -0800".
func (p *Parser) DateTime() time.Time {
	if p.peek() != '"' {
		p.fail("expected a date before %q", p.near())
		return time.Time{}
	}
	s := p.quoted()
	if p.err != nil {
		return time.Time{}
	}
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", s)
	if err != nil {
		if t, err = time.Parse("2-Jan-2006 15:04:05 -0700", strings.TrimLeft(s, " ")); err != nil {
			p.fail("bad date %q", s)
		}
	}
	return t
}

// Date reads a search date, as in 1-Feb-1994, with or without quotes.
func (p *Parser) Date() time.Time {
	s := p.AString()
	if p.err != nil {
		return time.Time{}
	}
	t, err := time.Parse("2-Jan-2006", s)
	if err != nil {
		p.fail("bad date %q", s)
	}
	return t
}
