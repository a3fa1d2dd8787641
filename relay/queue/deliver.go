package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"slices"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// result is what an attempt came to.
type result struct {
	outcomes []mail.Outcome // one for each recipient of the job
	// unreached says that the destination could not be spoken to, so that
	// another message would fare no better; nil when it could.
	unreached *mail.Reply
	spoke     bool // it answered for some recipient
	// cut is set when a connection broke on the way: nothing is learned of the
	// destination.
	cut  bool
	gone bool // the message's file was removed by somebody
}

// attempt hands a job's message over once and deals with what came of it.
// q.mu is held, and released while others are waited for.
func (q *Queue) attempt(j *job) {
	it, up := j.it, j.dest.up
	if it.dead {
		return
	}
	j.state = jobActive
	it.active++
	rcpts := make([]mail.Rcpt, len(j.rcpts))
	for i, n := range j.rcpts {
		rcpts[i] = it.env.Rcpts[n]
	}
	tx := it.transaction(q.settings.Load().Hostname)
	tx.Envelope.From = q.sender(it, j.rcpts[0])
	ctx := q.ctx
	q.mu.Unlock()

	started := time.Now()
	res := q.handOver(ctx, up.Hop, tx, rcpts)
	q.mu.Lock()
	q.finish(j, started, res)
}

// handOver is one message on its way into a hop. A panic in there is a
// temporary failure of this attempt, nothing more.
func (q *Queue) handOver(ctx context.Context, hop mail.Hop, tx *mail.Transaction, rcpts []mail.Rcpt) (res result) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error().Str("id", tx.ID).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("attempt")
			res = result{outcomes: all(rcpts, mail.AsReply(fmt.Errorf("panic: %v", p)))}
		}
	}()
	m, closer, err := q.opt.Journal.Message(tx.ID)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, journal.ErrUnknown) {
		return result{gone: true}
	}
	if err != nil {
		return result{outcomes: all(rcpts, mail.AsReply(err))}
	}
	defer closer.Close()
	h, err := hop.Open(ctx, tx)
	if err != nil {
		r := mail.AsReply(err)
		res := result{outcomes: all(rcpts, r)}
		if !r.Permanent() {
			res.unreached = r
		}
		return res
	}
	defer h.Close()
	return offer(ctx, h, m, rcpts)
}

// offer goes through RCPT and the message.
func offer(ctx context.Context, h mail.Handoff, m *mail.Message, rcpts []mail.Rcpt) (res result) {
	res.outcomes = make([]mail.Outcome, len(rcpts))
	taken := make([]int, 0, len(rcpts))
	for i, r := range rcpts {
		err := h.Rcpt(ctx, r)
		if err == nil {
			taken = append(taken, i)
			continue
		}
		reply := mail.AsReply(err)
		res.outcomes[i] = mail.Outcome{Rcpt: r.To, Reply: *reply, Host: reply.Host, At: time.Now()}
		res.weigh(reply)
	}
	if len(taken) == 0 {
		return res
	}
	sent := h.Send(ctx, m)
	for k, i := range taken {
		if k < len(sent) {
			res.outcomes[i] = sent[k]
			res.outcomes[i].Rcpt = rcpts[i].To
		} else { // a hop that forgets one has not taken it
			res.outcomes[i] = mail.Outcome{Rcpt: rcpts[i].To, Reply: *mail.AsReply(errors.New("no outcome")), At: time.Now()}
		}
		res.weigh(&res.outcomes[i].Reply)
	}
	return res
}

// weigh learns of the destination from one reply.
func (res *result) weigh(r *mail.Reply) {
	switch {
	case Unreachable(r):
		res.unreached = r
	case ownTemporary(r):
		res.cut = true
	default:
		res.spoke = true
	}
}

// ownTemporary tells whether a reply is no server's word about the message but
// our own temporary one, about a connection for instance.
func ownTemporary(r *mail.Reply) bool { return r.Host == "" && !r.Positive() && !r.Permanent() }

// Unreachable tells whether a reply means that the destination could not be
// spoken to at all, so that other mail would fare no better now: no connection
// (X.4.1), no host that takes mail (X.3.2), no answer from DNS (X.4.3), or a 421
// with which a server hangs up.
func Unreachable(r *mail.Reply) bool {
	if r.Code == 421 {
		return true
	}
	switch r.Enhanced {
	case "4.4.1", "4.3.2", "4.4.3":
		return ownTemporary(r)
	}
	return false
}

func all(rcpts []mail.Rcpt, r *mail.Reply) []mail.Outcome {
	out := make([]mail.Outcome, len(rcpts))
	for i := range rcpts {
		out[i] = mail.Outcome{Rcpt: rcpts[i].To, Reply: *r, Host: r.Host, At: time.Now()}
	}
	return out
}

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
	late := now.Sub(it.at) >= s.Lifetime
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
	return s.DelayWarning > 0 && now.Sub(it.at) >= s.DelayWarning
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
		r.Text = r.Text[:1000]
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
}

// overdue ends the wait of mail at a destination that is down: what is too
// old goes back without an attempt of its own, what is late is reported.
func (q *Queue) overdue(d *dest) {
	now := time.Now()
	var late []*job
	for j := range d.jobs {
		it := j.it
		by := it.env.DeliverBy
		old := now.Sub(it.at) >= d.up.Lifetime || by != nil && by.Return && now.After(by.At)
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

// tell writes the log line of an attempt, and history.
func (q *Queue) tell(a Attempt) {
	e, word := q.log.Info(), "delivered"
	for i := range a.Outcomes {
		r := &a.Outcomes[i].Reply
		if r.Positive() {
			continue
		}
		if word = "deferred"; a.Final {
			word = "not delivered"
		}
		if r.Cause != nil {
			e = e.AnErr("cause", r.Cause)
		}
	}
	e.Str("id", a.ID).Str("from", string(a.From)).Str("stage", string(mail.StageSend)).Str("by", a.Upstream).
		Dur("queued", a.Started.Sub(a.Queued)).
		Object("trail", &mail.Trail{Outcomes: a.Outcomes}).Msg(word)
	q.opt.Attempted(a)
}
