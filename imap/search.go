package imap

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"hoplite/imap/wire"
	"hoplite/mail/mime"
	"hoplite/maildrop"
)

// doSearch runs SEARCH and UID SEARCH (RFC 9051, 6.4.4; RFC 4731, 5032, 5182).
func (s *session) doSearch(uid bool) error {
	s.p.SP()
	args := s.p.Search()
	if !s.end() {
		return nil
	}
	if args.Charset != "" && s.utf8 {
		s.p.Fail("no CHARSET after ENABLE UTF8=ACCEPT") // RFC 6855, 3
		return nil
	}
	if args.Return.Save {
		s.sel.saved = []uint32{} // what an unsuccessful search leaves
	}
	found, err := s.search(&args)
	if err != nil || s.p.Err() != nil {
		return err
	}
	if args.Return.Save {
		s.save(args.Return, found)
	}
	s.result("SEARCH", &args, found, uid)
	if err := s.poll(uid); err != nil {
		return err
	}
	s.tagged("OK SEARCH completed")
	return nil
}

// save keeps a result for "$" (RFC 5182, 2.1).
func (s *session) save(r wire.ReturnOpts, found []int) {
	if !r.All && !r.Count && (r.Min || r.Max) && len(found) > 0 {
		var ends []int
		if r.Min {
			ends = append(ends, found[0])
		}
		if last := found[len(found)-1]; r.Max && (len(ends) == 0 || last != ends[0]) {
			ends = append(ends, last)
		}
		found = ends
	}
	s.sel.saved = s.uidsOf(found)
}

// result sends what SEARCH or SORT found, in the order given.
func (s *session) result(what string, args *wire.Search, found []int, uid bool) {
	nums := make([]uint32, len(found))
	var modseq uint64
	for i, n := range found {
		m := s.sel.view.Messages[n]
		nums[i] = uint32(n + 1)
		if uid {
			nums[i] = m.UID
		}
		modseq = max(modseq, m.ModSeq)
	}
	if args.Return.Given || s.rev2 && what == "SEARCH" {
		s.esearch(args, nums, modseq, uid)
		return
	}
	b := append(append(s.w.Room(64), "* "...), what...)
	for _, n := range nums {
		if len(b) > 4000 {
			s.w.Took(b)
			b = s.w.Room(64)
		}
		b = strconv.AppendUint(append(b, ' '), uint64(n), 10)
	}
	if args.ModSeq && len(nums) > 0 {
		b = strconv.AppendUint(append(b, " (MODSEQ "...), modseq, 10)
		b = append(b, ')')
	}
	s.w.Took(append(b, "\r\n"...))
}

// esearch sends an ESEARCH response (RFC 4731, 3.1; RFC 5267, 3).
func (s *session) esearch(args *wire.Search, nums []uint32, modseq uint64, uid bool) {
	r := args.Return
	if !r.Given {
		r.All = true
	}
	if r.Save && !r.Min && !r.Max && !r.All && !r.Count {
		return
	}
	s.w.WriteString("* ESEARCH (TAG ")
	s.w.Write(wire.AppendString(nil, s.tag, false))
	s.w.WriteString(")")
	var b []byte
	if uid {
		b = append(b, " UID"...)
	}
	if len(nums) > 0 {
		if r.Min {
			b = appendInt(append(b, " MIN "...), int64(nums[0]))
		}
		if r.Max {
			b = appendInt(append(b, " MAX "...), int64(nums[len(nums)-1]))
		}
		if r.All {
			b = wire.AppendNumbers(append(b, " ALL "...), nums)
		}
	}
	if r.Count {
		b = appendInt(append(b, " COUNT "...), int64(len(nums)))
	}
	if args.ModSeq && len(nums) > 0 {
		b = strconv.AppendUint(append(b, " MODSEQ "...), modseq, 10)
	}
	s.w.Write(append(b, "\r\n"...))
}

// errSearchLimit is the answer to a search that takes too long.
var errSearchLimit = no{"[LIMIT] search takes too long"}

// search returns the indexes in the view of all messages that match, ascending.
func (s *session) search(args *wire.Search) ([]int, error) {
	if args.Charset != "" && !mime.KnownCharset(args.Charset) {
		return nil, nof("[BADCHARSET (US-ASCII UTF-8)] charset is not supported")
	}
	q := s.query(args)
	if args.ModSeq {
		s.enableCondstore()
	}
	msgs := s.sel.view.Messages
	hit := make([]bool, len(msgs))
	ctx, cancel := context.WithTimeout(s.ctx, s.srv.cfg.SearchTimeout)
	defer cancel()
	if err := q.run(ctx, msgs, hit); err != nil {
		return nil, err
	}
	found := make([]int, 0, 64)
	for i, h := range hit {
		if h {
			found = append(found, i)
		}
	}
	return found, nil
}

// query is a search, made ready to be asked of many messages by several
// goroutines at once.
type query struct {
	folder *maildrop.Folder
	root   *node
	texts  []*node // the BODY and TEXT keys
	files  bool    // it looks into messages
	recent func(uid uint32) bool
	now    int64
}

// node is a search key with everything about it worked out that does not
// depend on the message.
type node struct {
	op       wire.KeyOp
	not      bool
	cost     int
	flags    maildrop.Flags
	keywords uint64
	set      []wire.Range
	uids     []uint32
	needle   []byte // folded
	field    string
	find     int // the entry's text that has the field, or -1
	num      uint64
	day      int64
	text     int // place among the query's texts
	kids     []*node
}

// The costs of keys: those without a look at anything but the index go first.
const (
	cheap = iota
	header
	wholeText
)

func (s *session) query(args *wire.Search) *query {
	q := &query{folder: s.sel.folder, recent: s.sel.isRecent, now: time.Now().Unix()}
	q.root = s.node(q, &args.Key, args.Charset)
	q.files = q.root.cost > cheap
	return q
}

var findable = map[string]int{"SUBJECT": eFindSubject, "FROM": eFindFrom, "TO": eFindTo, "CC": eFindCc, "BCC": eFindBcc}

func (s *session) node(q *query, k *wire.Key, charset string) *node {
	v := s.sel.view
	n := &node{op: k.Op, not: k.Not, num: k.Num, field: k.Field, find: -1}
	if k.Op == wire.KeyFlag {
		n.flags, n.keywords = s.flagMask(k.Str)
	}
	if k.Str != "" {
		n.needle = foldText(mime.DecodeString(charset, k.Str))
	}
	if !k.Date.IsZero() {
		n.day = day(k.Date)
	}
	top := uint32(0)
	if len(v.Messages) > 0 {
		top = v.Messages[len(v.Messages)-1].UID
	}
	switch k.Op {
	case wire.KeySeq:
		n.set = k.Set.Resolve(uint32(len(v.Messages)))
		if k.Set.Saved {
			n.op, n.uids = wire.KeyUID, s.sel.saved
		}
	case wire.KeyUID:
		n.set = k.Set.Resolve(top)
		if k.Set.Saved {
			n.uids = s.sel.saved
		}
	case wire.KeyEmailID:
		n.needle = []byte(k.Str)
	case wire.KeyHeader:
		n.cost = header
		if i, ok := findable[upper(k.Field)]; ok && len(n.needle) > 0 {
			n.find = i
		}
	case wire.KeySentBefore, wire.KeySentOn, wire.KeySentSince:
		n.cost = header
	case wire.KeyBody, wire.KeyText:
		n.cost, n.text = wholeText, len(q.texts)
		q.texts = append(q.texts, n)
	}
	for i := range k.Kids {
		kid := s.node(q, &k.Kids[i], charset)
		n.kids = append(n.kids, kid)
		n.cost = max(n.cost, kid.cost)
	}
	slices.SortStableFunc(n.kids, func(a, b *node) int { return a.cost - b.cost })
	return n
}

// flagMask is a flag's bit; neither for a keyword that no message has.
func (s *session) flagMask(name string) (maildrop.Flags, uint64) {
	if name[0] == '\\' {
		f, _ := s.parseFlags([]string{name})
		return f, 0
	}
	for bit, k := range s.sel.view.Keywords {
		if k != "" && upper(k) == upper(name) {
			return 0, 1 << bit
		}
	}
	return 0, 0
}

// run asks the query of every message. Several workers share what has to be
// read from files.
func (q *query) run(ctx context.Context, msgs []*maildrop.Message, hit []bool) error {
	if !q.files {
		for i, m := range msgs {
			subject := subject{q: q, m: m, i: i}
			hit[i], _ = subject.match(q.root) // without files there are no errors
		}
		return nil
	}
	const share = 16
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				from := int(next.Add(share)) - share
				if from >= len(msgs) {
					return
				}
				for i := from; i < min(from+share, len(msgs)); i++ {
					if ctx.Err() != nil {
						errs[w] = errSearchLimit
						return
					}
					if hit[i], errs[w] = q.ask(ctx, msgs[i], i); errs[w] != nil {
						return
					}
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ask asks the query of one message; one that is gone does not match.
func (q *query) ask(ctx context.Context, m *maildrop.Message, i int) (bool, error) {
	sub := subject{q: q, m: m, i: i, ctx: ctx}
	defer sub.close()
	ok, err := sub.match(q.root)
	if errors.Is(err, maildrop.ErrNoMessage) {
		return false, nil
	}
	return ok, err
}

// subject is the message that a query is asked of, and what was read of it.
type subject struct {
	q     *query
	ctx   context.Context
	m     *maildrop.Message
	i     int
	e     entry
	src   *source
	texts []bool // which of the query's texts are in it
}

func (s *subject) close() {
	if s.src != nil {
		s.src.close()
	}
}

func (s *subject) entry() (err error) {
	if s.e == nil {
		s.e, err = entryOf(s.q.folder, s.m)
	}
	return err
}

func (s *subject) open() (err error) {
	if s.src == nil {
		s.src, err = openMessage(s.q.folder, s.m)
	}
	return err
}

func (s *subject) match(n *node) (bool, error) {
	ok, err := s.matchOne(n)
	return ok != n.not, err
}

func (s *subject) matchOne(n *node) (bool, error) {
	m := s.m
	switch n.op {
	case wire.KeyAll, wire.KeySaveDateSupported:
		return true, nil
	case wire.KeyAnd:
		for _, k := range n.kids {
			if ok, err := s.match(k); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case wire.KeyOr:
		for _, k := range n.kids {
			if ok, err := s.match(k); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case wire.KeyFlag:
		return m.Flags&n.flags != 0 || m.Keywords&n.keywords != 0, nil
	case wire.KeyRecent:
		return s.q.recent(m.UID), nil
	case wire.KeyNew:
		return m.Flags&maildrop.Seen == 0 && s.q.recent(m.UID), nil
	case wire.KeySeq:
		return within(n.set, uint32(s.i+1)), nil
	case wire.KeyUID:
		if n.uids != nil {
			_, ok := slices.BinarySearch(n.uids, m.UID)
			return ok, nil
		}
		return within(n.set, m.UID), nil
	case wire.KeyLarger:
		return m.Wire > int64(n.num), nil
	case wire.KeySmaller:
		return m.Wire < int64(n.num), nil
	case wire.KeyYounger:
		return m.Date >= s.q.now-int64(min(n.num, 1<<40)), nil
	case wire.KeyOlder:
		return m.Date <= s.q.now-int64(min(n.num, 1<<40)), nil
	case wire.KeyModSeq:
		return m.ModSeq >= n.num, nil
	case wire.KeyEmailID:
		return string(n.needle) == objectID('M', m.GUID()), nil
	case wire.KeyThreadID:
		return false, nil
	}
	return s.matchMore(n)
}

// matchMore compares dates and looks into the message.
func (s *subject) matchMore(n *node) (bool, error) {
	switch n.op {
	case wire.KeyBefore:
		return day(s.m.InternalDate()) < n.day, nil
	case wire.KeyOn:
		return day(s.m.InternalDate()) == n.day, nil
	case wire.KeySince:
		return day(s.m.InternalDate()) >= n.day, nil
	case wire.KeySavedBefore:
		return day(s.m.SaveDate()) < n.day, nil
	case wire.KeySavedOn:
		return day(s.m.SaveDate()) == n.day, nil
	case wire.KeySavedSince:
		return day(s.m.SaveDate()) >= n.day, nil
	case wire.KeyHeader:
		return s.matchHeader(n)
	case wire.KeyBody, wire.KeyText:
		if s.texts == nil {
			if err := s.readTexts(); err != nil {
				return false, err
			}
		}
		return s.texts[n.text], nil
	}
	if err := s.entry(); err != nil {
		return false, err
	}
	if len(s.e.text(eSent)) == 0 {
		return false, nil // no Date is neither before nor after anything
	}
	_, sent := s.e.sent(s.m)
	switch n.op {
	case wire.KeySentBefore:
		return sent < n.day, nil
	case wire.KeySentOn:
		return sent == n.day, nil
	case wire.KeySentSince:
		return sent >= n.day, nil
	}
	return false, nil
}
