package queue

import (
	"context"
	"sync"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/schedule"
)

// In auto mode, an unreachable upstream is bypassed for passMin at first, and
// for at most passMax.
const (
	passMin = 5 * time.Second
	passMax = time.Minute
)

// Direct is an upstream that receives mail while the client waits. Quarantined
// mail is held in the queue instead. In auto mode, mail is queued if the
// upstream is unavailable: if it is down or slow, or closed the connection.
type Direct struct {
	q      *Queue
	name   string
	inline mail.Hop
	queued mail.Hop
	auto   bool

	mu       sync.Mutex
	failures int
	last     time.Time // time of the last failure
	down     time.Time // end of the bypass; zero while the upstream answers
	why      string
}

// State returns "up", or "down" with the reason.
func (d *Direct) State() (state, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failures > 0 {
		return "down", d.why
	}
	return "up", ""
}

// afterFailure is the reason given in the event for mail that was queued
// because the in-line attempt failed.
const afterFailure = "the upstream failed while the client waited, so the message is queued"

// Open begins a handoff to the upstream, or to the queue while it is down.
func (d *Direct) Open(ctx context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	h, err := d.inline.Open(ctx, tx)
	if err != nil && d.auto && schedule.Unreachable(mail.AsReply(err)) {
		r := mail.AsReply(err)
		d.failed(r)
		tx.Trail.Add(mail.Event{Stage: mail.StageSend, By: d.name, Verdict: "defer", Reply: r, Reason: afterFailure})
		return d.queued.Open(ctx, tx)
	}
	if err != nil {
		return nil, err
	}
	return &directHandoff{d: d, tx: tx, h: h}, nil
}

// directHandoff checks recipients with the upstream even while it is down,
// because cached replies keep unknown recipients out of the queue.
type directHandoff struct {
	d     *Direct
	tx    *mail.Transaction
	h     mail.Handoff
	rcpts []mail.Rcpt
}

// Rcpt offers a recipient to the upstream.
func (h *directHandoff) Rcpt(ctx context.Context, r mail.Rcpt) error {
	if err := h.h.Rcpt(ctx, r); err != nil {
		return err
	}
	h.rcpts = append(h.rcpts, r)
	return nil
}

// Close ends the handoff to the upstream.
func (h *directHandoff) Close() error { return h.h.Close() }

// Send passes the message to the upstream, or to the queue.
func (h *directHandoff) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	d := h.d
	if q := d.q; q != nil && q.opt.Sender != nil && h.tx.Envelope.From != "" && h.tx.Envelope.Owner == "" {
		for _, r := range h.rcpts {
			if q.opt.Sender(h.tx.Envelope.From, r) != h.tx.Envelope.From {
				// Forwarded mail may need a different sender for each recipient.
				return h.queue(ctx, m, h.rcpts, nil)
			}
		}
	}
	if h.tx.Quarantine != "" {
		return h.queue(ctx, m, h.rcpts, nil)
	}
	if d.auto && !d.mayTry() {
		_, why := d.State()
		h.tx.Trail.Add(mail.Event{Stage: mail.StageSend, By: d.name, Verdict: "defer", Reason: "the upstream is down, so the message is queued: " + why})
		return h.queue(ctx, m, h.rcpts, nil)
	}
	if !d.auto {
		return h.h.Send(ctx, m)
	}
	out := h.h.Send(ctx, m)
	var left []mail.Rcpt
	var lost []*mail.Outcome
	var places []int
	for i := range out {
		if r := &out[i].Reply; schedule.OwnTemporary(r) || schedule.Unreachable(r) {
			var cut *mail.Outcome
			if !schedule.Unreachable(r) {
				o := out[i]
				cut = &o
			}
			why := *r // out is overwritten with the queue's reply
			h.tx.Trail.Add(mail.Event{Stage: mail.StageSend, By: d.name, Rcpt: h.rcpts[i].To, Verdict: "defer", Reply: &why, Reason: afterFailure})
			left, lost, places = append(left, h.rcpts[i]), append(lost, cut), append(places, i)
		}
	}
	if len(left) < len(out) {
		d.answered()
	} else {
		d.failed(&out[0].Reply)
	}
	if len(left) > 0 {
		for k, o := range h.queue(ctx, m, left, lost) {
			out[places[k]] = o
		}
	}
	return out
}

// queue hands the message to the queue for some of the recipients. For each of
// them, lost holds the outcome if the connection broke, and nil otherwise. It
// is empty if the upstream was not tried.
func (h *directHandoff) queue(ctx context.Context, m *mail.Message, rcpts []mail.Rcpt, lost []*mail.Outcome) []mail.Outcome {
	into, err := h.d.queued.Open(ctx, h.tx)
	if err != nil {
		return all(rcpts, mail.AsReply(err))
	}
	defer into.Close()
	// The upstream has already accepted them, so the queue's check is skipped.
	in := into.(*handoff)
	in.rcpts, in.lost = rcpts, lost
	return into.Send(ctx, m)
}

// mayTry reports whether to try the upstream: either it is up, or a retry is
// due and no other session is making it.
func (d *Direct) mayTry() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Before(d.down) && !d.reachedByQueue() {
		return false
	}
	if d.failures > 0 {
		d.last, d.down = now, now.Add(passMin) // other sessions wait for the result of this attempt
	}
	return true
}

// reachedByQueue reports whether the queue has reached the upstream since the
// last in-line failure.
func (d *Direct) reachedByQueue() (ok bool) {
	d.q.update(func(m *schedule.Machine) { ok = m.ReachedSince(d.name, d.last) })
	return ok
}

// failed records that the upstream was unavailable.
func (d *Direct) failed(r *mail.Reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failures == 0 {
		d.q.log.Warn().Str("hop", d.name).Str("reply", r.String()).Msg("upstream cannot be reached; queueing its mail")
	}
	d.failures++
	d.why = r.String()
	d.last = time.Now()
	d.down = d.last.Add(schedule.Doubled(passMin, d.failures, passMax))
}

// answered records that the upstream answers again, so that its queued mail
// need not wait.
func (d *Direct) answered() {
	d.mu.Lock()
	was := d.failures
	d.failures, d.down, d.why = 0, time.Time{}, ""
	d.mu.Unlock()
	if was > 0 {
		d.q.log.Info().Str("hop", d.name).Msg("upstream answers again; sending in-line")
		d.q.update(func(m *schedule.Machine) { m.Revive(d.name) })
	}
}
