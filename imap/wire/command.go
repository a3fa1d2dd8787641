package wire

import (
	"strings"
	"time"
)

// Append is what comes before each message of an APPEND.
type Append struct {
	Flags []string
	Date  time.Time // zero: now
	UTF8  bool      // the message is wrapped in UTF8 (...) (RFC 6855)
}

// Append reads "[(flags) ] [date ] [UTF8 (]" up to the message.
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
		p.SP()
		p.want('(')
		a.UTF8 = true
	}
	return a
}

// Select is a SELECT or EXAMINE behind its name.
type Select struct {
	Mailbox   string
	CondStore bool
	QResync   *QResync
}

// QResync is the state a client remembers of a mailbox (RFC 7162, 3.2.5).
type QResync struct {
	Validity uint32
	ModSeq   uint64
	Known    []Range // UIDs; nil: all
	// SeqMatch are message numbers and MatchUIDs the UIDs they had.
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
			s.CondStore = true
		case "QRESYNC":
			s.QResync = p.qresync()
		default:
			p.fail("unknown SELECT parameter %q", w)
		}
	})
	return s
}

func (p *Parser) qresync() *QResync {
	var q QResync
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

// StatusItems reads the list of a STATUS command or option, in upper case.
func (p *Parser) StatusItems() []string {
	var items []string
	p.list(false, func() {
		switch w := p.word(); w {
		case "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE",
			"HIGHESTMODSEQ", "MAILBOXID", "APPENDLIMIT", "DELETED-STORAGE":
			items = append(items, w)
		default:
			p.fail("unknown STATUS item %q", w)
		}
	})
	return items
}

// List is a LIST command behind its name.
type List struct {
	Reference string
	Patterns  []string
	Extended  bool // it has a form that RFC 5258 brought

	// Selection options.
	Subscribed, Remote, Recursive, SpecialUse bool
	// Return options.
	RetSubscribed, RetChildren, RetSpecialUse bool
	Status                                    []string
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
			p.fail("unexpected %q", w)
		}
		p.SP()
		p.list(true, func() { p.listReturn(&l) })
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
		l.SpecialUse = true
	default:
		p.fail("unknown LIST option %q", w)
	}
}

func (p *Parser) listReturn(l *List) {
	switch w := p.word(); w {
	case "SUBSCRIBED":
		l.RetSubscribed = true
	case "CHILDREN":
		l.RetChildren = true
	case "SPECIAL-USE":
		l.RetSpecialUse = true
	case "STATUS":
		p.SP()
		l.Status = p.StatusItems()
	default:
		p.fail("unknown LIST return option %q", w)
	}
}

// Create is a CREATE command behind its name (RFC 6154 for Use).
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
				p.fail("unknown CREATE parameter %q", w)
			}
			p.SP()
			c.Use = p.Flags()
		})
	}
	return c
}

// ID reads the parameters of an ID command (RFC 2971): name, value, in the
// order they came.
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
		if len(name) > 30 || len(value) > 1024 || len(out) == 30 {
			p.fail("ID parameter too long, or too many of them")
		}
		out = append(out, [2]string{name, value})
	})
	return out
}

// Words reads one or more atoms, in upper case.
func (p *Parser) Words() []string {
	out := []string{p.word()}
	for p.err == nil && p.More() {
		if out = append(out, p.word()); len(out) > maxItems {
			p.fail("list too long")
		}
	}
	return out
}

// Initial reads the initial response of AUTHENTICATE (RFC 9051, 6.2.2), if it
// is there; "=" stands for an empty one.
func (p *Parser) Initial() (text string, ok bool) {
	if !p.More() {
		return "", false
	}
	s := p.run(func(c byte) bool { return c > ' ' && c < 0x7f })
	if s == "" {
		p.fail("missing initial response")
	}
	return strings.TrimPrefix(s, "="), true
}
