package schedule

import (
	"slices"
	"time"

	"hoplite/mail"
)

// dispatcher holds the jobs of each destination. It selects the jobs to
// attempt, and tracks which destinations are down.
type dispatcher struct {
	destinations map[string]*destination
	alarms       alarms             // for waiting jobs and blocked destinations
	ring         fifo[*destination] // destinations that are ready for another attempt
	active       int                // attempts in progress
	workers      int                // maximum of active
	pinged       int                // number of domains being pinged
	running      bool
	jitter       func(time.Duration) time.Duration
	effects      *Effects
}

// dispatch starts as many attempts as the limits allow. Destinations with ready
// jobs take turns.
func (s *dispatcher) dispatch() {
	for s.running && s.active < s.workers {
		d, ok := s.ring.pop()
		if !ok {
			return
		}
		d.inRing = false
		if d.wants() {
			s.begin(d.pop())
			s.enqueue(d)
		}
	}
}

func (s *dispatcher) begin(j *Job) {
	j.state, j.counted = jobActive, true
	j.Message.active++
	j.dest.active++
	s.active++
	s.effects.Start = append(s.effects.Start, j)
}

// enqueue adds d to the ring of destinations that take turns, if another
// attempt at it can begin.
func (s *dispatcher) enqueue(d *destination) {
	if !d.inRing && d.wants() {
		d.inRing = true
		s.ring.push(d)
	}
}

func (s *dispatcher) destination(key string, up *Upstream, domain string) *destination {
	d := s.destinations[key]
	if d == nil {
		d = &destination{
			key: key, upName: up.Name, up: up, domain: domain, place: -1,
			limit: float64(min(startLimit, up.Concurrency)),
		}
		d.ping = pinging{dest: d, place: -1}
		s.destinations[key] = d
	}
	return d
}

// place puts a job in line, or sets an alarm if the job is not yet due.
func (s *dispatcher) place(j *Job, now time.Time) {
	if j.next.After(now) {
		j.state = jobWaiting
		s.alarms.set(j)
		return
	}
	s.ready(j)
}

// ready puts a job in line at its destination.
func (s *dispatcher) ready(j *Job) {
	s.alarms.clear(j)
	j.state = jobReady
	j.dest.push(j)
	s.enqueue(j.dest)
}

// drop removes a job from everything except its line, which skips it later.
func (s *dispatcher) drop(j *Job) {
	if j.state == jobGone {
		return
	}
	s.alarms.clear(j)
	j.state = jobGone
	j.dest.remove(j)
	msg := j.Message
	if i := slices.Index(msg.jobs, j); i >= 0 {
		msg.jobs = slices.Delete(msg.jobs, i, i+1)
	}
	s.forgetIdle(j.dest)
}

// forgetIdle removes the destination for a domain that has no queued mail.
func (s *dispatcher) forgetIdle(d *destination) {
	if len(d.jobs) == 0 && d.active == 0 && d.domain != "" {
		s.alarms.clear(d)
		s.stopPings(d)
		if s.destinations[d.key] == d {
			delete(s.destinations, d.key)
		}
	}
}

// endAttempt records the end of a job's attempt.
func (s *dispatcher) endAttempt(j *Job) {
	j.Message.active--
	if j.counted {
		j.counted = false
		s.active--
		j.dest.active--
	}
	s.enqueue(j.dest)
	s.forgetIdle(j.dest)
}

// learnFrom updates the state of the destination after an attempt.
func (s *dispatcher) learnFrom(d *destination, res *Result, now time.Time) {
	switch why := res.Unreached; {
	case why != nil && !res.Spoke:
		s.unreached(d, KeepReply(&mail.Outcome{Reply: *why}), now)
	case why == nil && !res.Cut:
		s.reached(d, now)
	}
}

// reached records that a destination answers.
func (s *dispatcher) reached(d *destination, now time.Time) {
	recovered, wasDown := d.reached(now)
	s.stopPings(d)
	if wasDown {
		s.effects.Notes = append(s.effects.Notes, Note{Kind: DestinationUp, Upstream: d.upName, Destination: d.key})
	}
	if recovered {
		s.wake(d)
	}
	s.enqueue(d)
}

// wake makes ready all jobs that are waiting because d did not answer.
func (s *dispatcher) wake(d *destination) {
	for _, j := range d.jobs {
		if j.unreached {
			s.endWait(j)
		}
	}
}

func (s *dispatcher) endWait(j *Job) {
	if j.state == jobWaiting {
		s.ready(j)
		j.next = time.Time{}
	}
}

// unreached records a failure to reach a destination, and blocks the
// destination after several failures.
func (s *dispatcher) unreached(d *destination, why *mail.Reply, now time.Time) {
	pause := d.unreached(why)
	s.startPings(d, now)
	if pause == 0 {
		return
	}
	d.blocked, d.down = now.Add(s.jitter(pause)), true
	s.alarms.set(d)
	s.effects.Notes = append(s.effects.Notes, Note{Kind: DestinationDown, Upstream: d.upName, Destination: d.key, Until: d.blocked, Reply: why, Waiting: len(d.jobs)})
	s.overdue(d, now)
}

// overdue handles mail for a destination that is down: expired mail is bounced
// without another attempt, and delayed mail is reported.
func (s *dispatcher) overdue(d *destination, now time.Time) {
	var jobs []*Job
	for _, j := range d.jobs {
		msg := j.Message
		if j.state == jobReady && (msg.expired(&d.up.Policy, now) || msg.late(&d.up.Policy, now)) {
			j.state = jobActive
			msg.active++
			jobs = append(jobs, j)
		}
	}
	if len(jobs) > 0 {
		s.effects.Overdue = append(s.effects.Overdue, Overdue{Jobs: jobs, Why: d.why})
	}
}

// unblock allows one attempt to check whether the destination answers. It uses
// a ready job, or else the first of those deferred because the destination did
// not answer.
func (s *dispatcher) unblock(d *destination) {
	s.alarms.clear(d)
	d.blocked = time.Time{}
	d.limit = 1
	if !d.hasReady() {
		if probe := d.probe(); probe != nil {
			s.ready(probe)
		}
	}
	s.enqueue(d)
}

// revive ends the wait for a destination that is known to be answering again.
func (s *dispatcher) revive(key string) {
	d := s.destinations[key]
	if d == nil {
		return
	}
	if !d.blocked.IsZero() {
		s.unblock(d)
	}
	s.wake(d)
}

// advance processes all jobs and destinations whose alarm is due.
func (s *dispatcher) advance(now time.Time) {
	for a := s.alarms.due(now); a != nil; a = s.alarms.due(now) {
		switch a := a.(type) {
		case *Job:
			if a.state == jobWaiting {
				s.ready(a)
			}
		case *destination:
			s.unblock(a)
		case *pinging:
			s.pingDue(a.dest)
		}
	}
}

// change applies an upstream's new policy to its destinations.
func (s *dispatcher) change(up *Upstream) {
	for _, d := range s.destinations {
		if d.upName == up.Name {
			d.up = up
			d.limit = min(d.limit, float64(up.Concurrency))
		}
	}
}
