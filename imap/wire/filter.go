package wire

// FilterKind is the kind of a mailbox filter.
type FilterKind uint8

// The kinds of filters (RFC 5465, 6; RFC 7377, 2.2).
const (
	Selected   FilterKind = iota
	Personal              // all mailboxes of the account
	Inboxes               // those to which mail may be delivered
	Subscribed            //
	Subtree               // Names, and all mailboxes below them
	SubtreeOne            // Names, and the mailboxes directly below them
	Mailboxes             // Names
)

// MailboxFilter selects mailboxes.
type MailboxFilter struct {
	Kind  FilterKind
	Names []string
}

var filterKinds = map[string]FilterKind{
	"SELECTED": Selected, "PERSONAL": Personal, "INBOXES": Inboxes, "SUBSCRIBED": Subscribed,
	"SUBTREE": Subtree, "SUBTREE-ONE": SubtreeOne, "MAILBOXES": Mailboxes,
}

// filter reads one mailbox filter.
func filter(p *Parser) MailboxFilter {
	w := p.word()
	kind, ok := filterKinds[w]
	if !ok {
		p.fail("Unknown mailbox filter %q", w)
	}
	f := MailboxFilter{Kind: kind}
	if kind < Subtree {
		return f
	}
	p.SP()
	if p.peek() == '(' {
		p.list(false, func() { f.Names = append(f.Names, p.AString()) })
	} else {
		f.Names = []string{p.AString()}
	}
	return f
}

// MultiSearch holds the arguments of ESEARCH (RFC 7377).
type MultiSearch struct {
	In []MailboxFilter // empty for the selected mailbox
	Search
}

// MultiSearch reads "[IN (filters)] [RETURN (options)] [CHARSET charset] keys".
func (p *Parser) MultiSearch() MultiSearch {
	var s MultiSearch
	if p.keyword("IN") {
		p.SP()
		p.list(false, func() { s.In = append(s.In, filter(p)) })
		p.SP()
	}
	s.Search = p.Search()
	if s.Return.Update {
		p.fail("UPDATE needs SEARCH")
	}
	if !s.Return.Given {
		s.Return.All = true
	}
	return s
}
