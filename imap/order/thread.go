package order

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"hoplite/imap/summary"
)

// Thread is a message and its replies. Without a row, it represents a message
// that is not in the mailbox.
type Thread struct {
	row    *Row
	parent *Thread
	kids   []*Thread // set once all parents are known
	linked bool      // it has a parent
}

// Append appends the thread in the form that THREAD sends, for example "(1 2
// (3)(4))".
func (t *Thread) Append(b []byte) []byte {
	b = append(b, '(')
	for first := true; ; first = false {
		if t.row != nil {
			if !first {
				b = append(b, ' ')
			}
			b = strconv.AppendUint(b, uint64(t.row.Number), 10)
		}
		if len(t.kids) != 1 {
			break
		}
		t = t.kids[0] // a chain needs neither parentheses nor recursion
	}
	if len(t.kids) > 0 {
		if t.row != nil {
			b = append(b, ' ')
		}
		for _, k := range t.kids {
			b = k.Append(b)
		}
	}
	return append(b, ')')
}

// first returns the first message in the thread, or nil if it has none.
func (t *Thread) first() *Row {
	for t.row == nil && len(t.kids) > 0 {
		t = t.kids[0]
	}
	return t.row
}

// sent returns the time at which the thread's first message was sent.
func (t *Thread) sent() int64 {
	if r := t.first(); r != nil {
		return r.Sent
	}
	return 0
}

// index orders threads whose first messages were sent at the same time.
func (t *Thread) index() int {
	if r := t.first(); r != nil {
		return r.Index
	}
	return 0
}

// subject returns the thread's base subject and reports whether the subject
// marks a reply.
func (t *Thread) subject() (base string, isReply bool) {
	r := t.first()
	if r == nil {
		return "", false
	}
	return string(r.Summary.Text(summary.Subject)), r.Summary.Reply()
}

// latest returns the time at which the last message in the thread was sent.
func (t *Thread) latest() int64 {
	var newest int64
	for stack := []*Thread{t}; len(stack) > 0; {
		c := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], c.kids...)
		if c.row != nil {
			newest = max(newest, c.row.Sent)
		}
	}
	return newest
}

func byDate(a, b *Thread) int {
	return cmp.Or(cmp.Compare(a.sent(), b.sent()), cmp.Compare(a.index(), b.index()))
}

// BySubject implements ORDEREDSUBJECT: it groups messages with the same base
// subject under the first of them. It reorders rows, and the threads keep
// references to them.
func BySubject(rows []Row) []*Thread {
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(bytes.Compare(a.Summary.Text(summary.Subject), b.Summary.Text(summary.Subject)), cmp.Compare(a.Sent, b.Sent), a.Index-b.Index)
	})
	var roots []*Thread
	for i := range rows {
		t := &Thread{row: &rows[i]}
		if n := len(roots); n > 0 && bytes.Equal(roots[n-1].row.Summary.Text(summary.Subject), rows[i].Summary.Text(summary.Subject)) {
			roots[n-1].kids = append(roots[n-1].kids, t)
			continue
		}
		roots = append(roots, t)
	}
	slices.SortStableFunc(roots, byDate)
	return roots
}

// ErrTooComplex is returned for references that would take too long to thread.
var ErrTooComplex = errors.New("references too complex to thread")

// ByReferences implements REFERENCES (RFC 5256, 3).
func ByReferences(rows []Row) ([]*Thread, error) {
	roots, err := build(rows)
	if err != nil {
		return nil, err
	}
	sortThreads(roots)
	roots = joinSubjects(roots)
	sortThreads(roots)
	return roots, nil
}

// ByLatest implements REFS, the variant from draft-ietf-morg-inthread that
// Dovecot offers: threads are not joined by subject, and the thread with the
// latest message is last.
func ByLatest(rows []Row) ([]*Thread, error) {
	roots, err := build(rows)
	if err != nil {
		return nil, err
	}
	latest := make(map[*Thread]int64, len(roots))
	for _, r := range roots {
		sortBelow(r)
		latest[r] = r.latest()
	}
	slices.SortStableFunc(roots, func(a, b *Thread) int {
		return cmp.Or(cmp.Compare(latest[a], latest[b]), cmp.Compare(a.index(), b.index()))
	})
	return roots, nil
}

// threader links messages by their references.
type threader struct {
	byID  map[string]*Thread
	all   []*Thread // in order of creation
	steps int       // steps taken to search for loops
}

// maxSteps limits the time that malicious references can consume.
const maxSteps = 50_000_000

// build links the rows into threads (steps 1 to 3).
func build(rows []Row) ([]*Thread, error) {
	t := threader{byID: make(map[string]*Thread, len(rows))}
	for i := range rows {
		t.add(&rows[i])
		if t.steps > maxSteps {
			return nil, ErrTooComplex
		}
	}
	var roots []*Thread
	for _, c := range t.all {
		if c.parent != nil {
			c.parent.kids = append(c.parent.kids, c)
		} else {
			roots = append(roots, c)
		}
	}
	return prune(roots), nil
}

// get returns the thread for a message id.
func (t *threader) get(id string) *Thread {
	c := t.byID[id]
	if c == nil {
		c = &Thread{}
		t.byID[id] = c
		t.all = append(t.all, c)
	}
	return c
}

// add adds a message and its references (steps 1.A and 1.B).
func (t *threader) add(r *Row) {
	var c *Thread
	if id := r.Summary.Text(summary.MessageID); len(id) > 0 {
		c = t.get(string(id))
	}
	if c == nil || c.row != nil {
		// A message without an id, or with another message's id, cannot be
		// referenced.
		c = &Thread{}
		t.all = append(t.all, c)
	}
	c.row = r
	var last *Thread
	if refs := string(r.Summary.References()); refs != "" {
		for ref := range strings.SplitSeq(refs, "\n") {
			next := t.get(ref)
			if last != nil && next.parent == nil && !t.above(next, last) {
				t.link(next, last)
			}
			last = next
		}
	}
	c.parent = nil
	if last != nil && !t.above(c, last) {
		t.link(c, last)
	}
}

func (t *threader) link(c, parent *Thread) { c.parent, parent.linked = parent, true }

// above reports whether a is c or one of its ancestors.
func (t *threader) above(a, c *Thread) bool {
	if !a.linked {
		return a == c
	}
	for ; c != nil; c = c.parent {
		t.steps++
		if a == c || t.steps > maxSteps {
			return true
		}
	}
	return false
}

// prune removes threads that have no message (step 3). A root without a message
// is kept if it joins several threads.
func prune(roots []*Thread) []*Thread {
	var out []*Thread
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

// pruneBelow replaces every empty thread below t with its children. It does not
// recurse, because a chain can be as long as the mailbox.
func pruneBelow(t *Thread) {
	var order []*Thread
	for stack := []*Thread{t}; len(stack) > 0; {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		order = append(order, c)
		stack = append(stack, c.kids...)
	}
	for _, c := range slices.Backward(order) {
		var kids []*Thread
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

// sortThreads sorts threads, and the replies in them, by date.
func sortThreads(roots []*Thread) {
	for _, r := range roots {
		sortBelow(r)
	}
	slices.SortStableFunc(roots, byDate)
}

// sortBelow sorts the replies at every level by date.
func sortBelow(t *Thread) {
	for stack := []*Thread{t}; len(stack) > 0; {
		c := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], c.kids...)
		if len(c.kids) > 1 {
			slices.SortStableFunc(c.kids, byDate)
		}
	}
}

// joinSubjects joins threads with the same subject (step 5).
func joinSubjects(roots []*Thread) []*Thread {
	table := subjectTable(roots)
	merged := map[*Thread]bool{} // merged into the thread for its subject
	replaced := map[*Thread]*Thread{}
	for _, r := range roots {
		base, isReply := r.subject()
		have := table[base]
		if base == "" || have == r {
			continue
		}
		_, haveReply := have.subject()
		merged[r] = true
		switch {
		case have.row == nil && r.row == nil:
			have.kids = append(have.kids, r.kids...)
		case have.row == nil, isReply && !haveReply:
			have.kids = append(have.kids, r)
		default:
			// Neither is a reply to the other, so they become siblings.
			both := &Thread{kids: []*Thread{have, r}}
			replaced[have] = both
			table[base] = both
		}
	}
	var out []*Thread
	for _, r := range roots {
		if merged[r] {
			continue
		}
		if both := replaced[r]; both != nil {
			r = both
		}
		out = append(out, r)
	}
	return out
}

// subjectTable selects the thread that represents each subject (step 5.B): an
// empty thread if there is one, otherwise one that is not a reply, otherwise
// the first.
func subjectTable(roots []*Thread) map[string]*Thread {
	table := map[string]*Thread{}
	for _, r := range roots {
		base, isReply := r.subject()
		if base == "" {
			continue
		}
		have := table[base]
		if have == nil {
			table[base] = r
			continue
		}
		_, haveReply := have.subject()
		if have.row != nil && (r.row == nil || haveReply && !isReply) {
			table[base] = r
		}
	}
	return table
}
