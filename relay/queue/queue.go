// Package queue is a hop that never forgets: it answers 250 when a message is
// on disk, and hands it to another hop as often as it takes.
//
// The journal (relay/queue/journal) knows the disk; this package knows the
// time: which destination gets what and when, how many at once, what a reply
// means for a recipient, and whom to tell. How a server is spoken to is the
// business of the hop behind it, usually relay/forward. docs/queue.md lists the
// states of a message.
package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/mail/story"
	"hoplite/relay/queue/journal"
)

// Settings are what an admin may change while the queue runs.
type Settings struct {
	Hostname string // our name in reports
	// Postmaster gets what can't be returned; empty means that it is only
	// logged.
	Postmaster mail.Address
	// Workers bounds the attempts at once over all destinations; 0 means 200.
	Workers int
	// HoldTime is how long a held message waits for a person; 0 means 30 days.
	HoldTime time.Duration
	// Reserve is the free space in octets below which new mail is refused.
	Reserve int64
}

// Options are what a Queue is made of.
type Options struct {
	Journal journal.Journal
	Settings
	// Free tells how many octets the disk has left; nil means enough.
	Free func() (int64, error)
	// Inject is the folder data/queue/inject; empty means none.
	Inject string
	// Sender gives the reverse path to use towards r: another than from where
	// a forward must be able to find its bounces back (SRS). nil keeps it.
	Sender func(from mail.Address, r mail.Rcpt) mail.Address
	// Attempted hears of each attempt, with the outcomes of its recipients.
	Attempted func(a Attempt)
	Log       zerolog.Logger
}

// Attempt is the result of one attempt, as history keeps it.
type Attempt = story.Attempt

// Queue holds all queued mail of all upstreams.
type Queue struct {
	opt      Options // but for its Settings
	settings atomic.Pointer[Settings]
	log      zerolog.Logger

	mu        sync.Mutex
	upstreams map[string]*Upstream
	items     map[string]*item
	dests     map[string]*dest
	missing   map[string]bool // upstreams that mail waits for
	alarms    alarms
	ring      []*dest // destinations that wait for a worker
	active    int     // workers
	running   bool
	large     bool          // there is a backlog, see heed
	rearm     chan struct{} // the first alarm has changed
	workers   sync.WaitGroup
	ctx       context.Context // of the attempts

	unreturned unreturned
	stats      counters
	spaceAt    atomic.Int64 // when free space was last looked at, Unix nanoseconds
	spaceLow   atomic.Bool
}

// counters only grow; metrics read them.
type counters struct {
	queued, attempts atomic.Int64
	leftOut          atomic.Int64 // reports to the postmaster
}

// Upstream is one configured next hop for queued mail.
type Upstream struct {
	Name string
	// Hop takes the mail, at this moment or not at all.
	Hop mail.Hop
	// PerDomain makes a destination of each recipient domain, for mail by MX;
	// otherwise the upstream is one destination.
	PerDomain bool
	// Check, if it is not nil, is asked about each recipient before the queue
	// takes it: an error is the reply to RCPT.
	Check func(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error
	Schedule
}

// Open loads the journal. Mail moves when Run is called; upstreams are added
// before. Items of an upstream that nobody added are held or, if there is a
// router, routed anew.
func Open(opt Options) (*Queue, error) {
	if opt.Attempted == nil {
		opt.Attempted = func(Attempt) {}
	}
	q := &Queue{
		opt: opt, log: opt.Log,
		upstreams: map[string]*Upstream{},
		items:     map[string]*item{},
		dests:     map[string]*dest{},
		missing:   map[string]bool{},
		rearm:     make(chan struct{}, 1),
		ctx:       context.Background(),
	}
	q.unreturned.place = -1
	q.Change(opt.Settings)
	// The heap only grows here: collecting it at each doubling costs more than
	// reading the log.
	before := debug.SetGCPercent(400)
	err := opt.Journal.Load(func(e journal.Entry) error {
		it := &item{id: e.ID, size: e.Size}
		if err := unpackMeta(e.Meta, it, nil); err != nil {
			return err
		}
		it.rcpts = make([]rcpt, len(it.env.Rcpts))
		if err := unpackState(e.State, it); err != nil {
			return err
		}
		q.items[it.id] = it
		return nil
	})
	debug.SetGCPercent(before)
	if err != nil {
		return nil, fmt.Errorf("load queue: %w", err)
	}
	q.heed()
	return q, nil
}

// Change takes over other settings.
func (q *Queue) Change(s Settings) {
	if s.Workers <= 0 {
		s.Workers = 200
	}
	if s.HoldTime <= 0 {
		s.HoldTime = 30 * 24 * time.Hour
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.settings.Store(&s)
	q.spaceAt.Store(0) // look at once
	for _, it := range q.items {
		if it.held != "" && q.running {
			q.planHeld(it)
		}
	}
}

// Router is the name of the upstream that takes what has no other: reports,
// injected mail, mail of an upstream that is no longer configured. Its hop
// routes by recipient.
const Router = ""

// Add makes an upstream known, or replaces one of the same name: running
// attempts end with the old one.
func (q *Queue) Add(u Upstream) {
	u.Schedule.defaults()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.upstreams[u.Name] = &u
	delete(q.missing, u.Name)
	for _, d := range q.dests {
		if d.upName == u.Name {
			d.up = &u
			d.limit = min(d.limit, float64(u.Concurrency))
		}
	}
	if q.running {
		q.schedule()
	}
}

// Remove forgets an upstream; its mail is routed anew, or held.
func (q *Queue) Remove(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.upstreams, name)
	for _, it := range q.items {
		if it.to() == name && it.held == "" {
			q.unschedule(it)
			if q.running && it.active == 0 { // else the attempt's end plans it
				q.plan(it)
			}
		}
	}
}

// Run moves mail until ctx ends, and returns when the attempts that were under
// way have ended: those get drain to finish.
func (q *Queue) Run(ctx context.Context, drain time.Duration) error {
	attempts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	q.mu.Lock()
	if q.running {
		q.mu.Unlock()
		return errors.New("queue runs already")
	}
	q.ctx, q.running = attempts, true
	q.schedule()
	q.mu.Unlock()

	q.watch(ctx)

	q.mu.Lock()
	q.running = false
	q.mu.Unlock()
	stop := time.AfterFunc(drain, cancel)
	defer stop.Stop()
	q.workers.Wait()
	return nil
}

// Close closes the journal, after Run has returned or without it.
func (q *Queue) Close() error { return q.opt.Journal.Close() }

// schedule plans every item that has no plan yet.
func (q *Queue) schedule() {
	for _, it := range q.items {
		if len(it.jobs) == 0 {
			q.plan(it)
		}
	}
}

// watch rings the alarms as their time comes, and looks into inject.
func (q *Queue) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	inject := time.NewTicker(30 * time.Second)
	defer inject.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-inject.C:
			q.injectAll(ctx)
			continue
		case <-timer.C:
		case <-q.rearm:
		}
		if wait, any := q.ringDue(time.Now()); any {
			timer.Reset(wait)
		}
	}
}

// ringDue rings what is due and tells how long until the next alarm.
func (q *Queue) ringDue(now time.Time) (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.alarms) > 0 && !q.alarms[0].when().After(now) {
		q.alarms.pop().ring(q)
	}
	if len(q.alarms) == 0 {
		return 0, false
	}
	return max(0, q.alarms[0].when().Sub(now)), true
}
