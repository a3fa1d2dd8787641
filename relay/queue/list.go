package queue

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// Info is one queued message as an admin sees it.
type Info struct {
	ID       string     `json:"id"`
	State    string     `json:"state"` // active, deferred, held
	Held     string     `json:"held,omitempty"`
	From     string     `json:"from"`
	Upstream string     `json:"upstream"`
	At       time.Time  `json:"at"`
	Size     int64      `json:"size"`
	Next     time.Time  `json:"next,omitzero"` // of the next attempt
	Rcpts    []RcptInfo `json:"rcpts"`
}

// RcptInfo is one recipient of an Info.
type RcptInfo struct {
	To       string    `json:"to"`
	Orig     string    `json:"orig,omitempty"` // when it differs
	State    string    `json:"state"`          // waiting, delivered, failed, dropped
	Attempts int       `json:"attempts"`
	Tried    time.Time `json:"tried,omitzero"`
	Reply    string    `json:"reply,omitempty"`
	Host     string    `json:"host,omitempty"` // who gave that reply
}

// Detail is everything that is known of one queued message.
type Detail struct {
	Info
	Envelope mail.Envelope   `json:"envelope"`
	Client   mail.Client     `json:"client"`
	Header   mail.HeaderInfo `json:"header"`
	Trail    *mail.Trail     `json:"trail"`
	// Quarantine is why a filter wanted it held, whether it still is or not.
	Quarantine string `json:"quarantine,omitempty"`
}

// Filter picks messages; what is empty picks all. Texts are compared without
// regard to case.
type Filter struct {
	IDs []string `json:"ids,omitempty"`
	// To and From are patterns as mail.ParsePattern reads them.
	To       string `json:"to,omitempty"`
	From     string `json:"from,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	State    string `json:"state,omitempty"`
	// Older and Younger compare the age.
	Older   time.Duration `json:"older,omitempty"`
	Younger time.Duration `json:"younger,omitempty"`

	to, from mail.Patterns // of To and From, once prepared
}

// prepare parses To and From for matches. A pattern that is none picks nothing.
func (f *Filter) prepare() {
	f.to, _ = mail.ParsePatterns([]string{f.To})
	f.from, _ = mail.ParsePatterns([]string{f.From})
}

// Empty tells whether the filter picks everything.
func (f *Filter) Empty() bool {
	return len(f.IDs) == 0 && f.To == "" && f.From == "" && f.Upstream == "" && f.State == "" && f.Older == 0 && f.Younger == 0
}

// matches is called with q.mu held, after prepare.
func (f *Filter) matches(q *Queue, it *item, now time.Time) bool {
	age := now.Sub(it.at)
	return (len(f.IDs) == 0 || slices.Contains(f.IDs, it.id)) &&
		(f.From == "" || f.from.Match(it.env.From)) &&
		(f.Upstream == "" || f.Upstream == it.to()) &&
		(f.State == "" || f.State == q.state(it, now)) &&
		(f.Older == 0 || age >= f.Older) && (f.Younger == 0 || age < f.Younger) &&
		(f.To == "" || slices.ContainsFunc(it.env.Rcpts, func(r mail.Rcpt) bool { return f.to.Match(r.To) || f.to.Match(r.Orig) }))
}

// List gives the messages that f picks, the oldest first; at most limit of
// them if it is positive.
func (q *Queue) List(f Filter, limit int) []Info {
	q.mu.Lock()
	defer q.mu.Unlock()
	picked := q.pick(f)
	if limit > 0 && len(picked) > limit {
		picked = picked[:limit]
	}
	now := time.Now()
	out := make([]Info, len(picked))
	for i, it := range picked {
		out[i] = q.info(it, now)
	}
	return out
}

func (q *Queue) pick(f Filter) []*item {
	f.prepare()
	now := time.Now()
	var out []*item
	if len(f.IDs) > 0 {
		for _, id := range f.IDs {
			if it := q.items[id]; it != nil && f.matches(q, it, now) {
				out = append(out, it)
			}
		}
		return out
	}
	for _, it := range q.items {
		if f.matches(q, it, now) {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b *item) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
	return out
}

func (q *Queue) state(it *item, now time.Time) string {
	switch {
	case it.held != "":
		return "held"
	case it.active > 0 || !q.next(it).After(now):
		return "active"
	}
	return "deferred"
}

// next is the time of the next attempt as far as it is known.
func (q *Queue) next(it *item) time.Time {
	var next time.Time
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, j := range it.jobs {
		t := j.next
		if j.dest.blocked.After(t) {
			t = j.dest.blocked
		}
		earlier(t)
	}
	if len(it.jobs) == 0 { // on a stopped server
		for i := range it.rcpts {
			if it.rcpts[i].status == waiting {
				earlier(it.rcpts[i].next)
			}
		}
	}
	return next
}

// info is what an item knows by itself.
func (it *item) info() Info {
	in := Info{ID: it.id, Held: it.held, From: string(it.env.From), Upstream: it.to(), At: it.at, Size: it.size}
	for i, r := range it.env.Rcpts {
		p := &it.rcpts[i]
		ri := RcptInfo{To: string(r.To), State: p.status.String(), Attempts: p.attempts, Tried: p.tried}
		if r.Orig != r.To {
			ri.Orig = string(r.Orig)
		}
		if p.last != nil {
			ri.Reply, ri.Host = p.last.String(), p.last.Host
		}
		in.Rcpts = append(in.Rcpts, ri)
	}
	return in
}

func (q *Queue) info(it *item, now time.Time) Info {
	in := it.info()
	in.State = q.state(it, now)
	if it.held == "" {
		in.Next = q.next(it)
	}
	for _, j := range it.jobs { // a destination that is down says why for all its mail
		if why := j.dest.why; why != nil {
			for _, i := range j.rcpts {
				if in.Rcpts[i].Reply == "" {
					in.Rcpts[i].Reply, in.Rcpts[i].Host = why.String(), why.Host
				}
			}
		}
	}
	return in
}

// ErrNotQueued says that no queued message has that id.
var ErrNotQueued = errors.New("no such message in the queue")

// Show tells everything about one message.
func (q *Queue) Show(id string) (Detail, error) {
	q.mu.Lock()
	it := q.items[id]
	if it == nil {
		q.mu.Unlock()
		return Detail{}, fmt.Errorf("%s: %w", id, ErrNotQueued)
	}
	d := Detail{Info: q.info(it, time.Now()), Envelope: it.env}
	q.mu.Unlock()
	meta, _, err := q.opt.Journal.Meta(id)
	if err != nil {
		return Detail{}, fmt.Errorf("show %s: %w", id, err)
	}
	var tx mail.Transaction
	if err := unpackMeta(meta, &item{id: id}, &tx); err != nil {
		return Detail{}, err
	}
	d.Client, d.Header, d.Trail, d.Quarantine = tx.Client, tx.Header, tx.Trail, tx.Quarantine
	return d, nil
}

// Message opens a message's octets.
func (q *Queue) Message(id string) (*mail.Message, io.Closer, error) {
	m, closer, err := q.opt.Journal.Message(id)
	if errors.Is(err, journal.ErrUnknown) {
		err = ErrNotQueued
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", id, err)
	}
	return m, closer, nil
}

// Export writes a message's octets.
func (q *Queue) Export(id string, w io.Writer) error {
	m, closer, err := q.Message(id)
	if err != nil {
		return err
	}
	defer closer.Close()
	_, err = m.WriteTo(w)
	return err
}

// Ages are the limits of the columns of Total.Ages: a message counts in the
// first that its age is under, or in one more behind them.
var Ages = []time.Duration{
	5 * time.Minute, 20 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour, 3 * 24 * time.Hour,
}

// Total sums up one destination, like Postfix' qshape.
type Total struct {
	Destination string    `json:"destination"` // recipients' domain
	Messages    int       `json:"messages"`
	Held        int       `json:"held"`
	Size        int64     `json:"size"`
	Ages        []int     `json:"ages"`
	Oldest      time.Time `json:"oldest"`
	Next        time.Time `json:"next,omitzero"` // the next attempt of any
	Reply       string    `json:"reply,omitempty"`
	tried       time.Time
}

// Totals sums up the queue by recipients' domain, the fullest first. A message
// to several domains counts in each.
func (q *Queue) Totals(f Filter) []Total {
	f.prepare()
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	sums := map[string]*Total{}
	for _, it := range q.items {
		if f.Empty() || f.matches(q, it, now) {
			q.total(sums, it, now)
		}
	}
	out := make([]Total, 0, len(sums))
	for _, t := range sums {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Total) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Destination, b.Destination))
	})
	return out
}

func (q *Queue) total(sums map[string]*Total, it *item, now time.Time) {
	seen := map[string]bool{}
	for i := range it.rcpts {
		r := &it.rcpts[i]
		if r.status != waiting {
			continue
		}
		domain := it.env.Rcpts[i].To.Domain()
		t := sums[domain]
		if t == nil {
			t = &Total{Destination: domain, Ages: make([]int, len(Ages)+1), Oldest: it.at}
			sums[domain] = t
		}
		if r.last != nil && r.tried.After(t.tried) {
			t.Reply, t.tried = r.last.String(), r.tried
		}
		if !seen[domain] {
			seen[domain] = true
			t.add(it, q.next(it), now)
		}
	}
	for _, j := range it.jobs { // a destination that is down says why for all its mail
		for _, i := range j.rcpts {
			if t := sums[it.env.Rcpts[i].To.Domain()]; t != nil && t.Reply == "" && j.dest.why != nil {
				t.Reply = j.dest.why.String()
			}
		}
	}
}

// add counts one message.
func (t *Total) add(it *item, next, now time.Time) {
	t.Messages++
	t.Size += it.size
	age, n := now.Sub(it.at), 0
	for n < len(Ages) && age >= Ages[n] {
		n++
	}
	t.Ages[n]++
	if it.at.Before(t.Oldest) {
		t.Oldest = it.at
	}
	if it.held != "" {
		t.Held++
	} else if t.Next.IsZero() || next.Before(t.Next) {
		t.Next = next
	}
}
