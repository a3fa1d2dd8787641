package filters

import (
	"context"
	"errors"
	"time"

	"hoplite/mail"
)

// Entry is one filter in its place in a chain.
type Entry struct {
	Name   string
	Filter Filter
	// Shadow judges and writes on the trail, and changes nothing.
	Shadow bool
	// OnError is what follows when the filter could not judge: Pass, Defer,
	// Reject or Quarantine; empty is Defer.
	OnError Action
	// Timeout bounds each stage; 0 is 30 s.
	Timeout time.Duration
	// Only selects the recipients that the filter is for; empty is everyone.
	Only mail.Patterns
	// Block is what it was made of; nil if not of a file.
	Block *Config

	settings string // of the filter itself
}

// Chain is the filters of a listener in the order of the file, which is their
// order at every stage.
type Chain struct {
	Name    string
	Entries []Entry
}

// errUnlike is the answer to a recipient whose data filters are not those of
// the recipients before it: one message can't be judged in two ways.
var errUnlike = mail.NewReply(452, "4.5.3", "this recipient needs other checks than those before: send it separately")

// Decision is what a stage of the whole chain comes to.
type Decision struct {
	// Reply ends the connection's, recipient's or message's way with these
	// words; nil lets it go on.
	Reply *mail.Reply
	// By is the filter that spoke the last word.
	By string
	// Discard takes the message and drops it.
	Discard bool
	// Redirect is where it goes instead; empty for no change.
	Redirect mail.Address
	// From, AddRcpts and DropRcpts are changes to the envelope, at DATA.
	From                *mail.Address
	AddRcpts, DropRcpts []mail.Address
	// Message is the message with the edits made, at DATA.
	Message *mail.Message
}

// Run is a chain at work on one connection. It is used by one goroutine.
type Run struct {
	chain *Chain
	conn  *mail.Transaction // what was learned at connect
	tx    *mail.Transaction
	mask  uint64 // entries whose Only matched a recipient of tx
	asked uint64 // of those, the ones that caught up with the early stages
}

// maxEntries is how many filters a mask can hold; the configuration is
// refused above it.
const maxEntries = 64

// ErrTooManyFilters is returned by Start for a chain of more than 64 filters.
var ErrTooManyFilters = errors.New("more than 64 filters in one chain")

// Start begins a connection.
func (c *Chain) Start() *Run { return &Run{chain: c} }

// Check finds what Start can't work with.
func (c *Chain) Check() error {
	if len(c.Entries) > maxEntries {
		return ErrTooManyFilters
	}
	return nil
}

// Connect judges the connection. Its events are the first of every
// transaction's trail.
func (r *Run) Connect(ctx context.Context, tx *mail.Transaction) Decision {
	r.conn = tx
	return r.each(ctx, tx, mail.StageConnect, func(e *Entry) bool { return e.Only.Empty() }, nil, nil)
}

// Mail judges the reverse path and begins a transaction.
func (r *Run) Mail(ctx context.Context, tx *mail.Transaction) Decision {
	r.tx, r.mask, r.asked = tx, 0, 0
	if r.conn != nil && r.conn != tx {
		tx.Trail.Events = append(tx.Trail.Events, r.conn.Trail.Events...)
		tx.Trail.Auth = append(tx.Trail.Auth, r.conn.Trail.Auth...)
	}
	return r.each(ctx, tx, mail.StageMail, func(e *Entry) bool { return e.Only.Empty() }, nil, nil)
}

// Rcpt judges one recipient. Filters that are for some recipients only judge
// connection and reverse path here, at the first recipient that is theirs.
func (r *Run) Rcpt(ctx context.Context, rcpt *mail.Rcpt) Decision {
	mask := r.chain.maskFor(rcpt.To)
	if len(r.tx.Envelope.Rcpts) > 0 && r.chain.dataMask(mask) != r.chain.dataMask(r.mask) {
		return Decision{Reply: errUnlike, By: "chain"}
	}
	late := func(i int) bool { return mask&(1<<i) != 0 && r.asked&(1<<i) == 0 }
	for i := range r.chain.Entries {
		e := &r.chain.Entries[i]
		if e.Only.Empty() || !late(i) {
			continue
		}
		this := func(x *Entry) bool { return x == e }
		for _, stage := range []mail.Stage{mail.StageConnect, mail.StageMail} {
			if d := r.each(ctx, r.tx, stage, this, nil, nil); d.Reply != nil {
				return d
			}
		}
		r.asked |= 1 << i
	}
	d := r.each(ctx, r.tx, mail.StageRcpt, r.masked(mask), rcpt, nil)
	if d.Reply == nil {
		r.mask = mask
	}
	return d
}

// Limit is the most octets that a message of this transaction may have; 0 for
// any number.
func (r *Run) Limit() int64 {
	limit := int64(0)
	for i := range r.chain.Entries {
		e := &r.chain.Entries[i]
		l, ok := e.Filter.(Limiter)
		if !ok || e.Shadow || r.mask&(1<<i) == 0 {
			continue
		}
		if n := l.Limit(r.tx); n > 0 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	return limit
}

// Data judges the message.
func (r *Run) Data(ctx context.Context, m *mail.Message) Decision {
	return r.each(ctx, r.tx, mail.StageData, r.masked(r.mask), nil, m)
}

// masked picks the entries of a mask.
func (r *Run) masked(mask uint64) func(*Entry) bool {
	return func(e *Entry) bool {
		for i := range r.chain.Entries {
			if e == &r.chain.Entries[i] {
				return mask&(1<<i) != 0
			}
		}
		return false
	}
}

func (c *Chain) maskFor(to mail.Address) uint64 {
	var mask uint64
	for i := range c.Entries {
		if c.Entries[i].isFor(to) {
			mask |= 1 << i
		}
	}
	return mask
}

// dataMask is the part of a mask that matters for the message itself.
func (c *Chain) dataMask(mask uint64) uint64 {
	for i := range c.Entries {
		if _, ok := c.Entries[i].Filter.(Dataer); !ok {
			mask &^= 1 << i
		}
	}
	return mask
}

func (e *Entry) isFor(to mail.Address) bool {
	return e.Only.Empty() || e.Only.Match(to)
}

// each asks every entry that is meant and has the stage, in order, until one
// of them ends it.
func (r *Run) each(ctx context.Context, tx *mail.Transaction, stage mail.Stage, meant func(*Entry) bool,
	rcpt *mail.Rcpt, m *mail.Message) Decision {
	d := Decision{Message: m}
	for i := range r.chain.Entries {
		e := &r.chain.Entries[i]
		if !meant(e) || !e.has(stage) {
			continue
		}
		start := time.Now()
		v, err := e.ask(ctx, stage, tx, rcpt, d.Message)
		event := mail.Event{At: start, Stage: stage, By: e.Name, Took: time.Since(start), Shadow: e.Shadow}
		if rcpt != nil {
			event.Rcpt = rcpt.To
		}
		if err != nil {
			event.Verdict, event.Reason = "error", err.Error()
			v = e.onError(err)
		}
		if v.Action == "" {
			v.Action = Pass
		}
		if event.Verdict == "" {
			event.Verdict, event.Reason = string(v.Action), v.Reason
		}
		event.Facts, event.Reply = v.Facts, v.Reply
		tx.Trail.Add(event)
		tx.Trail.Auth = append(tx.Trail.Auth, v.Auth...)
		if e.Shadow {
			continue
		}
		if d.take(tx, e, &v); d.Reply != nil || d.Discard {
			return d
		}
	}
	return d
}

// take adds a verdict to the decision.
func (d *Decision) take(tx *mail.Transaction, e *Entry, v *Verdict) {
	d.By = e.Name
	switch v.Action {
	case Reject, Defer:
		d.Reply = v.Reply
		if d.Reply == nil {
			d.Reply = e.refusal(v.Action, v.Reason)
		}
		return
	case Discard:
		d.Discard = true
		return
	case Quarantine:
		if tx.Quarantine == "" {
			tx.Quarantine = e.Name + ": " + v.Reason
		}
	case Redirect:
		d.Redirect = v.To
	}
	if v.Message != nil {
		d.Message = v.Message
	}
	if d.Message != nil && (len(v.Top) > 0 || len(v.Drop) > 0) {
		d.Message = d.Message.Edited(v.Top, v.Drop...)
	}
	if v.From != nil {
		d.From = v.From
	}
	d.AddRcpts = append(d.AddRcpts, v.AddRcpts...)
	d.DropRcpts = append(d.DropRcpts, v.DropRcpts...)
}

// refusal is the reply of a filter that gave none.
func (e *Entry) refusal(a Action, reason string) *mail.Reply {
	if reason == "" {
		reason = "refused by " + e.Name
	}
	if a == Reject {
		return mail.NewReply(550, "5.7.1", "%s", reason)
	}
	return mail.NewReply(451, "4.7.1", "%s", reason)
}

// onError is the verdict of a filter that could not judge.
func (e *Entry) onError(err error) Verdict {
	switch e.OnError {
	case Pass:
		return Verdict{}
	case Reject:
		return Rejected(554, "5.7.0", "%s could not check this message", e.Name)
	case Quarantine:
		return Quarantined(e.Name + " could not check this message")
	}
	v := Deferred(451, "4.7.0", "%s could not check this message, try again later", e.Name)
	v.Reply.Cause = err
	return v
}

func (e *Entry) has(stage mail.Stage) (ok bool) {
	switch stage {
	case mail.StageConnect:
		_, ok = e.Filter.(Connecter)
	case mail.StageMail:
		_, ok = e.Filter.(Mailer)
	case mail.StageRcpt:
		_, ok = e.Filter.(Rcpter)
	case mail.StageData:
		_, ok = e.Filter.(Dataer)
	}
	return ok
}

func (e *Entry) ask(ctx context.Context, stage mail.Stage, tx *mail.Transaction, rcpt *mail.Rcpt, m *mail.Message) (Verdict, error) {
	timeout := e.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	limited := within(ctx, timeout)
	defer limited.cancel()
	ctx = limited
	switch stage {
	case mail.StageConnect:
		return e.Filter.(Connecter).AtConnect(ctx, tx)
	case mail.StageMail:
		return e.Filter.(Mailer).AtMail(ctx, tx)
	case mail.StageRcpt:
		return e.Filter.(Rcpter).AtRcpt(ctx, tx, rcpt)
	default:
		return e.Filter.(Dataer).AtData(ctx, tx, m)
	}
}
