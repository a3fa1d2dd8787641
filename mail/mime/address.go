package mime

import "strings"

// maxAddresses is the maximum number of list entries read from one field.
const maxAddresses = 10_000

// Address is one entry of an address list, split as in an IMAP ENVELOPE (RFC
// 9051, 7.5.2). A group begins with an entry that has a Local (the group's
// name) but no Domain, and ends with an empty entry.
type Address struct {
	Name   string // display name without quotes, encoded words not decoded
	Route  string // obsolete source route, as in "@a.example,@b.example"
	Local  string // before the @, without quotes
	Domain string // after the @; "" if the address lacks one
	Kind   Kind
}

// Kind distinguishes addresses from the start and end of a group.
type Kind uint8

// The kinds of list entries.
const (
	Mailbox    Kind = iota // an address
	GroupStart             // "name:"
	GroupEnd               // ";"
)

// Addr returns local@domain as written, or "" for the start or end of a group.
func (a Address) Addr() string {
	if a.Kind != Mailbox || a.Local == "" {
		return ""
	}
	return a.Local + "@" + a.Domain
}

// ParseAddresses parses an unfolded address list (RFC 5322, 3.4, including the
// obsolete forms). It is lenient: malformed entries are parsed as far as
// possible or omitted. Use [Identities] for decisions about the sender of a
// message.
func ParseAddresses(v string) []Address {
	p := addrParser{lexer: lexer{v}}
	for p.s != "" && len(p.list) < maxAddresses {
		before := len(p.s)
		p.entry()
		if len(p.s) == before {
			p.s = p.s[1:] // skip a meaningless octet
		}
	}
	if p.group {
		p.list = append(p.list, Address{Kind: GroupEnd})
	}
	return p.list
}

type addrParser struct {
	lexer
	list  []Address
	group bool
}

// entry reads one address, or the start or end of a group.
func (p *addrParser) entry() {
	text, comment := p.phrase()
	p.skip()
	if p.s == "" {
		p.bare(text, comment, "")
		return
	}
	switch c := p.s[0]; c {
	case ',':
		p.s = p.s[1:]
		p.bare(text, comment, "")
	case ';':
		p.s = p.s[1:]
		p.bare(text, comment, "")
		if p.group {
			p.list, p.group = append(p.list, Address{Kind: GroupEnd}), false
		}
	case ':':
		p.s = p.s[1:]
		if !p.group && text != "" {
			p.list, p.group = append(p.list, Address{Local: text, Kind: GroupStart}), true
		}
	case '<':
		p.s = p.s[1:]
		p.angle(text)
	case '@':
		p.s = p.s[1:]
		domain, after := p.domain()
		if after != "" {
			comment = after // the old notation for a name: ann@example.org (Ann)
		}
		p.bare(text, comment, domain)
		p.rest()
	}
}

// bare adds an address without angle brackets, using its comment as the name.
func (p *addrParser) bare(local, comment, domain string) {
	if local != "" || domain != "" {
		p.list = append(p.list, Address{Name: comment, Local: local, Domain: domain})
	}
}

// angle reads "<@route:local@domain>" after the "<".
func (p *addrParser) angle(name string) {
	a := Address{Name: name}
	for p.skip(); p.eat('<'); p.skip() { // some senders write "<<a@b>>"
	}
	if p.s != "" && p.s[0] == '@' {
		end := strings.IndexAny(p.s, ":>")
		if end < 0 {
			end = len(p.s)
		}
		a.Route = strings.TrimRight(p.s[:end], " \t")
		p.s = p.s[end:]
		p.eat(':')
	}
	a.Local, _ = p.phrase()
	p.skip()
	if p.eat('@') {
		a.Domain, _ = p.domain()
	}
	// Other text before the ">" is not part of the address.
	if i := strings.IndexAny(p.s, ">,;"); i >= 0 && p.s[i] == '>' {
		p.s = p.s[i+1:]
	}
	if a.Local != "" || a.Domain != "" || a.Name != "" {
		p.list = append(p.list, a)
	}
	p.rest()
}

// rest skips to the next comma or the end of the group.
func (p *addrParser) rest() {
	for p.skip(); p.s != ""; p.skip() {
		switch p.s[0] {
		case ',':
			p.s = p.s[1:]
			return
		case ';':
			return
		case '"':
			p.quoted()
		default:
			p.s = p.s[1:]
		}
	}
}

// phrase reads words (atoms, quoted strings, dots) up to a special character,
// and the last comment among them. Words are joined with a single space unless
// there is a dot between them.
func (p *addrParser) phrase() (text, comment string) {
	var b strings.Builder
	space := false
	for p.s != "" {
		switch c := p.s[0]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			p.s = p.s[1:]
			space = b.Len() > 0
			continue
		case c == '(':
			comment = p.comment()
			continue
		case c == '"':
			if space {
				b.WriteByte(' ')
			}
			b.WriteString(p.quoted())
		case strings.IndexByte("<>@,;:", c) >= 0:
			return b.String(), comment
		default:
			i := strings.IndexAny(p.s, " \t\r\n(\"<>@,;:")
			if i < 0 {
				i = len(p.s)
			}
			if space {
				b.WriteByte(' ')
			}
			b.WriteString(p.s[:i])
			p.s = p.s[i:]
		}
		space = false
	}
	return b.String(), comment
}

// domain reads a domain or a bracketed literal, and the comment after it. White
// space is allowed only around dots; anywhere else, it ends the domain.
func (p *addrParser) domain() (domain, comment string) {
	var b strings.Builder
	space := false
	for p.s != "" {
		c := p.s[0]
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			p.s = p.s[1:]
			space = b.Len() > 0
			continue
		case c == '(':
			comment = p.comment()
			continue
		case strings.IndexByte("<>@,;:\"", c) >= 0, space && c != '.' && !strings.HasSuffix(b.String(), "."):
			return b.String(), comment
		}
		space = false
		i := strings.IndexAny(p.s, " \t\r\n([\"<>@,;:")
		if c == '[' {
			i = strings.IndexByte(p.s, ']') + 1
		}
		if i < 0 || c == '[' && i == 0 {
			i = len(p.s)
		}
		b.WriteString(p.s[:i])
		p.s = p.s[i:]
	}
	return b.String(), comment
}

// comment reads a comment, which may be nested, and returns its content.
func (p *addrParser) comment() string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(p.s); i++ {
		c := p.s[i]
		switch {
		case c == '\\' && i+1 < len(p.s):
			i++
			b.WriteByte(p.s[i])
			continue
		case c == '(':
			depth++
			if depth == 1 {
				continue
			}
		case c == ')':
			depth--
			if depth == 0 {
				p.s = p.s[i+1:]
				return strings.TrimSpace(b.String())
			}
		}
		b.WriteByte(c)
	}
	p.s = ""
	return strings.TrimSpace(b.String())
}
