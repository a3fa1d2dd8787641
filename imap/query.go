package imap

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"hoplite/imap/summary"
	"hoplite/imap/wire"
	"hoplite/internal/parallel"
	"hoplite/mail/mime"
	"hoplite/maildrop"
)

// query is a search compiled for one view. Several goroutines can evaluate it
// for different messages at the same time.
type query struct {
	folder  *maildrop.Folder
	view    *view
	charset string
	uidOnly bool  // message numbers are not permitted
	now     int64 // the reference time for YOUNGER and OLDER

	words  int     // in fuzzy keys
	scores []uint8 // relevancies by index in the view; nil if not requested

	root  *node
	texts []*node // BODY and TEXT keys, which are evaluated in one pass
}

// matcher reports whether a message matches a search key.
type matcher func(*candidate, *node) (bool, error)

// searchKey describes a SEARCH key.
type searchKey struct {
	// need is the data that the key examines. If several keys must all match,
	// the cheaper ones are evaluated first.
	need need
	// compile computes everything that does not depend on the message. It may
	// be nil.
	compile func(*query, *node, *wire.Key) error
	match   matcher
}

// node is a compiled search key.
type node struct {
	match matcher
	not   bool
	need  need

	flags    maildrop.Flags
	keywords uint64
	set      []wire.Range
	uids     []uint32
	needle   []byte       // folded
	field    string       // for HEADER
	find     summary.Text // summary text that holds the field, or noText
	num      uint64
	day      int64
	text     int  // index in the query's texts
	headers  bool // for TEXT: search the header as well
	kids     []*node
}

// noText means that summaries do not contain the field.
const noText summary.Text = -1

func newQuery(m *mailbox, args *wire.Search) (*query, error) {
	q := &query{folder: m.folder, view: &m.view, charset: args.Charset, uidOnly: m.session().on.uidOnly, now: time.Now().Unix()}
	var err error
	q.root, err = q.compile(&m.session().srv.dialect.keys, &args.Key)
	return q, err
}

func (q *query) compile(keys *[wire.KeyOps]searchKey, k *wire.Key) (*node, error) {
	row := &keys[k.Op]
	if row.match == nil {
		return nil, badf("Unknown search key")
	}
	n := &node{match: row.match, need: row.need, not: k.Not, num: k.Num, field: k.Field, find: noText}
	if k.Str != "" {
		n.needle = summary.Fold(mime.DecodeString(q.charset, k.Str))
	}
	if !k.Date.IsZero() {
		n.day = summary.Day(k.Date)
	}
	if row.compile != nil {
		if err := row.compile(q, n, k); err != nil {
			return nil, err
		}
	}
	kids := k.Kids
	if k.Op == wire.KeyFuzzy {
		var err error
		if kids, err = q.fuzzyKids(k.Kids[0]); err != nil {
			return nil, err
		}
	}
	for i := range kids {
		kid, err := q.compile(keys, &kids[i])
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
		n.need = max(n.need, kid.need)
	}
	slices.SortStableFunc(n.kids, func(a, b *node) int { return int(a.need) - int(b.need) })
	return n, nil
}

// run evaluates the query for every message and stores the results in hit. If
// files have to be read, several workers share the work.
func (q *query) run(ctx context.Context, c *call, msgs []*maildrop.Message, hit []bool) error {
	if q.root.need == needIndex {
		one := candidate{q: q}
		for i, m := range msgs {
			one.msg, one.number = m, uint32(i+1)
			hit[i], _ = one.match(q.root) // cannot fail without reading files
			if q.scores != nil {
				q.scores[i] = exactly // no text has been compared
			}
		}
		return nil
	}
	p := c.begin(len(msgs))
	defer p.end()
	return parallel.Do(len(msgs), func(i int) (err error) {
		if ctx.Err() != nil {
			return errSearchLimit
		}
		p.step()
		hit[i], err = q.ask(ctx, msgs[i], uint32(i+1))
		return err
	})
}

// ask evaluates the query for one message. A message that no longer exists or
// that cannot be read does not match.
func (q *query) ask(ctx context.Context, m *maildrop.Message, number uint32) (bool, error) {
	c := candidates.Get().(*candidate)
	*c = candidate{q: q, ctx: ctx, msg: m, number: number, found: c.found[:0]}
	defer c.release()
	ok, err := c.match(q.root)
	if q.scores != nil {
		q.scores[number-1] = c.relevancy()
	}
	if oneMessage(err) {
		return false, nil
	}
	return ok, err
}

var candidates = sync.Pool{New: func() any { return new(candidate) }}

// candidate is a message for which a query is evaluated, with the data read so
// far.
type candidate struct {
	q      *query
	ctx    context.Context
	msg    *maildrop.Message
	number uint32

	known summary.Summary
	src   *source
	read  bool   // found is valid
	found []bool // whether the message contains each of the query's texts

	score, rated int // sum and number of relevancies
}

func (c *candidate) release() {
	if c.src != nil {
		c.src.close()
	}
	*c = candidate{found: c.found}
	candidates.Put(c)
}

// summary returns the summary of the message's header.
func (c *candidate) summary() (summary.Summary, error) {
	var err error
	if c.known == nil {
		c.known, err = summaryOf(c.q.folder, c.msg, false)
	}
	return c.known, err
}

// open returns the message's file.
func (c *candidate) open() (*source, error) {
	var err error
	if c.src == nil {
		c.src, err = openMessage(c.q.folder, c.msg)
	}
	return c.src, err
}

func (c *candidate) match(n *node) (bool, error) {
	ok, err := n.match(c, n)
	return ok != n.not, err
}

// keywordMask returns a keyword's bit, or 0 if no message has the keyword.
func (v *view) keywordMask(name string) uint64 {
	for bit, k := range v.Keywords {
		if k != "" && strings.EqualFold(k, name) {
			return 1 << bit
		}
	}
	return 0
}
