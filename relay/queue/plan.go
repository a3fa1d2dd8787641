package queue

import (
	"slices"
	"time"

	"hoplite/mail"
)

// plan makes the jobs of an item: one for each destination among those who
// wait, and puts each where it belongs.
func (q *Queue) plan(it *item) {
	name, up := q.way(it)
	if up == nil {
		return
	}
	type way struct {
		dest string
		from mail.Address
	}
	made := map[way]*job{}
	for i := range it.rcpts {
		r := &it.rcpts[i]
		if r.status != waiting {
			continue
		}
		to := way{name, q.sender(it, i)}
		domain := ""
		if up.PerDomain {
			domain = it.env.Rcpts[i].To.Domain()
			to.dest += "/" + domain
		}
		j := made[to]
		if j == nil || len(j.rcpts) == maxPerJob {
			j = &job{it: it, dest: q.dest(to.dest, up, domain), place: -1}
			j.dest.jobs[j] = true
			it.jobs = append(it.jobs, j)
			made[to] = j
		}
		j.rcpts = append(j.rcpts, i)
		if r.next.After(j.next) {
			j.next = r.next
		}
		j.unreached = j.unreached || r.last != nil && Unreachable(r.last)
	}
	for _, j := range it.jobs {
		if j.unreached { // from before a restart: the first success tells all that wait
			j.dest.failures = max(j.dest.failures, 1)
		}
		q.place(j)
	}
}

// way finds the upstream of an item. A held one has none, and goes where held
// mail is.
func (q *Queue) way(it *item) (name string, up *Upstream) {
	if it.held != "" && !it.stranded {
		q.planHeld(it)
		return "", nil
	}
	name = it.to()
	up = q.upstreams[name]
	if up == nil { // no longer configured: routed anew, else it waits
		if !q.routable(it) {
			q.strand(it)
			return "", nil
		}
		name, up = Router, q.upstreams[Router]
	}
	if it.stranded { // it has waited long enough
		q.unhold(it)
		for i := range it.rcpts {
			it.rcpts[i].next = time.Time{}
		}
	}
	return name, up
}

// sender is the reverse path for one recipient.
func (q *Queue) sender(it *item, i int) mail.Address {
	if q.opt.Sender == nil || it.env.From == "" {
		return it.env.From
	}
	return q.opt.Sender(it.env.From, it.env.Rcpts[i])
}

// place puts a job in line, or lets it wait for its time.
func (q *Queue) place(j *job) {
	if j.next.After(time.Now()) {
		j.state = jobWaiting
		q.setAlarm(j)
		return
	}
	q.ready(j)
}

// ready puts a job in line and sees to it that somebody serves the line.
func (q *Queue) ready(j *job) {
	q.clearAlarm(j)
	j.state = jobReady
	n := 1
	switch p := j.it.env.Priority; {
	case p > 0:
		n = 0
	case p < 0:
		n = 2
	}
	j.dest.lines[n].push(j)
	q.pump(j.dest)
}

// dropJob takes a job out of everything but a line, which passes over it.
func (q *Queue) dropJob(j *job) {
	q.clearAlarm(j)
	j.state = jobGone
	delete(j.dest.jobs, j)
	if i := slices.Index(j.it.jobs, j); i >= 0 {
		j.it.jobs = slices.Delete(j.it.jobs, i, i+1)
	}
	q.tidyDest(j.dest)
}

// unschedule drops all jobs of an item; those under way end by themselves.
func (q *Queue) unschedule(it *item) {
	for _, j := range slices.Clone(it.jobs) {
		if j.state != jobActive {
			q.dropJob(j)
		}
	}
}

// forget removes a message that is gone.
func (q *Queue) forget(it *item) {
	it.dead = true
	if it.hold != nil {
		q.clearAlarm(it.hold)
	}
	for _, j := range slices.Clone(it.jobs) {
		q.dropJob(j)
	}
	delete(q.items, it.id)
	q.heed()
}
