// Package queue is a hop that stores messages. It answers 250 when a message is
// on disk, and then passes the message to another hop until every recipient has
// a final outcome.
//
// The queue connects four packages, and adds the lock and the goroutines that
// they lack:
//
//   - schedule decides when to attempt delivery; it is a pure state machine
//   - journal stores messages durably
//   - record encodes envelopes and states for storage
//   - report decides which reports are due, and who receives them
//
// The next hops, usually of relay/forward, are added by the caller. docs/queue.md
// lists the states of a message.
//
// A message arrives through Hop (hop.go), is attempted and settled
// (deliver.go), and may be changed by an administrator's order (orders.go). All
// of this goes through Queue.step, the only place where the lock is taken.
package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/schedule"
)

// Queue holds the queued mail of all upstreams.
type Queue struct {
	opt      Options // the settings are stored separately
	settings atomic.Pointer[Settings]
	log      zerolog.Logger
	space    spaceGuard
	own      composer
	inject   injector
	stats    counters
	fenced   atomic.Bool // the journal has been taken over
	workers  sync.WaitGroup

	mu         sync.Mutex // acquired only by step
	machine    *schedule.Machine
	postmaster postmaster
	upstreams  map[string]*Upstream
	pings      context.Context // Run's context, for pings
	alarm      alarm
	size       int             // most recent argument of Resized
	attempts   context.Context // of the attempts
	cancel     context.CancelFunc
}

// alarm wakes watch.
type alarm struct {
	at    time.Time     // time at which watch wakes up by itself; zero if it does not
	rings chan struct{} // holds one token
}

// set wakes watch if it would otherwise sleep beyond first, which is zero if
// there is nothing to wait for.
func (a *alarm) set(first time.Time) {
	if !first.IsZero() && (a.at.IsZero() || first.Before(a.at)) {
		a.at = first
		a.ring()
	}
}

func (a *alarm) ring() {
	select {
	case a.rings <- struct{}{}:
	default:
	}
}

// counters holds monotonic counters that are exported as metrics.
type counters struct {
	queued, attempts atomic.Int64
	leftOut          atomic.Int64 // reports withheld from the postmaster
}

// Open loads the journal. The caller then adds the upstreams and calls Run,
// which delivers the mail. Mail for an upstream that was not added is rerouted
// or held.
func Open(opt Options) (*Queue, error) {
	if opt.Attempted == nil {
		opt.Attempted = func(Attempt) {}
	}
	if opt.Sign == nil {
		opt.Sign = func(_ string, m *mail.Message) *mail.Message { return m }
	}
	if opt.Resized == nil {
		opt.Resized = func(int) {}
	}
	q := &Queue{
		opt: opt, log: opt.Log, upstreams: map[string]*Upstream{}, alarm: alarm{rings: make(chan struct{}, 1)},
		space: spaceGuard{free: opt.Free, log: opt.Log},
	}
	q.postmaster.q = q
	q.inject = injector{q: q, dir: opt.Inject, log: opt.Log}
	q.own = composer{journal: opt.Journal, hostname: q.hostname, way: q.direct, sign: opt.Sign, log: opt.Log}
	q.machine = schedule.New(schedule.Options{Sender: opt.Sender, Routable: q.routable})
	q.attempts, q.cancel = context.WithCancel(context.Background())
	q.Change(opt.Settings)
	now := time.Now()
	err := opt.Journal.Load(func(e journal.Entry) error {
		msg := &schedule.Message{ID: e.ID, Size: e.Size}
		if err := record.ReadMeta(e.Meta, msg, nil); err != nil {
			return err
		}
		msg.Rcpts = make([]schedule.Rcpt, len(msg.Envelope.Rcpts))
		if err := record.ReadState(e.State, msg); err != nil {
			return err
		}
		msg.SetClock(now)
		q.machine.Admit(msg, now)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load queue: %w", err)
	}
	q.update(func(*schedule.Machine) {})
	return q, nil
}

// update applies f to the schedule and carries out the effects.
func (q *Queue) update(f func(m *schedule.Machine)) {
	q.step(func(m *schedule.Machine) (free bool) { f(m); return false })
}

// step acquires the lock, applies f to the schedule, and carries out the
// effects: it starts attempts, marks messages as done and sets the alarm. If f
// returns true because the calling goroutine is free, step returns the first
// attempt to it. Functions called by step must not acquire the lock again.
func (q *Queue) step(f func(m *schedule.Machine) (free bool)) (next attempt) {
	q.mu.Lock()
	defer q.mu.Unlock()
	free := f(q.machine)
	effects := q.machine.Take()
	for _, j := range effects.Start {
		a := attempt{job: j, up: q.upstreams[j.Upstream()], ctx: q.attempts}
		if free {
			next, free = a, false
			continue
		}
		q.workers.Go(func() { q.work(a) })
	}
	for _, p := range effects.Ping {
		if up := q.upstreams[p.Upstream]; up != nil && up.Ping != nil {
			ctx := q.pings
			q.workers.Go(func() { q.ping(ctx, up, p) })
		}
	}
	for _, o := range effects.Overdue {
		q.settleOverdue(o)
	}
	if len(effects.Done) > 0 {
		q.opt.Journal.Done(effects.Done...)
	}
	for i := range effects.Notes {
		q.note(&effects.Notes[i])
	}
	q.postmaster.summarize(time.Now())
	q.alarm.set(q.firstAlarm())
	if n := q.machine.Len(); n != q.size {
		q.size = n
		q.opt.Resized(n)
	}
	return next
}

// ping checks whether a destination answers. That is cheaper than a delivery
// attempt, because nothing is saved or logged.
func (q *Queue) ping(ctx context.Context, up *Upstream, p schedule.Ping) {
	err := up.Ping(ctx, p.Domain)
	q.update(func(m *schedule.Machine) { m.Pinged(p.Destination, err == nil, time.Now()) })
}

// firstAlarm returns the time of the first alarm, or zero if there is none. The
// caller holds the lock.
func (q *Queue) firstAlarm() time.Time {
	first, ok := q.machine.Next()
	if due, some := q.postmaster.due(); some && (!ok || due.Before(first)) {
		return due
	}
	return first
}

// note logs one of the schedule's notes.
func (q *Queue) note(n *schedule.Note) {
	switch msg := n.Message; n.Kind {
	case schedule.DestinationDown:
		q.log.Warn().Str("destination", n.Destination).Time("until", n.Until).Str("reply", n.Reply.String()).
			Int("waiting", n.Waiting).Msg("destination is down; deferring its mail")
	case schedule.DestinationUp:
		q.log.Info().Str("destination", n.Destination).Msg("destination answers again")
	case schedule.UpstreamMissing:
		q.log.Warn().Str("upstream", msg.To()).Str("id", msg.ID).Msg("mail waits for an upstream that is not configured, and no route accepts it")
	case schedule.HoldExpired:
		q.log.Warn().Str("id", msg.ID).Str("from", string(msg.Envelope.From)).Str("held", msg.Held).Msg("held message dropped: it was not released in time")
	}
}

// Change replaces the settings.
func (q *Queue) Change(s Settings) {
	q.settings.Store(&s)
	q.space.setReserve(s.Reserve)
	q.update(func(m *schedule.Machine) {
		m.Limit(schedule.Limits{Workers: s.Workers, HoldTime: s.HoldTime})
	})
}

// Add adds an upstream, or replaces the one with the same name. Attempts in
// progress continue with the old one.
func (q *Queue) Add(u Upstream) {
	q.update(func(m *schedule.Machine) {
		q.upstreams[u.Name] = &u
		m.AddUpstream(schedule.Upstream{Name: u.Name, PerDomain: u.PerDomain, Pings: u.Ping != nil, Policy: u.Policy}, time.Now())
	})
}

// Remove removes an upstream. Its mail is rerouted or held.
func (q *Queue) Remove(name string) {
	q.update(func(m *schedule.Machine) {
		delete(q.upstreams, name)
		m.RemoveUpstream(name, time.Now())
	})
}

// Hop returns the hop that queues mail for the upstream called name. Its Send
// answers 250 when the message is on disk.
func (q *Queue) Hop(name string) mail.Hop { return &intake{q: q, name: name} }

// Later returns the hop for recipients that must be queued because other
// recipients have already received the message. The upstream is not asked about
// them again. checked reports whether it accepted them at RCPT.
func (q *Queue) Later(name string, checked bool) mail.Hop {
	return &intake{q: q, name: name, late: true, unchecked: !checked}
}

// Direct returns the hop for an in-line upstream. If auto is set, mail is
// queued while the upstream is unavailable.
func (q *Queue) Direct(name string, inline mail.Hop, auto bool) *Direct {
	return &Direct{q: q, name: name, inline: inline, queued: q.Hop(name), auto: auto}
}

// upstream returns an upstream, or an empty one if it is not configured.
func (q *Queue) upstream(name string) *Upstream {
	up := &Upstream{}
	q.update(func(*schedule.Machine) {
		if known := q.upstreams[name]; known != nil {
			up = known
		}
	})
	return up
}

func (q *Queue) hostname() string { return q.settings.Load().Hostname }

// routable reports whether the Router accepts all waiting recipients of a
// message. A Router that is not a RouteFinder accepts all messages. The caller
// holds the lock.
func (q *Queue) routable(msg *schedule.Message) bool {
	finder, ok := q.upstreams[Router].Hop.(RouteFinder)
	if !ok {
		return true
	}
	tx := transaction(msg, q.hostname())
	for i := range msg.Rcpts {
		if msg.Rcpts[i].Status != schedule.Waiting {
			continue
		}
		r := msg.Envelope.Rcpts[i]
		r.Hop = msg.Upstream
		if _, _, err := finder.Route(tx, r); err != nil && mail.AsReply(err).Permanent() {
			return false
		}
	}
	return true
}

// Run delivers mail until ctx ends, and then waits up to drain for the attempts
// in progress. If the journal is taken over by another owner, Run stops
// immediately and returns journal.ErrFenced.
func (q *Queue) Run(ctx context.Context, drain time.Duration) error {
	attempts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ctx, stopPings := context.WithCancel(ctx)
	defer stopPings()
	err := errors.New("queue is already running")
	q.update(func(m *schedule.Machine) {
		if !m.Running() {
			err = nil
			q.cancel() // releases the context of Open
			q.attempts, q.cancel = attempts, cancel
			q.pings = ctx
			if !q.fenced.Load() {
				m.Start(time.Now())
			}
		}
	})
	if err != nil {
		return err
	}
	q.watch(ctx)
	stopPings()
	q.update(func(m *schedule.Machine) { m.Stop() })
	stop := time.AfterFunc(drain, cancel)
	defer stop.Stop()
	q.workers.Wait()
	if q.fenced.Load() {
		return fmt.Errorf("queue stopped: %w", journal.ErrFenced)
	}
	return nil
}

// watch advances the schedule when an alarm is due, and checks for injected
// mail.
func (q *Queue) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	inject := time.NewTicker(30 * time.Second)
	defer inject.Stop()
	for !q.fenced.Load() {
		select {
		case <-ctx.Done():
			return
		case <-inject.C:
			q.inject.run(ctx)
			continue
		case <-timer.C:
		case <-q.alarm.rings:
		}
		var next time.Time
		q.update(func(m *schedule.Machine) {
			m.Advance(time.Now())
			next = q.firstAlarm()
			q.alarm.at = next
		})
		if !next.IsZero() {
			timer.Reset(max(0, time.Until(next)))
		}
	}
}

// stopIfFenced reports whether err means that the journal has been taken over.
// In that case another process delivers its messages, so the queue stops
// accepting and sending mail and cancels the attempts in progress.
func (q *Queue) stopIfFenced(err error) bool {
	if !errors.Is(err, journal.ErrFenced) {
		return false
	}
	if !q.fenced.Swap(true) {
		q.log.Error().Err(err).Msg("the queue has been taken over by another owner; delivery stops")
	}
	q.update(func(m *schedule.Machine) {
		m.Stop()
		q.cancel()
	})
	q.alarm.ring()
	return true
}

// Close closes the journal. If Run was called, it must have returned.
func (q *Queue) Close() error {
	q.cancel()
	return q.opt.Journal.Close()
}
