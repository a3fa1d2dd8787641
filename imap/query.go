package imap

import (
	"context"
	"errors"
	"slices"
	"time"

	"hoplite/imap/wire"
	"hoplite/internal/parallel"
	"hoplite/mail/mime"
	"hoplite/maildrop"
)

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
	case wire.KeyThreadID:
		n.cost, n.needle = header, []byte(k.Str)
	case wire.KeyHeader:
		n.cost = header
		if i, ok := findable[upper(k.Field)]; ok && len(n.needle) > 0 {
			n.find = i
		}
	case wire.KeySentBefore, wire.KeySentOn, wire.KeySentSince:
		n.cost = header
	case wire.KeyBody, wire.KeyText:
		if len(n.needle) == 0 {
			n.op = wire.KeyAll // nothing is in everything
			break
		}
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
	return parallel.Do(len(msgs), func(i int) (err error) {
		if ctx.Err() != nil {
			return errSearchLimit
		}
		hit[i], err = q.ask(ctx, msgs[i], i)
		return err
	})
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
		s.e, err = entryOf(s.q.folder, s.m, false)
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
		return m.InternalDate().Unix() >= s.q.now-int64(min(n.num, 1<<40)), nil
	case wire.KeyOlder:
		return m.InternalDate().Unix() <= s.q.now-int64(min(n.num, 1<<40)), nil
	case wire.KeyModSeq:
		return m.ModSeq >= n.num, nil
	case wire.KeyEmailID:
		return string(n.needle) == objectID('M', m.GUID()), nil
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
	if n.op == wire.KeyThreadID {
		return string(n.needle) == s.e.thread(s.m), nil
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
