package schedule

import (
	"slices"
	"time"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// Result is the outcome of an attempt.
type Result struct {
	Outcomes []mail.Outcome // one for each of Job.Rcpts
	// Unreached is set if the destination could not be reached, so that another
	// message would fail in the same way.
	Unreached *mail.Reply
	Spoke     bool // the destination replied about some recipient
	// Cut is set if a connection broke during the transaction, which is no
	// evidence about the destination.
	Cut bool
}

// Weigh updates the result with a single reply from the destination.
func (res *Result) Weigh(r *mail.Reply) {
	switch {
	case Unreachable(r):
		res.Unreached = r
	case OwnTemporary(r):
		res.Cut = true
	default:
		res.Spoke = true
	}
}

// OwnTemporary reports whether a reply is a temporary failure detected by this
// server, such as a broken connection, rather than a remote server's verdict on
// the message.
func OwnTemporary(r *mail.Reply) bool { return r.Host == "" && !r.Positive() && !r.Permanent() }

// Unreachable reports whether a reply means that the destination could not be
// reached, so that other mail would fail in the same way: no connection
// (X.4.1), no host that accepts mail (X.3.2), no answer from DNS (X.4.3), or a
// 421 reply that closes the connection.
func Unreachable(r *mail.Reply) bool {
	if r.Code == 421 {
		return true
	}
	switch r.Enhanced {
	case "4.4.1", "4.3.2", "4.4.3":
		return OwnTemporary(r)
	}
	return false
}

// KeepReply returns an outcome's reply in the form that is stored and shown to
// the sender: with bounded text, and without the cause, which is only logged.
func KeepReply(o *mail.Outcome) *mail.Reply {
	r := o.Reply
	r.Cause = nil
	if r.Host == "" {
		r.Host = o.Host
	}
	r.Text = safe.Clip(r.Text, 1000)
	return &r
}

// Owed lists, by index, the recipients for which the sender must be sent a
// report after an attempt.
type Owed struct {
	Failed, Delivered, Delayed []int
}

// None reports whether no report is due.
func (o *Owed) None() bool { return len(o.Failed)+len(o.Delivered)+len(o.Delayed) == 0 }

// Step is the work that remains after an attempt.
type Step struct {
	Job   *Job
	Final bool // no recipient of the message is still waiting
	// Save asks the caller to commit the message's state together with the
	// reports that are due, and then to call Saved. Until then the job is
	// active.
	Save bool
	Owed Owed
}

// Finish records the outcome of an attempt, or the failure of an overdue job,
// for which no attempt was made.
func (m *Machine) Finish(j *Job, res *Result, now time.Time) Step {
	if j.counted {
		m.dispatcher.learnFrom(j.dest, res, now)
	}
	msg := j.Message
	if msg.gone { // an administrator deleted it during the attempt
		m.dispatcher.endAttempt(j)
		return Step{Job: j, Final: true}
	}
	// After a broken connection the destination may already have the message,
	// so the job waits its full time even if the destination recovers earlier.
	j.unreached = res.Unreached != nil && !res.Cut
	wait := m.dispatcher.jitter(j.dest.up.wait(j.tries() + 1))
	owed := j.record(res.Outcomes, wait, now)
	step := Step{Job: j, Final: msg.Finished(), Owed: owed}
	if step.Final && owed.None() { // the usual case: nothing to commit
		m.effects.Done = append(m.effects.Done, msg.ID)
		m.forget(msg)
		m.dispatcher.endAttempt(j)
		return step
	}
	step.Save = true
	return step
}

// Lost removes a message whose content is missing. It reports whether the
// message was still in the queue.
func (m *Machine) Lost(j *Job) bool {
	was := !j.Message.gone
	if was {
		m.effects.Done = append(m.effects.Done, j.Message.ID)
		m.forget(j.Message)
	}
	m.dispatcher.endAttempt(j)
	return was
}

// Saved continues after a Step that asked for a commit; err is the result of
// the commit.
func (m *Machine) Saved(s Step, err error, now time.Time) {
	j, msg := s.Job, s.Job.Message
	m.dispatcher.endAttempt(j)
	switch {
	case msg.gone:
	case err != nil:
		m.unsaved(s, now)
	case s.Final:
		m.forget(msg)
	default:
		m.replace(j, now)
	}
}

// unsaved continues after a failed commit, for example because the disk is
// full. The outcome is kept in memory; after a crash the attempt would be
// repeated. Failed recipients are attempted again, so that they are reported
// later.
func (m *Machine) unsaved(s Step, now time.Time) {
	j, msg := s.Job, s.Job.Message
	for _, i := range s.Owed.Failed {
		msg.Rcpts[i].Status = Waiting
		j.Rcpts = append(j.Rcpts, i)
	}
	msg.Warned = msg.Warned && len(s.Owed.Delayed) == 0
	if msg.Finished() { // all delivered; the report is abandoned
		m.effects.Done = append(m.effects.Done, msg.ID)
		m.forget(msg)
		return
	}
	slices.Sort(j.Rcpts)
	j.next = now.Add(m.dispatcher.jitter(j.dest.up.wait(j.tries())))
	m.replace(j, now)
}

// replace puts an unfinished job back in line or sets its alarm. If the message
// as a whole has changed, the message is planned again.
func (m *Machine) replace(j *Job, now time.Time) {
	msg := j.Message
	switch {
	case msg.replan || msg.Held != "" || m.rerouted(j):
		m.dispatcher.drop(j)
		if msg.active == 0 {
			m.Replan(msg, now)
		}
	case len(j.Rcpts) == 0:
		m.dispatcher.drop(j)
	default:
		m.dispatcher.place(j, now)
	}
}

// rerouted reports whether the message now has another upstream, or its
// upstream was removed.
func (m *Machine) rerouted(j *Job) bool {
	return m.upstreams[j.dest.upName] == nil || j.Message.To() != j.dest.upName && j.dest.upName != Router
}

// record stores the outcomes in the recipients' states. Recipients that failed
// temporarily are retried after wait.
func (j *Job) record(out []mail.Outcome, wait time.Duration, now time.Time) (owed Owed) {
	msg, p := j.Message, &j.dest.up.Policy
	expired := msg.expired(p, now)
	left := j.Rcpts[:0:0]
	for k, i := range j.Rcpts {
		r, o := &msg.Rcpts[i], &out[k]
		r.Attempts++
		r.Tried = now
		r.Last = KeepReply(o)
		notify := msg.Envelope.Rcpts[i].Notify
		switch {
		case o.Reply.Positive():
			r.Status = Delivered
			if notify&mail.NotifySuccess != 0 && !o.DSN {
				owed.Delivered = append(owed.Delivered, i)
			}
		case o.Reply.Permanent(), expired:
			r.Status = Failed
			if notify.Wants(mail.NotifyFailure) {
				owed.Failed = append(owed.Failed, i)
			}
		default:
			r.Next = now.Add(wait)
			left = append(left, i)
		}
	}
	j.Rcpts = left
	j.next = now.Add(wait)
	if len(left) > 0 && msg.late(p, now) {
		for _, i := range left {
			if msg.Envelope.Rcpts[i].Notify.Wants(mail.NotifyDelay) {
				owed.Delayed = append(owed.Delayed, i)
			}
		}
		msg.Warned = true
	}
	return owed
}
