package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/journal/memory"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/schedule"
)

// server is a hop that replies as scripted and records the mail it receives.
type server struct {
	mu    sync.Mutex
	got   []delivery
	opens int
	now   int // transactions in progress
	most  int // the maximum of now
	// The script. A nil function or a nil result means success.
	open func(tx *mail.Transaction) error
	rcpt func(r mail.Rcpt) error
	send func(r mail.Rcpt) *mail.Reply
	slow time.Duration
	dsn  bool // it sends success reports itself
}

// delivery is one recipient's copy that the server accepted.
type delivery struct {
	at   time.Time
	id   string
	from mail.Address
	to   mail.Address
	text string
	n    int // number of the transaction, from 1
}

func (s *server) Open(ctx context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	s.mu.Lock()
	s.opens++
	n := s.opens
	s.now++
	s.most = max(s.most, s.now)
	open := s.open
	s.mu.Unlock()
	c := &conversation{s: s, tx: tx, n: n}
	if open != nil {
		if err := open(tx); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

type conversation struct {
	s     *server
	tx    *mail.Transaction
	n     int
	rcpts []mail.Rcpt
}

func (c *conversation) Rcpt(_ context.Context, r mail.Rcpt) error {
	var said func(mail.Rcpt) error
	c.s.change(func() { said = c.s.rcpt })
	if said != nil {
		if err := said(r); err != nil {
			return err
		}
	}
	c.rcpts = append(c.rcpts, r)
	return nil
}

func (c *conversation) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	var text bytes.Buffer
	m.WriteTo(&text)
	if c.s.slow > 0 {
		time.Sleep(c.s.slow)
	}
	var out []mail.Outcome
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, r := range c.rcpts {
		reply := &mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "ok", Host: "mx.example.net"}
		if c.s.send != nil {
			if said := c.s.send(r); said != nil {
				reply = said
			}
		}
		if reply.Positive() {
			c.s.got = append(c.s.got, delivery{time.Now(), c.tx.ID, c.tx.Envelope.From, r.To, text.String(), c.n})
		}
		out = append(out, mail.Outcome{Rcpt: r.To, Reply: *reply, Host: reply.Host, At: time.Now(), DSN: c.s.dsn})
	}
	return out
}

func (c *conversation) Close() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.now--
	return nil
}

func (s *server) deliveries() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// counts returns the number of transactions and the maximum number that were
// open concurrently.
func (s *server) counts() (opens, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens, s.most
}

// change changes the script while transactions may be in progress.
func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *server) to() (all []string) {
	for _, d := range s.deliveries() {
		all = append(all, string(d.to))
	}
	slices.Sort(all)
	return all
}

func refuse(code int, enhanced, text string) *mail.Reply {
	return &mail.Reply{Code: code, Enhanced: enhanced, Text: text, Host: "mx.example.net"}
}

// testQueue is a running queue with two servers: out accepts mail, back accepts
// reports.
type testQueue struct {
	*Queue
	out, back *server
	memory    *memory.Journal
	log       *bytes.Buffer
	stop      func()       // ends Run, which must not fail
	wait      func() error // waits for Run to return
}

func newTestQueue(t *testing.T, opts ...func(*Options)) *testQueue {
	h := &testQueue{out: &server{}, back: &server{}, memory: memory.New(), log: &bytes.Buffer{}}
	h.start(t, opts...)
	return h
}

// start opens the queue with the messages in the journal and runs it.
func (h *testQueue) start(t *testing.T, opts ...func(*Options)) {
	t.Helper()
	opt := Options{Journal: h.memory, Settings: Settings{Hostname: "mail.example.org", Postmaster: "post@example.org"}, Log: zerolog.New(zerolog.SyncWriter(h.log))}
	for _, o := range opts {
		o(&opt)
	}
	q, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	h.Queue = q
	q.Add(Upstream{Name: "out", Hop: h.out})
	q.Add(Upstream{Name: "mx", Hop: h.out, PerDomain: true})
	q.Add(Upstream{Name: Router, Hop: h.back})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, time.Minute) }()
	h.wait = sync.OnceValue(func() error { return <-done })
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := h.wait(); err != nil && !errors.Is(err, journal.ErrFenced) {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
}

// accept queues a message from ann to rcpts.
func (h *testQueue) accept(t *testing.T, upstream string, rcpts ...mail.Rcpt) string {
	t.Helper()
	return h.acceptTx(t, upstream, mail.NewTransaction(mail.Client{}, "ann@example.org"), rcpts...)
}

func (h *testQueue) acceptTx(t *testing.T, upstream string, tx *mail.Transaction, rcpts ...mail.Rcpt) string {
	t.Helper()
	out := h.offer(t, upstream, tx, rcpts...)
	for _, o := range out {
		if o.Reply.Code != 250 {
			t.Fatalf("not queued: %v", &o.Reply)
		}
	}
	return out[0].RemoteID
}

func (h *testQueue) offer(t *testing.T, upstream string, tx *mail.Transaction, rcpts ...mail.Rcpt) []mail.Outcome {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes("Subject: hello\r\nMessage-ID: <m1@example.org>\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	hand, err := h.Hop(upstream).Open(t.Context(), tx)
	if err != nil {
		return []mail.Outcome{{Reply: *mail.AsReply(err)}}
	}
	defer hand.Close()
	for _, r := range rcpts {
		if err := hand.Rcpt(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return hand.Send(t.Context(), m)
}

func to(addrs ...mail.Address) (all []mail.Rcpt) {
	for _, a := range addrs {
		all = append(all, mail.Rcpt{To: a, Orig: a})
	}
	return all
}

// pass advances the time by d and waits until all events up to that time have
// been processed.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// guide is a router that implements RouteFinder.
type guide struct {
	*server
	to  string
	err error
}

func (g *guide) Route(_ *mail.Transaction, r mail.Rcpt) (string, mail.Rcpt, error) {
	if g.err != nil {
		return "", r, g.err
	}
	r.To = "final@example.com"
	return g.to, r, nil
}

// slowJournal delays each commit.
type slowJournal struct {
	journal.Journal
	pause atomic.Int64
}

func (j *slowJournal) Commit(ctx context.Context, changes ...journal.Change) error {
	time.Sleep(time.Duration(j.pause.Load()))
	return j.Journal.Commit(ctx, changes...)
}

// bubble runs a test with a fake clock, so five days pass immediately.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func (h *testQueue) empty(t *testing.T) {
	t.Helper()
	if n := h.memory.Usage().Messages; n != 0 {
		t.Errorf("%d messages left in the journal", n)
	}
	if l := h.List(Filter{}, 0); len(l) != 0 {
		t.Errorf("queue still lists %+v", l)
	}
}

func TestDelivery(t *testing.T) {
	bubble(t, "recipients of one destination go in one transaction", func(t *testing.T) {
		h := newTestQueue(t)
		h.accept(t, "out", to("a@example.net", "b@example.com", "c@example.net")...)
		synctest.Wait()
		got := h.out.deliveries()
		if len(got) != 3 || got[0].n != 1 || got[2].n != 1 || !strings.HasSuffix(got[0].text, "body\r\n") {
			t.Errorf("got %+v", got)
		}
		h.empty(t)
	})
	bubble(t, "by MX each domain is a destination", func(t *testing.T) {
		h := newTestQueue(t)
		h.accept(t, "mx", to("a@example.net", "b@example.com", "c@example.net")...)
		synctest.Wait()
		if h.out.opens != 2 || len(h.out.to()) != 3 {
			t.Errorf("%d transactions, to %q", h.out.opens, h.out.to())
		}
		h.empty(t)
	})
	bubble(t, "a second handoff of one transaction gets another id", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.slow = time.Minute // otherwise the first could be finished before the second arrives
		tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
		a := h.acceptTx(t, "out", tx, to("a@example.net")...)
		b := h.acceptTx(t, "mx", tx, to("b@example.net")...)
		if a != tx.ID || b != tx.ID+"-2" {
			t.Errorf("ids %q and %q", a, b)
		}
		pass(time.Hour)
		h.empty(t)
	})
	bubble(t, "the reply to one recipient does not affect another", func(t *testing.T) {
		h := newTestQueue(t)
		tries := 0
		h.out.rcpt = func(r mail.Rcpt) error {
			switch r.To.Local() {
			case "bad":
				return refuse(550, "5.1.1", "no such user")
			case "later":
				if tries++; tries < 3 {
					return refuse(450, "4.2.1", "busy")
				}
			}
			return nil
		}
		h.accept(t, "out", to("good@example.net", "bad@example.net", "later@example.net")...)
		pass(time.Hour)
		if got := h.out.to(); !slices.Equal(got, []string{"good@example.net", "later@example.net"}) {
			t.Errorf("delivered to %q", got)
		}
		reports := h.back.deliveries()
		if len(reports) != 1 || reports[0].from != "" || reports[0].to != "ann@example.org" || !strings.Contains(reports[0].text, "no such user") {
			t.Errorf("reports: %+v", reports)
		}
		h.empty(t)
	})
	bubble(t, "a hop that panics or forgets an outcome defers mail", func(t *testing.T) {
		h := newTestQueue(t)
		n := 0
		h.out.open = func(*mail.Transaction) error {
			if n++; n == 1 {
				panic("bug")
			}
			return nil
		}
		h.accept(t, "out", to("a@example.net")...)
		synctest.Wait()
		if l := h.List(Filter{}, 0); len(l) != 1 || l[0].State != "deferred" {
			t.Fatalf("after the panic: %+v", l)
		}
		pass(time.Hour)
		h.empty(t)
	})
}

// Retries back off from 5 minutes to 4 hours and end with a report after 5
// days. After 4 hours the sender is sent a single delay notice.
func TestSchedule(t *testing.T) {
	bubble(t, "temporary failures for five days", func(t *testing.T) {
		h := newTestQueue(t)
		var at []time.Duration
		start := time.Now()
		h.out.send = func(mail.Rcpt) *mail.Reply {
			at = append(at, time.Since(start))
			return refuse(451, "4.7.1", "greylisted, come back")
		}
		h.accept(t, "out", to("a@example.net")...)
		pass(6 * 24 * time.Hour)
		if at[0] != 0 {
			t.Errorf("the first attempt came after %v", at[0])
		}
		for i := 1; i < len(at); i++ {
			want := min(5*time.Minute<<min(i-1, 10), 4*time.Hour)
			if gap := at[i] - at[i-1]; gap < want*5/6-time.Second || gap > want*7/6+time.Second {
				t.Errorf("wait %d is %v, want about %v", i, gap, want)
			}
		}
		if last := at[len(at)-1]; last < 5*24*time.Hour || last > 5*24*time.Hour+5*time.Hour {
			t.Errorf("last attempt after %v", last)
		}
		reports := h.back.deliveries()
		if len(reports) != 2 || !strings.Contains(reports[0].text, "Action: delayed") || !strings.Contains(reports[1].text, "Action: failed") {
			t.Fatalf("reports: %+v", reports)
		}
		if d := reports[0].at.Sub(start); d < 4*time.Hour || d > 9*time.Hour {
			t.Errorf("delay notice after %v", d)
		}
		if !strings.Contains(reports[1].text, "greylisted") || !strings.Contains(reports[1].text, "Status: 5.4.7") {
			t.Errorf("last report: %s", reports[1].text)
		}
		h.empty(t)
	})
	bubble(t, "a restart keeps the schedule", func(t *testing.T) {
		h := newTestQueue(t)
		n := 0
		h.out.send = func(mail.Rcpt) *mail.Reply { n++; return refuse(451, "", "later") }
		h.accept(t, "out", to("a@example.net")...)
		pass(time.Hour)
		before := n
		l := h.List(Filter{}, 0)
		h.stop()
		h.start(t)
		synctest.Wait()
		if n != before {
			t.Errorf("%d attempts at once after the restart", n-before)
		}
		after := h.List(Filter{}, 0)
		if len(after) != 1 || !after[0].Next.Equal(l[0].Next) || after[0].Rcpts[0].Attempts != before {
			t.Errorf("before %+v\nafter %+v", l, after)
		}
		pass(24 * time.Hour)
		if n <= before {
			t.Error("never tried again")
		}
	})
	bubble(t, "a clock that jumps back causes neither a flood of retries nor none at all", func(t *testing.T) {
		h := newTestQueue(t)
		n := 0
		h.out.send = func(mail.Rcpt) *mail.Reply { n++; return refuse(451, "", "later") }
		tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
		tx.At = time.Now().Add(300 * 24 * time.Hour) // it arrived while the clock was wrong
		h.acceptTx(t, "out", tx, to("a@example.net")...)
		pass(24 * time.Hour)
		if n < 8 || n > 14 {
			t.Errorf("%d attempts in a day", n)
		}
	})
	bubble(t, "DELIVERBY with return gives up on time", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = func(mail.Rcpt) *mail.Reply { return refuse(451, "", "later") }
		tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
		tx.Envelope.DeliverBy = &mail.DeliverBy{At: time.Now().Add(30 * time.Minute), Return: true}
		h.acceptTx(t, "out", tx, to("a@example.net")...)
		pass(2 * time.Hour)
		h.empty(t)
		if r := h.back.deliveries(); len(r) != 1 || !strings.Contains(r[0].text, "Action: failed") {
			t.Errorf("reports: %+v", r)
		}
	})
	bubble(t, "high priority goes first", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.open = func(*mail.Transaction) error { return refuse(421, "", "closed") }
		for i := range 9 {
			tx := mail.NewTransaction(mail.Client{}, mail.Address(fmt.Sprintf("p%d@example.org", i)))
			tx.Envelope.Priority = []int{0, -9, 9}[i%3]
			h.acceptTx(t, "out", tx, to("a@example.net")...)
		}
		pass(time.Second)
		h.out.change(func() { h.out.open, h.out.slow = nil, time.Second })
		pass(24 * time.Hour)
		got := h.out.deliveries()
		if len(got) != 9 {
			t.Fatalf("%d delivered", len(got))
		}
		h.empty(t)
	})
}

func TestDestinations(t *testing.T) {
	bubble(t, "a dead destination delays no other mail and is tried rarely", func(t *testing.T) {
		h := newTestQueue(t)
		dead := 0
		h.out.open = func(*mail.Transaction) error {
			return nil
		}
		h.out.rcpt = func(r mail.Rcpt) error {
			if r.To.Domain() == "dead.example" {
				h.out.change(func() { dead++ })
				time.Sleep(30 * time.Second)
				return &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection timed out"}
			}
			return nil
		}
		for range 1000 {
			h.accept(t, "mx", to("a@dead.example")...)
		}
		for range 100 {
			h.accept(t, "mx", to("b@example.net")...)
		}
		pass(time.Second)
		if n := len(h.out.deliveries()); n != 100 {
			t.Errorf("%d of 100 delivered beside a dead destination", n)
		}
		pass(time.Hour)
		h.out.change(func() {
			if dead > 60 {
				t.Errorf("%d attempts in an hour at a destination that never answers", dead)
			}
			h.out.rcpt = nil
		})
		pass(20 * time.Minute)
		if n := len(h.out.deliveries()); n != 1100 {
			t.Errorf("%d of 1100 delivered after it came back", n)
		}
		h.empty(t)
	})
	bubble(t, "a destination that recovers is found soon, although its mail would wait for hours", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.open = func(*mail.Transaction) error {
			return &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused"}
		}
		for range 10 {
			h.accept(t, "out", to("a@example.net")...)
		}
		pass(6 * time.Hour)
		h.out.change(func() { h.out.open = nil })
		pass(20 * time.Minute)
		h.empty(t)
	})
	bubble(t, "mail that waited before a restart is delivered, too", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.open = func(*mail.Transaction) error {
			return &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused"}
		}
		h.accept(t, "out", to("a@example.net")...)
		pass(time.Hour)
		h.stop()
		h.out.open = nil
		h.start(t)
		h.accept(t, "out", to("b@example.net")...)
		synctest.Wait()
		h.accept(t, "out", to("c@example.net")...)
		synctest.Wait()
		h.empty(t)
	})
	bubble(t, "internal details of a failure are not in the report", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.open = func(*mail.Transaction) error {
			return &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused", Cause: errors.New("dial 192.0.2.1")}
		}
		h.accept(t, "out", to("a@example.net")...)
		pass(6 * 24 * time.Hour)
		for _, d := range h.back.deliveries() {
			if strings.Contains(d.text, "192.0.2.1") || !strings.Contains(d.text, "connection refused") {
				t.Errorf("report says %s", d.text)
			}
		}
		if !strings.Contains(h.log.String(), "192.0.2.1") {
			t.Error("the details are not in the log")
		}
	})
	bubble(t, "mail for a dead destination is reported and expires without attempts of its own", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.open = func(*mail.Transaction) error {
			return &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused"}
		}
		for range 50 {
			h.accept(t, "out", to("a@example.net")...)
		}
		pass(6 * 24 * time.Hour)
		h.empty(t)
		if n := len(h.back.deliveries()); n != 100 {
			t.Errorf("%d reports, want a delay and a failure for each of 50", n)
		}
		if h.out.opens > 1500 {
			t.Errorf("%d attempts", h.out.opens)
		}
	})
	bubble(t, "a server that closes the connection after accepting a recipient is not down", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = func(r mail.Rcpt) *mail.Reply {
			if r.To.Local() == "b" {
				return refuse(421, "4.3.2", "enough for now")
			}
			return nil
		}
		for range 3 + 1 {
			h.accept(t, "out", to("a@example.net", "b@example.net")...)
			synctest.Wait()
		}
		h.accept(t, "out", to("c@example.net")...)
		synctest.Wait()
		if got := h.out.to(); !slices.Contains(got, "c@example.net") {
			t.Errorf("delivered at once to %q", got)
		}
		pass(6 * 24 * time.Hour)
		for _, r := range h.back.deliveries() { // delays and failures, but no false success
			if !strings.Contains(r.text, "enough for now") {
				t.Errorf("report\n%s", r.text)
			}
		}
		if n := len(h.back.deliveries()); n != 2*(3+1) {
			t.Errorf("%d reports", n)
		}
	})
	bubble(t, "concurrency grows to its limit", func(t *testing.T) {
		h := newTestQueue(t)
		h.Add(Upstream{Name: "out", Hop: h.out, Policy: schedule.Policy{Concurrency: 9}})
		h.out.slow = time.Second
		for range 200 {
			h.accept(t, "out", to("a@example.net")...)
		}
		pass(time.Second / 2)
		if _, most := h.out.counts(); most != 5 {
			t.Errorf("starts with %d at once", most)
		}
		pass(time.Hour)
		if h.out.most != 9 {
			t.Errorf("%d at once at most", h.out.most)
		}
		h.empty(t)
	})
	bubble(t, "few workers are shared fairly between destinations", func(t *testing.T) {
		h := newTestQueue(t, func(o *Options) { o.Workers = 2 })
		h.out.slow = time.Second
		for range 100 {
			h.accept(t, "mx", to("a@big.example")...)
		}
		h.accept(t, "mx", to("b@small.example")...)
		pass(5 * time.Second)
		if !slices.Contains(h.out.to(), "b@small.example") {
			t.Error("the small destination still waits for the big one")
		}
		pass(time.Hour)
		if h.out.most > 2 {
			t.Errorf("%d at once", h.out.most)
		}
		h.empty(t)
	})
	bubble(t, "more recipients than fit in one transaction", func(t *testing.T) {
		h := newTestQueue(t)
		var many []mail.Rcpt
		for i := range 250 {
			many = append(many, to(mail.Address(fmt.Sprintf("u%d@example.net", i)))...)
		}
		h.accept(t, "out", many...)
		synctest.Wait()
		if h.out.opens != 3 || len(h.out.to()) != 250 {
			t.Errorf("%d transactions, %d recipients", h.out.opens, len(h.out.to()))
		}
		h.empty(t)
	})
}

func TestReports(t *testing.T) {
	for name, tc := range map[string]struct {
		upstream string
		err      error
		want     mail.Address // and the expected recipient
		direct   bool
	}{
		"a report passes through the queue once":      {upstream: "boxes", want: "final@example.com", direct: true},
		"to an unknown upstream by way of the router": {upstream: "unknown", want: "ann@example.org"},
		"to an address without a route as well":       {err: refuse(550, "5.7.1", "no route"), want: "ann@example.org"},
	} {
		bubble(t, name, func(t *testing.T) {
			h := newTestQueue(t)
			boxes := &server{}
			h.Add(Upstream{Name: "boxes", Hop: boxes})
			h.Add(Upstream{Name: Router, Hop: &guide{server: h.back, to: tc.upstream, err: tc.err}})
			h.out.send = func(mail.Rcpt) *mail.Reply { return refuse(550, "5.1.1", "no") }
			h.accept(t, "out", to("a@example.net")...)
			synctest.Wait()
			there, other := boxes, h.back
			if !tc.direct {
				there, other = other, there
			}
			if got := there.to(); !slices.Equal(got, []string{string(tc.want)}) || len(other.to()) > 0 {
				t.Errorf("to %q, and %q elsewhere", got, other.to())
			}
			h.empty(t)
		})
	}
	gone := func(mail.Rcpt) *mail.Reply { return refuse(550, "5.1.1", "no such user") }
	for _, tc := range []struct {
		name  string
		from  mail.Address
		auth  []mail.AuthResult
		rcpts []mail.Rcpt
		ok    bool // whether the server accepts it
		want  []string
	}{
		{name: "failed", from: "ann@example.org", rcpts: to("x@example.net"), want: []string{"ann@example.org"}},
		{name: "two recipients, one report", from: "ann@example.org", rcpts: to("x@example.net", "y@example.net"), want: []string{"ann@example.org"}},
		{name: "a report causes no report, but the postmaster is told", from: "", rcpts: to("x@example.net"), want: []string{"post@example.org"}},
		{name: "mail to the postmaster causes none", from: "", rcpts: to("post@example.org")},
		{name: "nor does mail that was addressed to the postmaster", from: "", rcpts: []mail.Rcpt{{To: "x@example.net", Orig: "post@example.org"}}},
		{name: "NOTIFY=NEVER", from: "ann@example.org", rcpts: []mail.Rcpt{{To: "x@example.net", Notify: mail.NotifyNever}}},
		{name: "NOTIFY=SUCCESS does not report a failure", from: "ann@example.org", rcpts: []mail.Rcpt{{To: "x@example.net", Notify: mail.NotifySuccess}}},
		{name: "NOTIFY=SUCCESS", ok: true, from: "ann@example.org", rcpts: []mail.Rcpt{{To: "x@example.net", Notify: mail.NotifySuccess}}, want: []string{"ann@example.org"}},
		{name: "success without NOTIFY", ok: true, from: "ann@example.org", rcpts: to("x@example.net")},
		{name: "SPF failed: not to the sender", from: "ann@example.org", auth: []mail.AuthResult{{Method: "spf", Value: "fail"}}, rcpts: to("x@example.net"), want: []string{"post@example.org"}},
		{name: "DMARC failed: not to the sender", from: "ann@example.org", auth: []mail.AuthResult{{Method: "dmarc", Value: "fail"}}, rcpts: to("x@example.net"), want: []string{"post@example.org"}},
		{name: "SPF passed", from: "ann@example.org", auth: []mail.AuthResult{{Method: "spf", Value: "pass"}}, rcpts: to("x@example.net"), want: []string{"ann@example.org"}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			h := newTestQueue(t)
			if !tc.ok {
				h.out.send = gone
			}
			tx := mail.NewTransaction(mail.Client{}, tc.from)
			tx.Trail.Auth = tc.auth
			h.acceptTx(t, "out", tx, tc.rcpts...)
			pass(24 * time.Hour)
			if got := h.back.to(); !slices.Equal(got, tc.want) {
				t.Errorf("reports to %q, want %q", got, tc.want)
			}
			for _, d := range h.back.deliveries() {
				if d.from != "" {
					t.Errorf("report from %q", d.from)
				}
			}
			h.empty(t)
		})
	}
	bubble(t, "a wave of spam does not fill the postmaster's mailbox", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = gone
		forge := func(n int) {
			for i := range n {
				tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
				tx.Trail.Auth = []mail.AuthResult{{Method: "spf", Value: "fail"}}
				if i%4 == 3 { // also mail with a null sender
					tx = mail.NewTransaction(mail.Client{}, "")
				}
				h.acceptTx(t, []string{"out", "mx"}[i%2], tx, to("x@example.net")...)
			}
			synctest.Wait()
		}
		forge(30)
		if n := len(h.back.deliveries()); n != 20 {
			t.Errorf("%d reports at once", n)
		}
		h.accept(t, "out", to("x@example.net")...) // a genuine sender always gets a report
		synctest.Wait()
		if n := len(h.back.deliveries()); n != 21 {
			t.Error("a genuine sender was not told")
		}
		pass(59 * time.Minute)
		forge(30)
		pass(2 * time.Minute)
		got := h.back.deliveries()
		sum := got[len(got)-1]
		var out, mx int
		_, counts, _ := strings.Cut(sum.text, "history:")
		fmt.Sscanf(strings.ReplaceAll(strings.TrimSpace(counts), "\r\n", "\n"), "%d for upstream \"mx\"\n%d for upstream \"out\"", &mx, &out)
		if len(got) != 22 || sum.to != "post@example.org" || sum.from != "" || out+mx != 40 || out == 0 || mx == 0 {
			t.Errorf("%d reports, %d and %d in the last\n%s", len(got), out, mx, sum.text)
		}
		pass(10 * time.Hour)
		forge(30)
		pass(2 * time.Hour)
		if n := len(h.back.deliveries()); n != 22+20+1 {
			t.Errorf("%d reports after another hour", n)
		}
		if n := h.stats.leftOut.Load(); n != 50 {
			t.Errorf("%d counted", n)
		}
		h.empty(t)
	})
	bubble(t, "success is reported by the next server if it supports that", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.dsn = true
		h.accept(t, "out", mail.Rcpt{To: "x@example.net", Notify: mail.NotifySuccess})
		pass(time.Hour)
		if r := h.back.to(); len(r) > 0 {
			t.Errorf("reports to %q", r)
		}
	})
	bubble(t, "a report that was queued before a crash is not queued again", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = gone
		h.back.send = func(mail.Rcpt) *mail.Reply { return refuse(451, "", "later") }
		tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
		h.acceptTx(t, "out", tx, to("x@example.net")...)
		synctest.Wait()
		// After the crash both the report and the message are in the journal.
		m, _ := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\n"))
		msg := schedule.NewMessage(tx.ID, "out", mail.Envelope{From: "ann@example.org", Rcpts: to("x@example.net")}, time.Now())
		h.stop()
		if err := h.memory.Commit(t.Context(), journal.Change{Kind: journal.Put, ID: tx.ID, Meta: record.Meta(msg, tx), Message: m}); err != nil {
			t.Fatal(err)
		}
		h.back.send = nil
		h.start(t)
		pass(24 * time.Hour)
		if n := len(h.back.deliveries()); n != 1 {
			t.Errorf("%d reports", n)
		}
		h.empty(t)
	})
}

func TestStorageFails(t *testing.T) {
	bubble(t, "a message that cannot be stored is refused temporarily", func(t *testing.T) {
		h := newTestQueue(t)
		h.memory.Fail(errors.New("disk on fire"))
		out := h.offer(t, "out", mail.NewTransaction(mail.Client{}, "ann@example.org"), to("a@example.net")...)
		if out[0].Reply.Code != 451 || strings.Contains(out[0].Reply.Text, "fire") {
			t.Errorf("got %v", &out[0].Reply)
		}
		h.memory.Fail(nil)
		h.accept(t, "out", to("a@example.net")...)
		synctest.Wait()
		h.empty(t)
	})
	bubble(t, "a state that cannot be saved keeps the schedule", func(t *testing.T) {
		h := newTestQueue(t)
		n := 0
		h.out.send = func(mail.Rcpt) *mail.Reply { n++; return refuse(451, "", "later") }
		h.accept(t, "out", to("a@example.net")...)
		synctest.Wait()
		h.memory.Fail(errors.New("full"))
		pass(24 * time.Hour)
		if n > 14 {
			t.Errorf("%d attempts in a day", n)
		}
		h.memory.Fail(nil)
		h.out.change(func() { h.out.send = nil })
		pass(24 * time.Hour)
		h.empty(t)
	})
	bubble(t, "a report that cannot be saved is sent later", func(t *testing.T) {
		h := newTestQueue(t)
		h.accept(t, "out", to("slow@example.net")...)
		synctest.Wait()
		h.out.send = func(mail.Rcpt) *mail.Reply { return refuse(550, "", "no") }
		h.accept(t, "out", to("a@example.net")...)
		h.memory.Fail(errors.New("full"))
		pass(time.Hour)
		h.memory.Fail(nil)
		pass(24 * time.Hour)
		if n := len(h.back.deliveries()); n != 1 {
			t.Errorf("%d reports", n)
		}
		h.empty(t)
	})
	bubble(t, "low disk space is reported before the message is sent", func(t *testing.T) {
		free := int64(50)
		h := newTestQueue(t, func(o *Options) {
			o.Reserve = 100
			o.Free = func() (int64, error) { return free, nil }
		})
		out := h.offer(t, "out", mail.NewTransaction(mail.Client{}, ""), to("a@example.net")...)
		if out[0].Reply.Code != 452 || out[0].Reply.Enhanced != "4.3.1" {
			t.Errorf("got %v", &out[0].Reply)
		}
		free = 200
		pass(2 * time.Second)
		h.accept(t, "out", to("a@example.net")...)
	})
}

func TestOrders(t *testing.T) {
	later := func(mail.Rcpt) *mail.Reply { return refuse(451, "", "later") }
	order := func(t *testing.T, h *testQueue, o Order, want Progress) {
		t.Helper()
		p, err := h.Execute(t.Context(), o, nil)
		if err != nil || p != want {
			t.Fatalf("%s: %+v, %v", o.Do, p, err)
		}
		synctest.Wait()
	}
	bubble(t, "retry, hold, release, delete, bounce, reroute", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = later
		other := &server{}
		h.Add(Upstream{Name: "other", Hop: other})
		ids := map[string]string{}
		for _, name := range []string{"retry", "hold", "delete", "bounce", "reroute"} {
			ids[name] = h.accept(t, "out", to(mail.Address(name+"@example.net"))...)
		}
		synctest.Wait()
		before := h.out.opens
		order(t, h, Order{Do: "retry", Filter: Filter{To: "retry@example.net"}}, Progress{Done: 1, Of: 1})
		if h.out.opens != before+1 {
			t.Error("retry did not try")
		}
		order(t, h, Order{Do: "hold", Filter: Filter{IDs: []string{ids["hold"]}}, Text: "look at this"}, Progress{Done: 1, Of: 1})
		order(t, h, Order{Do: "delete", Filter: Filter{To: "delete@EXAMPLE.net"}}, Progress{Done: 1, Of: 1})
		order(t, h, Order{Do: "bounce", Filter: Filter{To: "bounce@example.net"}, Text: "not wanted here"}, Progress{Done: 1, Of: 1})
		order(t, h, Order{Do: "reroute", Filter: Filter{To: "reroute@example.net"}, Text: "other"}, Progress{Done: 1, Of: 1})
		if got := other.to(); !slices.Equal(got, []string{"reroute@example.net"}) {
			t.Errorf("rerouted: %q", got)
		}
		if r := h.back.deliveries(); len(r) != 1 || !strings.Contains(r[0].text, "not wanted here") {
			t.Errorf("reports: %+v", r)
		}
		h.stop()
		h.out.send = nil
		h.start(t)
		pass(24 * time.Hour)
		if got := h.out.to(); !slices.Equal(got, []string{"retry@example.net"}) {
			t.Errorf("delivered to %q", got)
		}
		held := h.List(Filter{State: "held"}, 0)
		if len(held) != 1 || held[0].Held != "look at this" {
			t.Fatalf("held: %+v", held)
		}
		order(t, h, Order{Do: "release", Filter: Filter{State: "held"}}, Progress{Done: 1, Of: 1})
		h.empty(t)
	})
	bubble(t, "delete while it is being delivered", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.slow = time.Minute
		h.accept(t, "out", to("a@example.net")...)
		synctest.Wait()
		if _, err := h.Execute(t.Context(), Order{Do: "bounce", Filter: Filter{}}, nil); err != nil {
			t.Fatal(err)
		}
		order(t, h, Order{Do: "delete"}, Progress{Done: 1, Of: 1})
		pass(time.Hour)
		h.empty(t)
	})
	bubble(t, "the time on hold does not count", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.change(func() { h.out.send = later })
		h.accept(t, "out", to("a@example.net")...)
		synctest.Wait()
		order(t, h, Order{Do: "hold"}, Progress{Done: 1, Of: 1})
		pass(20 * 24 * time.Hour)
		order(t, h, Order{Do: "release"}, Progress{Done: 1, Of: 1})
		h.stop()
		h.start(t)
		pass(2 * 24 * time.Hour)
		h.out.change(func() { h.out.send = nil })
		pass(24 * time.Hour)
		if got := h.out.to(); len(got) != 1 {
			t.Errorf("delivered to %q", got)
		}
		if r := h.back.deliveries(); len(r) != 1 || !strings.Contains(r[0].text, "delayed") {
			t.Errorf("reports %+v", r)
		}
	})
	bubble(t, "an order while an outcome is being saved causes no second copy", func(t *testing.T) {
		for _, do := range []string{"retry", "release", "reroute"} {
			slow := &slowJournal{}
			h := newTestQueue(t, func(o *Options) { slow.Journal, o.Journal = o.Journal, slow })
			h.out.change(func() { h.out.send = later })
			slow.pause.Store(int64(2 * time.Minute))
			h.accept(t, "out", to("a@example.net", "b@example.net")...)
			synctest.Wait()
			slow.pause.Store(int64(time.Minute))
			h.out.change(func() { h.out.send, h.out.slow = nil, 20*time.Minute })
			if _, err := h.Execute(t.Context(), Order{Do: do, Text: "mx"}, nil); err != nil {
				t.Error(err)
			}
			pass(time.Hour)
			if got := h.out.to(); len(got) != 2 {
				t.Errorf("%s: delivered to %q", do, got)
			}
			h.empty(t)
			h.stop()
		}
	})
	bubble(t, "a hold during an attempt keeps the other recipients", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.change(func() {
			h.out.rcpt = func(r mail.Rcpt) error {
				if r.To.Domain() == "example.com" {
					return refuse(451, "", "later")
				}
				return nil
			}
		})
		h.out.slow = time.Minute
		h.accept(t, "mx", to("a@example.net", "b@example.com")...)
		pass(time.Second)
		order(t, h, Order{Do: "hold"}, Progress{Done: 1, Of: 1})
		pass(31 * 24 * time.Hour)
		if got := h.out.to(); !slices.Equal(got, []string{"a@example.net"}) {
			t.Errorf("delivered to %q", got)
		}
		h.empty(t) // its hold time has expired
	})
	bubble(t, "an order that cannot be saved is not carried out", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = later
		h.accept(t, "out", to("a@example.net")...)
		synctest.Wait()
		h.memory.Fail(errors.New("full"))
		for _, do := range []string{"delete", "bounce", "hold"} {
			if _, err := h.Execute(t.Context(), Order{Do: do}, nil); err == nil {
				t.Errorf("%s succeeded", do)
			}
		}
		h.memory.Fail(nil)
		if l := h.List(Filter{}, 0); len(l) != 1 || l[0].State != "deferred" || l[0].Rcpts[0].State != "waiting" {
			t.Errorf("got %+v", l)
		}
		h.out.change(func() { h.out.send = nil })
		pass(24 * time.Hour)
		h.empty(t)
	})
	bubble(t, "quarantined mail is held, and dropped in the end", func(t *testing.T) {
		h := newTestQueue(t)
		tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
		tx.Quarantine = "looks like a virus"
		h.acceptTx(t, "out", tx, to("a@example.net")...)
		pass(20 * 24 * time.Hour)
		if l := h.List(Filter{}, 0); len(l) != 1 || l[0].State != "held" || l[0].Held != "looks like a virus" {
			t.Fatalf("got %+v", l)
		}
		h.stop()
		h.start(t)
		pass(11 * 24 * time.Hour)
		h.empty(t)
		if len(h.out.to())+len(h.back.to()) > 0 {
			t.Error("something was sent")
		}
	})
	bubble(t, "settings change while it runs", func(t *testing.T) {
		h := newTestQueue(t, func(o *Options) { o.Free = func() (int64, error) { return 1000, nil } })
		tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
		tx.Quarantine = "looks like a virus"
		h.acceptTx(t, "out", tx, to("a@example.net")...)
		h.Change(Settings{Hostname: "new.example.org", Postmaster: "new@example.org", HoldTime: time.Hour, Reserve: 2000})
		if out := h.offer(t, "out", mail.NewTransaction(mail.Client{}, "ann@example.org"), to("b@example.net")...); out[0].Reply.Code != 452 {
			t.Errorf("the reserve is not kept: %v", &out[0].Reply)
		}
		pass(2 * time.Hour)
		h.empty(t)
		h.Change(Settings{Hostname: "new.example.org", Postmaster: "new@example.org"})
		h.out.send = func(mail.Rcpt) *mail.Reply { return refuse(550, "5.1.1", "no") }
		h.acceptTx(t, "out", mail.NewTransaction(mail.Client{}, ""), to("b@example.net")...)
		synctest.Wait()
		if got := h.back.deliveries(); len(got) != 1 || got[0].to != "new@example.org" || !strings.Contains(got[0].text, "MAILER-DAEMON@new.example.org") {
			t.Errorf("reports %+v", got)
		}
	})
	bubble(t, "mail of a removed upstream is routed again", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = later
		h.accept(t, "out", to("a@example.net")...)
		synctest.Wait()
		h.Remove("out")
		pass(6 * time.Hour)
		if got := h.back.to(); !slices.Equal(got, []string{"a@example.net"}) {
			t.Errorf("routed to %q", got)
		}
		h.Remove(Router)
		h.accept(t, "nowhere", to("b@example.net")...)
		synctest.Wait()
		if l := h.List(Filter{}, 0); len(l) != 1 || l[0].State != "held" {
			t.Errorf("got %+v", l)
		}
	})
	bubble(t, "mail without upstream and route waits until its upstream is configured again, across a restart", func(t *testing.T) {
		h := newTestQueue(t)
		none := &guide{server: h.back, err: refuse(550, "5.7.1", "no route")}
		h.Add(Upstream{Name: Router, Hop: none})
		h.out.send = later
		first := h.accept(t, "out", to("a@example.net")...)
		byHand := h.accept(t, "out", to("b@example.net")...)
		virus := mail.NewTransaction(mail.Client{}, "ann@example.org")
		virus.Quarantine = "virus"
		h.acceptTx(t, "out", virus, to("c@example.net")...)
		synctest.Wait()
		order(t, h, Order{Do: "hold", Filter: Filter{IDs: []string{byHand}}, Text: "ask Ann"}, Progress{Done: 1, Of: 1})
		h.Remove("out")
		pass(6 * time.Hour)
		l := h.List(Filter{IDs: []string{first}, State: "held"}, 0)
		if len(l) != 1 || l[0].Held != "upstream out is not configured" || len(h.back.to()) > 0 {
			t.Errorf("got %+v, reports or bounces to %q", l, h.back.to())
		}
		order(t, h, Order{Do: "retry", Filter: Filter{State: "held"}}, Progress{Done: 1, Of: 3, Held: 2}) // saved, but the upstream is still missing
		h.out.send = nil
		h.stop()
		h.start(t) // this time with its upstream
		synctest.Wait()
		if got := h.out.to(); !slices.Equal(got, []string{"a@example.net"}) {
			t.Errorf("after a restart: delivered to %q", got)
		}
		h.Add(Upstream{Name: Router, Hop: none})
		h.accept(t, "new", to("d@example.net")...)
		synctest.Wait()
		if l := h.List(Filter{State: "held"}, 0); len(l) != 3 {
			t.Errorf("got %+v", l)
		}
		h.Add(Upstream{Name: "new", Hop: h.out})
		synctest.Wait()
		if got := h.out.to(); !slices.Equal(got, []string{"a@example.net", "d@example.net"}) {
			t.Errorf("after a reload: delivered to %q", got)
		}
		if l := h.List(Filter{State: "held"}, 0); len(l) != 2 {
			t.Errorf("an administrator's hold and a quarantine must stay: %+v", l)
		}
	})
	bubble(t, "mail without upstream and route can be held, released, rerouted and returned by hand", func(t *testing.T) {
		h := newTestQueue(t)
		h.Add(Upstream{Name: Router, Hop: &guide{server: h.back, err: refuse(550, "5.7.1", "no route")}})
		var ids []string
		for range 3 {
			ids = append(ids, h.accept(t, "gone", to("a@example.net")...))
		}
		synctest.Wait()
		pick := func(i int) Filter { return Filter{IDs: ids[i : i+1]} }
		order(t, h, Order{Do: "hold", Filter: pick(0), Text: "ask Ann"}, Progress{Done: 1, Of: 1})
		h.Add(Upstream{Name: "gone", Hop: &server{send: later}})
		synctest.Wait()
		if l := h.List(Filter{State: "held"}, 0); len(l) != 1 || l[0].Held != "ask Ann" {
			t.Errorf("got %+v", l)
		}
		h.Remove("gone")
		order(t, h, Order{Do: "release", Filter: pick(0)}, Progress{Done: 1, Of: 1})
		if l := h.List(Filter{State: "held"}, 0); len(l) != 3 {
			t.Errorf("released without a route: %+v", l)
		}
		order(t, h, Order{Do: "reroute", Filter: pick(0), Text: "out"}, Progress{Done: 1, Of: 1})
		order(t, h, Order{Do: "bounce", Filter: pick(1)}, Progress{Done: 1, Of: 1})
		order(t, h, Order{Do: "delete", Filter: pick(2)}, Progress{Done: 1, Of: 1})
		synctest.Wait()
		if got := h.out.to(); len(got) != 1 {
			t.Errorf("rerouted to %q", got)
		}
	})
	bubble(t, "an upstream that is removed during a delivery delivers once", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.slow = time.Minute
		h.accept(t, "out", to("a@example.net")...)
		h.accept(t, "mx", to("b@example.net", "c@example.com")...)
		synctest.Wait()
		h.Remove("out")
		h.Remove("mx")
		pass(time.Hour)
		if got := append(h.out.to(), h.back.to()...); len(got) != 3 {
			t.Errorf("delivered to %q", got)
		}
		h.empty(t)
	})
	bubble(t, "ETRN", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = later
		h.accept(t, "mx", to("a@example.net")...)
		h.accept(t, "mx", to("b@sub.example.net")...)
		h.accept(t, "mx", to("c@example.com")...)
		synctest.Wait()
		h.out.send = nil
		if n := h.Flush("Example.Net"); n != 1 {
			t.Errorf("%d messages", n)
		}
		synctest.Wait()
		if n := h.Flush("@example.net"); n != 1 {
			t.Errorf("%d messages below", n)
		}
		synctest.Wait()
		if got := h.out.to(); !slices.Equal(got, []string{"a@example.net", "b@sub.example.net"}) {
			t.Errorf("delivered to %q", got)
		}
	})
}

func TestListing(t *testing.T) {
	bubble(t, "totals, list, show, export", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = func(mail.Rcpt) *mail.Reply { return refuse(451, "4.2.0", "later\nmuch later") }
		tx := mail.NewTransaction(mail.Client{Listener: "inbound", Helo: "client.example"}, "ann@example.org")
		tx.Trail.Add(mail.Event{Stage: mail.StageData, By: "size", Verdict: "pass", Facts: []mail.Fact{{Key: "size", Value: "56"}}})
		tx.Header.Subject = "hello"
		id := h.acceptTx(t, "out", tx, to("a@example.net", "b@example.com")...)
		pass(30 * time.Minute)
		h.accept(t, "out", to("c@example.net")...)
		synctest.Wait()
		totals := h.Totals(Filter{})
		if len(totals) != 2 || totals[0].Destination != "example.net" || totals[0].Messages != 2 ||
			!slices.Equal(totals[0].Ages, []int{1, 0, 1, 0, 0, 0, 0}) || totals[0].Reply != "451 4.2.0 later / much later" {
			t.Errorf("totals %+v", totals)
		}
		for f, want := range map[*Filter]int{
			{}: 2, {To: "example.com"}: 1, {To: "@example.com"}: 1, {To: "a@example.net"}: 1, {From: "example.org"}: 2,
			{From: "bob@example.org"}: 0, {Older: time.Minute}: 1, {Younger: time.Minute}: 1, {State: "deferred"}: 2,
			{State: "held"}: 0, {Upstream: "mx"}: 0, {IDs: []string{id, "nobody"}}: 1,
		} {
			if l := h.List(*f, 0); len(l) != want {
				t.Errorf("%+v selects %d, want %d", *f, len(l), want)
			}
		}
		d, err := h.Show(id)
		if err != nil || d.Client.Helo != "client.example" || d.Header.Subject != "hello" || len(d.Trail.Events) != 1 || d.Trail.Events[0].Facts[0].Value != "56" {
			t.Errorf("show: %+v, %v", d, err)
		}
		if _, err := h.Show("nobody"); !errors.Is(err, ErrNotQueued) {
			t.Errorf("show: %v", err)
		}
		var b strings.Builder
		if err := h.Export(id, &b); err != nil || !strings.HasSuffix(b.String(), "\r\n\r\nbody\r\n") {
			t.Errorf("export: %q, %v", b.String(), err)
		}
		if err := h.Export("nobody", io.Discard); err == nil {
			t.Error("exports an unknown message")
		}
	})
}

func TestListingWhileDown(t *testing.T) {
	bubble(t, "untried mail is listed with the reason of its destination", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.open = func(*mail.Transaction) error { return &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "nobody there"} }
		for range 3 {
			h.accept(t, "out", to("a@example.net")...)
			synctest.Wait()
		}
		h.accept(t, "out", to("b@untried.example")...)
		synctest.Wait()
		for _, total := range h.Totals(Filter{}) {
			if !strings.Contains(total.Reply, "nobody there") {
				t.Errorf("totals %+v", total)
			}
		}
		for _, in := range h.List(Filter{}, 0) {
			if !strings.Contains(in.Rcpts[0].Reply, "nobody there") {
				t.Errorf("list %+v", in)
			}
		}
	})
}

func TestMetrics(t *testing.T) {
	bubble(t, "metrics for Prometheus", func(t *testing.T) {
		m := NewMetrics()
		h := newTestQueue(t, func(o *Options) { o.Attempted = m.Attempted })
		m.Watch(h.Queue)
		m.Synced(3, time.Millisecond)
		h.out.send = func(r mail.Rcpt) *mail.Reply {
			return map[string]*mail.Reply{"later": refuse(451, "", "x"), "no": refuse(550, "", "x")}[r.To.Local()]
		}
		h.accept(t, "out", to("yes@example.net", "later@example.net", "no@example.net")...)
		pass(time.Minute)
		got := map[string]float64{}
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(m)
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, x := range f.GetMetric() {
				name := f.GetName()
				for _, l := range x.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = x.GetGauge().GetValue() + x.GetCounter().GetValue() + float64(x.GetHistogram().GetSampleCount())
			}
		}
		for name, want := range map[string]float64{
			"hoplite_queue_messages deferred":            1,
			"hoplite_queue_oldest_seconds deferred":      60,
			"hoplite_queue_outcomes_total delivered out": 1,
			"hoplite_queue_outcomes_total failed out":    1,
			"hoplite_queue_outcomes_total deferred out":  1,
			"hoplite_queue_queued_total":                 2, // including the report
			"hoplite_queue_attempts_total":               2,
			"hoplite_queue_batch_records":                1,
			"hoplite_queue_transit_seconds":              2,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
	})
}
