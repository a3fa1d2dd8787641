package schedule

import (
	"time"

	"hoplite/mail"
)

const (
	startLimit = 5 // initial limit of concurrent attempts at a destination
	// After deadAfter consecutive failures to reach a destination, delivery to
	// it is suspended for a while.
	deadAfter  = 3
	blockMin   = 2 * time.Second
	blockMax   = 15 * time.Minute
	maxPerJob  = 100 // maximum recipients in one transaction (RFC 5321, 4.5.3.1.8)
	priorities = 3   // number of lines at a destination: high, normal, low
)

// destination is an upstream, or a domain served by an upstream.
type destination struct {
	key    string
	upName string
	up     *Upstream
	domain string // empty for a whole upstream

	jobs   []*Job // all jobs, in any state
	lines  [priorities]fifo[*Job]
	active int
	limit  float64 // adaptive limit of active

	good     time.Time   // time of the last answer
	failures int         // consecutive failures to reach it
	down     bool        // DestinationDown has been noted
	blocked  time.Time   // no attempts before this time; zero if not blocked
	why      *mail.Reply // the last failure to reach it
	place    int         // index in the heap of alarms
	ping     pinging
	inRing   bool
}

func (d *destination) add(j *Job) {
	j.index = len(d.jobs)
	d.jobs = append(d.jobs, j)
}

func (d *destination) remove(j *Job) {
	last := len(d.jobs) - 1
	d.jobs[j.index] = d.jobs[last]
	d.jobs[j.index].index = j.index
	d.jobs[last] = nil
	d.jobs = d.jobs[:last]
}

// push appends a ready job to the line for its priority.
func (d *destination) push(j *Job) {
	n := 1
	switch p := j.Message.Envelope.Priority; {
	case p > 0:
		n = 0
	case p < 0:
		n = 2
	}
	d.lines[n].push(j)
}

// peek returns the next ready job of a line. Jobs that were held, deleted or
// deferred after they were put in line are skipped.
func (d *destination) peek(line int) *Job {
	l := &d.lines[line]
	for {
		j, ok := l.peek()
		if !ok || j.state == jobReady {
			return j
		}
		l.pop()
	}
}

// pop removes and returns the next ready job, high priority first.
func (d *destination) pop() *Job {
	for i := range d.lines {
		if j := d.peek(i); j != nil {
			d.lines[i].pop()
			return j
		}
	}
	return nil
}

func (d *destination) hasReady() bool {
	for i := range d.lines {
		if d.peek(i) != nil {
			return true
		}
	}
	return false
}

// wants reports whether the destination has a ready job and its limit allows
// another attempt.
func (d *destination) wants() bool {
	return d.blocked.IsZero() && d.active < int(d.limit) && d.hasReady()
}

// reached records an answer. The limit of concurrent attempts grows by one for
// each full round of attempts. reached reports whether the destination was
// failing before, and whether it was down.
func (d *destination) reached(now time.Time) (recovered, wasDown bool) {
	d.good = now
	if limit := float64(d.up.Concurrency); d.limit < limit {
		d.limit = min(limit, d.limit+1/d.limit)
	}
	recovered, wasDown = d.failures > 0, d.down
	d.failures, d.down, d.why = 0, false, nil
	return recovered, wasDown
}

// unreached records a failure to connect. If the result is positive, the
// destination is blocked for that time.
func (d *destination) unreached(why *mail.Reply) time.Duration {
	d.failures++
	d.why = why
	d.limit = max(1, d.limit/2)
	if d.failures < deadAfter || !d.blocked.IsZero() {
		return 0
	}
	limit := min(blockMax, d.up.RetryMax)
	return Doubled(min(blockMin, limit), d.failures-deadAfter+1, limit)
}

// probe returns the job used to test whether the destination answers again: the
// earliest of those deferred because it did not.
func (d *destination) probe() *Job {
	var probe *Job
	for _, j := range d.jobs {
		if j.state == jobWaiting && j.unreached && (probe == nil || j.next.Before(probe.next)) {
			probe = j
		}
	}
	return probe
}

// fifo is a first-in first-out queue.
type fifo[T comparable] struct {
	all  []T
	head int
}

func (f *fifo[T]) push(x T) { f.all = append(f.all, x) }

func (f *fifo[T]) peek() (x T, ok bool) {
	if f.head == len(f.all) {
		return x, false
	}
	return f.all[f.head], true
}

func (f *fifo[T]) pop() (x T, ok bool) {
	if x, ok = f.peek(); !ok {
		return x, false
	}
	var zero T
	f.all[f.head] = zero
	f.head++
	switch {
	case f.head == len(f.all):
		f.all, f.head = f.all[:0], 0
	case f.head > 64 && f.head*2 > len(f.all):
		n := copy(f.all, f.all[f.head:])
		clear(f.all[n:])
		f.all, f.head = f.all[:n], 0
	}
	return x, true
}
