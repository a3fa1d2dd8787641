package wire

import (
	"strconv"
	"strings"
	"time"
)

// KeyOp is the operation of a search key.
type KeyOp uint8

// The search keys. Key.Not negates any of them.
const (
	KeyAll         KeyOp = iota
	KeyAnd               // all of Kids must match
	KeyOr                // one of Kids must match
	KeyFlag              // Str is a system flag or keyword
	KeyRecent            //
	KeyNew               // \Recent and not \Seen
	KeySeq               // Set of message numbers
	KeyUID               // Set of UIDs
	KeyHeader            // Field, Str
	KeyBody              // Str
	KeyText              // Str
	KeyBefore            // internal date, compared with Date
	KeyOn                //
	KeySince             //
	KeySentBefore        // Date field, compared with Date
	KeySentOn            //
	KeySentSince         //
	KeySavedBefore       // save date, compared with Date (RFC 8514)
	KeySavedOn
	KeySavedSince
	KeySaveDateSupported
	KeyLarger   // Num octets
	KeySmaller  //
	KeyYounger  // Num seconds (RFC 5032)
	KeyOlder    //
	KeyModSeq   // Num (RFC 7162)
	KeyEmailID  // Str (RFC 8474)
	KeyThreadID //
	KeyFuzzy    // the only one of Kids, approximately (RFC 6203)

	KeyOps // the number of operations
)

// Key is one search criterion.
type Key struct {
	Op    KeyOp
	Not   bool
	Str   string
	Field string
	Num   uint64
	Date  time.Time
	Set   Set
	Kids  []Key
}

// ReturnOptions holds the RETURN options of SEARCH and SORT (RFC 4731, RFC
// 5267).
type ReturnOptions struct {
	Given                      bool // RETURN was given
	Min, Max, All, Count, Save bool
	Partial                    Page // RFC 9394
	Update                     bool // RFC 5267: keep the result up to date
	Relevancy                  bool // RFC 6203
}

// Page selects the results First to Last, counted from 1. FromEnd counts from
// the end. The zero value selects nothing.
type Page struct {
	First, Last uint32 // First <= Last
	FromEnd     bool
}

// Given reports whether the page was requested.
func (g Page) Given() bool { return g.Last > 0 }

// Of returns the page's bounds within n results: [from, to), with from <= to.
func (g Page) Of(n int) (from, to int) {
	if !g.Given() {
		return 0, 0
	}
	from, to = min(int(g.First)-1, n), min(int(g.Last), n)
	if g.FromEnd {
		from, to = n-to, n-from
	}
	return from, to
}

// Append appends the page as the client wrote it.
func (g Page) Append(b []byte) []byte {
	for i, n := range [2]uint32{g.First, g.Last} {
		if i > 0 {
			b = append(b, ':')
		}
		if g.FromEnd {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return b
}

// page reads "first:last" or "-first:-last".
func page(p *Parser) Page {
	g := Page{FromEnd: p.take('-')}
	g.First = p.setNumber(false)
	p.want(':')
	if g.FromEnd {
		p.want('-')
	}
	g.Last = p.setNumber(false)
	if g.First > g.Last {
		g.First, g.Last = g.Last, g.First
	}
	return g
}

// Search holds the arguments of SEARCH, SORT or THREAD.
type Search struct {
	Return    ReturnOptions
	Charset   string // upper case; "" if absent
	Key       Key
	Sort      []SortKey // for SORT
	Algorithm string    // for THREAD, upper case
	ModSeq    bool      // a MODSEQ key is present
	Fuzzy     bool      // a FUZZY key is present
}

// SortKey is a SORT criterion (RFC 5256). Name is in upper case.
type SortKey struct {
	Name    string
	Reverse bool
}

// keyReader reads search keys and counts them.
type keyReader struct {
	*Parser
	count  int
	modseq bool
	fuzzy  bool
}

// Search reads "[RETURN (options)] [CHARSET charset] keys".
func (p *Parser) Search() Search {
	var s Search
	p.returnOptions(&s, ESearch)
	if p.keyword("CHARSET") {
		p.SP()
		s.Charset = strings.ToUpper(p.AString())
		p.SP()
	}
	p.keys(&s)
	return s
}

// Sort reads "[RETURN (options)] (criteria) charset keys". The caller checks
// whether the criteria exist.
func (p *Parser) Sort() Search {
	var s Search
	p.returnOptions(&s, ESort)
	reverse := false
	p.list(false, func() {
		w := p.word()
		if w == "REVERSE" {
			reverse = true
			return
		}
		s.Sort = append(s.Sort, SortKey{w, reverse})
		reverse = false
	})
	if s.Return.Update {
		p.fail("UPDATE is not supported") // CONTEXT=SORT
	}
	if reverse || p.err == nil && len(s.Sort) == 0 {
		p.fail("SORT needs a criterion")
	}
	p.SP()
	s.Charset = strings.ToUpper(p.AString())
	p.SP()
	p.keys(&s)
	return s
}

// Thread reads "algorithm charset keys". The caller checks whether the
// algorithm exists.
func (p *Parser) Thread() Search {
	var s Search
	s.Algorithm = p.word()
	p.SP()
	s.Charset = strings.ToUpper(p.AString())
	p.SP()
	p.keys(&s)
	return s
}

// keyword reads the atom w if it is next.
func (p *Parser) keyword(w string) bool {
	if p.err != nil || len(p.b)-p.i < len(w) || !strings.EqualFold(string(p.b[p.i:p.i+len(w)]), w) {
		return false
	}
	if p.i+len(w) < len(p.b) && p.b[p.i+len(w)] != ' ' {
		return false
	}
	p.i += len(w)
	return true
}

// returnOptions reads "RETURN (options) " if it is next. The grammar form
// permits it.
func (p *Parser) returnOptions(s *Search, form Grammar) {
	if !p.keyword("RETURN") {
		return
	}
	p.need(form, "RETURN")
	p.SP()
	o, hints := ReturnOptions{Given: true}, false
	p.list(true, func() {
		switch w := p.word(); w {
		case "MIN":
			o.Min = true
		case "MAX":
			o.Max = true
		case "ALL":
			o.All = true
		case "COUNT":
			o.Count = true
		case "SAVE":
			p.need(SearchRes, w)
			o.Save = true
		case "CONTEXT": // the search will be repeated
			p.need(Context, w)
			hints = true
		case "RELEVANCY":
			p.need(Fuzzy, w)
			o.Relevancy = true
		case "UPDATE":
			p.need(Context, w)
			o.Update, hints = true, true
		case "PARTIAL":
			p.need(Partial, w)
			if o.Partial.Given() {
				p.fail("PARTIAL given twice")
			}
			p.SP()
			o.Partial = page(p)
		default:
			p.fail("Unknown RETURN option %q", w)
		}
	})
	if o.All && o.Partial.Given() {
		p.fail("ALL and PARTIAL exclude each other")
	}
	if !o.Min && !o.Max && !o.All && !o.Count && !o.Save && !o.Partial.Given() && !hints {
		o.All = true // RFC 4731, 3.1
	}
	s.Return = o
	p.SP()
}

// keys reads the search keys, which must all match.
func (p *Parser) keys(s *Search) {
	r := keyReader{Parser: p}
	s.Key = Key{Op: KeyAnd}
	for {
		s.Key.Kids = append(s.Key.Kids, r.key())
		if p.err != nil || p.i == len(p.b) {
			break
		}
		p.SP()
	}
	s.ModSeq, s.Fuzzy = r.modseq, r.fuzzy
	if s.Return.Relevancy && !s.Fuzzy {
		p.fail("RELEVANCY needs FUZZY")
	}
	if len(s.Key.Kids) == 1 {
		s.Key = s.Key.Kids[0]
	}
}

// flagKeys holds keys without arguments.
var flagKeys = map[string]Key{
	"ANSWERED": {Op: KeyFlag, Str: `\Answered`}, "UNANSWERED": {Op: KeyFlag, Str: `\Answered`, Not: true},
	"DELETED": {Op: KeyFlag, Str: `\Deleted`}, "UNDELETED": {Op: KeyFlag, Str: `\Deleted`, Not: true},
	"DRAFT": {Op: KeyFlag, Str: `\Draft`}, "UNDRAFT": {Op: KeyFlag, Str: `\Draft`, Not: true},
	"FLAGGED": {Op: KeyFlag, Str: `\Flagged`}, "UNFLAGGED": {Op: KeyFlag, Str: `\Flagged`, Not: true},
	"SEEN": {Op: KeyFlag, Str: `\Seen`}, "UNSEEN": {Op: KeyFlag, Str: `\Seen`, Not: true},
	"ALL": {Op: KeyAll}, "NEW": {Op: KeyNew}, "RECENT": {Op: KeyRecent}, "OLD": {Op: KeyRecent, Not: true},
	"SAVEDATESUPPORTED": {Op: KeySaveDateSupported},
}

// dateKeys holds keys with a date argument.
var dateKeys = map[string]KeyOp{
	"BEFORE": KeyBefore, "ON": KeyOn, "SINCE": KeySince,
	"SENTBEFORE": KeySentBefore, "SENTON": KeySentOn, "SENTSINCE": KeySentSince,
	"SAVEDBEFORE": KeySavedBefore, "SAVEDON": KeySavedOn, "SAVEDSINCE": KeySavedSince,
}

// stringKeys holds keys with a string argument.
var stringKeys = map[string]Key{
	"BODY": {Op: KeyBody}, "TEXT": {Op: KeyText}, "EMAILID": {Op: KeyEmailID}, "THREADID": {Op: KeyThreadID},
	"BCC": {Op: KeyHeader, Field: "Bcc"}, "CC": {Op: KeyHeader, Field: "Cc"}, "FROM": {Op: KeyHeader, Field: "From"},
	"TO": {Op: KeyHeader, Field: "To"}, "SUBJECT": {Op: KeyHeader, Field: "Subject"},
}

// numberKeys holds keys with a number argument.
var numberKeys = map[string]KeyOp{"LARGER": KeyLarger, "SMALLER": KeySmaller, "YOUNGER": KeyYounger, "OLDER": KeyOlder}

// key reads one search key with its arguments.
func (p *keyReader) key() Key {
	if p.Parser.err != nil {
		return Key{}
	}
	if p.count++; p.count > maxKeys {
		p.fail("Too many search keys")
		return Key{}
	}
	if c := p.peek(); digit(c) || c == '*' || c == '$' {
		return Key{Op: KeySeq, Set: p.Set()}
	} else if c == '(' {
		k := Key{Op: KeyAnd}
		p.list(false, func() { k.Kids = append(k.Kids, p.key()) })
		return k
	}
	w := p.word()
	if k, ok := flagKeys[w]; ok {
		return k
	}
	if op, ok := dateKeys[w]; ok {
		p.SP()
		return Key{Op: op, Date: p.Date()}
	}
	if k, ok := stringKeys[w]; ok {
		p.SP()
		k.Str = p.AString()
		return k
	}
	if op, ok := numberKeys[w]; ok {
		p.SP()
		n := p.Number64()
		if n == 0 && (op == KeyYounger || op == KeyOlder) {
			p.fail("%s needs a positive number", w)
		}
		return Key{Op: op, Num: n}
	}
	return p.specialKey(w)
}

// specialKey reads the arguments of a key that is not in a table.
func (p *keyReader) specialKey(w string) Key {
	switch w {
	case "KEYWORD", "UNKEYWORD":
		p.SP()
		return Key{Op: KeyFlag, Str: p.flag(), Not: w == "UNKEYWORD"}
	case "UID":
		p.SP()
		return Key{Op: KeyUID, Set: p.Set()}
	case "HEADER":
		p.SP()
		k := Key{Op: KeyHeader, Field: p.AString()}
		p.SP()
		k.Str = p.AString()
		return k
	case "NOT":
		p.SP()
		return Key{Op: KeyAnd, Not: true, Kids: []Key{p.key()}}
	case "FUZZY":
		p.fuzzy = true
		p.SP()
		return Key{Op: KeyFuzzy, Kids: []Key{p.key()}}
	case "OR":
		p.SP()
		a := p.key()
		p.SP()
		return Key{Op: KeyOr, Kids: []Key{a, p.key()}}
	case "MODSEQ":
		p.modseq = true
		p.SP()
		if p.peek() == '"' { // entry name and type; all entries share one MODSEQ
			p.quoted()
			p.SP()
			p.word()
			p.SP()
		}
		return Key{Op: KeyModSeq, Num: p.Number64()}
	}
	p.fail("Unknown search key %q", w)
	return Key{}
}
