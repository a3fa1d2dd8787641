package queue

import (
	"slices"
	"time"

	"hoplite/mail"
)

const (
	startLimit = 5 // attempts at once at a destination that we know nothing of
	// deadAfter failures to reach a destination, with no success between them,
	// it is left alone for a while, and with it all its mail.
	deadAfter  = 3
	blockMin   = 2 * time.Second
	blockMax   = 15 * time.Minute
	maxPerJob  = 100 // recipients in one transaction (RFC 5321, 4.5.3.1.8)
	priorities = 3   // lines before a destination: high, normal, low
)

// dest is one destination: an upstream, or a domain behind one. Queue.mu
// guards it.
type dest struct {
	key    string
	upName string
	up     *Upstream
	domain string // empty for a whole upstream

	jobs   map[*job]bool // all of them, whatever their state
	lines  [priorities]line
	active int
	limit  float64 // attempts at once, adapted

	good     time.Time   // it answered last
	failures int         // to reach it, since the last success
	blocked  time.Time   // nobody tries before; zero when it is open
	why      *mail.Reply // the last failure to reach it
	place    int         // in the heap of alarms
	inRing   bool
}

// line is a first-in first-out queue of ready jobs.
type line struct {
	jobs []*job
	head int
}

func (l *line) push(j *job) { l.jobs = append(l.jobs, j) }

// peek is the next ready job. It drops what was held or deleted meanwhile, or
// waits again.
func (l *line) peek() *job {
	for l.head < len(l.jobs) {
		if j := l.jobs[l.head]; j.state == jobReady {
			return j
		}
		l.skip()
	}
	l.jobs, l.head = l.jobs[:0], 0
	return nil
}

func (l *line) pop() *job {
	j := l.peek()
	if j != nil {
		l.skip()
	}
	return j
}

func (l *line) skip() {
	l.jobs[l.head] = nil
	if l.head++; l.head > 64 && l.head*2 > len(l.jobs) {
		l.jobs = slices.Delete(l.jobs, 0, l.head)
		l.head = 0
	}
}

// pop takes the next ready job, those of high priority first.
func (d *dest) pop() *job {
	for i := range d.lines {
		if j := d.lines[i].pop(); j != nil {
			return j
		}
	}
	return nil
}

func (d *dest) hasReady() bool {
	for i := range d.lines {
		if d.lines[i].peek() != nil {
			return true
		}
	}
	return false
}

// wants tells whether another worker could do something here.
func (d *dest) wants() bool {
	return d.up != nil && d.hasReady() && d.blocked.IsZero() && d.active < int(d.limit)
}

func (q *Queue) dest(key string, up *Upstream, domain string) *dest {
	d := q.dests[key]
	if d == nil {
		d = &dest{
			key: key, upName: up.Name, up: up, domain: domain, jobs: map[*job]bool{}, place: -1,
			limit: float64(min(startLimit, up.Concurrency)),
		}
		q.dests[key] = d
	}
	return d
}

// pump starts workers for d as far as the limits allow.
func (q *Queue) pump(d *dest) {
	for q.running && d.wants() {
		if q.active >= q.settings.Load().Workers {
			if !d.inRing {
				d.inRing = true
				q.ring = append(q.ring, d)
			}
			return
		}
		q.active++
		d.active++
		q.workers.Go(func() { q.work(d) })
	}
}

// work attempts one job after the other at d. When other destinations wait
// for a worker, it takes turns among them after each job.
func (q *Queue) work(d *dest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for d != nil && q.running {
		j := (*job)(nil)
		if d.blocked.IsZero() && d.active <= max(1, int(d.limit)) && d.up != nil {
			j = d.pop()
		}
		if j != nil {
			q.attempt(j)
		}
		if j == nil || len(q.ring) > 0 {
			d.active--
			q.tidyDest(d)
			if j != nil && d.wants() && !d.inRing {
				d.inRing = true
				q.ring = append(q.ring, d)
			}
			if d = q.nextInRing(); d != nil {
				d.active++
			}
		}
	}
	if d != nil {
		d.active--
	}
	q.active--
}

// nextInRing is the destination that has waited longest for a worker.
func (q *Queue) nextInRing() *dest {
	for len(q.ring) > 0 {
		d := q.ring[0]
		q.ring = q.ring[1:]
		d.inRing = false
		if d.wants() {
			if d.active++; d.wants() { // and it would like another
				d.inRing = true
				q.ring = append(q.ring, d)
			}
			d.active--
			return d
		}
	}
	return nil
}

// tidyDest forgets a destination that has nothing left, unless what was learned
// of it is still of use.
func (q *Queue) tidyDest(d *dest) {
	if len(d.jobs) == 0 && d.active == 0 && d.domain != "" {
		q.clearAlarm(d)
		delete(q.dests, d.key)
	}
}

// reached notes that the destination answers: a little more at once from now
// on, and what waits because it was down need not wait any longer.
func (q *Queue) reached(d *dest) {
	d.good = time.Now()
	if limit := float64(d.up.Concurrency); d.limit < limit {
		d.limit = min(limit, d.limit+1/d.limit)
	}
	if d.failures == 0 {
		q.pump(d)
		return
	}
	d.failures, d.why = 0, nil
	q.log.Info().Str("destination", d.key).Msg("destination answers again")
	q.wake(d)
	q.pump(d)
}

// wake makes what waits because d did not answer due now.
func (q *Queue) wake(d *dest) {
	for j := range d.jobs {
		if j.unreached {
			q.due(j)
		}
	}
}

// due ends a job's wait. A key in the heap never changes while it is there.
func (q *Queue) due(j *job) {
	if j.state == jobWaiting {
		q.ready(j)
		j.next = time.Time{}
	}
}

// unreached notes that the destination could not be spoken to at all.
func (q *Queue) unreached(d *dest, why *mail.Reply) {
	d.failures++
	d.why = why
	d.limit = max(1, d.limit/2)
	if d.failures < deadAfter || !d.blocked.IsZero() {
		return
	}
	limit := min(blockMax, d.up.RetryMax)
	d.blocked = time.Now().Add(jitter(doubled(min(blockMin, limit), d.failures-deadAfter+1, limit)))
	q.log.Warn().Str("destination", d.key).Time("until", d.blocked).Str("reply", why.String()).
		Int("waiting", len(d.jobs)).Msg("destination is down; its mail waits")
	q.setAlarm(d)
	q.overdue(d)
}

// unblock lets one job through to see whether the destination answers: one
// that is due, or else the first of those that wait because it did not.
func (q *Queue) unblock(d *dest) {
	d.blocked = time.Time{}
	d.limit = 1
	q.clearAlarm(d)
	if !d.hasReady() {
		var probe *job
		for j := range d.jobs {
			if j.state == jobWaiting && j.unreached && (probe == nil || j.next.Before(probe.next)) {
				probe = j
			}
		}
		if probe != nil {
			q.ready(probe)
		}
	}
	q.pump(d)
}
