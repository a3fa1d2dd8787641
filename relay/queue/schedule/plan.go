package schedule

import (
	"slices"
	"time"

	"hoplite/mail"
)

// plan plans messages in order.
func (m *Machine) plan(all []*Message, now time.Time) {
	for _, msg := range all {
		m.planOne(msg, now)
	}
}

// planOne creates a message's jobs, one for each destination of its waiting
// recipients, and puts each in line or sets its alarm.
func (m *Machine) planOne(msg *Message, now time.Time) {
	up := m.upstreamOf(msg, now)
	if up == nil {
		return
	}
	type key struct {
		dest string
		from mail.Address
	}
	made := map[key]*Job{}
	for i := range msg.Rcpts {
		r := &msg.Rcpts[i]
		if r.Status != Waiting {
			continue
		}
		to := key{up.Name, m.Sender(msg, i)}
		domain := ""
		if up.PerDomain {
			domain = msg.Envelope.Rcpts[i].To.ASCIIDomain()
			to.dest += "/" + domain
		}
		j := made[to]
		if j == nil || len(j.Rcpts) == maxPerJob {
			j = &Job{Message: msg, dest: m.dispatcher.destination(to.dest, up, domain), place: -1}
			j.dest.add(j)
			msg.jobs = append(msg.jobs, j)
			made[to] = j
		}
		j.Rcpts = append(j.Rcpts, i)
		if r.Next.After(j.next) {
			j.next = r.Next
		}
		j.unreached = j.unreached || r.Last != nil && Unreachable(r.Last)
	}
	longest := now.Add(up.RetryMax + up.RetryMax/6) // with jitter
	for _, j := range msg.jobs {
		if j.next.After(longest) { // stored while the clock was wrong
			j.next = longest
		}
		if j.unreached { // from before a restart; woken by the first success
			j.dest.failures = max(j.dest.failures, 1)
			m.dispatcher.startPings(j.dest, now)
		}
		m.dispatcher.place(j, now)
	}
}

// upstreamOf returns the upstream that a message is sent to. For a held message
// it returns nil and keeps the hold.
func (m *Machine) upstreamOf(msg *Message, now time.Time) *Upstream {
	if msg.Held != "" && !msg.awaitsUpstream {
		m.keepHeld(msg)
		return nil
	}
	up := m.upstreams[msg.To()]
	if up == nil { // no longer configured: rerouted or held
		up = m.upstreams[Router]
		if up == nil || m.opt.Routable != nil && !m.opt.Routable(msg) {
			m.awaitUpstream(msg, now)
			return nil
		}
	}
	if msg.awaitsUpstream { // the upstream is available again
		m.endHold(msg, now)
		for i := range msg.Rcpts {
			msg.Rcpts[i].Next = time.Time{}
		}
	}
	return up
}

// Sender returns the reverse path for the i-th recipient.
func (m *Machine) Sender(msg *Message, i int) mail.Address {
	from := msg.Envelope.From
	if m.opt.Sender == nil || from == "" || msg.Envelope.Owner != "" {
		return from // the next server accepts only the configured sender
	}
	return m.opt.Sender(from, msg.Envelope.Rcpts[i])
}

// unschedule removes the jobs of a message, except those that are being
// attempted.
func (m *Machine) unschedule(msg *Message) {
	for _, j := range slices.Clone(msg.jobs) {
		if j.state != jobActive {
			m.dispatcher.drop(j)
		}
	}
}

// Replan plans a message again after a change. If an attempt at a part of it is
// in progress, the message is planned when that attempt ends.
func (m *Machine) Replan(msg *Message, now time.Time) {
	m.unschedule(msg)
	if msg.replan = msg.active > 0; !msg.replan {
		m.planOne(msg, now)
	}
}

// forget removes a message that has left the queue.
func (m *Machine) forget(msg *Message) {
	msg.gone = true
	if msg.hold != nil {
		m.holds.clear(msg.hold)
	}
	for _, j := range slices.Clone(msg.jobs) {
		m.dispatcher.drop(j)
	}
	delete(m.messages, msg.ID)
}

// keepHeld sets the alarm that ends a message's hold time.
func (m *Machine) keepHeld(msg *Message) {
	if msg.hold == nil {
		msg.hold = &holdAlarm{msg: msg, place: -1}
	}
	msg.hold.until = msg.HeldAt.Add(m.limits.HoldTime)
	m.holds.set(msg.hold)
}

// endHold ends a hold and restarts the message's lifetime.
func (m *Machine) endHold(msg *Message, now time.Time) {
	msg.Held, msg.HeldAt, msg.awaitsUpstream = "", now, false
	if msg.hold != nil {
		m.holds.clear(msg.hold)
	}
}

// awaitUpstream holds a message until its upstream is configured again.
func (m *Machine) awaitUpstream(msg *Message, now time.Time) {
	if !msg.awaitsUpstream {
		msg.HeldAt = now
	}
	msg.Held, msg.awaitsUpstream = "upstream "+msg.To()+" is not configured", true
	if !m.missing[msg.To()] {
		m.missing[msg.To()] = true
		m.effects.Notes = append(m.effects.Notes, Note{Kind: UpstreamMissing, Message: msg})
	}
	m.keepHeld(msg)
}

// expireHold drops a message that was not released in time.
func (m *Machine) expireHold(msg *Message) {
	if msg.gone || msg.Held == "" {
		return
	}
	m.effects.Notes = append(m.effects.Notes, Note{Kind: HoldExpired, Message: msg})
	m.effects.Done = append(m.effects.Done, msg.ID)
	m.forget(msg)
}
