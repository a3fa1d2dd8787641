package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hoplite/mail/dsn"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/schedule"
)

// Order is an administrator's order for the messages that match a filter.
type Order struct {
	Do string `json:"do"` // retry, hold, release, delete, bounce, reroute
	Filter
	// Text is the reason for hold and bounce, and the upstream for reroute.
	Text string `json:"text,omitempty"`
}

// Progress reports the progress of an order. Busy and Held count the messages
// it did not apply to: messages that were being delivered, and held messages,
// which are not retried.
type Progress struct {
	Done int `json:"done"`
	Of   int `json:"of"`
	Busy int `json:"busy,omitempty"`
	Held int `json:"held,omitempty"`
}

// chunk is the maximum number of messages changed by one commit.
const chunk = 200

// Execute carries out an order on all messages that match its filter, and calls
// progress as it proceeds. Changes reported as done are on disk.
func (q *Queue) Execute(ctx context.Context, o Order, progress func(Progress)) (Progress, error) {
	do := schedule.Order{Do: o.Do, Text: o.Text}
	switch {
	case !slices.Contains(schedule.Orders, o.Do):
		return Progress{}, fmt.Errorf("unknown order %q", o.Do)
	case o.Text == "" && o.Do == "hold":
		do.Text = "by an administrator"
	case o.Text == "" && o.Do == "bounce":
		do.Text = "returned by the administrator"
	}
	var matching []*schedule.Message
	known := true
	q.update(func(m *schedule.Machine) {
		_, known = m.Policy(o.Text)
		known = known || o.Do != "reroute" || !m.Running()
		matching = q.match(m, o.Filter, time.Now())
	})
	if !known {
		return Progress{}, fmt.Errorf("no upstream is called %q", o.Text)
	}
	p := Progress{Of: len(matching)}
	for some := range slices.Chunk(matching, chunk) {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		if err := q.executeSome(do, some, &p); err != nil {
			return p, fmt.Errorf("%s: %w", o.Do, err)
		}
		if progress != nil {
			progress(p)
		}
	}
	q.log.Info().Str("order", o.Do).Int("messages", p.Done).Int("busy", p.Busy).Str("text", o.Text).Msg("queue order")
	return p, nil
}

// executeSome carries out an order on some messages: first in memory, then on
// disk, and finally in the schedule.
func (q *Queue) executeSome(o schedule.Order, some []*schedule.Message, p *Progress) error {
	var made []schedule.Change
	var due []dsn.Report
	var changes []journal.Change
	q.update(func(m *schedule.Machine) {
		now := time.Now()
		for _, msg := range some {
			c, ok := m.Apply(o, msg, now)
			switch {
			case ok:
				made = append(made, c)
				due = append(due, q.owed(m, msg, c.Owed, now)...)
				changes = append(changes, saved(msg))
			case m.Message(msg.ID) == nil: // it has already left the queue
			case msg.Busy():
				p.Busy++
			default:
				p.Held++
			}
		}
	})
	reports := q.own.reports(due)
	err := q.commitOrder(reports, changes)
	q.stopIfFenced(err)
	q.update(func(m *schedule.Machine) {
		for _, c := range made {
			m.Settle(c, err, time.Now())
		}
		if err == nil {
			q.admit(m, reports)
		}
	})
	if err == nil {
		p.Done += len(made)
	}
	return err
}

// saved returns the change that saves a message.
func saved(msg *schedule.Message) journal.Change {
	if msg.Finished() {
		return journal.Change{Kind: journal.Done, ID: msg.ID}
	}
	return journal.Change{Kind: journal.Set, ID: msg.ID, State: record.State(msg)}
}

// commitOrder makes an order's changes durable, after its reports.
func (q *Queue) commitOrder(reports []composed, changes []journal.Change) error {
	err := q.own.commit(reports, changes...)
	if !errors.Is(err, journal.ErrUnknown) {
		return err
	}
	// One of the messages has been delivered in the meantime, so the changes
	// are committed one by one.
	if err = q.own.commit(reports); err != nil {
		return err
	}
	for _, c := range changes {
		if e := q.opt.Journal.Commit(context.Background(), c); e != nil && !errors.Is(e, journal.ErrUnknown) {
			err = e
		}
	}
	return err
}

// Flush makes all mail for a domain due immediately (ETRN, RFC 1985) and
// returns the number of messages. A leading @ includes subdomains.
func (q *Queue) Flush(domain string) (n int) {
	q.update(func(m *schedule.Machine) { n = m.Flush(domain, time.Now()) })
	return n
}
