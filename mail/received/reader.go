package received

import (
	"sync"
)

// Parse reads the value of one Received field, folding and all. It accepts
// everything: what it cannot place is named in Defects. The Line keeps no
// reference to value.
func Parse(value []byte) Line {
	r := readers.Get().(*reader)
	r.parse(&r.own, value)
	h := r.own
	r.own.Comments = nil // they are the caller's now
	r.release()
	return h
}

// ParseInto is Parse for many lines: it overwrites h, its list of comments too,
// and allocates nothing but the line's string.
func ParseInto(h *Line, value []byte) {
	r := readers.Get().(*reader)
	r.parse(h, value)
	r.release()
}

// parse reads one value into h.
func (r *reader) parse(h *Line, value []byte) {
	r.h = h
	*h = Line{Comments: h.Comments[:0]}
	r.s, r.toks = string(value[:min(len(value), MaxField)]), r.toks[:0]
	r.noQuote, r.noSquare, r.noAngle, r.broken = false, false, false, false
	r.defects = 0
	if len(value) > MaxField {
		r.defects = TooLong
	}
	r.state = state{}
	r.read()
}

func (r *reader) release() {
	r.h, r.s = nil, ""
	readers.Put(r)
}

// reader turns the tokens of one field into a Line.
type reader struct {
	scanner
	h   *Line
	own Line // what Parse gives away a copy of
	state
}

// state is where the reader stands in the line.
type state struct {
	dateStart, dateEnd int32
	cur                keyword // the clause being read
	words, notes       int     // words and comments of that clause so far
	seen               uint8   // clauses already read, a bit each
	env                bool    // a second from clause: the reverse path (XMail, IBM)
	claim              bool    // after "claiming to be"
	cipherNext         bool    // after Exim's "tls"

	form form  // how the client's address was written
	rule names // which name is which, if the server is known
}

// form is the way a client's address stands in the line; each server has its
// own, and it decides which name is which.
type form uint8

const (
	noForm      form = iota
	inName           // from [192.0.2.1] by
	withName         // (name [192.0.2.1])
	bracketOnly      // ([192.0.2.1])
	bareOnly         // (192.0.2.1)
	outside          // name [192.0.2.1]
)

func (r *reader) read() {
	r.h.Raw = r.s
	r.scan()
	r.findDate()
	for i := range r.toks {
		t := &r.toks[i]
		if t.start >= r.dateStart && t.start < r.dateEnd {
			continue
		}
		if r.dateEnd > 0 && t.start >= r.dateEnd && i > 0 && r.toks[i-1].start < r.dateEnd {
			r.cur = notKey // what follows the date belongs to no clause before it
		}
		switch t.kind {
		case comment:
			r.note(t)
		case word:
			if t.key != notKey && r.opens(i) {
				r.open(t.key)
			} else {
				r.text(t)
			}
		}
	}
	r.finish()
	r.h.Defects |= r.defects
}

// readers keeps the token lists, so that reading a field costs its string and
// its list of comments and nothing else.
var readers = sync.Pool{New: func() any { return &reader{scanner: scanner{toks: make([]token, 0, 64)}} }}

// set notes where a field stands and returns its text.
func (r *reader) set(f Part, start, end int) string {
	r.h.spans[f] = Span{start, end}
	return r.s[start:end]
}

// findDate takes the date behind the last semicolon, or wherever one reads as
// such, so that its words are not taken for those of a clause.
func (r *reader) findDate() {
	semis, tried := 0, 0
	for i := len(r.toks) - 1; i >= 0 && tried < 4; i-- {
		if r.toks[i].kind != semicolon {
			continue
		}
		semis++
		if r.dateEnd > 0 {
			continue
		}
		tried++
		r.tryDate(int(r.toks[i].end))
	}
	if semis > 1 {
		r.defects |= ManySemicolons
	}
	if r.dateEnd > 0 {
		return
	}
	// No semicolon in front of it: the last words that read as a date.
	tried = 0
	for i := len(r.toks) - 1; i >= 0 && tried < 64; i-- {
		t := r.toks[i]
		if t.kind != word || t.end-t.start > 10 {
			continue
		}
		tried++
		// The date may begin further left, with its weekday or day.
		if c := r.s[t.start]; !isDigit(c) && weekdayLike(r.s[t.start:t.end]) || isDigit(c) {
			before := r.dateEnd
			r.tryDate(int(t.start))
			if before > 0 && (r.dateEnd < before || r.dateStart != t.start) {
				break
			}
		}
	}
	if r.dateEnd > 0 {
		r.defects |= NoSemicolon
		return
	}
	r.defects |= NoDate
}

func weekdayLike(s string) bool {
	return len(s) >= 3 && isLetter(s[0]) && isLetter(s[1]) && isLetter(s[2]) && (weekdayOf(s) != 0 || monthOf(s) != 0)
}

func (r *reader) tryDate(at int) {
	st, end, defects, ok := readDate(r.s, at)
	if !ok || r.dateEnd > 0 && end != int(r.dateEnd) {
		return
	}
	start := at
	for start < end && class[r.s[start]] == space {
		start++
	}
	const ofDate = DateWithoutZone | NamedZoneOnly | TwoDigitYear | AsctimeDate | OddDate | WrongWeekday
	r.h.Stamp = st
	r.defects = r.defects&^ofDate | defects
	r.dateStart, r.dateEnd = int32(start), int32(end)
	r.set(PartDate, start, end)
}

// opens decides whether the keyword at i starts a clause. A clause must have
// its value before the next may begin, but spammers leave values out, and
// hosts may be called "for" or "id".
func (r *reader) opens(i int) bool {
	if r.cur == notKey || r.words > 0 || r.notes > 0 {
		return true
	}
	return i+1 < len(r.toks) && r.toks[i+1].kind == word && r.toks[i+1].key == notKey
}

func (r *reader) open(k keyword) {
	if r.cur != notKey && r.words == 0 && r.notes == 0 {
		r.defects |= EmptyClause
	}
	r.env, r.claim, r.cipherNext = false, false, false
	r.cur, r.words, r.notes = k, 0, 0
	if bit := uint8(1) << k; r.seen&bit == 0 {
		r.seen |= bit
		return
	}
	r.env = k == kFrom
	if !r.env {
		r.defects |= RepeatedClause
		if r.h.value(k) != "" { // the first one counts
			r.cur = notKey
		}
	}
}

func (h *Line) value(k keyword) string {
	switch k {
	case kBy:
		return h.By.Name
	case kVia:
		return h.Via
	case kWith:
		return h.With
	case kID:
		return h.ID
	case kFor:
		return h.For
	}
	return ""
}
