package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// Order is what an admin asks for.
type Order struct {
	Do string `json:"do"` // retry, hold, release, delete, bounce, reroute
	Filter
	// Text is the reason of hold and bounce, and the upstream of reroute.
	Text string `json:"text,omitempty"`
}

// Progress tells how far an order is. Busy messages were being delivered at
// that moment, and held ones are not tried: neither could follow it.
type Progress struct {
	Done int `json:"done"`
	Of   int `json:"of"`
	Busy int `json:"busy,omitempty"`
	Held int `json:"held,omitempty"`
}

// chunk is how many messages one commit changes.
const chunk = 200

// Obey carries out an order on all messages that its filter picks, and tells
// say how far it is. What was reported as done is on disk.
func (q *Queue) Obey(ctx context.Context, o Order, say func(Progress)) (Progress, error) {
	act, ok := q.orders()[o.Do]
	if !ok {
		return Progress{}, fmt.Errorf("unknown order %q", o.Do)
	}
	if o.Do == "reroute" {
		q.mu.Lock()
		known := !q.running || q.upstreams[o.Text] != nil
		q.mu.Unlock()
		if !known {
			return Progress{}, fmt.Errorf("no upstream is called %q", o.Text)
		}
	}
	q.mu.Lock()
	all := q.pick(o.Filter)
	q.mu.Unlock()
	p := Progress{Of: len(all)}
	for some := range slices.Chunk(all, chunk) {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		err := q.obeySome(act, some, o.Text, &p)
		if err != nil {
			return p, fmt.Errorf("%s: %w", o.Do, err)
		}
		if say != nil {
			say(p)
		}
	}
	q.log.Info().Str("order", o.Do).Int("messages", p.Done).Int("busy", p.Busy).Str("text", o.Text).Msg("queue order")
	return p, nil
}

// action changes one message in memory; false means that it is busy or held.
type action func(it *item, text string, ev *events) bool

func (q *Queue) orders() map[string]action {
	return map[string]action{
		"retry": q.retryOrder, "hold": q.holdItem, "release": q.releaseItem,
		"delete": q.deleteItem, "bounce": q.bounceItem, "reroute": q.rerouteItem,
	}
}

// obeySome carries an order out on a few messages: in memory, on disk, and in
// the schedule.
func (q *Queue) obeySome(act action, some []*item, text string, p *Progress) error {
	var touched []*item
	var told []events
	q.mu.Lock()
	for _, it := range some {
		var ev events
		switch {
		case it.dead:
		case act(it, text, &ev):
			touched, told = append(touched, it), append(told, ev)
		case it.active > 0:
			p.Busy++
		default:
			p.Held++
		}
	}
	q.mu.Unlock()
	var reports []report
	for i, it := range touched {
		reports = append(reports, q.reports(it, told[i])...)
	}
	err := q.commitOrder(touched, reports)

	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range touched {
		if err != nil {
			q.reread(it)
		}
		switch {
		case it.dead:
		case it.finished():
			q.forget(it)
		case q.running:
			q.replan(it)
		}
	}
	if err != nil {
		return err
	}
	q.takeReports(reports)
	p.Done += len(touched)
	return nil
}

// replan puts a message where it belongs after an order; if a part of it is
// under way, at the end of that. q.mu is held.
func (q *Queue) replan(it *item) {
	q.unschedule(it)
	if it.replan = it.active > 0; !it.replan {
		q.plan(it)
	}
}

// commitOrder makes what an order changed durable, reports first.
func (q *Queue) commitOrder(touched []*item, reports []report) error {
	var changes []journal.Change
	for i := range reports {
		changes = append(changes, reports[i].change())
	}
	q.mu.Lock()
	for _, it := range touched {
		if it.finished() {
			changes = append(changes, journal.Change{Kind: journal.Done, ID: it.id})
		} else if !it.dead {
			changes = append(changes, journal.Change{Kind: journal.Set, ID: it.id, State: packState(it)})
		}
	}
	q.mu.Unlock()
	err := q.opt.Journal.Commit(context.Background(), changes...)
	if !errors.Is(err, journal.ErrUnknown) && !errors.Is(err, journal.ErrExists) {
		return err
	}
	// One of them ended meanwhile, or was reported before a crash: then each for
	// itself.
	err = nil
	for _, c := range changes {
		if e := q.opt.Journal.Commit(context.Background(), c); e != nil && !errors.Is(e, journal.ErrUnknown) && !errors.Is(e, journal.ErrExists) {
			err = e
		}
	}
	return err
}

// reread takes back what could not be saved.
func (q *Queue) reread(it *item) {
	_, state, err := q.opt.Journal.Meta(it.id)
	if err != nil || it.dead {
		return
	}
	it.rcpts = make([]rcpt, len(it.env.Rcpts))
	it.held, it.stranded, it.override, it.warned = "", false, "", false
	if err := unpackState(state, it); err != nil {
		q.log.Error().Err(err).Msg("state of a message cannot be read back")
	}
}

// retryOrder leaves what is held to release.
func (q *Queue) retryOrder(it *item, text string, ev *events) bool {
	return (it.held == "" || it.stranded) && q.retryItem(it, text, ev)
}

// retryItem makes a message due now, and its destinations be tried even if
// they are thought to be down.
func (q *Queue) retryItem(it *item, _ string, _ *events) bool {
	for i := range it.rcpts {
		it.rcpts[i].next = time.Time{}
	}
	for _, j := range it.jobs {
		if !j.dest.blocked.IsZero() {
			q.unblock(j.dest)
		}
	}
	return true
}

func (q *Queue) holdItem(it *item, text string, _ *events) bool {
	if text == "" {
		text = "by an administrator"
	}
	if it.held == "" || it.stranded {
		it.held, it.heldAt, it.stranded = text, time.Now(), false
	}
	return true
}

// releaseItem ends a hold; the message is due now.
func (q *Queue) releaseItem(it *item, _ string, ev *events) bool {
	if it.held != "" {
		q.unhold(it)
	}
	return q.retryItem(it, "", ev)
}

func (q *Queue) deleteItem(it *item, _ string, _ *events) bool {
	for i := range it.rcpts {
		if it.rcpts[i].status == waiting {
			it.rcpts[i].status = dropped
		}
	}
	q.unschedule(it)
	return true
}

// bounceItem returns a message to its sender.
func (q *Queue) bounceItem(it *item, text string, ev *events) bool {
	if it.active > 0 {
		return false
	}
	if text == "" {
		text = "returned by the administrator"
	}
	q.unschedule(it) // no worker may take it up meanwhile
	for i := range it.rcpts {
		r := &it.rcpts[i]
		if r.status != waiting {
			continue
		}
		r.status = failed
		r.last = mail.NewReply(554, "5.0.0", "%s", text)
		if it.env.Rcpts[i].Notify.Wants(mail.NotifyFailure) {
			ev.failed = append(ev.failed, i)
		}
	}
	return true
}

func (q *Queue) rerouteItem(it *item, text string, ev *events) bool {
	it.override = text
	return q.retryItem(it, "", ev)
}

// Flush makes all mail for a domain due now: ETRN (RFC 1985). A leading @
// takes the domains below it, too. It tells how many messages that are.
func (q *Queue) Flush(domain string) int {
	domain = strings.ToLower(domain)
	below, subs := strings.CutPrefix(domain, "@")
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, it := range q.items {
		if it.held != "" || !slices.ContainsFunc(it.env.Rcpts, func(r mail.Rcpt) bool {
			d := r.To.Domain()
			return d == below || subs && strings.HasSuffix(d, "."+below)
		}) {
			continue
		}
		n++
		q.retryItem(it, "", nil)
		for _, j := range it.jobs {
			q.due(j)
		}
	}
	return n
}
