package wire

// Parser reads a command. Each method reads the arguments of one command; the
// embedded scanner reads tokens. The many methods correspond to the rules of
// the grammar. Each is small, and they share only the position and the first
// error.
type Parser struct {
	scanner
	grammar Grammar
}

// NewParser returns a parser for a command returned by Reader.Command.
func NewParser(cmd []byte, g Grammar) *Parser {
	return &Parser{scanner: scanner{b: cmd}, grammar: g}
}

// Grammar is a set of syntax forms that extensions add to base protocol
// commands. A form that is not in the set is a syntax error.
type Grammar uint32

// The forms.
const (
	Condstore        Grammar = 1 << iota // SELECT (CONDSTORE), CHANGEDSINCE, UNCHANGEDSINCE (RFC 7162)
	QResync                              // SELECT (QRESYNC), VANISHED (RFC 7162)
	ESearch                              // SEARCH RETURN (RFC 4731)
	ESort                                // SORT RETURN (RFC 5267)
	SearchRes                            // RETURN (SAVE) and "$" (RFC 5182)
	ListExtended                         // several patterns, options (RFC 5258)
	ListStatus                           // LIST RETURN (STATUS) (RFC 5819)
	ListMetadata                         // LIST RETURN (METADATA) (RFC 9590)
	SpecialUse                           // LIST (SPECIAL-USE) (RFC 6154)
	CreateSpecialUse                     // CREATE (USE) (RFC 6154)
	UTF8Accept                           // APPEND UTF8 (RFC 6855)
	InitialResponse                      // AUTHENTICATE with a response (RFC 4959)
	Catenate                             // APPEND CATENATE (RFC 4469)
	Context                              // SEARCH RETURN (CONTEXT UPDATE) (RFC 5267)
	Fuzzy                                // SEARCH RETURN (RELEVANCY) (RFC 6203)
	Partial                              // SEARCH RETURN (PARTIAL), FETCH (PARTIAL) (RFC 9394)

	AllForms Grammar = 1<<iota - 1
)

// need sets an error unless a form is in the grammar.
func (p *Parser) need(g Grammar, what string) {
	if p.grammar&g == 0 {
		p.fail("%s is not supported", what)
	}
}
