package received

import "sync"

// Parse parses the value of one Received field, including its folding. It
// accepts any input and records irregularities in Defects. The Line does not
// refer to value.
func Parse(value []byte) Line {
	r := readers.Get().(*reader)
	r.parse(&r.own, value)
	l := r.own
	r.own.Comments = nil // the caller owns them now
	r.release()
	return l
}

// ParseInto is like Parse but overwrites l, reusing its list of comments. It
// allocates only the line's string.
func ParseInto(l *Line, value []byte) {
	r := readers.Get().(*reader)
	r.parse(l, value)
	r.release()
}

// readers pools token lists, so that reading a field allocates only its string
// and its list of comments.
var readers = sync.Pool{New: func() any {
	r := &reader{scan: scanner{toks: make([]token, 0, 64)}}
	r.notes.draft, r.naming.draft = &r.draft, &r.draft
	return r
}}

// reader reads one field. The scanner splits the value into tokens, the date is
// located, the words are assigned to clauses, the comments are read, and naming
// interprets the result. All of these steps write to the draft.
type reader struct {
	draft
	scan    scanner
	clauses clauses
	notes   commentReader
	naming  naming
	own     Line // the Line that Parse copies and returns
}

// parse reads one value into l.
func (r *reader) parse(l *Line, value []byte) {
	*l = Line{Comments: l.Comments[:0]}
	r.draft = draft{s: string(value[:min(len(value), MaxField)]), line: l}
	r.scan.reset(r.s)
	r.clauses = clauses{}
	if len(value) > MaxField {
		l.Defects |= TooLong
	}
	l.Raw = r.s
	r.scan.all()
	l.Defects |= r.scan.defects
	r.read()
	r.naming.finish()
}

// release returns the reader to the pool.
func (r *reader) release() {
	r.draft = draft{}
	r.scan.s = ""
	readers.Put(r)
}

// read assigns all tokens outside the date.
func (r *reader) read() {
	toks := r.scan.toks
	date := findDate(&r.draft, toks)
	for i := range toks {
		t := &toks[i]
		if date.holds(t) {
			continue
		}
		if date.end > 0 && t.start >= date.end && i > 0 && toks[i-1].start < date.end {
			r.clauses.cur = notKey // text after the date is not part of the preceding clause
		}
		switch t.kind {
		case comment:
			if r.notes.read(t, r.clauses.cur) {
				r.clauses.comments++
			}
		case word:
			if t.key != notKey && r.clauses.opens(toks[i+1:]) {
				r.clauses.open(&r.draft, t.key)
			} else {
				r.clauses.word(&r.draft, t, t.start < date.start)
			}
		}
	}
}
