package relay

import (
	"context"
	"slices"
	"time"

	"hoplite/mail"
)

// Waiter is a hop that takes mail without asking anybody else: a queue. It
// comes last, as what the others could not do may become its work.
type Waiter interface{ Waits() bool }

// send hands the message over on every way and returns an outcome for each
// recipient of the envelope.
func (t *transaction) send(ctx context.Context, m *mail.Message) []mail.Outcome {
	out := make([]mail.Outcome, len(t.Envelope.Rcpts))
	ways := slices.Clone(t.ways)
	slices.SortStableFunc(ways, func(a, b *way) int { return waits(a) - waits(b) })
	for _, w := range ways {
		if len(w.rcpts) == 0 {
			continue
		}
		t.sendOn(ctx, w, m, out)
	}
	t.rescue(ctx, m, out)
	return out
}

func waits(w *way) int {
	if q, ok := w.route.Hop.(Waiter); ok && q.Waits() {
		return 1
	}
	return 0
}

// sendOn hands the message over on one way, its route's last stage applied.
func (t *transaction) sendOn(ctx context.Context, w *way, m *mail.Message, out []mail.Outcome) {
	start := time.Now()
	m, err := t.finishing(ctx, w.route, m)
	if err != nil {
		r := mail.AsReply(err)
		for _, place := range w.rcpts {
			out[place] = mail.Outcome{Rcpt: t.Envelope.Rcpts[place].To, Reply: *r, Hop: w.route.HopName, At: start}
		}
		return
	}
	got := w.handoff.Send(ctx, m)
	for i, place := range w.rcpts {
		o := mail.Outcome{Rcpt: t.Envelope.Rcpts[place].To, Hop: w.route.HopName, At: start, Took: time.Since(start),
			Reply: noOutcome}
		if i < len(got) {
			o = got[i]
		}
		if o.Hop == "" {
			o.Hop = w.route.HopName
		}
		out[place] = o
	}
}

// finishing runs a route's last stage. Its fields go on top of everything.
func (t *transaction) finishing(ctx context.Context, route *Route, m *mail.Message) (*mail.Message, error) {
	for _, f := range route.Finish {
		start := time.Now()
		top, err := f.AtSend(ctx, t.Transaction, m)
		event := mail.Event{At: start, Stage: mail.StageSend, By: f.Name, Verdict: "pass", Took: time.Since(start)}
		if err != nil {
			event.Verdict, event.Reason = "error", err.Error()
			t.Trail.Add(event)
			return nil, err
		}
		t.Trail.Add(event)
		if len(top) > 0 {
			m = m.Edited(top)
		}
	}
	return m, nil
}

// rescue deals with recipients that failed while others have the message and
// share a reply with them: the client must not send it again. For now: it waits
// in the queue; for good: its sender hears of it in a report. In SMTP all share
// one reply, in LMTP those that one address led to.
func (t *transaction) rescue(ctx context.Context, m *mail.Message, out []mail.Outcome) {
	groups := t.asked
	if !t.session.srv.lmtp || len(groups) == 0 {
		groups = everyone(1, len(out))
	}
	var failed []int
	for _, group := range groups {
		if !mixed(out, group) {
			continue
		}
		for _, i := range group {
			switch r := &out[i].Reply; {
			case r.Positive():
			case r.Permanent():
				failed = append(failed, i)
			case t.session.srv.env.Later != nil:
				t.later(ctx, i, m, out)
			}
		}
	}
	t.report(ctx, m, out, failed)
}

// mixed tells whether some of a group have the message and some don't.
func mixed(out []mail.Outcome, group []int) bool {
	good := 0
	for _, i := range group {
		if out[i].Reply.Positive() {
			good++
		}
	}
	return good > 0 && good < len(group)
}

// report tells the sender of recipients that were refused for good.
func (t *transaction) report(ctx context.Context, m *mail.Message, out []mail.Outcome, failed []int) {
	bounce := t.session.srv.env.Bounce
	if len(failed) == 0 || bounce == nil {
		return
	}
	var refused []mail.Outcome
	for _, i := range failed {
		refused = append(refused, out[i])
	}
	if err := bounce(ctx, t.Transaction, m, refused); err != nil {
		t.session.srv.log.Error().Err(err).Str("id", t.ID).Msg("report")
		return
	}
	for _, i := range failed {
		r := out[i].Reply
		t.Trail.Add(mail.Event{Stage: mail.StageSend, By: out[i].Hop, Rcpt: out[i].Rcpt, Verdict: "bounce", Reply: &r,
			Reason: "refused while others had the message: reported to the sender"})
		out[i].Reply = mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "reported to the sender: " + r.String()}
	}
}

// later puts the message for one recipient into the queue of its hop.
func (t *transaction) later(ctx context.Context, i int, m *mail.Message, out []mail.Outcome) {
	rcpt := t.Envelope.Rcpts[i]
	hop := t.session.srv.env.Later(rcpt.Hop)
	if hop == nil {
		return
	}
	h, err := hop.Open(ctx, t.Transaction)
	if err != nil {
		return
	}
	defer h.Close()
	if h.Rcpt(ctx, rcpt) != nil {
		return
	}
	if got := h.Send(ctx, m); len(got) == 1 && got[0].Reply.Positive() {
		r := out[i].Reply
		t.Trail.Add(mail.Event{Stage: mail.StageSend, By: out[i].Hop, Rcpt: out[i].Rcpt, Verdict: "defer", Reply: &r,
			Reason: "refused for now while others had the message: queued"})
		out[i] = got[0]
	}
}
