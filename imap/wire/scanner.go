package wire

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// scanner reads the tokens of a command: atoms, strings, numbers, lists and
// dates. It advances an index over the command's octets. It records the first
// error, after which every call returns a zero value, so callers need to check
// Err only at the end.
type scanner struct {
	b   []byte
	i   int
	err error
}

// Err returns the first error, a *SyntaxError.
func (p *scanner) Err() error { return p.err }

// End sets an error unless the whole command has been read, and returns Err.
func (p *scanner) End() error {
	if p.err == nil && p.i < len(p.b) {
		p.fail("Unexpected %q at the end", p.near())
	}
	return p.err
}

// Fail sets an error for a reason found by the caller.
func (p *scanner) Fail(why string) { p.fail("%s", why) }

func (p *scanner) fail(format string, args ...any) {
	if p.err == nil {
		p.err = &SyntaxError{fmt.Sprintf(format, args...)}
	}
}

// near returns the beginning of the unread text, for error messages.
func (p *scanner) near() string {
	return strings.ToValidUTF8(string(p.b[p.i:min(len(p.b), p.i+20)]), "?")
}

// peek returns the next octet, or 0 at the end or after an error.
func (p *scanner) peek() byte {
	if p.err != nil || p.i >= len(p.b) {
		return 0
	}
	return p.b[p.i]
}

// take reads the octet c if it is next.
func (p *scanner) take(c byte) bool {
	if p.peek() != c || c == 0 {
		return false
	}
	p.i++
	return true
}

// want reads the octet c, or sets an error if another octet is next.
func (p *scanner) want(c byte) {
	if !p.take(c) {
		p.fail("Expected %q before %q", string(c), p.near())
	}
}

// Done reports whether the whole command has been read without an error.
func (p *scanner) Done() bool { return p.err == nil && p.i == len(p.b) }

// SP reads one space.
func (p *scanner) SP() { p.want(' ') }

// Close reads a closing parenthesis.
func (p *scanner) Close() { p.want(')') }

// More reports whether another argument follows, and reads the space before it.
func (p *scanner) More() bool { return p.i < len(p.b) && p.take(' ') }

// run reads octets while ok accepts them.
func (p *scanner) run(ok func(byte) bool) string {
	if p.err != nil {
		return ""
	}
	start := p.i
	for p.i < len(p.b) && ok(p.b[p.i]) {
		p.i++
	}
	return string(p.b[start:p.i])
}

// The classes of octets in tokens (RFC 9051, 9).
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
func (p *scanner) Tag() string {
	t := p.run(tagChar)
	if t == "" {
		p.fail("Missing tag")
	}
	return t
}

// Command reads a command name and returns it in upper case.
func (p *scanner) Command() string {
	n := strings.ToUpper(p.run(atomChar))
	if n == "" {
		p.fail("Missing command")
	}
	return n
}

// Atom reads an atom.
func (p *scanner) Atom() string {
	a := p.run(atomChar)
	if a == "" {
		p.fail("Expected an atom before %q", p.near())
	}
	return a
}

// word reads an atom and returns it in upper case.
func (p *scanner) word() string { return strings.ToUpper(p.Atom()) }

// label reads a keyword of letters, digits, dots and signs, and returns it in
// upper case.
func (p *scanner) label() string {
	return strings.ToUpper(p.run(func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || digit(c) || c == '.' || c == '-' || c == '='
	}))
}

// AString reads an atom, which may contain "]", or a string.
func (p *scanner) AString() string {
	if c := p.peek(); c == '"' || c == '{' || c == '~' && p.i+1 < len(p.b) && p.b[p.i+1] == '{' {
		return p.String()
	}
	s := p.run(astringChar)
	if s == "" {
		p.fail("Expected a string before %q", p.near())
	}
	return s
}

// NString reads a string or NIL. ok is false for NIL.
func (p *scanner) NString() (s string, ok bool) {
	if c := p.peek(); c != '"' && c != '{' {
		if w := p.word(); w != "NIL" {
			p.fail("Expected a string or NIL")
		}
		return "", false
	}
	return p.String(), true
}

// String reads a quoted string or a literal.
func (p *scanner) String() string {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '~', '{':
		return p.literal()
	}
	p.fail("Expected a string before %q", p.near())
	return ""
}

func (p *scanner) quoted() string {
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
				p.fail("Quoted string is not valid UTF-8")
				return ""
			}
			return string(s)
		case '\\':
			b = append(b, p.b[start:p.i]...)
			if b == nil {
				b = []byte{}
			}
			if p.i+1 == len(p.b) || p.b[p.i+1] != '"' && p.b[p.i+1] != '\\' {
				p.fail("Invalid escape in quoted string")
				return ""
			}
			p.i++
			start = p.i
		case 0, '\r', '\n':
			p.fail("Invalid character in quoted string")
			return ""
		}
	}
	p.fail("Unterminated quoted string")
	return ""
}

// literal reads a literal, which Reader has stored in the command.
func (p *scanner) literal() string {
	s := p.octets()
	if bytes.IndexByte(s, 0) >= 0 {
		p.fail("NUL in a literal")
		return ""
	}
	return string(s)
}

// octets reads a literal that may contain NULs.
func (p *scanner) octets() []byte {
	eol := bytes.IndexByte(p.b[p.i:], '\n')
	if eol < 0 {
		p.fail("Invalid literal")
		return nil
	}
	line := p.b[p.i : p.i+eol+1]
	lit, start, ok := literal(line)
	body := p.i + eol + 1
	if !ok || start != 0 || lit.Size > int64(len(p.b)-body) {
		p.fail("Invalid literal")
		return nil
	}
	p.i = body + int(lit.Size)
	return p.b[body:p.i]
}

// ListMailbox reads a mailbox pattern: a string, or an atom with wildcards.
func (p *scanner) ListMailbox() string {
	if c := p.peek(); c == '"' || c == '{' {
		return p.String()
	}
	s := p.run(listChar)
	if s == "" {
		p.fail("Expected a pattern before %q", p.near())
	}
	return s
}

// Number reads an unsigned 32-bit number.
func (p *scanner) Number() uint32 {
	n := p.Number64()
	if n > 1<<32-1 {
		p.fail("Number too large")
	}
	return uint32(n)
}

// Number64 reads an unsigned 63-bit number.
func (p *scanner) Number64() uint64 {
	s := p.run(digit)
	if s == "" {
		p.fail("Expected a number before %q", p.near())
		return 0
	}
	if len(s) > 20 {
		p.fail("Number too large")
		return 0
	}
	var n uint64
	for _, c := range []byte(s) {
		if n > (1<<63-1)/10 {
			p.fail("Number too large")
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	if n > 1<<63-1 {
		p.fail("Number too large")
		return 0
	}
	return n
}

// list reads parenthesized elements separated by spaces. If empty is set, the
// list may be "()".
func (p *scanner) list(empty bool, element func()) {
	p.want('(')
	if empty && p.take(')') {
		return
	}
	for n := 0; p.err == nil; n++ {
		if n == maxItems {
			p.fail("List too long")
			return
		}
		element()
		if p.take(')') {
			return
		}
		p.SP()
	}
}

// Flags reads a parenthesized list of flags.
func (p *scanner) Flags() []string {
	var f []string
	p.list(true, func() { f = append(f, p.flag()) })
	return f
}

// flagsOrList reads flags with or without parentheses (RFC 9051, 9:
// store-att-flags).
func (p *scanner) flagsOrList() []string {
	if p.peek() == '(' {
		return p.Flags()
	}
	f := []string{p.flag()}
	for p.err == nil && p.More() {
		if f = append(f, p.flag()); len(f) > maxItems {
			p.fail("List too long")
		}
	}
	return f
}

// flag reads a flag or a keyword.
func (p *scanner) flag() string {
	if p.take('\\') {
		return `\` + p.Atom()
	}
	return p.Atom()
}

// DateTime reads a date-time in quotes, for example
// " 5-Feb-1994 21:52:25 -0800".
func (p *scanner) DateTime() time.Time {
	if p.peek() != '"' {
		p.fail("Expected a date before %q", p.near())
		return time.Time{}
	}
	s := p.quoted()
	if p.err != nil {
		return time.Time{}
	}
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", s)
	if err != nil {
		if t, err = time.Parse("2-Jan-2006 15:04:05 -0700", strings.TrimLeft(s, " ")); err != nil {
			p.fail("Invalid date %q", s)
		}
	}
	return t
}

// Date reads a date, for example 1-Feb-1994, with or without quotes.
func (p *scanner) Date() time.Time {
	s := p.AString()
	if p.err != nil {
		return time.Time{}
	}
	t, err := time.Parse("2-Jan-2006", s)
	if err != nil {
		p.fail("Invalid date %q", s)
	}
	return t
}
