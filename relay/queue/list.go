package queue

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/report"
	"hoplite/relay/queue/schedule"
)

// Info describes one queued message for administrators.
type Info struct {
	ID       string     `json:"id"`
	State    string     `json:"state"` // active, deferred, held
	Held     string     `json:"held,omitempty"`
	From     string     `json:"from"`
	Upstream string     `json:"upstream"`
	At       time.Time  `json:"at"`
	Size     int64      `json:"size"`
	Next     time.Time  `json:"next,omitzero"` // time of the next attempt
	Rcpts    []RcptInfo `json:"rcpts"`
}

// RcptInfo is one recipient of an Info.
type RcptInfo struct {
	To       string    `json:"to"`
	Orig     string    `json:"orig,omitempty"` // omitted if it equals To
	State    string    `json:"state"`          // waiting, delivered, failed, dropped
	Attempts int       `json:"attempts"`
	Tried    time.Time `json:"tried,omitzero"`
	Reply    string    `json:"reply,omitempty"`
	Host     string    `json:"host,omitempty"` // the server that sent the reply
}

// Detail holds all information about one queued message.
type Detail struct {
	Info
	Envelope mail.Envelope   `json:"envelope"`
	Client   mail.Client     `json:"client"`
	Header   mail.HeaderInfo `json:"header"`
	Trail    *mail.Trail     `json:"trail"`
	// Unverified is set if the upstream accepts every recipient. The sender
	// then gets no report about a refusal.
	Unverified bool `json:"unverified,omitempty"`
	// Quarantine is the reason why a filter held the message. The message may
	// have been released since.
	Quarantine string `json:"quarantine,omitempty"`
}

// Filter selects messages. Empty fields match every message.
type Filter struct {
	IDs []string `json:"ids,omitempty"`
	// To and From are patterns in the syntax of mail.ParsePattern. An invalid
	// pattern matches nothing.
	To       string `json:"to,omitempty"`
	From     string `json:"from,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	State    string `json:"state,omitempty"`
	// Older and Younger limit the age of the messages.
	Older   time.Duration `json:"older,omitempty"`
	Younger time.Duration `json:"younger,omitempty"`
}

// Empty reports whether the filter matches every message.
func (f *Filter) Empty() bool {
	return len(f.IDs) == 0 && f.To == "" && f.From == "" && f.Upstream == "" && f.State == "" && f.Older == 0 && f.Younger == 0
}

// matcher is a parsed Filter.
type matcher struct {
	*Filter
	to, from mail.Patterns
}

// compile parses the patterns; "local" means hostname.
func (f *Filter) compile(hostname string) (c matcher, err error) {
	c.Filter = f
	for _, p := range []struct {
		text string
		into *mail.Patterns
	}{{f.To, &c.to}, {f.From, &c.from}} {
		if p.text == "" {
			continue
		}
		if *p.into, err = mail.ParsePatterns([]string{p.text}, hostname); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (f *matcher) matches(msg *schedule.Message, now time.Time) bool {
	age := now.Sub(msg.At)
	return (len(f.IDs) == 0 || slices.Contains(f.IDs, msg.ID)) &&
		(f.From == "" || f.from.Match(msg.Envelope.From)) &&
		(f.Upstream == "" || f.Upstream == msg.To()) &&
		(f.State == "" || f.State == msg.State(now)) &&
		(f.Older == 0 || age >= f.Older) && (f.Younger == 0 || age < f.Younger) &&
		(f.To == "" || slices.ContainsFunc(msg.Envelope.Rcpts, func(r mail.Rcpt) bool { return f.to.Match(r.To) || f.to.Match(r.Orig) }))
}

// match returns the messages that match a filter, oldest first. The caller
// holds the lock.
func (q *Queue) match(m *schedule.Machine, f Filter, now time.Time) []*schedule.Message {
	c, err := f.compile(q.hostname())
	if err != nil {
		return nil
	}
	var out []*schedule.Message
	if len(f.IDs) > 0 {
		for _, id := range f.IDs {
			if msg := m.Message(id); msg != nil && c.matches(msg, now) {
				out = append(out, msg)
			}
		}
		return out
	}
	for msg := range m.Messages() {
		if c.matches(msg, now) {
			out = append(out, msg)
		}
	}
	slices.SortFunc(out, schedule.Older)
	return out
}

// List returns the messages that match f, oldest first. If limit is positive,
// at most limit messages are returned.
func (q *Queue) List(f Filter, limit int) (out []Info) {
	q.update(func(m *schedule.Machine) {
		now := time.Now()
		all := q.match(m, f, now)
		if limit > 0 && len(all) > limit {
			all = all[:limit]
		}
		out = make([]Info, len(all))
		for i, msg := range all {
			out[i] = info(msg, now)
		}
	})
	return out
}

// info returns the description of a message for administrators.
func info(msg *schedule.Message, now time.Time) Info {
	in := Info{
		ID: msg.ID, State: msg.State(now), Held: msg.Held, From: string(msg.Envelope.From),
		Upstream: msg.To(), At: msg.At, Size: msg.Size,
	}
	if msg.Held == "" {
		in.Next = msg.Next()
	}
	for i, r := range msg.Envelope.Rcpts {
		p := &msg.Rcpts[i]
		ri := RcptInfo{To: string(r.To), State: p.Status.String(), Attempts: p.Attempts, Tried: p.Tried}
		if r.Orig != r.To {
			ri.Orig = string(r.Orig)
		}
		if p.Last != nil {
			ri.Reply, ri.Host = p.Last.String(), p.Last.Host
		}
		in.Rcpts = append(in.Rcpts, ri)
	}
	msg.Blocked(func(i int, why *mail.Reply) { // the reason for mail that has not been attempted
		if r := &in.Rcpts[i]; r.Reply == "" {
			r.Reply, r.Host = why.String(), why.Host
		}
	})
	return in
}

// ErrNotQueued is returned if no queued message has the given id.
var ErrNotQueued = errors.New("no such message in the queue")

// Show returns all information about one message.
func (q *Queue) Show(id string) (Detail, error) {
	d, err := Detail{}, ErrNotQueued
	q.update(func(m *schedule.Machine) {
		if msg := m.Message(id); msg != nil {
			d, err = Detail{Info: info(msg, time.Now()), Envelope: msg.Envelope, Unverified: msg.Unverified}, nil
		}
	})
	if err != nil {
		return d, fmt.Errorf("%s: %w", id, err)
	}
	meta, _, err := q.opt.Journal.Meta(id)
	if err != nil {
		return Detail{}, fmt.Errorf("show %s: %w", id, err)
	}
	var tx mail.Transaction
	if err := record.ReadMeta(meta, &schedule.Message{ID: id}, &tx); err != nil {
		return Detail{}, err
	}
	d.Client, d.Header, d.Trail, d.Quarantine = tx.Client, tx.Header, tx.Trail, tx.Quarantine
	return d, nil
}

// EnvelopeFile returns the contents of a .json file with which the message can
// be queued again, for example on another server.
func (d *Detail) EnvelopeFile() ([]byte, error) {
	f := record.NewFile(d.ID, d.Upstream, d.At, &d.Envelope)
	f.Hold(d.Held, d.Quarantine)
	f.Forged, f.Unverified = report.Forged(d.Trail), d.Unverified
	for i := range f.Rcpts {
		p := &d.Rcpts[i]
		f.Rcpts[i].State, f.Rcpts[i].Attempts, f.Rcpts[i].Last = p.State, p.Attempts, p.Reply
	}
	return f.Text()
}

// Message opens the content of a message.
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

// Export writes a message's content to w.
func (q *Queue) Export(id string, w io.Writer) error {
	m, closer, err := q.Message(id)
	if err != nil {
		return err
	}
	defer closer.Close()
	_, err = m.WriteTo(w)
	return err
}

// Ages holds the upper limits of the columns of Total.Ages, which has one more
// column for older messages.
var Ages = []time.Duration{
	5 * time.Minute, 20 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour, 3 * 24 * time.Hour,
}

// Total summarises the messages for one destination, like Postfix's qshape.
type Total struct {
	Destination string    `json:"destination"` // the recipients' domain
	Messages    int       `json:"messages"`
	Held        int       `json:"held"`
	Size        int64     `json:"size"`
	Ages        []int     `json:"ages"`
	Oldest      time.Time `json:"oldest"`
	Next        time.Time `json:"next,omitzero"` // time of the next attempt
	Reply       string    `json:"reply,omitempty"`
	tried       time.Time
}

// Totals summarises the queue by recipient domain, largest first. A message to
// several domains is counted in each.
func (q *Queue) Totals(f Filter) []Total {
	sums := map[string]*Total{}
	q.update(func(m *schedule.Machine) {
		now := time.Now()
		c, err := f.compile(q.hostname())
		if err != nil {
			return
		}
		for msg := range m.Messages() {
			if f.Empty() || c.matches(msg, now) {
				addTotals(sums, msg, now)
			}
		}
	})
	out := make([]Total, 0, len(sums))
	for _, t := range sums {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Total) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Destination, b.Destination))
	})
	return out
}

func addTotals(sums map[string]*Total, msg *schedule.Message, now time.Time) {
	seen := map[string]bool{}
	for i := range msg.Rcpts {
		r := &msg.Rcpts[i]
		if r.Status != schedule.Waiting {
			continue
		}
		to := msg.Envelope.Rcpts[i].To
		key := to.ASCIIDomain()
		t := sums[key]
		if t == nil {
			t = &Total{Destination: to.Domain(), Ages: make([]int, len(Ages)+1), Oldest: msg.At}
			sums[key] = t
		}
		if r.Last != nil && r.Tried.After(t.tried) {
			t.Reply, t.tried = r.Last.String(), r.Tried
		}
		if !seen[key] {
			seen[key] = true
			t.add(msg, now)
		}
	}
	msg.Blocked(func(i int, why *mail.Reply) { // the reason for mail that has not been attempted
		if t := sums[msg.Envelope.Rcpts[i].To.ASCIIDomain()]; t != nil && t.Reply == "" {
			t.Reply = why.String()
		}
	})
}

// add counts one message.
func (t *Total) add(msg *schedule.Message, now time.Time) {
	t.Messages++
	t.Size += msg.Size
	age, n := now.Sub(msg.At), 0
	for n < len(Ages) && age >= Ages[n] {
		n++
	}
	t.Ages[n]++
	if msg.At.Before(t.Oldest) {
		t.Oldest = msg.At
	}
	if msg.Held != "" {
		t.Held++
	} else if next := msg.Next(); t.Next.IsZero() || next.Before(t.Next) {
		t.Next = next
	}
}

// Load summarises the mail that is waiting for one upstream.
type Load struct {
	Upstream string    `json:"upstream"` // empty for mail that is not yet routed
	Messages int       `json:"messages"`
	Held     int       `json:"held"`
	Size     int64     `json:"size"`
	Oldest   time.Time `json:"oldest"`
	Next     time.Time `json:"next,omitzero"` // time of the next attempt
}

// Loads summarises the queue by upstream, sorted by name.
func (q *Queue) Loads() []Load {
	sums := map[string]*Load{}
	q.update(func(m *schedule.Machine) {
		for msg := range m.Messages() {
			l := sums[msg.To()]
			if l == nil {
				l = &Load{Upstream: msg.To(), Oldest: msg.At}
				sums[msg.To()] = l
			}
			l.Messages++
			l.Size += msg.Size
			if msg.At.Before(l.Oldest) {
				l.Oldest = msg.At
			}
			if msg.Held != "" {
				l.Held++
			} else if next := msg.Next(); l.Next.IsZero() || next.Before(l.Next) {
				l.Next = next
			}
		}
	})
	list := make([]Load, 0, len(sums))
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		list = append(list, *sums[name])
	}
	return list
}

// ages counts messages and finds the oldest in each state.
func (q *Queue) ages(now time.Time) (count map[string]int, age map[string]time.Duration) {
	count, age = map[string]int{}, map[string]time.Duration{}
	q.update(func(m *schedule.Machine) {
		for msg := range m.Messages() {
			state := msg.State(now)
			count[state]++
			age[state] = max(age[state], now.Sub(msg.At))
		}
	})
	return count, age
}
