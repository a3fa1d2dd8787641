package wire

import (
	"bytes"
	"math"
	"strings"
)

// Infinity is the depth of GETMETADATA that includes everything below an entry.
const Infinity = -1

// GetMetadata holds the arguments of GETMETADATA (RFC 5464).
type GetMetadata struct {
	Mailbox string // "" for the server
	MaxSize int64  // of the values to return
	Depth   int    // 0, 1 or Infinity
	Entries []string
}

// GetMetadata reads "[(options)] mailbox entry|(entries)".
func (p *Parser) GetMetadata() GetMetadata {
	g := GetMetadata{MaxSize: math.MaxInt64}
	if p.peek() == '(' {
		p.list(false, func() { metadataOption(p, &g) })
		p.SP()
	}
	g.Mailbox = p.AString()
	p.SP()
	g.Entries = entries(p)
	return g
}

func metadataOption(p *Parser, g *GetMetadata) {
	switch w := p.word(); w {
	case "MAXSIZE":
		p.SP()
		g.MaxSize = int64(p.Number())
	case "DEPTH":
		p.SP()
		switch w := p.word(); w {
		case "0":
			g.Depth = 0
		case "1":
			g.Depth = 1
		case "INFINITY":
			g.Depth = Infinity
		default:
			p.fail("Unknown depth %q", w)
		}
	default:
		p.fail("Unknown GETMETADATA option %q", w)
	}
}

// entries reads one entry name, or several in parentheses.
func entries(p *Parser) []string {
	if p.peek() != '(' {
		return []string{entry(p)}
	}
	var out []string
	p.list(false, func() { out = append(out, entry(p)) })
	return out
}

// maxEntry is the maximum length of an entry name.
const maxEntry = 1000

// entry reads the name of an entry (RFC 5464, 3.2). Names ignore case; the result
// is in lower case.
func entry(p *Parser) string {
	name := strings.ToLower(p.AString())
	if p.err != nil {
		return ""
	}
	_, below, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	switch {
	case len(name) > maxEntry:
		p.fail("Entry name too long")
	case !strings.HasPrefix(name, "/private/") && !strings.HasPrefix(name, "/shared/"),
		below == "", strings.HasSuffix(name, "/"), strings.Contains(name, "//"):
		p.fail("Invalid entry name")
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c >= 0x7f || c == '*' || c == '%' {
			p.fail("Invalid entry name")
		}
	}
	return name
}

// SetMetadata holds the arguments of SETMETADATA.
type SetMetadata struct {
	Mailbox string
	Values  []EntryValue
}

// EntryValue is a new value; nil removes the entry.
type EntryValue struct {
	Entry string
	Value []byte
}

// SetMetadata reads "mailbox (entry value ...)".
func (p *Parser) SetMetadata() SetMetadata {
	s := SetMetadata{Mailbox: p.AString()}
	p.SP()
	p.list(false, func() {
		v := EntryValue{Entry: entry(p)}
		p.SP()
		v.Value = value(p)
		s.Values = append(s.Values, v)
	})
	return s
}

// value reads a string, a literal that may contain NULs, or NIL.
func value(p *Parser) []byte {
	if p.peek() == '~' {
		return bytes.Clone(p.octets())
	}
	if s, ok := p.NString(); ok {
		return []byte(s)
	}
	return nil
}
