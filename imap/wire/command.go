package wire

import (
	"strings"
	"time"
)

// Append holds the arguments before each message of an APPEND.
type Append struct {
	Flags []string
	Date  time.Time // zero means now
	UTF8  bool      // the message is wrapped in UTF8 (...) (RFC 6855)
	// Parts is set if the message is composed of parts, which follow.
	Parts bool
}

// Append reads "[(flags) ][date ][UTF8 (]", which precedes the message, or
// "[(flags) ][date ]CATENATE (", which precedes the parts of one (RFC 4469).
func (p *Parser) Append() Append {
	var a Append
	if p.peek() == '(' {
		a.Flags = p.Flags()
		p.SP()
	}
	if p.peek() == '"' {
		a.Date = p.DateTime()
		p.SP()
	}
	if p.keyword("UTF8") {
		p.need(UTF8Accept, "UTF8")
		p.SP()
		p.want('(')
		a.UTF8 = true
	} else if p.keyword("CATENATE") {
		p.need(Catenate, "CATENATE")
		p.SP()
		p.want('(')
		a.Parts = true
	}
	return a
}

// Part is a part of a message that is composed by CATENATE.
type Part struct {
	URL     string // of a part of a stored message; "" for a literal
	Literal bool   // a literal follows: the URL, or the text
	UTF8    bool   // the literal is wrapped in UTF8 (...) (RFC 6855)
}

// Part reads "URL url", or the beginning of a part with a literal.
func (p *Parser) Part() Part {
	switch w := p.word(); w {
	case "TEXT":
		p.SP()
		return Part{Literal: true}
	case "UTF8":
		p.need(UTF8Accept, w)
		p.SP()
		p.want('(')
		return Part{Literal: true, UTF8: true}
	case "URL":
		p.SP()
		if p.Done() {
			return Part{URL: "literal", Literal: true}
		}
		return Part{URL: p.AString()}
	default:
		p.fail("Unknown part %q", w)
	}
	return Part{}
}

// MorePart reports whether another part follows.
func (p *Parser) MorePart() bool {
	if p.take(')') {
		return false
	}
	p.SP()
	return p.err == nil
}

// Select holds the arguments of SELECT or EXAMINE.
type Select struct {
	Mailbox   string
	CondStore bool
	QResync   *QResyncState
}

// QResyncState is the state of a mailbox that a client has cached (RFC 7162,
// 3.2.5).
type QResyncState struct {
	Validity uint32
	ModSeq   uint64
	Known    []Range // nil means all
	// SeqMatch holds message numbers, and MatchUIDs their UIDs.
	SeqMatch, MatchUIDs []Range
}

// Select reads "mailbox [(parameters)]".
func (p *Parser) Select() Select {
	s := Select{Mailbox: p.AString()}
	if !p.More() {
		return s
	}
	p.list(false, func() {
		switch w := p.word(); w {
		case "CONDSTORE":
			p.need(Condstore, w)
			s.CondStore = true
		case "QRESYNC":
			p.need(QResync, w)
			s.QResync = p.qresync()
		default:
			p.fail("Unknown SELECT parameter %q", w)
		}
	})
	return s
}

// qresync reads "(validity modseq [known UIDs] [(numbers UIDs)])".
func (p *Parser) qresync() *QResyncState {
	var q QResyncState
	p.SP()
	p.want('(')
	q.Validity = p.Number()
	p.SP()
	q.ModSeq = p.Number64()
	if p.take(' ') && p.peek() != '(' {
		q.Known = p.ranges(false)
		if p.take(')') {
			return &q
		}
		p.SP()
	}
	if p.take('(') {
		q.SeqMatch = p.ranges(false)
		p.SP()
		q.MatchUIDs = p.ranges(false)
		p.want(')')
	}
	p.want(')')
	return &q
}

// StatusItems reads a list of STATUS items and returns them in upper case. The
// caller checks whether the items exist.
func (p *Parser) StatusItems() []string {
	var items []string
	p.list(false, func() { items = append(items, p.word()) })
	return items
}

// List holds the arguments of LIST.
type List struct {
	Reference string
	Patterns  []string
	Extended  bool // uses the extended syntax (RFC 5258)

	// Selection options.
	Subscribed, Remote, Recursive, SpecialUse bool
	// Return options.
	ReturnSubscribed, ReturnChildren, ReturnSpecialUse bool
	Status                                             []string
	Metadata                                           []string // entries (RFC 9590)
}

// List reads "[(options)] reference pattern|(patterns) [RETURN (options)]".
func (p *Parser) List() List {
	var l List
	if p.peek() == '(' {
		l.Extended = true
		p.list(true, func() { p.listSelect(&l) })
		p.SP()
		if l.Recursive && !l.Subscribed && !l.SpecialUse {
			p.fail("RECURSIVEMATCH needs another selection option")
		}
	}
	l.Reference = p.AString()
	p.SP()
	if p.peek() == '(' {
		l.Extended = true
		p.list(false, func() { l.Patterns = append(l.Patterns, p.ListMailbox()) })
	} else {
		l.Patterns = []string{p.ListMailbox()}
	}
	if p.More() {
		l.Extended = true
		if w := p.word(); w != "RETURN" {
			p.fail("Unexpected %q", w)
		}
		p.SP()
		p.list(true, func() { p.listReturn(&l) })
	}
	if l.Extended {
		p.need(ListExtended, "extended LIST")
	}
	return l
}

func (p *Parser) listSelect(l *List) {
	switch w := p.word(); w {
	case "SUBSCRIBED":
		l.Subscribed = true
	case "REMOTE":
		l.Remote = true
	case "RECURSIVEMATCH":
		l.Recursive = true
	case "SPECIAL-USE":
		p.need(SpecialUse, w)
		l.SpecialUse = true
	default:
		p.fail("Unknown LIST option %q", w)
	}
}

func (p *Parser) listReturn(l *List) {
	switch w := p.word(); w {
	case "SUBSCRIBED":
		l.ReturnSubscribed = true
	case "CHILDREN":
		l.ReturnChildren = true
	case "SPECIAL-USE":
		p.need(SpecialUse, w)
		l.ReturnSpecialUse = true
	case "STATUS":
		p.need(ListStatus, w)
		p.SP()
		l.Status = p.StatusItems()
	case "METADATA":
		p.need(ListMetadata, w)
		p.SP()
		l.Metadata = entries(p)
	default:
		p.fail("Unknown LIST return option %q", w)
	}
}

// Create holds the arguments of CREATE. Use is the special use (RFC 6154).
type Create struct {
	Mailbox string
	Use     []string
}

// Create reads "mailbox [(USE (attributes))]".
func (p *Parser) Create() Create {
	c := Create{Mailbox: p.AString()}
	if p.More() {
		p.list(false, func() {
			if w := p.word(); w != "USE" {
				p.fail("Unknown CREATE parameter %q", w)
			}
			p.need(CreateSpecialUse, "USE")
			p.SP()
			c.Use = p.Flags()
		})
	}
	return c
}

// The limits on ID (RFC 2971, 3.3).
const (
	maxParams     = 30
	maxParamName  = 30
	maxParamValue = 1024
)

// ID reads the parameters of ID as name-value pairs.
func (p *Parser) ID() [][2]string {
	if p.peek() != '(' {
		p.NString()
		return nil
	}
	var out [][2]string
	p.list(true, func() {
		name := p.String()
		p.SP()
		value, _ := p.NString()
		if len(name) > maxParamName || len(value) > maxParamValue || len(out) == maxParams {
			p.fail("ID parameter too long, or too many parameters")
		}
		out = append(out, [2]string{name, value})
	})
	return out
}

// Batches holds the arguments of UIDBATCHES: the batch size and, unless Last is
// 0, the first and last batch to return, counted from 1.
type Batches struct{ Size, First, Last uint32 }

// Batches reads "size [first:last]".
func (p *Parser) Batches() Batches {
	b := Batches{Size: p.Number()}
	if p.err == nil && p.More() {
		b.First = p.setNumber(false)
		p.want(':')
		b.Last = p.setNumber(false)
		if b.First > b.Last {
			b.First, b.Last = b.Last, b.First
		}
	}
	return b
}

// Words reads one or more atoms and returns them in upper case.
func (p *Parser) Words() []string {
	out := []string{p.word()}
	for p.err == nil && p.More() {
		if out = append(out, p.word()); len(out) > maxItems {
			p.fail("List too long")
		}
	}
	return out
}

// Initial reads AUTHENTICATE's initial response, if any. "=" means an empty
// response (RFC 9051, 6.2.2).
func (p *Parser) Initial() (text string, ok bool) {
	if !p.More() {
		return "", false
	}
	p.need(InitialResponse, "initial response")
	s := p.run(func(c byte) bool { return c > ' ' && c < 0x7f })
	if s == "" {
		p.fail("Missing initial response")
	}
	return strings.TrimPrefix(s, "="), true
}
