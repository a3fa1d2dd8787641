package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"hoplite/mail"
	"hoplite/mail/story"
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
	if errors.Is(err, journal.ErrGone) || errors.Is(err, journal.ErrUnknown) {
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
		Object("trail", &story.LogTrail{Outcomes: a.Outcomes}).Msg(word)
	q.opt.Attempted(a)
}
