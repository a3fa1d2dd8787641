// Package schedule decides when and where delivery of each queued message is
// attempted, and how many attempts run concurrently.
//
// Machine is a state machine: its methods report events to it, and Take returns
// the resulting effects. It has no lock, goroutine, disk, log or clock; the
// time is an argument. relay/queue owns a Machine, guards it with its lock and
// carries out its effects; tests drive one through five days in a loop.
//
// A message is divided into jobs, one for each destination of its recipients. A
// job is
//
//	waiting   until the time of its next attempt
//	ready     in line at its destination
//	active    being attempted, until the outcome has been saved
//
// A destination gets as many concurrent jobs as it has proved able to handle.
// After several failures to connect it is blocked for a while; then a single
// job probes whether it answers again, and the first answer makes all jobs
// waiting for it ready.
//
// Start with Machine's events: Admit, Finish, Saved, Advance. Machine divides
// messages into jobs and handles holds and orders; its dispatcher holds the
// jobs of each destination and tracks which destinations are down.
package schedule

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
)

// Router is the name of the upstream for mail without a specific upstream:
// reports, injected mail, and mail for an upstream that was removed from the
// configuration. It routes each recipient individually.
const Router = ""

// Upstream holds the schedule's settings for a next hop.
type Upstream struct {
	Name string
	// PerDomain makes each recipient domain a separate destination, as for
	// delivery by MX; otherwise the whole upstream is one destination.
	PerDomain bool
	// Pings is set if the upstream's destinations can be pinged.
	Pings bool
	Policy
}

// Options holds functions for decisions that the Machine leaves to its owner.
type Options struct {
	// Sender returns the reverse path for mail to r. It differs from the from
	// argument if bounces of forwarded mail must return to this server (SRS).
	// If Sender is nil, from is always used.
	Sender func(from mail.Address, r mail.Rcpt) mail.Address
	// Routable reports whether the Router accepts all waiting recipients of a
	// message. If it is nil, the Router accepts all messages.
	Routable func(msg *Message) bool
	// Jitter randomises a wait. If it is nil, waits vary randomly by up to a
	// sixth.
	Jitter func(time.Duration) time.Duration
}

// Limits holds the settings that apply to all upstreams.
type Limits struct {
	Workers  int           // concurrent attempts across all destinations; 0 means 200
	HoldTime time.Duration // how long a held message is kept; 0 means 30 days
}

// Machine schedules all queued messages. It is not safe for concurrent use.
type Machine struct {
	opt    Options
	limits Limits

	upstreams  map[string]*Upstream
	messages   map[string]*Message
	missing    map[string]bool // upstreams already reported as missing
	unplanned  []*Message      // admitted before Start and not yet planned
	holds      alarms          // for held messages
	dispatcher dispatcher

	effects, taken Effects
}

// Effects lists the work that results from events since the previous Take.
type Effects struct {
	// Start lists the jobs to attempt now. Each must be ended by Finish or
	// Lost.
	Start []*Job
	// Overdue lists jobs to fail or report without an attempt, because their
	// destination is down. Each must be ended by Finish.
	Overdue []Overdue
	// Ping lists destinations to be checked for an answer.
	Ping []Ping
	// Done lists messages that have left the queue.
	Done []string
	// Notes lists events to log.
	Notes []Note
}

// Overdue holds jobs at a destination that is down.
type Overdue struct {
	Jobs []*Job
	Why  *mail.Reply // the last failure to reach it
}

// NoteKind is the type of a Note.
type NoteKind uint8

// The kinds of Note.
const (
	DestinationDown NoteKind = iota // Upstream, Destination, Until, Reply, Waiting
	DestinationUp                   // Upstream, Destination; it was noted as down
	UpstreamMissing                 // Message
	HoldExpired                     // Message, and Held
)

// Note is an event of interest to an administrator.
type Note struct {
	Kind        NoteKind
	Upstream    string
	Destination string
	Until       time.Time
	Reply       *mail.Reply
	Waiting     int
	Message     *Message
}

// New returns an empty machine.
func New(opt Options) *Machine {
	if opt.Jitter == nil {
		opt.Jitter = vary
	}
	m := &Machine{opt: opt, upstreams: map[string]*Upstream{}, messages: map[string]*Message{}, missing: map[string]bool{}}
	m.dispatcher = dispatcher{destinations: map[string]*destination{}, jitter: opt.Jitter, effects: &m.effects}
	m.Limit(Limits{})
	return m
}

// Take returns the work to do now: attempts to start, within the limits, and
// the effects of earlier events. The result is valid until the next Take.
func (m *Machine) Take() *Effects {
	m.dispatcher.dispatch()
	t := &m.taken
	clear(t.Start)
	t.Start, t.Overdue, t.Ping, t.Done, t.Notes = t.Start[:0], nil, nil, t.Done[:0], nil
	m.effects, m.taken = *t, m.effects
	return &m.taken
}

// Limit sets the limits.
func (m *Machine) Limit(l Limits) {
	if l.Workers <= 0 {
		l.Workers = 200
	}
	if l.HoldTime <= 0 {
		l.HoldTime = 30 * 24 * time.Hour
	}
	m.limits, m.dispatcher.workers = l, l.Workers
	for _, msg := range m.messages {
		if msg.Held != "" && m.dispatcher.running {
			m.keepHeld(msg)
		}
	}
}

// AddUpstream adds an upstream, or replaces the one with the same name.
func (m *Machine) AddUpstream(u Upstream, now time.Time) {
	u.Policy.defaults()
	m.upstreams[u.Name] = &u
	delete(m.missing, u.Name)
	m.dispatcher.change(&u)
	if m.dispatcher.running {
		m.plan(sorted(m.messages, func(msg *Message) bool { return msg.awaitsUpstream && len(msg.jobs) == 0 }), now)
	}
}

// RemoveUpstream removes an upstream. Its mail is rerouted or held.
func (m *Machine) RemoveUpstream(name string, now time.Time) {
	delete(m.upstreams, name)
	affected := sorted(m.messages, func(msg *Message) bool {
		return slices.ContainsFunc(msg.jobs, func(j *Job) bool { return j.dest.upName == name })
	})
	for _, msg := range affected {
		if m.dispatcher.running {
			m.Replan(msg, now)
		} else {
			m.unschedule(msg)
		}
	}
}

// sorted returns the messages for which pick returns true, oldest first.
func sorted(messages map[string]*Message, pick func(*Message) bool) []*Message {
	var all []*Message
	for _, msg := range messages {
		if pick(msg) {
			all = append(all, msg)
		}
	}
	slices.SortFunc(all, Older)
	return all
}

// Older orders messages by age.
func Older(a, b *Message) int { return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID)) }

// Start allows attempts to begin.
func (m *Machine) Start(now time.Time) {
	m.dispatcher.running = true
	all := m.unplanned
	m.unplanned = nil
	m.plan(slices.DeleteFunc(all, func(msg *Message) bool { return msg.gone || len(msg.jobs) > 0 }), now)
}

// Stop prevents further attempts from beginning.
func (m *Machine) Stop() { m.dispatcher.running = false }

// Running reports whether attempts may begin.
func (m *Machine) Running() bool { return m.dispatcher.running }

// Admit adds a message that is already in the journal.
func (m *Machine) Admit(msg *Message, now time.Time) {
	m.messages[msg.ID] = msg
	if m.dispatcher.running {
		m.planOne(msg, now)
	} else {
		m.unplanned = append(m.unplanned, msg)
	}
}

// Advance processes all alarms that are due.
func (m *Machine) Advance(now time.Time) {
	m.dispatcher.advance(now)
	for a := m.holds.due(now); a != nil; a = m.holds.due(now) {
		m.expireHold(a.(*holdAlarm).msg)
	}
}

// Next returns the time at which Advance should be called; ok is false if no
// alarm is set.
func (m *Machine) Next() (next time.Time, ok bool) {
	jobs, holds := m.dispatcher.alarms, m.holds
	switch {
	case len(jobs) == 0 && len(holds) == 0:
		return time.Time{}, false
	case len(jobs) == 0 || len(holds) > 0 && holds[0].when().Before(jobs[0].when()):
		return holds[0].when(), true
	}
	return jobs[0].when(), true
}

// Len returns the number of messages.
func (m *Machine) Len() int { return len(m.messages) }

// Message returns the message with the given id, or nil if there is none.
func (m *Machine) Message(id string) *Message { return m.messages[id] }

// Messages yields all messages in no particular order.
func (m *Machine) Messages() iter.Seq[*Message] { return maps.Values(m.messages) }

// Policy returns an upstream's policy, and reports whether the upstream is
// configured. If it is not, Policy returns the default policy.
func (m *Machine) Policy(upstream string) (p Policy, known bool) {
	if up := m.upstreams[upstream]; up != nil {
		return up.Policy, true
	}
	return DefaultPolicy, false
}

// FirstRetry returns the wait after the first attempt at an upstream, with
// jitter.
func (m *Machine) FirstRetry(upstream string) time.Duration {
	p, _ := m.Policy(upstream)
	return m.dispatcher.jitter(p.wait(1))
}

// ReachedSince reports whether a destination has answered since t.
func (m *Machine) ReachedSince(destination string, t time.Time) bool {
	d := m.dispatcher.destinations[destination]
	return d != nil && d.good.After(t)
}

// Revive ends the wait for a destination that is known to be answering again.
func (m *Machine) Revive(destination string) { m.dispatcher.revive(destination) }

// Pinged records whether a destination has answered a ping.
func (m *Machine) Pinged(destination string, answers bool, now time.Time) {
	m.dispatcher.pingEnded(destination, answers, now)
}
