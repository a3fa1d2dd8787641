package wire

import (
	"strings"
	"time"
)

// KeyOp is what a search key compares.
type KeyOp uint8

// The search keys; each may be turned round by Key.Not.
const (
	KeyAll         KeyOp = iota
	KeyAnd               // all of Kids
	KeyOr                // one of Kids
	KeyFlag              // Str: \Seen and the like, or a keyword
	KeyRecent            //
	KeyNew               // \Recent and not \Seen
	KeySeq               // Set of message numbers
	KeyUID               // Set of UIDs
	KeyHeader            // Field, Str
	KeyBody              // Str
	KeyText              // Str
	KeyBefore            // internal date before Date
	KeyOn                //
	KeySince             //
	KeySentBefore        // Date field
	KeySentOn            //
	KeySentSince         //
	KeySavedBefore       // RFC 8514
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

// ReturnOpts are the RETURN options of SEARCH and SORT (RFC 4731, RFC 5267).
type ReturnOpts struct {
	Given                      bool // RETURN was there
	Min, Max, All, Count, Save bool
}

// Search is a SEARCH, SORT or THREAD command behind its name.
type Search struct {
	Return    ReturnOpts
	Charset   string // upper case; "" when none was named
	Key       Key
	Sort      []SortKey // of SORT
	Algorithm string    // of THREAD, upper case
	ModSeq    bool      // a MODSEQ key is among the criteria
}

// SortKey is one criterion of SORT (RFC 5256), its Name in upper case.
type SortKey struct {
	Name    string
	Reverse bool
}

type searcher struct {
	*Parser
	keys   int
	modseq bool
}

// Search reads "[RETURN (options)] [CHARSET charset] keys".
func (p *Parser) Search() Search {
	var s Search
	if p.keyword("RETURN") {
		p.SP()
		s.Return = p.returnOpts()
		p.SP()
	}
	if p.keyword("CHARSET") {
		p.SP()
		s.Charset = strings.ToUpper(p.AString())
		p.SP()
	}
	p.keys(&s)
	return s
}

// Sort reads "[RETURN (options)] (criteria) charset keys".
func (p *Parser) Sort() Search {
	var s Search
	if p.keyword("RETURN") {
		p.SP()
		s.Return = p.returnOpts()
		p.SP()
	}
	reverse := false
	p.list(false, func() {
		switch w := p.word(); w {
		case "REVERSE":
			reverse = true
			return
		case "ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO":
			s.Sort = append(s.Sort, SortKey{w, reverse})
			reverse = false
		default:
			p.fail("unknown SORT criterion %q", w)
		}
	})
	if reverse || p.err == nil && len(s.Sort) == 0 {
		p.fail("SORT needs a criterion")
	}
	p.SP()
	s.Charset = strings.ToUpper(p.AString())
	p.SP()
	p.keys(&s)
	return s
}

// Thread reads "algorithm charset keys".
func (p *Parser) Thread() Search {
	var s Search
	s.Algorithm = p.word()
	p.SP()
	s.Charset = strings.ToUpper(p.AString())
	p.SP()
	p.keys(&s)
	return s
}

// keyword reads w if it is the next atom.
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

func (p *Parser) returnOpts() ReturnOpts {
	o := ReturnOpts{Given: true}
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
			o.Save = true
		default:
			p.fail("unknown RETURN option %q", w)
		}
	})
	if !o.Min && !o.Max && !o.All && !o.Count && !o.Save {
		o.All = true // RFC 4731, 3.1
	}
	return o
}

func (p *Parser) keys(s *Search) {
	sp := searcher{Parser: p}
	s.Key = Key{Op: KeyAnd}
	for {
		s.Key.Kids = append(s.Key.Kids, sp.key())
		if p.err != nil || p.i == len(p.b) {
			break
		}
		p.SP()
	}
	s.ModSeq = sp.modseq
	if len(s.Key.Kids) == 1 {
		s.Key = s.Key.Kids[0]
	}
}

var flagKeys = map[string]Key{
	"ANSWERED": {Op: KeyFlag, Str: `\Answered`}, "UNANSWERED": {Op: KeyFlag, Str: `\Answered`, Not: true},
	"DELETED": {Op: KeyFlag, Str: `\Deleted`}, "UNDELETED": {Op: KeyFlag, Str: `\Deleted`, Not: true},
	"DRAFT": {Op: KeyFlag, Str: `\Draft`}, "UNDRAFT": {Op: KeyFlag, Str: `\Draft`, Not: true},
	"FLAGGED": {Op: KeyFlag, Str: `\Flagged`}, "UNFLAGGED": {Op: KeyFlag, Str: `\Flagged`, Not: true},
	"SEEN": {Op: KeyFlag, Str: `\Seen`}, "UNSEEN": {Op: KeyFlag, Str: `\Seen`, Not: true},
	"ALL": {Op: KeyAll}, "NEW": {Op: KeyNew}, "RECENT": {Op: KeyRecent}, "OLD": {Op: KeyRecent, Not: true},
	"SAVEDATESUPPORTED": {Op: KeySaveDateSupported},
}

var dateKeys = map[string]KeyOp{
	"BEFORE": KeyBefore, "ON": KeyOn, "SINCE": KeySince,
	"SENTBEFORE": KeySentBefore, "SENTON": KeySentOn, "SENTSINCE": KeySentSince,
	"SAVEDBEFORE": KeySavedBefore, "SAVEDON": KeySavedOn, "SAVEDSINCE": KeySavedSince,
}

var stringKeys = map[string]Key{
	"BODY": {Op: KeyBody}, "TEXT": {Op: KeyText}, "EMAILID": {Op: KeyEmailID}, "THREADID": {Op: KeyThreadID},
	"BCC": {Op: KeyHeader, Field: "Bcc"}, "CC": {Op: KeyHeader, Field: "Cc"}, "FROM": {Op: KeyHeader, Field: "From"},
	"TO": {Op: KeyHeader, Field: "To"}, "SUBJECT": {Op: KeyHeader, Field: "Subject"},
}

var numberKeys = map[string]KeyOp{"LARGER": KeyLarger, "SMALLER": KeySmaller, "YOUNGER": KeyYounger, "OLDER": KeyOlder}

// key reads one search key and what belongs to it.
func (p *searcher) key() Key {
	if p.Parser.err != nil {
		return Key{}
	}
	if p.keys++; p.keys > maxKeys {
		p.fail("too many search keys")
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
			p.fail("%s needs a number above 0", w)
		}
		return Key{Op: op, Num: n}
	}
	return p.specialKey(w)
}

func (p *searcher) specialKey(w string) Key {
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
	case "OR":
		p.SP()
		a := p.key()
		p.SP()
		return Key{Op: KeyOr, Kids: []Key{a, p.key()}}
	case "MODSEQ":
		p.modseq = true
		p.SP()
		if p.peek() == '"' { // an entry name and type: all flags share one number
			p.quoted()
			p.SP()
			p.word()
			p.SP()
		}
		return Key{Op: KeyModSeq, Num: p.Number64()}
	}
	p.fail("unknown search key %q", w)
	return Key{}
}
