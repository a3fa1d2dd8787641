package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/mail/dsn"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/report"
	"hoplite/relay/queue/schedule"
)

// owed returns the reports that are now due for a message. The caller holds the
// lock.
func (q *Queue) owed(m *schedule.Machine, msg *schedule.Message, owed schedule.Owed, now time.Time) []dsn.Report {
	if owed.None() {
		return nil
	}
	from := q.settings.Load().reporter()
	policy, _ := m.Policy(msg.To())
	due, unsent := from.For(msg, owed, report.About{Now: now, Lifetime: policy.Lifetime})
	for i := range unsent {
		q.log.Warn().Str("id", msg.ID).Str("from", string(msg.Envelope.From)).Str("kind", string(unsent[i].Kind)).Msg("no report: it has no recipient")
	}
	return slices.DeleteFunc(due, func(r dsn.Report) bool { return r.Why != "" && !q.postmaster.allows(msg, now) })
}

// admit schedules reports that are already in the journal. The caller holds the
// lock.
func (q *Queue) admit(m *schedule.Machine, reports []composed) {
	for _, r := range reports {
		if !r.there {
			q.log.Info().Str("id", r.msg.ID).Str("rcpt", string(r.msg.Envelope.Rcpts[0].To)).Msg("report queued")
			q.stats.queued.Add(1)
			m.Admit(r.msg, time.Now())
		}
	}
}

// Bounce reports the refused recipients of a message that is not queued. Other
// hops accepted the message in the same transaction, so it can no longer be
// refused to the client. Bounce returns once the report is on disk. It returns
// the report's recipient, which is empty if no report is due. The postmaster is
// told about a recipient once a day.
func (q *Queue) Bounce(ctx context.Context, tx *mail.Transaction, m *mail.Message, refused []mail.Outcome) (to mail.Address, err error) {
	msg := schedule.NewMessage(tx.ID, Router, tx.Envelope, tx.At)
	msg.Forged = report.Forged(tx.Trail)
	msg.Unverified = !mayGetReports(tx) && !report.Authenticated(tx.Trail)
	var about []int
	for i := range msg.Rcpts {
		n := slices.IndexFunc(refused, func(o mail.Outcome) bool { return o.Rcpt == msg.Envelope.Rcpts[i].To })
		if n < 0 || !msg.Envelope.Rcpts[i].Notify.Wants(mail.NotifyFailure) {
			continue
		}
		msg.Rcpts[i] = schedule.Rcpt{Status: schedule.Failed, Tried: refused[n].At, Last: schedule.KeepReply(&refused[n])}
		about = append(about, i)
	}
	if len(about) == 0 {
		return "", nil
	}
	from := q.settings.Load().reporter()
	r := from.About(mail.NewID(), msg, dsn.Failed, about, report.About{Now: time.Now(), Lifetime: schedule.DefaultPolicy.Lifetime, InLine: true})
	r.Message = m
	send := r.To != ""
	if send && r.Why != "" {
		q.update(func(*schedule.Machine) { send = q.postmaster.isNew(r.Rcpts, r.At) && q.postmaster.allows(msg, r.At) })
	}
	if !send {
		return "", nil
	}
	c, err := q.own.report(&r)
	if err != nil {
		return "", err
	}
	if err := q.opt.Journal.Commit(ctx, c.change); err != nil {
		q.stopIfFenced(err)
		return "", fmt.Errorf("queue report about %s: %w", tx.ID, err)
	}
	q.update(func(m *schedule.Machine) { q.admit(m, []composed{c}) })
	return r.To, nil
}

// direct changes the upstream of a message composed by the queue to the one
// that the Router would select.
func (q *Queue) direct(msg *schedule.Message) {
	var finder RouteFinder
	q.update(func(*schedule.Machine) {
		if up := q.upstreams[Router]; up != nil {
			finder, _ = up.Hop.(RouteFinder)
		}
	})
	if finder == nil {
		return
	}
	name, to, err := finder.Route(transaction(msg, q.hostname()), msg.Envelope.Rcpts[0])
	if err != nil {
		return // the Router will refuse it during the attempt
	}
	q.update(func(m *schedule.Machine) {
		if _, known := m.Policy(name); known {
			msg.Upstream, msg.Envelope.Rcpts[0] = name, to
		}
	})
}

// composed is a message composed by the queue, ready to be stored.
type composed struct {
	msg    *schedule.Message
	change journal.Change
	there  bool // already queued before a crash
}

// composer composes and stores reports and notices.
type composer struct {
	journal  journal.Journal
	hostname func() string
	// way changes a message's upstream from the Router to the one selected by
	// the routes, like Queue.direct, so that the message passes through the
	// queue only once.
	way func(msg *schedule.Message)
	// sign signs a message for an upstream.
	sign func(upstream string, m *mail.Message) *mail.Message
	log  zerolog.Logger
}

// reports composes reports. A report that cannot be composed is logged and
// omitted, so that it does not delay the original message.
func (c *composer) reports(due []dsn.Report) []composed {
	var out []composed
	for i := range due {
		r := &due[i]
		m, closer, err := c.journal.Message(r.Original)
		if err == nil { // otherwise the report is sent without the original message
			r.Message = m
		}
		one, err := c.report(r)
		if closer != nil {
			closer.Close()
		}
		if err != nil {
			c.log.Error().Err(err).Str("id", r.Original).Msg("report could not be written")
			continue
		}
		out = append(out, one)
	}
	return out
}

func (c *composer) report(r *dsn.Report) (composed, error) {
	text, err := r.Compose()
	if err != nil {
		return composed{}, err
	}
	return c.compose(r.ID, r.To, text), nil
}

// compose returns a message with the given content to one recipient.
func (c *composer) compose(id string, to mail.Address, text *mail.Message) composed {
	if ascii, ok := to.ASCII(); ok {
		to = ascii // SMTPUTF8 is then unnecessary
	}
	env := mail.Envelope{Rcpts: []mail.Rcpt{{To: to, Orig: to, Notify: mail.NotifyNever}}}
	msg := schedule.NewMessage(id, Router, env, time.Now())
	c.way(msg)
	text = c.sign(msg.Upstream, text)
	msg.Size = text.Size()
	if _, ascii := msg.Envelope.Rcpts[0].To.ASCII(); text.EightBit || !ascii {
		msg.Envelope.UTF8, msg.Envelope.Body = true, "8BITMIME"
	}
	meta := record.Meta(msg, transaction(msg, c.hostname()))
	return composed{msg: msg, change: journal.Change{Kind: journal.Put, ID: id, Meta: meta, Message: text}}
}

// commit writes reports and changes in one batch, with the reports first. A
// report that was already queued before a crash is not queued again.
func (c *composer) commit(reports []composed, changes ...journal.Change) error {
	for {
		var batch []journal.Change
		for i := range reports {
			if !reports[i].there {
				batch = append(batch, reports[i].change)
			}
		}
		err := c.journal.Commit(context.Background(), append(batch, changes...)...)
		if !errors.Is(err, journal.ErrExists) || len(batch) == 0 {
			return err
		}
		for i := range reports { // there are few reports, so each id is looked up
			if _, _, err := c.journal.Meta(reports[i].msg.ID); err == nil {
				reports[i].there = true
			}
		}
	}
}
