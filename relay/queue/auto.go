package queue

import (
	"context"
	"sync"
	"time"

	"hoplite/mail"
)

// How long an upstream in auto mode is passed by after it could not be
// reached, at first and at most.
const (
	passMin = 5 * time.Second
	passMax = time.Minute
)

// Direct is an upstream that is asked while the client waits. What is
// quarantined is held in the queue instead, and in auto mode whatever the
// upstream could not be asked about is queued: it is down, slow, or hung up.
type Direct struct {
	q      *Queue
	name   string
	inline mail.Hop
	queued mail.Hop
	auto   bool

	mu       sync.Mutex
	failures int
	last     time.Time // the last failure
	down     time.Time // nobody asks before; zero while it answers
	why      string
}

// Direct makes the hop for an upstream that answers in-line. With auto, the
// queue takes over while it can't.
func (q *Queue) Direct(name string, inline mail.Hop, auto bool) *Direct {
	return &Direct{q: q, name: name, inline: inline, queued: q.Hop(name), auto: auto}
}

// State is "up", or "down" with the reason.
func (d *Direct) State() (state, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failures > 0 {
		return "down", d.why
	}
	return "up", ""
}

// Open begins a handoff to the upstream, or to the queue while it is down.
func (d *Direct) Open(ctx context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	h, err := d.inline.Open(ctx, tx)
	if err != nil && d.auto && Unreachable(mail.AsReply(err)) {
		d.failed(mail.AsReply(err))
		return d.queued.Open(ctx, tx)
	}
	if err != nil {
		return nil, err
	}
	return &directHandoff{d: d, tx: tx, h: h}, nil
}

// directHandoff asks the upstream about recipients even while it is down: what
// it remembers keeps strangers' addresses out of the queue.
type directHandoff struct {
	d     *Direct
	tx    *mail.Transaction
	h     mail.Handoff
	rcpts []mail.Rcpt
}

func (h *directHandoff) Rcpt(ctx context.Context, r mail.Rcpt) error {
	if err := h.h.Rcpt(ctx, r); err != nil {
		return err
	}
	h.rcpts = append(h.rcpts, r)
	return nil
}

func (h *directHandoff) Close() error { return h.h.Close() }

func (h *directHandoff) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	d := h.d
	if q := d.q; q != nil && q.opt.Sender != nil && h.tx.Envelope.From != "" {
		for _, r := range h.rcpts {
			if q.opt.Sender(h.tx.Envelope.From, r) != h.tx.Envelope.From {
				// Forwarded: each recipient may need a sender of its own.
				return h.queue(ctx, m, h.rcpts)
			}
		}
	}
	if h.tx.Quarantine != "" || d.auto && !d.mayTry() {
		return h.queue(ctx, m, h.rcpts)
	}
	if !d.auto {
		return h.h.Send(ctx, m)
	}
	out := h.h.Send(ctx, m)
	var left []mail.Rcpt
	var places []int
	for i := range out {
		if r := &out[i].Reply; ownTemporary(r) || Unreachable(r) {
			left, places = append(left, h.rcpts[i]), append(places, i)
		}
	}
	if len(left) < len(out) {
		d.answered()
	} else {
		d.failed(&out[0].Reply)
	}
	if len(left) > 0 {
		for k, o := range h.queue(ctx, m, left) {
			out[places[k]] = o
		}
	}
	return out
}

// queue hands the message over to the queue for some recipients.
func (h *directHandoff) queue(ctx context.Context, m *mail.Message, rcpts []mail.Rcpt) []mail.Outcome {
	into, err := h.d.queued.Open(ctx, h.tx)
	if err != nil {
		return all(rcpts, mail.AsReply(err))
	}
	defer into.Close()
	// They were asked about already: no second question now.
	into.(*handoff).rcpts = rcpts
	return into.Send(ctx, m)
}

// mayTry tells whether the upstream should be asked: it is up, or its time has
// come and nobody else is trying.
func (d *Direct) mayTry() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Before(d.down) && !d.q.reachedSince(d.name, d.last) {
		return false
	}
	if d.failures > 0 {
		d.last, d.down = now, now.Add(passMin) // the others wait for what this one finds
	}
	return true
}

func (d *Direct) failed(r *mail.Reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failures == 0 {
		d.q.log.Warn().Str("hop", d.name).Str("reply", r.String()).Msg("upstream can't be asked; its mail is queued")
	}
	d.failures++
	d.why = r.String()
	d.last = time.Now()
	d.down = d.last.Add(doubled(passMin, d.failures, passMax))
}

// answered notes that the upstream is there; its queued mail need not wait.
func (d *Direct) answered() {
	d.mu.Lock()
	was := d.failures
	d.failures, d.down, d.why = 0, time.Time{}, ""
	d.mu.Unlock()
	if was > 0 {
		d.q.log.Info().Str("hop", d.name).Msg("upstream answers again; mail goes in-line")
		d.q.revive(d.name)
	}
}

// reachedSince tells whether the queue has reached a destination lately.
func (q *Queue) reachedSince(key string, t time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.dests[key]
	return d != nil && d.good.After(t)
}

// revive tries a destination at once that is known to answer.
func (q *Queue) revive(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.dests[key]
	if d == nil {
		return
	}
	if !d.blocked.IsZero() {
		q.unblock(d)
	}
	q.wake(d)
}
