package queue

import (
	"time"

	"hoplite/mail"
)

// planHeld lets a held message wait for a person, or for the end of its time.
// q.mu is held.
func (q *Queue) planHeld(it *item) {
	if it.hold == nil {
		it.hold = &holdAlarm{it: it, place: -1}
	}
	it.hold.until = it.heldAt.Add(q.settings.Load().HoldTime)
	q.setAlarm(it.hold)
}

// quarantine holds a message that a filter wants held, and gives its state for
// the journal; nil if there is nothing to say.
func (it *item) quarantine(tx *mail.Transaction) []byte {
	if tx.Quarantine == "" {
		return nil
	}
	it.held, it.heldAt = tx.Quarantine, time.Now()
	return packState(it)
}

// unhold ends a hold: the message's time begins anew. q.mu is held.
func (q *Queue) unhold(it *item) {
	it.held, it.heldAt, it.stranded = "", time.Now(), false
	if it.hold != nil {
		q.clearAlarm(it.hold)
	}
}

// Guide is a Router's hop that can tell the way of a recipient without going
// it: the upstream, and the recipient as that upstream knows it. An error is
// the reply to RCPT.
type Guide interface {
	Way(tx *mail.Transaction, r mail.Rcpt) (upstream string, to mail.Rcpt, err error)
}

// routable tells whether the Router has a way for all who wait, as far as it
// can say so. q.mu is held.
func (q *Queue) routable(it *item) bool {
	up := q.upstreams[Router]
	if up == nil {
		return false
	}
	guide, ok := up.Hop.(Guide)
	if !ok {
		return true
	}
	tx := it.transaction(q.settings.Load().Hostname)
	for i := range it.rcpts {
		if it.rcpts[i].status != waiting {
			continue
		}
		if _, _, err := guide.Way(tx, it.env.Rcpts[i]); err != nil && mail.AsReply(err).Permanent() {
			return false
		}
	}
	return true
}

// strand holds a message until its upstream is configured again: each plan
// looks anew. q.mu is held.
func (q *Queue) strand(it *item) {
	if !it.stranded {
		it.heldAt = time.Now()
	}
	it.held, it.stranded = "upstream "+it.to()+" is not configured", true
	if !q.missing[it.to()] {
		q.missing[it.to()] = true
		q.log.Warn().Str("upstream", it.to()).Str("id", it.id).Msg("mail waits for an upstream that is not configured, and no route takes it")
	}
	q.planHeld(it)
}

// holdAlarm ends the time of a held message.
type holdAlarm struct {
	it    *item
	until time.Time
	place int
}

func (h *holdAlarm) when() time.Time { return h.until }
func (h *holdAlarm) at() *int        { return &h.place }

// ring drops a message that nobody wanted for so long.
func (h *holdAlarm) ring(q *Queue) {
	it := h.it
	if it.dead || it.held == "" {
		return
	}
	q.log.Warn().Str("id", it.id).Str("from", string(it.env.From)).Str("held", it.held).Msg("held message dropped: nobody released it in time")
	q.opt.Journal.Done(it.id)
	q.forget(it)
}
