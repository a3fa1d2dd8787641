package imap

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// doThread runs THREAD and UID THREAD (RFC 5256; REFS is the form of
// draft-ietf-morg-inthread that Dovecot offers).
func (s *session) doThread(uid bool) error {
	s.p.SP()
	args := s.p.Thread()
	if !s.end() {
		return nil
	}
	switch args.Algorithm {
	case "ORDEREDSUBJECT", "REFERENCES", "REFS":
	default:
		s.p.Fail("unknown threading algorithm")
		return nil
	}
	found, err := s.search(&args)
	if err != nil || s.p.Err() != nil {
		return err
	}
	rows, err := s.rows(found, true)
	if err != nil {
		return err
	}
	var roots []*thread
	if args.Algorithm == "ORDEREDSUBJECT" {
		roots = bySubject(rows)
	} else if roots, err = byReferences(rows, args.Algorithm == "REFS"); err != nil {
		return err
	}
	s.w.WriteString("* THREAD")
	if len(roots) > 0 {
		s.w.WriteString(" ")
	}
	for _, t := range roots {
		s.w.Write(t.append(nil, uid))
	}
	s.w.WriteString("\r\n")
	if err := s.poll(uid); err != nil {
		return err
	}
	s.tagged("OK THREAD completed")
	return nil
}

// thread is a message, or the place of one that we don't have, with the
// answers to it.
type thread struct {
	row    *row // nil: we don't have it
	parent *thread
	kids   []*thread
}

// number is what the response calls a message.
func (t *thread) number(uid bool) int64 {
	if uid {
		return int64(t.row.m.UID)
	}
	return int64(t.row.i + 1)
}

// append appends "(1 2 (3)(4))".
func (t *thread) append(b []byte, uid bool) []byte {
	b = append(b, '(')
	for first := true; ; first = false {
		if t.row != nil {
			if !first {
				b = append(b, ' ')
			}
			b = appendInt(b, t.number(uid))
		}
		if len(t.kids) != 1 {
			break
		}
		t = t.kids[0] // a chain needs no parentheses, and no depth of ours
	}
	if len(t.kids) > 0 {
		if t.row != nil {
			b = append(b, ' ')
		}
		for _, k := range t.kids {
			b = k.append(b, uid)
		}
	}
	return append(b, ')')
}

// date is when the thread's first message was sent.
func (t *thread) date() int64 {
	for t.row == nil && len(t.kids) > 0 {
		t = t.kids[0]
	}
	if t.row == nil {
		return 0
	}
	return t.row.sent
}

// order is the thread's place among messages sent at the same time.
func (t *thread) order() int {
	for t.row == nil && len(t.kids) > 0 {
		t = t.kids[0]
	}
	if t.row == nil {
		return 0
	}
	return t.row.i
}

func byDate(a, b *thread) int {
	return cmp.Or(cmp.Compare(a.date(), b.date()), cmp.Compare(a.order(), b.order()))
}

// bySubject is ORDEREDSUBJECT: the messages of one base subject, the first of
// them above the others.
func bySubject(rows []row) []*thread {
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(bytes.Compare(a.e.text(eSubject), b.e.text(eSubject)), cmp.Compare(a.sent, b.sent), a.i-b.i)
	})
	var roots []*thread
	for i := range rows {
		t := &thread{row: &rows[i]}
		if n := len(roots); n > 0 && bytes.Equal(roots[n-1].row.e.text(eSubject), rows[i].e.text(eSubject)) {
			roots[n-1].kids = append(roots[n-1].kids, t)
			continue
		}
		roots = append(roots, t)
	}
	slices.SortStableFunc(roots, byDate)
	return roots
}

// threader builds threads out of references.
type threader struct {
	byID  map[string]*thread
	all   []*thread // in the order they were made
	steps int       // taken to look for loops
}

// maxSteps bounds the time that hostile references can cost.
const maxSteps = 50_000_000

// byReferences is REFERENCES (RFC 5256, 3), or REFS, which does not join
// threads by subject and puts the one with the latest message last.
func byReferences(rows []row, refs bool) ([]*thread, error) {
	t := threader{byID: make(map[string]*thread, len(rows))}
	for i := range rows {
		t.add(&rows[i])
		if t.steps > maxSteps {
			return nil, errSearchLimit
		}
	}
	for _, c := range t.all {
		if c.parent != nil {
			c.parent.kids = append(c.parent.kids, c)
		}
	}
	var roots []*thread
	for _, c := range t.all {
		if c.parent == nil {
			roots = append(roots, c)
		}
	}
	roots = prune(roots)
	if refs {
		latest := make(map[*thread]int64, len(roots))
		for _, r := range roots {
			sortBelow(r)
			latest[r] = r.latest()
		}
		slices.SortStableFunc(roots, func(a, b *thread) int {
			return cmp.Or(cmp.Compare(latest[a], latest[b]), cmp.Compare(a.order(), b.order()))
		})
		return roots, nil
	}
	for _, r := range roots {
		sortBelow(r)
	}
	slices.SortStableFunc(roots, byDate)
	roots = joinSubjects(roots)
	for _, r := range roots {
		sortBelow(r)
	}
	slices.SortStableFunc(roots, byDate)
	return roots, nil
}

// get is the place of a message id.
func (t *threader) get(id string) *thread {
	c := t.byID[id]
	if c == nil {
		c = &thread{}
		t.byID[id] = c
		t.all = append(t.all, c)
	}
	return c
}

// add puts a message and its references into the table (steps 1.A and 1.B).
func (t *threader) add(r *row) {
	var c *thread
	id := string(r.e.text(eID))
	if id != "" {
		c = t.get(id)
	}
	if c == nil || c.row != nil {
		// No id, or one that another message has: it stands for itself.
		c = &thread{}
		t.all = append(t.all, c)
	}
	c.row = r
	var last *thread
	if refs := string(r.e.text(eRefs)); refs != "" {
		for ref := range strings.SplitSeq(refs, "\n") {
			next := t.get(ref)
			if last != nil && next.parent == nil && !t.above(next, last) {
				next.parent = last
			}
			last = next
		}
	}
	c.parent = nil
	if last != nil && !t.above(c, last) {
		c.parent = last
	}
}

// above tells whether a is c or stands above it.
func (t *threader) above(a, c *thread) bool {
	for ; c != nil; c = c.parent {
		t.steps++
		if a == c || t.steps > maxSteps {
			return true
		}
	}
	return false
}

// prune takes out places without a message (step 3). At the root one stays
// that holds several threads together.
func prune(roots []*thread) []*thread {
	var out []*thread
	for _, r := range roots {
		pruneBelow(r)
		switch {
		case r.row != nil || len(r.kids) > 1:
			out = append(out, r)
		case len(r.kids) == 1:
			out = append(out, r.kids[0])
		}
	}
	return out
}

// pruneBelow puts in the place of every empty place below t what is below it.
// It goes without recursion, since a chain may be as long as the mailbox.
func pruneBelow(t *thread) {
	var order []*thread
	for stack := []*thread{t}; len(stack) > 0; {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		order = append(order, c)
		stack = append(stack, c.kids...)
	}
	for _, c := range slices.Backward(order) {
		var kids []*thread
		for _, k := range c.kids {
			if k.row == nil {
				kids = append(kids, k.kids...)
			} else {
				kids = append(kids, k)
			}
		}
		c.kids = kids
	}
}

// sortBelow sorts the answers at every level by date.
func sortBelow(t *thread) {
	for stack := []*thread{t}; len(stack) > 0; {
		c := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], c.kids...)
		if len(c.kids) > 1 {
			slices.SortStableFunc(c.kids, byDate)
		}
	}
}

// latest is when the last message of the thread was sent.
func (t *thread) latest() int64 {
	var newest int64
	for stack := []*thread{t}; len(stack) > 0; {
		c := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], c.kids...)
		if c.row != nil {
			newest = max(newest, c.row.sent)
		}
	}
	return newest
}

// subject is the base subject of a thread, and whether it is an answer's.
func (t *thread) subject() (base string, reply bool) {
	for t.row == nil && len(t.kids) > 0 {
		t = t.kids[0]
	}
	if t.row == nil {
		return "", false
	}
	return string(t.row.e.text(eSubject)), len(t.row.e.text(eReply)) > 0
}

// joinSubjects puts threads of one subject together (step 5).
func joinSubjects(roots []*thread) []*thread {
	table := map[string]*thread{}
	for _, r := range roots {
		base, reply := r.subject()
		if base == "" {
			continue
		}
		have := table[base]
		if have == nil {
			table[base] = r
			continue
		}
		_, haveReply := have.subject()
		if have.row != nil && (r.row == nil || haveReply && !reply) {
			table[base] = r
		}
	}
	gone := map[*thread]bool{}
	instead := map[*thread]*thread{}
	for _, r := range roots {
		base, reply := r.subject()
		have := table[base]
		if base == "" || have == r {
			continue
		}
		_, haveReply := have.subject()
		gone[r] = true
		switch {
		case have.row == nil && r.row == nil:
			have.kids = append(have.kids, r.kids...)
		case have.row == nil, reply && !haveReply:
			have.kids = append(have.kids, r)
		default:
			// Neither answers the other: a place above both.
			both := &thread{kids: []*thread{have, r}}
			instead[have] = both
			table[base] = both
		}
	}
	var out []*thread
	for _, r := range roots {
		if gone[r] {
			continue
		}
		if both := instead[r]; both != nil {
			r = both
		}
		out = append(out, r)
	}
	return out
}
