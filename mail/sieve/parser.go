package sieve

import (
	"strings"
	"unicode/utf8"
)

// node is a command or a test as parsed, before its meaning is checked.
type node struct {
	name  string // in lower case
	line  int
	args  []argument
	tests []*node
	block []*node
	// braces is set if the command has a block, which may be empty.
	braces bool
}

// argument is one argument of a command or test.
type argument struct {
	kind argKind
	tag  string // in lower case, without its colon
	num  int64
	strs []string
	line int
}

type argKind uint8

const (
	argTag argKind = iota
	argNumber
	argString
	argList
)

func (k argKind) String() string {
	return [...]string{"a tag", "a number", "a string", "a list of strings"}[k]
}

// parse returns the commands of a script.
func parse(text []byte) (commands []*node, err *syntaxError) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case syntaxError:
			err = &e
		default:
			panic(e)
		}
	}()
	if len(text) > MaxScript {
		return nil, &syntaxError{1, "script larger than 1 MiB"}
	}
	s := strings.TrimPrefix(string(text), "\ufeff")
	p := &parser{lexer: lexer{s: s, line: 1}}
	if i := invalid(s); i >= 0 {
		p.line += strings.Count(s[:i], "\n")
		p.fail("not valid UTF-8")
	}
	p.advance()
	return p.commands(tokenEnd, ""), nil
}

// invalid returns the offset of the first octet of s that is not UTF-8 or is
// NUL, or -1.
func invalid(s string) int {
	for i, r := range s {
		if r == 0 || r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			return i
		}
	}
	return -1
}

// parser is a recursive descent parser for the grammar of RFC 5228, 8.2.
type parser struct {
	lexer
	cur   token
	depth int
}

func (p *parser) advance() { p.cur = p.lexer.next() }

func (p *parser) at(mark string) bool { return p.cur.kind == tokenMark && p.cur.text == mark }

// fail reports an error at the current token.
func (p *parser) fail(format string, args ...any) {
	if p.cur.line > 0 {
		p.line = p.cur.line
	}
	p.lexer.fail(format, args...)
}

func (p *parser) expect(mark, where string) {
	if !p.at(mark) {
		p.fail("expected %q %s, found %s", mark, where, p.cur)
	}
	p.advance()
}

// commands parses commands up to the given token, which is not consumed.
func (p *parser) commands(kind tokenKind, mark string) (list []*node) {
	for p.cur.kind != kind || p.cur.text != mark {
		if p.cur.kind != tokenIdent {
			p.fail("expected a command, found %s", p.cur)
		}
		n := p.node()
		if p.at("{") {
			p.advance()
			p.nest()
			n.block, n.braces = p.commands(tokenMark, "}"), true
			p.depth--
			p.advance()
		} else {
			p.expect(";", "after the command "+n.name)
		}
		list = append(list, n)
	}
	return list
}

// node parses the name, arguments and tests of a command or a test.
func (p *parser) node() *node {
	n := &node{name: p.cur.text, line: p.cur.line}
	p.advance()
	for {
		a := argument{line: p.cur.line}
		switch {
		case p.cur.kind == tokenTag:
			a.kind, a.tag = argTag, p.cur.text
			p.advance()
		case p.cur.kind == tokenNumber:
			a.kind, a.num = argNumber, p.cur.num
			p.advance()
		case p.cur.kind == tokenString:
			a.kind, a.strs = argString, []string{p.cur.text}
			p.advance()
		case p.at("["):
			p.advance()
			a.kind, a.strs = argList, p.strings()
		case p.at("("):
			p.advance()
			p.nest()
			n.tests = p.testList()
			p.depth--
			return n
		case p.cur.kind == tokenIdent:
			p.nest()
			n.tests = []*node{p.node()}
			p.depth--
			return n
		default:
			return n
		}
		n.args = append(n.args, a)
	}
}

// strings parses a list of strings after its opening bracket.
func (p *parser) strings() (list []string) {
	for {
		if p.cur.kind != tokenString {
			p.fail("expected a string in the list, found %s", p.cur)
		}
		list = append(list, p.cur.text)
		p.advance()
		if p.at("]") {
			p.advance()
			return list
		}
		p.expect(",", "or \"]\" in a list of strings")
	}
}

// testList parses a list of tests after its opening parenthesis.
func (p *parser) testList() (list []*node) {
	for {
		if p.cur.kind != tokenIdent {
			p.fail("expected a test, found %s", p.cur)
		}
		list = append(list, p.node())
		if p.at(")") {
			p.advance()
			return list
		}
		p.expect(",", "or \")\" in a list of tests")
	}
}

func (p *parser) nest() {
	if p.depth++; p.depth > maxNesting {
		p.fail("nested more than %d levels deep", maxNesting)
	}
}
