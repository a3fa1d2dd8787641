package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/mail/dsn"
	"hoplite/relay/queue/journal"
)

// report is a message that we owe somebody about another one.
type report struct {
	it    *item
	meta  []byte
	m     *mail.Message
	there bool // it was queued before a crash already
}

func (r *report) change() journal.Change {
	return journal.Change{Kind: journal.Put, ID: r.it.id, Meta: r.meta, Message: r.m}
}

// reports writes what the attempt makes due. One that cannot be written is
// logged and left out: mail must not stand still for it.
func (q *Queue) reports(it *item, ev events) []report {
	var out []report
	for _, due := range []struct {
		kind  dsn.Kind
		tag   string
		rcpts []int
	}{{dsn.Failed, "f", ev.failed}, {dsn.Delayed, "d", ev.delayed}, {q.successKind(it, ev), "s", ev.delivered}} {
		if len(due.rcpts) == 0 {
			continue
		}
		to, why := q.reportTo(it, due.kind)
		if to == "" {
			q.log.Warn().Str("id", it.id).Str("from", string(it.env.From)).Str("kind", string(due.kind)).Msg("no report: nobody to send it to")
			continue
		}
		if why != "" && !q.mayTell(it) {
			continue
		}
		first := due.rcpts[0]
		id := fmt.Sprintf("%s-%s%d", it.id, due.tag, it.rcpts[first].attempts)
		if first > 0 {
			id += fmt.Sprintf("-%d", first)
		}
		r, err := q.composeQueued(id, to, why, it, due.kind, due.rcpts)
		if err != nil {
			q.log.Error().Err(err).Str("id", it.id).Msg("report could not be written")
			continue
		}
		out = append(out, r)
	}
	return out
}

// successKind says whether the mail is in a mailbox or only further on.
func (q *Queue) successKind(it *item, ev events) dsn.Kind {
	for _, i := range ev.delivered {
		if it.rcpts[i].last.Host != "" {
			return dsn.Relayed
		}
	}
	return dsn.Delivered
}

// reportTo decides who gets a report. A message without a reverse path is
// itself a report, and a report about a report would never end (RFC 5321,
// 4.5.5); a forged sender never wrote. What fails and cannot be returned is the
// postmaster's, who must not get a report about their own report.
func (q *Queue) reportTo(it *item, kind dsn.Kind) (to mail.Address, why string) {
	switch {
	case it.env.From != "" && !it.noReport:
		return it.env.From, ""
	case kind != dsn.Failed:
		return "", ""
	case strings.Count(it.id, "-f") > 1, // about a report about a report
		slices.ContainsFunc(it.env.Rcpts, func(r mail.Rcpt) bool {
			return r.To == q.settings.Load().Postmaster || r.Orig == q.settings.Load().Postmaster
		}):
		return "", ""
	case it.noReport:
		return q.settings.Load().Postmaster, "The message below could not be delivered. Its sender failed SPF or DMARC and is\n" +
			"probably forged, so it was not told; you get this as postmaster."
	}
	return q.settings.Load().Postmaster, "The message below could not be delivered, and it has no sender to return it to\n" +
		"(it is probably a report itself); you get this as postmaster."
}

// composeQueued writes a report about a message of the journal.
func (q *Queue) composeQueued(id string, to mail.Address, why string, it *item, kind dsn.Kind, rcpts []int) (report, error) {
	m, closer, err := q.opt.Journal.Message(it.id)
	if err != nil { // its file was removed: the report tells what it can
		m = nil
	} else {
		defer closer.Close()
	}
	return q.compose(id, to, why, it, m, kind, rcpts)
}

func (q *Queue) compose(id string, to mail.Address, why string, it *item, m *mail.Message, kind dsn.Kind, rcpts []int) (report, error) {
	now := time.Now()
	d := dsn.Report{
		ID: id, Hostname: q.settings.Load().Hostname, At: now, To: to, Kind: kind, Why: why,
		Original: it.id, Arrived: it.at, EnvID: it.env.EnvID, Ret: it.env.Ret, UTF8: it.env.UTF8, Message: m,
	}
	for _, i := range rcpts {
		rc := dsn.Rcpt{Rcpt: it.env.Rcpts[i], At: it.rcpts[i].tried, Until: it.since().Add(q.lifetime(it))}
		if it.rcpts[i].last != nil {
			rc.Reply = *it.rcpts[i].last
		}
		d.Rcpts = append(d.Rcpts, rc)
	}
	text, err := d.Compose()
	if err != nil {
		return report{}, err
	}
	n := newItem(id, Router, mail.Envelope{Rcpts: []mail.Rcpt{{To: to, Orig: to, Notify: mail.NotifyNever}}}, now)
	q.direct(n)
	n.size = text.Size()
	n.env.UTF8 = it.env.UTF8 || n.env.Rcpts[0].To.NeedsUTF8()
	if text.EightBit {
		n.env.Body = "8BITMIME"
	}
	tx := n.transaction(q.settings.Load().Hostname)
	return report{it: n, meta: packMeta(n, tx), m: text}, nil
}

// direct gives a message of our own to the upstream that the Router would lead
// it to: one way through the queue instead of two.
func (q *Queue) direct(it *item) {
	q.mu.Lock()
	up := q.upstreams[Router]
	q.mu.Unlock()
	if up == nil {
		return
	}
	guide, ok := up.Hop.(Guide)
	if !ok {
		return
	}
	name, to, err := guide.Way(it.transaction(q.settings.Load().Hostname), it.env.Rcpts[0])
	if err != nil {
		return // the Router says so to an attempt
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.upstreams[name] != nil {
		it.upstream, it.env.Rcpts[0] = name, to
	}
}

// Bounce reports recipients of a message that is not queued: others took it in
// the same transaction, so its client can't be refused any more. It returns
// when the report is on disk.
func (q *Queue) Bounce(ctx context.Context, tx *mail.Transaction, m *mail.Message, refused []mail.Outcome) error {
	it := newItem(tx.ID, Router, tx.Envelope, tx.At)
	it.noReport = forged(tx.Trail)
	var about []int
	for i := range it.env.Rcpts {
		n := slices.IndexFunc(refused, func(o mail.Outcome) bool { return o.Rcpt == it.env.Rcpts[i].To })
		if n < 0 || !it.env.Rcpts[i].Notify.Wants(mail.NotifyFailure) {
			continue
		}
		it.rcpts[i] = rcpt{status: failed, tried: refused[n].At, last: cleanReply(&refused[n])}
		about = append(about, i)
	}
	to, why := q.reportTo(it, dsn.Failed)
	if len(about) == 0 || to == "" || why != "" && !q.mayTell(it) {
		return nil
	}
	r, err := q.compose(mail.NewID(), to, why, it, m, dsn.Failed, about)
	if err != nil {
		return err
	}
	if err := q.opt.Journal.Commit(ctx, r.change()); err != nil {
		return fmt.Errorf("queue report about %s: %w", tx.ID, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.takeReports([]report{r})
	return nil
}

func (q *Queue) lifetime(it *item) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if up := q.upstreams[it.to()]; up != nil {
		return up.Lifetime
	}
	return DefaultSchedule.Lifetime
}

func newItem(id, upstream string, env mail.Envelope, at time.Time) *item {
	return &item{id: id, upstream: upstream, env: env, at: at, rcpts: make([]rcpt, len(env.Rcpts))}
}

// takeReports schedules reports that are safely in the journal. q.mu is held.
func (q *Queue) takeReports(reports []report) {
	for _, r := range reports {
		if !r.there {
			q.log.Info().Str("id", r.it.id).Str("rcpt", string(r.it.env.Rcpts[0].To)).Msg("report queued")
			q.admit(r.it)
		}
	}
}

// admit makes a message of the journal known to the scheduler. q.mu is held.
func (q *Queue) admit(it *item) {
	q.items[it.id] = it
	q.heed()
	q.stats.queued.Add(1)
	if q.running {
		q.plan(it)
	}
}
