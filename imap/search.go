package imap

import (
	"context"
	"slices"
	"strconv"

	"hoplite/imap/wire"
	"hoplite/mail/mime"
)

// handleSearch runs SEARCH and UID SEARCH (RFC 9051, 6.4.4; RFC 4731, RFC 5032,
// RFC 5182).
func handleSearch(m *mailbox, c *call) error {
	c.args.SP()
	args := c.args.Search()
	if err := c.args.End(); err != nil {
		return err
	}
	if args.Charset != "" && m.session().on.utf8 {
		return badf("No CHARSET after ENABLE UTF8=ACCEPT") // RFC 6855, 3
	}
	if args.Return.Update && m.context(c.tag) >= 0 {
		return badf("The tag is used by another context")
	}
	found, err := search(m, c, &args)
	if err != nil {
		return err
	}
	sendFound(m, c, &args, found)
	if args.Return.Update {
		m.keep(c, &args, found)
	}
	return nil
}

// search searches the selected mailbox.
func search(m *mailbox, c *call, args *wire.Search) ([]int, error) {
	if args.Return.Save {
		m.view.saved = []uint32{} // result of a failed search (RFC 5182, 2.1)
	}
	s, err := m.account.beginSearch(c, args)
	if err != nil {
		return nil, err
	}
	defer s.end()
	return s.in(m)
}

// searching is a running search in one or more mailboxes. The time limit, and the
// limit on searches in files, apply to all of them together.
type searching struct {
	call   *call
	args   *wire.Search
	ctx    context.Context
	cancel context.CancelFunc
	done   func() // set while the search counts as one in files
}

// beginSearch begins a search. The caller must call end.
func (a *account) beginSearch(c *call, args *wire.Search) (*searching, error) {
	if args.Charset != "" && !mime.KnownCharset(args.Charset) {
		return nil, nof("[BADCHARSET (US-ASCII UTF-8)] Charset not supported")
	}
	s := &searching{call: c, args: args}
	s.ctx, s.cancel = a.session.patience()
	return s, nil
}

func (s *searching) end() {
	s.cancel()
	if s.done != nil {
		s.done()
	}
}

// in returns the view indices of all matching messages of a mailbox in ascending
// order, and saves the result if the client requests it.
func (s *searching) in(m *mailbox) ([]int, error) {
	args := s.args
	q, err := newQuery(m, args)
	if err != nil {
		return nil, err
	}
	if args.ModSeq {
		m.account.enableCondstore()
	}
	if q.root.need == needFile && s.done == nil {
		if s.done, err = m.account.work.search(s.ctx); err != nil {
			return nil, err
		}
	}
	m.relevancy = nil
	if args.Fuzzy {
		q.scores = make([]uint8, len(m.view.Messages))
		m.relevancy = q.scores
	}
	hit := make([]bool, len(m.view.Messages))
	if err := q.run(s.ctx, s.call, m.view.Messages, hit); err != nil {
		return nil, err
	}
	found := make([]int, 0, 64)
	for i, h := range hit {
		if h {
			found = append(found, i)
		}
	}
	if args.Return.Save {
		m.view.save(args.Return, found)
	}
	return found, nil
}

// save saves the result of a search, in result order, for "$".
func (v *view) save(r wire.ReturnOptions, found []int) {
	v.saved = v.uids(savedPart(r, found))
	slices.Sort(v.saved)
}

// savedPart returns the part of a result that "$" refers to afterwards (RFC
// 5182, 2.1; RFC 9394, 3.2). found
// is in result order.
func savedPart(r wire.ReturnOptions, found []int) []int {
	if r.All || r.Count || !r.Min && !r.Max && !r.Partial.Given() || len(found) == 0 {
		return found
	}
	var saved []int
	if r.Partial.Given() {
		from, to := r.Partial.Of(len(found))
		saved = slices.Clone(found[from:to])
	}
	if first := found[0]; r.Min && !slices.Contains(saved, first) {
		saved = slices.Insert(saved, 0, first)
	}
	if last := found[len(found)-1]; r.Max && !slices.Contains(saved, last) {
		saved = append(saved, last)
	}
	return saved
}

// patience returns a context that is canceled when a search has taken too long
// or the client has disconnected.
func (s *session) patience() (context.Context, context.CancelFunc) {
	ctx, stop := s.conn.Watched(s.ctx)
	ctx, cancel := context.WithTimeout(ctx, s.srv.cfg.SearchTimeout)
	return ctx, func() { cancel(); stop() }
}

// result is the result of SEARCH or SORT: the numbers in result order and, if
// MODSEQ is among the criteria, each message's MODSEQ.
type result struct {
	nums      []uint32
	modseqs   []uint64
	relevancy []uint8 // if RELEVANCY is requested

	mailbox  string // encoded, for ESEARCH in several mailboxes
	validity uint32
}

func resultOf(m *mailbox, c *call, args *wire.Search, found []int) result {
	r := result{nums: make([]uint32, len(found))}
	for i, n := range found {
		r.nums[i] = m.view.number(n, c.uid)
	}
	if args.ModSeq {
		r.modseqs = make([]uint64, len(found))
		for i, n := range found {
			r.modseqs[i] = m.view.Messages[n].ModSeq
		}
	}
	if args.Return.Relevancy {
		r.relevancy = make([]uint8, len(found))
		for i, n := range found {
			r.relevancy[i] = m.relevancy[n]
		}
	}
	return r
}

// sendFound sends the result of SEARCH or SORT in the given order.
func sendFound(m *mailbox, c *call, args *wire.Search, found []int) {
	r := resultOf(m, c, args, found)
	if args.Return.Given || m.session().on.rev2 && c.name == "SEARCH" {
		sendESearch(c, args.Return, r)
		return
	}
	b := append(append(c.out.Room(64), "* "...), c.name...)
	for _, n := range r.nums {
		if len(b) > 4000 {
			c.out.Took(b)
			b = c.out.Room(64)
		}
		b = strconv.AppendUint(append(b, ' '), uint64(n), 10)
	}
	if len(r.modseqs) > 0 {
		b = strconv.AppendUint(append(b, " (MODSEQ "...), slices.Max(r.modseqs), 10)
		b = append(b, ')')
	}
	c.out.Took(append(b, "\r\n"...))
}

// sendESearch sends an ESEARCH response (RFC 4731, 3.1; RFC 5267, 3).
func sendESearch(c *call, o wire.ReturnOptions, r result) {
	if !o.Given {
		o.All = true
	}
	if o.Save && !o.Min && !o.Max && !o.All && !o.Count && !o.Partial.Given() {
		return
	}
	b := wire.AppendString([]byte("* ESEARCH (TAG "), c.tag, false)
	if r.mailbox != "" {
		b = append(append(b, " MAILBOX "...), r.mailbox...)
		b = appendInt(append(b, " UIDVALIDITY "...), int64(r.validity))
	}
	b = append(b, ')')
	if c.uid {
		b = append(b, " UID"...)
	}
	if len(r.nums) > 0 {
		if o.Min {
			b = appendInt(append(b, " MIN "...), int64(r.nums[0]))
		}
		if o.Max {
			b = appendInt(append(b, " MAX "...), int64(r.nums[len(r.nums)-1]))
		}
		if o.All {
			b = wire.AppendNumbers(append(b, " ALL "...), r.nums)
		}
	}
	if o.Partial.Given() {
		b = appendPage(append(b, " PARTIAL ("...), o.Partial, r.nums)
	}
	if o.Count {
		b = appendInt(append(b, " COUNT "...), int64(len(r.nums)))
	}
	if len(r.relevancy) > 0 {
		b = r.appendRelevancy(append(b, " RELEVANCY ("...), o.Partial)
	}
	if len(r.modseqs) > 0 {
		b = strconv.AppendUint(append(b, " MODSEQ "...), r.modseq(o), 10)
	}
	c.out.Write(append(b, "\r\n"...))
}

// appendPage appends one page of a result (RFC 9394, 3.1).
func appendPage(b []byte, page wire.Page, nums []uint32) []byte {
	b = append(page.Append(b), ' ')
	if from, to := page.Of(len(nums)); from < to {
		return append(wire.AppendNumbers(b, nums[from:to]), ')')
	}
	return append(b, "NIL)"...)
}

// appendRelevancy appends the relevancy of each message in the result, or on the
// requested page of it (RFC 6203, 4).
func (r *result) appendRelevancy(b []byte, page wire.Page) []byte {
	list := r.relevancy
	if page.Given() {
		from, to := page.Of(len(list))
		list = list[from:to]
	}
	for i, n := range list {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendInt(b, int64(n))
	}
	return append(b, ')')
}

// modseq returns the MODSEQ for the messages in the response: the higher of
// those of the first and last messages if only these are requested, otherwise
// the highest of all (RFC 7162, 3.1.10).
func (r *result) modseq(o wire.ReturnOptions) uint64 {
	if o.All || o.Count {
		return slices.Max(r.modseqs)
	}
	var top uint64
	if o.Min {
		top = r.modseqs[0]
	}
	if o.Max {
		top = max(top, r.modseqs[len(r.modseqs)-1])
	}
	from, to := o.Partial.Of(len(r.modseqs))
	for _, n := range r.modseqs[from:to] {
		top = max(top, n)
	}
	return top
}
