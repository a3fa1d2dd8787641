package queue

import (
	"context"
	"time"

	"hoplite/mail"
	"hoplite/mail/dsn"
	"hoplite/relay/queue/report"
	"hoplite/relay/queue/schedule"
)

// postmaster limits the reports to the postmaster, and sends the notices
// intended only for the postmaster.
type postmaster struct {
	q     *Queue
	quota report.Quota
	daily report.Daily // notices about upstreams that accept every recipient
	rcpts report.Daily // refused recipients of messages that others received
}

// isNew reports whether the postmaster has not been told today about one of the
// refused recipients, and counts all of them. The caller holds the lock.
func (p *postmaster) isNew(refused []dsn.Rcpt, now time.Time) (isNew bool) {
	for i := range refused {
		isNew = p.rcpts.Allow(refused[i].Rcpt.To.Key(), now) || isNew
	}
	return isNew
}

// allows counts a report to the postmaster and reports whether it may be sent.
// Otherwise it is counted in the hourly summary. The caller holds the lock.
func (p *postmaster) allows(msg *schedule.Message, now time.Time) bool {
	if p.quota.Allow(msg.To(), now) {
		return true
	}
	p.q.stats.leftOut.Add(1)
	p.q.log.Warn().Str("id", msg.ID).Str("from", string(msg.Envelope.From)).Str("upstream", msg.To()).
		Msg("no report: the postmaster has reached the hourly limit")
	return false
}

// due returns the time of the next summary; ok is false if no report was left
// out. The caller holds the lock.
func (p *postmaster) due() (at time.Time, ok bool) { return p.quota.Due() }

// summarize sends a summary if it is due. The caller holds the lock.
func (p *postmaster) summarize(now time.Time) {
	if due, ok := p.quota.Due(); ok && !due.After(now) {
		s := p.quota.Summary()
		p.q.workers.Go(func() { p.sendSummary(s) })
	}
}

// acceptsAll notifies the postmaster, once a day, that an upstream accepts
// every recipient. The caller holds the lock.
func (p *postmaster) acceptsAll(upstream string, now time.Time) {
	from := p.q.settings.Load().reporter()
	if from.Postmaster == "" || !p.daily.Allow(upstream, now) {
		return
	}
	p.q.workers.Go(func() {
		p.send("the notice about an upstream that accepts every recipient", func(id string) (*mail.Message, error) {
			return from.AcceptsAll(upstream, id, time.Now())
		})
	})
}

// sendSummary sends the postmaster a summary of the reports that were left out.
func (p *postmaster) sendSummary(s report.Summary) {
	p.send("the summary of unsent reports", func(id string) (*mail.Message, error) {
		return s.Compose(p.q.settings.Load().reporter(), id, time.Now())
	})
}

// send queues a message to the postmaster. name describes it in the log.
func (p *postmaster) send(name string, compose func(id string) (*mail.Message, error)) {
	q, id := p.q, mail.NewID()
	text, err := compose(id)
	if err == nil {
		c := q.own.compose(id, p.q.settings.Load().Postmaster, text)
		if err = q.opt.Journal.Commit(context.Background(), c.change); err == nil {
			q.update(func(m *schedule.Machine) { q.admit(m, []composed{c}) })
			return
		}
	}
	q.stopIfFenced(err)
	q.log.Error().Err(err).Msg(name + " could not be queued")
}
