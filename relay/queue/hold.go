package queue

import (
	"time"
)

// planHeld lets a held message wait for a person, or for the end of its time.
// q.mu is held.
func (q *Queue) planHeld(it *item) {
	if it.hold == nil {
		it.hold = &holdAlarm{it: it, place: -1}
	}
	it.hold.until = it.heldAt.Add(q.opt.HoldTime)
	q.setAlarm(it.hold)
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
