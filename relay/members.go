package relay

import (
	"cmp"
	"context"

	"hoplite/mail"
)

// One RCPT may lead to several addresses, its members: the addresses of an alias,
// or an account that forwards its mail and keeps a copy. The functions here offer
// the members to their hops and handle recipients of which only some members are
// accepted.

// member is one final address of a recipient, with the reply of its hop.
type member struct {
	rcpt    mail.Rcpt
	route   *Route      // nil if none was found, or before it was looked for
	place   int         // in the envelope, if the member was accepted
	refusal *mail.Reply // nil if it was
	by      string      // the author of the refusal
}

// ask passes one member through the filters and offers it to its hop.
func (t *transaction) ask(ctx context.Context, r mail.Rcpt) member {
	if i := t.index(r.To); i >= 0 {
		return member{rcpt: r, place: i}
	}
	d := t.run.Rcpt(ctx, &r)
	if d.Reply != nil {
		return member{rcpt: r, refusal: d.Reply, by: d.By}
	}
	t.discard = t.discard || d.Discard
	if d.Redirect != "" {
		r.Via = append(r.Via, "redirect by "+d.By)
		r.To = d.Redirect
		if i := t.index(r.To); i >= 0 {
			return member{rcpt: r, place: i}
		}
	}
	return t.add(ctx, r)
}

// add finds the route of r and offers it to the hop there.
func (t *transaction) add(ctx context.Context, r mail.Rcpt) member {
	route := t.session.srv.env.Chain.Find(t.Transaction, r)
	if route == nil {
		return member{rcpt: r, by: "route", refusal: mail.NewReply(550, "5.7.1", "Relay access denied")}
	}
	r.Hop = route.HopName
	m := member{rcpt: r, route: route, by: "route", place: len(t.Envelope.Rcpts)}
	w, err := t.out.along(ctx, route)
	if err == nil {
		err = w.handoff.Rcpt(ctx, r)
	}
	if err != nil {
		m.refusal = mail.AsReply(err)
		if m.refusal.Host != "" {
			m.by = m.refusal.Host // the next server has refused it
		}
		return m
	}
	t.Envelope.Rcpts = append(t.Envelope.Rcpts, r)
	w.rcpts = append(w.rcpts, m.place)
	return m
}

// refusalFor returns the member whose refusal is the reply to RCPT, or nil if
// the recipient is accepted.
//
// No copy may be lost if only some members are accepted. After a temporary refusal
// by a hop, the copy waits in the queue. After one by a filter it cannot, so the
// client must try again. A permanent refusal is reported to the sender if the
// client may relay. The sender of a remote client may be forged, so the refusal
// must be the reply to RCPT.
func (t *transaction) refusalFor(members []member) *member {
	var temporary, permanent *member
	accepted, waits := 0, true
	for i := range members {
		switch m := &members[i]; {
		case m.refusal == nil:
			accepted++
		case m.refusal.Permanent():
			permanent = cmp.Or(permanent, m)
		default:
			temporary = cmp.Or(temporary, m)
			waits = waits && t.mayWait(m)
		}
	}
	switch {
	case accepted == 0, temporary != nil && !waits, permanent != nil && !t.mayReport():
		return cmp.Or(temporary, permanent)
	}
	return nil
}

// mayWait reports whether the queue can deliver to a member that its hop refused
// temporarily.
func (t *transaction) mayWait(m *member) bool {
	return t.session.srv.env.Later != nil && m.route != nil && !m.route.replies()
}

// mayReport reports whether the sender may get a report about a recipient that
// is refused for good.
func (t *transaction) mayReport() bool {
	return t.Client.MayRelay && t.session.srv.env.Bounce != nil
}

// leave adds a refused member to the envelope, with the refusal as its outcome.
// rescue queues or reports it if another member receives the message.
func (t *transaction) leave(m *member) (place int) {
	place = len(t.Envelope.Rcpts)
	t.Envelope.Rcpts = append(t.Envelope.Rcpts, m.rcpt)
	t.out.left = append(t.out.left, leftover{place, *m})
	return place
}

// withdraw removes the recipients from place n on.
func (t *transaction) withdraw(n int) {
	t.Envelope.Rcpts = t.Envelope.Rcpts[:n]
	t.out.withdraw(n)
}
