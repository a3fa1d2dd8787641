package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// finish brings a message up to date after an attempt, saves that, and tells
// whoever must know. q.mu is held, and released while the disk is waited for.
func (q *Queue) finish(j *job, started time.Time, res result) {
	it, d := j.it, j.dest
	if res.gone {
		if !it.dead {
			q.log.Error().Str("id", it.id).Str("from", string(it.env.From)).Msg("message dropped: its file was removed")
			q.opt.Journal.Done(it.id)
		}
		it.active--
		q.forget(it)
		return
	}
	switch why := res.unreached; {
	case why != nil && !res.spoke:
		q.unreached(d, cleanReply(&mail.Outcome{Reply: *why}))
	case why == nil && !res.cut:
		q.reached(d)
	}
	q.stats.attempts.Add(1)
	a := Attempt{ID: it.id, From: it.env.From, Upstream: d.upName, Queued: it.at, Started: started, Outcomes: res.outcomes}
	a.Final = q.bring(j, &res)
	q.mu.Unlock()
	q.tell(a)
	q.mu.Lock()
}

// bring brings the recipients up to date and tells whether nobody waits now.
func (q *Queue) bring(j *job, res *result) (final bool) {
	it := j.it
	if it.dead { // an admin deleted it while it was under way
		it.active--
		q.forget(it)
		return true
	}
	j.unreached = res.unreached != nil || res.cut
	events := q.note(j, time.Now(), res.outcomes)
	final = it.finished()
	if final && events.none() { // the way of most mail: no disk to wait for
		q.opt.Journal.Done(it.id)
		it.active--
		q.forget(it)
		return true
	}
	q.save(j, events)
	return final
}

// events are what senders want to hear of after one attempt: indices of
// recipients.
type events struct {
	failed, delivered, delayed []int
}

func (e *events) none() bool { return len(e.failed)+len(e.delivered)+len(e.delayed) == 0 }

// note writes the outcomes into the recipients' states.
func (q *Queue) note(j *job, now time.Time, out []mail.Outcome) (ev events) {
	it, s := j.it, &j.dest.up.Schedule
	late := now.Sub(it.since()) >= s.Lifetime
	if by := it.env.DeliverBy; by != nil && by.Return && now.After(by.At) {
		late = true
	}
	wait := s.wait(j.attempts() + 1)
	left := j.rcpts[:0:0]
	for k, i := range j.rcpts {
		r, o := &it.rcpts[i], &out[k]
		r.attempts++
		r.tried = now
		r.last = cleanReply(o)
		notify := it.env.Rcpts[i].Notify
		switch {
		case o.Reply.Positive():
			r.status = delivered
			if notify&mail.NotifySuccess != 0 && !o.DSN {
				ev.delivered = append(ev.delivered, i)
			}
		case o.Reply.Permanent(), late:
			r.status = failed
			if notify.Wants(mail.NotifyFailure) {
				ev.failed = append(ev.failed, i)
			}
		default:
			r.next = now.Add(wait)
			left = append(left, i)
		}
	}
	j.rcpts = left
	j.next = now.Add(wait)
	if len(left) > 0 && q.isSlow(it, s, now) {
		for _, i := range left {
			if it.env.Rcpts[i].Notify.Wants(mail.NotifyDelay) {
				ev.delayed = append(ev.delayed, i)
			}
		}
		it.warned = true
	}
	return ev
}

// isSlow tells whether the sender should now hear that the message is late.
func (q *Queue) isSlow(it *item, s *Schedule, now time.Time) bool {
	if it.warned {
		return false
	}
	if by := it.env.DeliverBy; by != nil && !by.Return && now.After(by.At) {
		return true
	}
	return s.DelayWarning > 0 && now.Sub(it.since()) >= s.DelayWarning
}

// cleanReply is a reply that may be kept for days and shown to the sender: its
// text bounded, its cause for our log alone.
func cleanReply(o *mail.Outcome) *mail.Reply {
	r := o.Reply
	r.Cause = nil
	if r.Host == "" {
		r.Host = o.Host
	}
	if len(r.Text) > 1000 {
		r.Text = strings.ToValidUTF8(r.Text[:1000], "")
	}
	return &r
}

// save makes the state of j's message durable, with the reports that it
// causes, and plans what is next. q.mu is released meanwhile.
func (q *Queue) save(j *job, ev events) {
	it := j.it
	final := it.finished()
	state := packState(it)
	q.mu.Unlock()
	reports := q.reports(it, ev)
	err := q.commit(it.id, final, state, reports)
	q.mu.Lock()
	it.active--

	switch {
	case it.dead:
		q.forget(it)
	case err != nil:
		// The disk is full or broken. What we know stays in memory, a crash now
		// would repeat the attempt; who failed is tried and reported later.
		q.log.Error().Err(err).Str("id", it.id).Msg("outcome of an attempt could not be saved")
		for _, i := range ev.failed {
			it.rcpts[i].status = waiting
			j.rcpts = append(j.rcpts, i)
		}
		it.warned = it.warned && len(ev.delayed) == 0
		if len(j.rcpts) == 0 { // all delivered, but a report is owed
			q.opt.Journal.Done(it.id)
			q.forget(it)
			return
		}
		slices.Sort(j.rcpts)
		j.next = time.Now().Add(j.dest.up.wait(j.attempts()))
		q.replace(j)
	case final:
		q.forget(it)
		q.takeReports(reports)
	default:
		q.replace(j)
		q.takeReports(reports)
	}
}

// commit writes reports and the new state in one batch. A report that is
// there already, from before a crash, is not queued again.
func (q *Queue) commit(id string, final bool, state []byte, reports []report) error {
	last := journal.Change{Kind: journal.Set, ID: id, State: state}
	if final {
		last = journal.Change{Kind: journal.Done, ID: id}
	}
	for {
		var changes []journal.Change
		for i := range reports {
			if !reports[i].there {
				changes = append(changes, reports[i].change())
			}
		}
		err := q.opt.Journal.Commit(context.Background(), append(changes, last)...)
		if !errors.Is(err, journal.ErrExists) || len(changes) == 0 {
			return err
		}
		for i := range reports { // reports are few; find out one by one
			if _, _, err := q.opt.Journal.Meta(reports[i].it.id); err == nil {
				reports[i].there = true
			}
		}
	}
}

// replace puts a job that is not finished back where it belongs, or, when that
// has changed for the whole message, the message.
func (q *Queue) replace(j *job) {
	it := j.it
	switch {
	case it.replan || it.held != "" || q.rerouted(j):
		q.dropJob(j)
		if it.active == 0 {
			q.replan(it)
		}
	case len(j.rcpts) == 0:
		q.dropJob(j)
	default:
		q.place(j)
	}
}

// rerouted tells whether the message has another upstream by now, or its own
// is gone.
func (q *Queue) rerouted(j *job) bool {
	return q.upstreams[j.dest.upName] == nil || j.it.to() != j.dest.upName && j.dest.upName != Router
}

// overdue ends the wait of mail at a destination that is down: what is too
// old goes back without an attempt of its own, what is late is reported.
func (q *Queue) overdue(d *dest) {
	now := time.Now()
	var late []*job
	for j := range d.jobs {
		it := j.it
		by := it.env.DeliverBy
		old := now.Sub(it.since()) >= d.up.Lifetime || by != nil && by.Return && now.After(by.At)
		if j.state == jobReady && (old || q.isSlow(it, &d.up.Schedule, now)) {
			j.state = jobActive
			it.active++
			late = append(late, j)
		}
	}
	why := d.why
	for some := range slices.Chunk(late, len(late)/8+1) { // a whole queue may be late at once
		q.workers.Go(func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			for _, j := range some {
				res := result{unreached: why}
				for _, i := range j.rcpts {
					res.outcomes = append(res.outcomes, mail.Outcome{Rcpt: j.it.env.Rcpts[i].To, Reply: *why, Host: why.Host, At: now})
				}
				if q.bring(j, &res) {
					q.mu.Unlock()
					q.tell(Attempt{
						ID: j.it.id, From: j.it.env.From, Upstream: d.upName, Queued: j.it.at, Started: now, Outcomes: res.outcomes, Final: true,
					})
					q.mu.Lock()
				}
			}
		})
	}
}
