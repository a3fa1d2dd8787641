package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hoplite/internal/quiet"
	"hoplite/mail"
	"hoplite/mail/dsn"
	"hoplite/mail/story"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/schedule"
)

// attempt is one attempt to deliver a job to its upstream.
type attempt struct {
	job *schedule.Job
	up  *Upstream
	ctx context.Context
}

// work makes an attempt, and continues while the schedule returns further ones.
func (q *Queue) work(a attempt) {
	for a.job != nil {
		a = q.attempt(a)
	}
}

// attempt makes one attempt, records its outcome, and returns the next attempt
// for this goroutine. It reads only immutable fields of the message.
func (q *Queue) attempt(a attempt) (next attempt) {
	msg := a.job.Message
	rcpts := make([]mail.Rcpt, len(a.job.Rcpts))
	for i, n := range a.job.Rcpts {
		rcpts[i] = msg.Envelope.Rcpts[n]
		rcpts[i].Hop = msg.Upstream // set if it was resolved on arrival
	}
	tx := transaction(msg, q.hostname())
	tx.Envelope.From = q.machine.Sender(msg, a.job.Rcpts[0])

	started := time.Now()
	res, err := q.handOver(a, tx, rcpts)
	if q.stopIfFenced(err) {
		return attempt{}
	}
	if err != nil { // the message's content is missing
		var was bool
		next = q.step(func(m *schedule.Machine) bool { was = m.Lost(a.job); return true })
		if was {
			q.log.Error().Err(err).Str("id", msg.ID).Str("from", string(msg.Envelope.From)).Msg("message dropped: its file was removed")
		}
		return next
	}
	q.stats.attempts.Add(1)
	final, next := q.finish(a.job, &res)
	q.recordAttempt(Attempt{
		ID: msg.ID, From: msg.Envelope.From, Upstream: a.job.Upstream(), Queued: msg.At, Started: started,
		Outcomes: res.Outcomes, Final: final,
	})
	return next
}

// handOver offers a message to its upstream once. A panic counts as a temporary
// failure of the attempt. An error means that no attempt was made, because the
// message's content is missing or the journal has been taken over.
func (q *Queue) handOver(a attempt, tx *mail.Transaction, rcpts []mail.Rcpt) (res schedule.Result, gone error) {
	defer func() {
		if p := recover(); p != nil {
			quiet.Panic(q.log.Error(), p).Str("id", tx.ID).Msg("attempt")
			res = schedule.Result{Outcomes: all(rcpts, mail.AsReply(fmt.Errorf("panic: %v", p)))}
		}
	}()
	m, closer, err := q.opt.Journal.Message(tx.ID)
	if err != nil {
		if errors.Is(err, journal.ErrGone) || errors.Is(err, journal.ErrUnknown) || errors.Is(err, journal.ErrFenced) {
			return res, err
		}
		return schedule.Result{Outcomes: all(rcpts, mail.AsReply(err))}, nil
	}
	defer closer.Close()
	if q.fenced.Load() {
		return res, journal.ErrFenced
	}
	h, err := a.up.Hop.Open(a.ctx, tx)
	if err != nil {
		r := mail.AsReply(err)
		res := schedule.Result{Outcomes: all(rcpts, r)}
		if !r.Permanent() {
			res.Unreached = r
		}
		return res, nil
	}
	defer h.Close()
	return offer(a.ctx, h, m, rcpts), nil
}

// offer sends the recipients and then the message to a handoff.
func offer(ctx context.Context, h mail.Handoff, m *mail.Message, rcpts []mail.Rcpt) (res schedule.Result) {
	res.Outcomes = make([]mail.Outcome, len(rcpts))
	taken := make([]int, 0, len(rcpts))
	for i, r := range rcpts {
		err := h.Rcpt(ctx, r)
		if err == nil {
			taken = append(taken, i)
			continue
		}
		reply := mail.AsReply(err)
		res.Outcomes[i] = mail.Outcome{Rcpt: r.To, Reply: *reply, Host: reply.Host, At: time.Now()}
		res.Weigh(reply)
	}
	if len(taken) == 0 {
		return res
	}
	sent := h.Send(ctx, m)
	for k, i := range taken {
		if k < len(sent) {
			res.Outcomes[i] = sent[k]
			res.Outcomes[i].Rcpt = rcpts[i].To
		} else { // a hop that returns no outcome has not accepted the recipient
			res.Outcomes[i] = mail.Outcome{Rcpt: rcpts[i].To, Reply: *mail.AsReply(errors.New("no outcome")), At: time.Now()}
		}
		res.Weigh(&res.Outcomes[i].Reply)
	}
	return res
}

// all returns a slice with the same outcome for each recipient.
func all(rcpts []mail.Rcpt, r *mail.Reply) []mail.Outcome {
	out := make([]mail.Outcome, len(rcpts))
	for i := range rcpts {
		out[i] = mail.Outcome{Rcpt: rcpts[i].To, Reply: *r, Host: r.Host, At: time.Now()}
	}
	return out
}

// transaction returns the transaction for the next hop. The recipients are
// added later, one by one.
func transaction(msg *schedule.Message, hostname string) *mail.Transaction {
	tx := &mail.Transaction{ID: msg.ID, At: msg.At, Envelope: msg.Envelope, Trail: &mail.Trail{}, Hostname: hostname}
	tx.Envelope.Rcpts = nil
	tx.Envelope.Size = msg.Size
	return tx
}

// finish records the outcome of a job, commits it if necessary, and returns the
// next attempt for this goroutine. final is true if no recipient is still
// waiting.
func (q *Queue) finish(j *schedule.Job, res *schedule.Result) (final bool, next attempt) {
	var s schedule.Step
	var state []byte
	var due []dsn.Report
	next = q.step(func(m *schedule.Machine) (free bool) {
		now := time.Now()
		s = m.Finish(j, res, now)
		if !s.Save {
			return true
		}
		state = record.State(j.Message)
		due = q.owed(m, j.Message, s.Owed, now)
		return false
	})
	if !s.Save {
		return s.Final, next
	}
	last := journal.Change{Kind: journal.Set, ID: j.Message.ID, State: state}
	if s.Final {
		last = journal.Change{Kind: journal.Done, ID: j.Message.ID}
	}
	reports := q.own.reports(due)
	err := q.own.commit(reports, last)
	if q.stopIfFenced(err) {
		return s.Final, attempt{}
	}
	if err != nil {
		q.log.Error().Err(err).Str("id", j.Message.ID).Msg("outcome of an attempt could not be saved")
	}
	next = q.step(func(m *schedule.Machine) bool {
		m.Saved(s, err, time.Now())
		if err == nil {
			q.admit(m, reports)
		}
		return true
	})
	return s.Final, next
}

// settleOverdue records failures for mail to an unavailable destination without
// attempting delivery: expired mail is bounced, and delayed mail is reported.
// The caller holds the lock.
func (q *Queue) settleOverdue(o schedule.Overdue) {
	for some := range slices.Chunk(o.Jobs, len(o.Jobs)/8+1) { // all mail of a destination may expire at the same time
		q.workers.Go(func() {
			for _, j := range some {
				now := time.Now()
				msg := j.Message
				res := schedule.Result{Unreached: o.Why}
				for _, i := range j.Rcpts {
					res.Outcomes = append(res.Outcomes, mail.Outcome{Rcpt: msg.Envelope.Rcpts[i].To, Reply: *o.Why, Host: o.Why.Host, At: now})
				}
				final, next := q.finish(j, &res)
				if final {
					q.recordAttempt(Attempt{
						ID: msg.ID, From: msg.Envelope.From, Upstream: j.Upstream(), Queued: msg.At, Started: now, Outcomes: res.Outcomes, Final: true,
					})
				}
				if next.job != nil {
					q.workers.Go(func() { q.work(next) })
				}
			}
		})
	}
}

// recordAttempt logs an attempt and passes it to history.
func (q *Queue) recordAttempt(a Attempt) {
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
		Object("trail", &story.LogTrail{Outcomes: a.Outcomes}).Msg(word)
	q.opt.Attempted(a)
}
