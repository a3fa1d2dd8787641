package relay

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

// deliveries holds the handoffs of a transaction, one per route.
type deliveries struct {
	t    *transaction
	list []*delivery
	left []leftover
}

// leftover is a recipient that was refused at RCPT but is in the envelope
// because other members of its address were accepted.
type leftover struct {
	at int // its index in the envelope
	member
}

// delivery is one route's handoff and its recipients in the envelope.
type delivery struct {
	route   *Route
	tx      *mail.Transaction // as the hop sees it
	handoff mail.Handoff
	rcpts   []int
	// stale is set if a recipient that the hop has accepted was withdrawn. The
	// handoff is then restarted before the message is sent.
	stale    bool
	finished *mail.Message // after the last stage of the route
}

// along returns the delivery for a route, opening it if necessary.
func (d *deliveries) along(ctx context.Context, route *Route) (*delivery, error) {
	for _, v := range d.list {
		if v.route == route {
			return v, nil
		}
	}
	tx := d.t.seenBy(route)
	h, err := route.Hop.Open(ctx, tx)
	if err != nil {
		return nil, err
	}
	v := &delivery{route: route, tx: tx, handoff: h}
	d.list = append(d.list, v)
	return v, nil
}

// withdraw removes the recipients from index n on.
func (d *deliveries) withdraw(n int) {
	for _, v := range d.list {
		if i := slices.IndexFunc(v.rcpts, func(place int) bool { return place >= n }); i >= 0 {
			v.rcpts, v.stale = v.rcpts[:i], true
		}
	}
}

// Waiter is a hop that accepts mail without asking another server: a queue. It
// is used last, because it may have to accept recipients that other hops could
// not deliver to.
type Waiter interface{ Waits() bool }

func (v *delivery) waits() int {
	if q, ok := v.route.Hop.(Waiter); ok && q.Waits() {
		return 1
	}
	return 0
}

// send sends the message along every route and returns an outcome for each
// recipient of the envelope.
func (d *deliveries) send(ctx context.Context, m *mail.Message) []mail.Outcome {
	out := make([]mail.Outcome, len(d.t.Envelope.Rcpts))
	list := slices.Clone(d.list)
	slices.SortStableFunc(list, func(a, b *delivery) int { return a.waits() - b.waits() })
	for _, v := range list {
		if len(v.rcpts) > 0 {
			v.send(ctx, d.t.Transaction, m, out)
		}
	}
	for _, l := range d.left {
		out[l.at] = mail.Outcome{Rcpt: l.rcpt.To, Hop: l.rcpt.Hop, Host: l.refusal.Host, Reply: *l.refusal, At: time.Now()}
	}
	return out
}

// finished returns the transaction and the message for one recipient, after the
// last stage of its route.
func (d *deliveries) finished(ctx context.Context, place int, m *mail.Message) (*mail.Transaction, *mail.Message, error) {
	for _, v := range d.list {
		if v.finished != nil && slices.Contains(v.rcpts, place) {
			return v.tx, v.finished, nil
		}
	}
	for _, l := range d.left {
		if l.at == place && l.route != nil {
			v := &delivery{route: l.route, tx: d.t.seenBy(l.route)}
			m, err := v.finish(ctx, d.t.Transaction, m)
			return v.tx, m, err
		}
	}
	return d.t.Transaction, m, nil
}

// owner returns the address that receives reports about one of the recipients
// instead of the reverse path. It is empty if there is none.
func (d *deliveries) owner(places []int) mail.Address {
	for _, v := range d.list {
		for _, place := range places {
			if v.tx.Envelope.Owner != "" && slices.Contains(v.rcpts, place) {
				return v.tx.Envelope.Owner
			}
		}
	}
	return ""
}

// isLeft reports whether a recipient was refused at RCPT.
func (d *deliveries) isLeft(place int) bool { return d.leftAt(place) != nil }

// leftAt returns the recipient at an index of the envelope if it was refused at
// RCPT, otherwise nil.
func (d *deliveries) leftAt(place int) *leftover {
	for i := range d.left {
		if d.left[i].at == place {
			return &d.left[i]
		}
	}
	return nil
}

// send passes the message to the hop, after the last stage of the route.
func (v *delivery) send(ctx context.Context, tx *mail.Transaction, m *mail.Message, out []mail.Outcome) {
	start := time.Now()
	fail := func(place int, err error) {
		out[place] = mail.Outcome{Rcpt: tx.Envelope.Rcpts[place].To, Reply: *mail.AsReply(err), Hop: v.route.HopName, At: start}
	}
	v.refresh(tx)
	if v.stale {
		v.reopen(ctx, tx, fail)
	}
	m, err := v.finish(ctx, tx, m)
	if err != nil {
		for _, place := range v.rcpts {
			fail(place, err)
		}
		return
	}
	v.finished = m
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

// reopen restarts the handoff. Recipients that are refused now are passed to
// fail.
func (v *delivery) reopen(ctx context.Context, tx *mail.Transaction, fail func(place int, err error)) {
	v.handoff.Close()
	h, err := v.route.Hop.Open(ctx, v.tx)
	if err != nil {
		h = refusing{mail.AsReply(err)}
	}
	v.handoff = h
	v.rcpts = slices.DeleteFunc(v.rcpts, func(place int) bool {
		err := h.Rcpt(ctx, tx.Envelope.Rcpts[place])
		if err != nil {
			fail(place, err)
		}
		return err != nil
	})
}

// finish replaces the sender and runs the last stage of the route, whose fields
// are placed above all others.
func (v *delivery) finish(ctx context.Context, tx *mail.Transaction, m *mail.Message) (*mail.Message, error) {
	m, err := v.rewrite(tx, m)
	if err != nil {
		return nil, err
	}
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
			log.Debug().Err(err).Str("id", d.t.ID).Str("hop", v.route.HopName).Msg("close handoff")
		}
	}
	d.list, d.left = nil, nil
}
