package relay

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

// deliveries are the handoffs of a transaction, one per route.
type deliveries struct {
	tx   *mail.Transaction
	list []*delivery
}

// delivery is one route's handoff and the recipients of the envelope that go
// there.
type delivery struct {
	route   *Route
	handoff mail.Handoff
	rcpts   []int
}

// along returns the delivery along a route, and opens it if there is none yet.
func (d *deliveries) along(ctx context.Context, route *Route) (*delivery, error) {
	for _, v := range d.list {
		if v.route == route {
			return v, nil
		}
	}
	h, err := route.Hop.Open(ctx, d.tx)
	if err != nil {
		return nil, err
	}
	v := &delivery{route: route, handoff: h}
	d.list = append(d.list, v)
	return v, nil
}

// Waiter is a hop that accepts mail without asking another server: a queue. It
// comes last, as what the others could not deliver may become its work.
type Waiter interface{ Waits() bool }

func (v *delivery) waits() int {
	if q, ok := v.route.Hop.(Waiter); ok && q.Waits() {
		return 1
	}
	return 0
}

// send hands the message over on every route and returns an outcome for each
// recipient of the envelope.
func (d *deliveries) send(ctx context.Context, m *mail.Message) []mail.Outcome {
	out := make([]mail.Outcome, len(d.tx.Envelope.Rcpts))
	list := slices.Clone(d.list)
	slices.SortStableFunc(list, func(a, b *delivery) int { return a.waits() - b.waits() })
	for _, v := range list {
		if len(v.rcpts) > 0 {
			v.send(ctx, d.tx, m, out)
		}
	}
	return out
}

// send hands the message over, after the last stage of the route.
func (v *delivery) send(ctx context.Context, tx *mail.Transaction, m *mail.Message, out []mail.Outcome) {
	start := time.Now()
	m, err := v.finish(ctx, tx, m)
	if err != nil {
		r := mail.AsReply(err)
		for _, place := range v.rcpts {
			out[place] = mail.Outcome{Rcpt: tx.Envelope.Rcpts[place].To, Reply: *r, Hop: v.route.HopName, At: start}
		}
		return
	}
	got := v.handoff.Send(ctx, m)
	for i, place := range v.rcpts {
		o := mail.Outcome{Rcpt: tx.Envelope.Rcpts[place].To, Hop: v.route.HopName, At: start, Took: time.Since(start), Reply: noOutcome}
		if i < len(got) {
			o = got[i]
		}
		if o.Hop == "" {
			o.Hop = v.route.HopName
		}
		out[place] = o
	}
}

// finish runs the last stage of the route. Its fields go on top of all others.
func (v *delivery) finish(ctx context.Context, tx *mail.Transaction, m *mail.Message) (*mail.Message, error) {
	for _, f := range v.route.Finish {
		start := time.Now()
		top, err := f.AtSend(ctx, tx, m)
		event := mail.Event{At: start, Stage: mail.StageSend, By: f.Name, Verdict: "pass", Took: time.Since(start)}
		if err != nil {
			event.Verdict, event.Reason = "error", err.Error()
			tx.Trail.Add(event)
			return nil, err
		}
		tx.Trail.Add(event)
		if len(top) > 0 {
			m = m.Edited(top)
		}
	}
	return m, nil
}

// close closes all handoffs.
func (d *deliveries) close(log *zerolog.Logger) {
	for _, v := range d.list {
		if err := v.handoff.Close(); err != nil {
			log.Debug().Err(err).Str("id", d.tx.ID).Str("hop", v.route.HopName).Msg("close handoff")
		}
	}
	d.list = nil
}
