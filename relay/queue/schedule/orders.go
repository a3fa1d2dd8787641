package schedule

import (
	"slices"
	"strings"
	"time"

	"hoplite/mail"
)

// Order is an administrator's order.
type Order struct {
	Do   string // one of Orders
	Text string // the reason for hold and bounce, the upstream for reroute
}

// Orders lists the orders that Apply supports.
var Orders = []string{"retry", "hold", "release", "delete", "bounce", "reroute"}

// Change is the effect of an order on one message. It can be undone if saving
// fails.
type Change struct {
	Message *Message
	Owed    Owed
	before  Message
}

// Apply carries out an order on a message in memory. The caller then saves the
// message and calls Settle. Apply returns false and changes nothing if the
// order does not apply because the message is being attempted, is held, or has
// left the queue.
func (m *Machine) Apply(o Order, msg *Message, now time.Time) (c Change, ok bool) {
	switch {
	case msg.gone,
		o.Do == "bounce" && msg.active > 0,
		o.Do == "retry" && msg.Held != "" && !msg.awaitsUpstream: // a hold is ended only by release
		return c, false
	}
	c = Change{Message: msg, before: *msg}
	c.before.Rcpts = slices.Clone(msg.Rcpts)
	switch o.Do {
	case "retry":
		m.makeDue(msg)
	case "hold":
		if msg.Held == "" || msg.awaitsUpstream {
			msg.Held, msg.HeldAt, msg.awaitsUpstream = o.Text, now, false
		}
	case "release":
		if msg.Held != "" {
			m.endHold(msg, now)
		}
		m.makeDue(msg)
	case "delete":
		for i := range msg.Rcpts {
			if msg.Rcpts[i].Status == Waiting {
				msg.Rcpts[i].Status = Dropped
			}
		}
		m.unschedule(msg)
	case "bounce":
		m.unschedule(msg) // so that no attempt begins before it is saved
		c.Owed.Failed = msg.fail(o.Text)
	case "reroute":
		msg.Override = o.Text
		m.makeDue(msg)
	}
	return c, true
}

// fail marks the waiting recipients as permanently failed, and returns the
// indices of those that must be reported to the sender.
func (msg *Message) fail(reason string) (owed []int) {
	for i := range msg.Rcpts {
		r := &msg.Rcpts[i]
		if r.Status != Waiting {
			continue
		}
		r.Status = Failed
		r.Last = mail.NewReply(554, "5.0.0", "%s", reason)
		if msg.Envelope.Rcpts[i].Notify.Wants(mail.NotifyFailure) {
			owed = append(owed, i)
		}
	}
	return owed
}

// makeDue makes a message due immediately, and allows an attempt at its
// destinations even if they are down.
func (m *Machine) makeDue(msg *Message) {
	for i := range msg.Rcpts {
		msg.Rcpts[i].Next = time.Time{}
	}
	for _, j := range msg.jobs {
		if !j.dest.blocked.IsZero() {
			m.dispatcher.unblock(j.dest)
		}
	}
}

// Settle continues after a change has been committed; err is the result of the
// commit.
func (m *Machine) Settle(c Change, err error, now time.Time) {
	msg := c.Message
	if err != nil {
		c.undo()
	}
	switch {
	case msg.gone:
	case msg.Finished():
		m.forget(msg)
	case m.dispatcher.running:
		m.Replan(msg, now)
	}
}

// undo reverts a change that could not be saved, except for recipients that
// have been attempted since.
func (c *Change) undo() {
	msg, was := c.Message, &c.before
	msg.Held, msg.HeldAt, msg.Override, msg.awaitsUpstream = was.Held, was.HeldAt, was.Override, was.awaitsUpstream
	for i := range msg.Rcpts {
		if msg.Rcpts[i].Attempts == was.Rcpts[i].Attempts {
			msg.Rcpts[i] = was.Rcpts[i]
		}
	}
}

// Flush makes all mail for a domain due immediately (ETRN, RFC 1985) and
// returns the number of messages. A leading @ includes subdomains.
func (m *Machine) Flush(domain string, now time.Time) int {
	parent, below := strings.CutPrefix(strings.ToLower(domain), "@")
	if ascii, err := mail.ParseDomain(parent); err == nil {
		parent = ascii
	}
	matches := func(r mail.Rcpt) bool {
		d := r.To.ASCIIDomain()
		return d == parent || below && strings.HasSuffix(d, "."+parent)
	}
	all := sorted(m.messages, func(msg *Message) bool { return msg.Held == "" && slices.ContainsFunc(msg.Envelope.Rcpts, matches) })
	for _, msg := range all {
		m.makeDue(msg)
		for _, j := range msg.jobs {
			m.dispatcher.endWait(j)
		}
	}
	return len(all)
}
