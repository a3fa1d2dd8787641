package relay

import (
	"cmp"
	"context"

	"hoplite/mail"
)

// One RCPT may resolve to several addresses, its members: the addresses of an
// alias, or an account that forwards its mail and keeps a copy. The functions
// in this file offer the members to their hops and handle recipients of which
// only some members are accepted.

// member is one final address of a recipient, with the reply of its hop.
type member struct {
	rcpt    mail.Rcpt
	route   *Route      // nil if not found or not yet looked up
	place   int         // in the envelope, if the member was accepted
	refusal *mail.Reply // nil if the member was accepted
	by      string      // the filter or hop that refused
	judged  bool        // refused by a filter, which judges the client and the sender too
}

// ask passes one member through the filters and offers it to its hop.
func (t *transaction) ask(ctx context.Context, r mail.Rcpt) member {
	if m, ok := t.known(r); ok {
		return m
	}
	d := t.run.Rcpt(ctx, &r)
	if d.Reply != nil {
		if d.Delay {
			if m := t.refusedAnyway(ctx, r); m != nil {
				return *m
			}
		}
		return member{rcpt: r, refusal: d.Reply, by: d.By, judged: true}
	}
	t.discard = t.discard || d.Discard
	if d.Redirect != "" {
		r.Via = append(r.Via, "redirect by "+d.By)
		r.To = d.Redirect
		if m, ok := t.known(r); ok {
			return m
		}
	}
	return t.add(ctx, r)
}

// known returns the member for an address that is already in the envelope. An
// address that was refused permanently there is refused again: it is in the
// envelope only because other members of an alias were accepted. After a
// temporary refusal, the copy that waits in the queue is for this recipient too.
func (t *transaction) known(r mail.Rcpt) (m member, ok bool) {
	i := t.index(r.To)
	if i < 0 {
		return member{}, false
	}
	if l := t.out.leftAt(i); l != nil && l.refusal.Permanent() {
		m = l.member
		m.rcpt = r
		m.rcpt.Hop = l.rcpt.Hop
		return m, true
	}
	return member{rcpt: r, place: i}, true
}

// refusedAnyway returns the member if its route or hop refuses it permanently, or
// nil. A client that waits for the end of greylisting would only learn then that
// the recipient does not exist.
func (t *transaction) refusedAnyway(ctx context.Context, r mail.Rcpt) *member {
	mark := len(t.Envelope.Rcpts)
	m := t.add(ctx, r)
	if m.refusal != nil && m.refusal.Permanent() {
		return &m
	}
	t.withdraw(mark)
	return nil
}

// add finds the route for r and offers r to the route's hop.
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
			m.by = m.refusal.Host // refused by the next server
		}
		return m
	}
	t.Envelope.Rcpts = append(t.Envelope.Rcpts, r)
	w.rcpts = append(w.rcpts, m.place)
	return m
}

// refusalFor returns the member whose refusal becomes the reply to RCPT, or nil
// if the recipient is accepted.
//
// If only some members are accepted, no copy may be lost. After a hop's
// temporary refusal, the copy waits in the queue. After a filter's temporary
// refusal it cannot, so the client must try again. A permanent refusal is
// reported after the others have received the message; Env.Bounce chooses a
// recipient that cannot be forged. A filter's permanent refusal of a remote
// client is the reply to RCPT, because it is the client that is refused.
func (t *transaction) refusalFor(members []member) *member {
	var temporary, permanent *member
	accepted, waits, reports := 0, true, true
	for i := range members {
		switch m := &members[i]; {
		case m.refusal == nil:
			accepted++
		case m.refusal.Permanent():
			permanent = cmp.Or(permanent, m)
			reports = reports && t.mayReport(m)
		default:
			temporary = cmp.Or(temporary, m)
			waits = waits && t.mayWait(m)
		}
	}
	switch {
	case accepted == 0, temporary != nil && !waits, permanent != nil && !reports:
		return cmp.Or(temporary, permanent)
	}
	return nil
}

// mayWait reports whether mail for a member that its hop refused temporarily
// can be queued.
func (t *transaction) mayWait(m *member) bool {
	return t.session.srv.env.Later != nil && m.route != nil && !m.route.replies()
}

// mayReport reports whether the refusal of a permanently refused member can be
// reported instead of being the reply to RCPT.
func (t *transaction) mayReport(m *member) bool {
	return t.session.srv.env.Bounce != nil && (t.Client.MayRelay || !m.judged)
}

// leave adds a refused member to the envelope, with the refusal as its outcome.
// rescue queues or reports it if another member receives the message.
func (t *transaction) leave(m *member) (place int) {
	if i := t.index(m.rcpt.To); i >= 0 {
		return i // a member of an earlier recipient's alias, too
	}
	place = len(t.Envelope.Rcpts)
	t.Envelope.Rcpts = append(t.Envelope.Rcpts, m.rcpt)
	t.out.left = append(t.out.left, leftover{place, *m})
	return place
}

// withdraw removes the recipients from index n on.
func (t *transaction) withdraw(n int) {
	t.Envelope.Rcpts = t.Envelope.Rcpts[:n]
	t.out.withdraw(n)
}
