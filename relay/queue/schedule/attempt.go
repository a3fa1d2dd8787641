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
	// Unreached is set when the destination could not be reached, so that
	// another message would fail in the same way.
	Unreached *mail.Reply
	Spoke     bool // the destination judged some recipient
	// Cut is set when a connection broke during the transaction: nothing is
	// learned about the destination.
	Cut bool
}

// Weigh learns from one reply about the destination.
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

// OwnTemporary reports whether a reply is a temporary failure of our own, such
// as a broken connection, and not a server's judgement of the message.
func OwnTemporary(r *mail.Reply) bool { return r.Host == "" && !r.Positive() && !r.Permanent() }

// Unreachable reports whether a reply means that the destination could not be
// reached, so that other mail would fail in the same way: no connection (X.4.1),
// no host that accepts mail (X.3.2), no answer from DNS (X.4.3), or a 421 with
// which a server closes the connection.
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

// KeepReply returns an outcome's reply as it is stored and shown to the sender:
// with bounded text, and without the cause, which is for the log alone.
func KeepReply(o *mail.Outcome) *mail.Reply {
	r := o.Reply
	r.Cause = nil
	if r.Host == "" {
		r.Host = o.Host
	}
	r.Text = safe.Clip(r.Text, 1000)
	return &r
}

// Owed lists, by index, the recipients that the sender must be told about after
// an attempt.
type Owed struct {
	Failed, Delivered, Delayed []int
}

// None reports whether nothing is owed.
func (o *Owed) None() bool { return len(o.Failed)+len(o.Delivered)+len(o.Delayed) == 0 }

// Step is what must happen after an attempt.
type Step struct {
	Job   *Job
	Final bool // no recipient of the message is waiting any more
	// Save asks the caller to commit the message's state together with the
	// reports that are owed, and then to call Saved. Until then the job counts
	// as active.
	Save bool
	Owed Owed
}

// Finish records the outcome of an attempt, or the failure of an overdue job,
// which had none.
func (m *Machine) Finish(j *Job, res *Result, now time.Time) Step {
	if j.counted {
		m.dispatcher.learnFrom(j.dest, res, now)
	}
	msg := j.Message
	if msg.gone { // an administrator deleted it during the attempt
		m.dispatcher.endAttempt(j)
		return Step{Job: j, Final: true}
	}
	// After a broken connection the destination may have the message: it waits
	// its time even if the destination comes back earlier.
	j.unreached = res.Unreached != nil && !res.Cut
	wait := m.dispatcher.jitter(j.dest.up.wait(j.tries() + 1))
	owed := j.record(res.Outcomes, wait, now)
	step := Step{Job: j, Final: msg.Finished(), Owed: owed}
	if step.Final && owed.None() { // the usual case: nothing to wait for
		m.effects.Done = append(m.effects.Done, msg.ID)
		m.forget(msg)
		m.dispatcher.endAttempt(j)
		return step
	}
	step.Save = true
	return step
}

// Lost removes a message whose octets cannot be found. It reports whether the
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

// Saved continues after a Step that asked for a commit; err is the commit's.
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

// unsaved continues after a commit that failed, because the disk is full for
// instance. What is known stays in memory; a crash now would repeat the attempt.
// Failed recipients are tried again, so that they are reported later.
func (m *Machine) unsaved(s Step, now time.Time) {
	j, msg := s.Job, s.Job.Message
	for _, i := range s.Owed.Failed {
		msg.Rcpts[i].Status = Waiting
		j.Rcpts = append(j.Rcpts, i)
	}
	msg.Warned = msg.Warned && len(s.Owed.Delayed) == 0
	if msg.Finished() { // all delivered; the report is given up
		m.effects.Done = append(m.effects.Done, msg.ID)
		m.forget(msg)
		return
	}
	slices.Sort(j.Rcpts)
	j.next = now.Add(m.dispatcher.jitter(j.dest.up.wait(j.tries())))
	m.replace(j, now)
}

// replace puts an unfinished job back where it belongs. If the message as a
// whole has changed, the message is planned again.
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

// rerouted reports whether the message has another upstream now, or its own was
// removed.
func (m *Machine) rerouted(j *Job) bool {
	return m.upstreams[j.dest.upName] == nil || j.Message.To() != j.dest.upName && j.dest.upName != Router
}

// record writes the outcomes into the recipients' states. Those that failed
// temporarily are tried again after wait.
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
