package filters

import (
	"context"
	"errors"
	"time"

	"hoplite/mail"
)

// Entry is a filter in a chain, with the settings that all filters share.
type Entry struct {
	Name   string
	Filter Filter
	// Shadow runs the filter and records its verdict, but ignores it.
	Shadow bool
	// OnError is the action if the filter fails: Pass, Defer, Reject or
	// Quarantine; empty means Defer.
	OnError Action
	// Timeout limits each stage; 0 means 30 s.
	Timeout time.Duration
	// Only selects the recipients the filter applies to; empty means all.
	Only mail.Patterns
	// Block is the configuration block that the entry was created from, or nil
	// if there is none.
	Block *Config

	settings string // the filter's own settings
}

// Chain holds the filters of a listener in file order, which is the order in
// which they run at every stage.
type Chain struct {
	Name    string
	Entries []Entry
}

// errDifferentFilters is the reply to a recipient whose data filters differ
// from those of earlier recipients, because one message cannot have two
// verdicts.
var errDifferentFilters = mail.NewReply(452, "4.5.3", "This recipient needs other checks than the previous ones, send the message separately")

// Decision is the outcome of one stage of a chain.
type Decision struct {
	// Reply is sent to refuse the connection, the recipient or the message; nil
	// lets it pass.
	Reply *mail.Reply
	// Delay is set if Reply only delays the client; see [Verdict].
	Delay bool
	// By is the name of the filter that made the decision.
	By string
	// Discard accepts the message and drops it.
	Discard bool
	// Redirect is the new recipient. If it is empty, the recipient is
	// unchanged.
	Redirect mail.Address
	// From, AddRcpts and DropRcpts change the envelope at DATA.
	From                *mail.Address
	AddRcpts, DropRcpts []mail.Address
	// Message is the message with all edits applied, at DATA.
	Message *mail.Message
}

// Run is the state of a chain on one connection. It is used by one goroutine.
type Run struct {
	chain *Chain
	conn  *mail.Transaction // transaction of the connection stage
	tx    *mail.Transaction
	mask  uint64 // entries that apply to a recipient of tx
	asked uint64 // those of them whose early stages have run
	group uint64 // entries that apply to an address of the current recipient
}

// maxEntries is the maximum number of filters in a chain, which is the number
// of bits in a mask. A configuration with more is rejected.
const maxEntries = 64

// ErrTooManyFilters is returned by Check for a chain of more than 64 filters.
var ErrTooManyFilters = errors.New("more than 64 filters in one chain")

// Start returns the state for a new connection.
func (c *Chain) Start() *Run { return &Run{chain: c} }

// Check returns an error if the chain cannot run.
func (c *Chain) Check() error {
	if len(c.Entries) > maxEntries {
		return ErrTooManyFilters
	}
	return nil
}

// Connect runs the connection stage. Its events come first on the trail of
// every transaction.
func (r *Run) Connect(ctx context.Context, tx *mail.Transaction) Decision {
	r.conn = tx
	return r.each(ctx, tx, mail.StageConnect, func(e *Entry) bool { return e.Only.Empty() }, nil, nil)
}

// Mail begins a transaction and runs the reverse-path stage.
func (r *Run) Mail(ctx context.Context, tx *mail.Transaction) Decision {
	r.tx, r.mask, r.asked, r.group = tx, 0, 0, 0
	if r.conn != nil && r.conn != tx {
		tx.Trail.Events = append(tx.Trail.Events, r.conn.Trail.Events...)
		tx.Trail.Auth = append(tx.Trail.Auth, r.conn.Trail.Auth...)
	}
	return r.each(ctx, tx, mail.StageMail, func(e *Entry) bool { return e.Only.Empty() }, nil, nil)
}

// Group announces the addresses to which the client's next recipient resolves.
// Their message passes every filter that applies to any of them, because the
// client cannot send it to them separately.
func (r *Run) Group(addresses []mail.Rcpt) {
	r.group = 0
	for _, a := range addresses {
		r.group |= r.chain.maskFor(a.To)
	}
}

// Rcpt runs the recipient stage for one recipient. Filters with Only run their
// connection and reverse-path stages here, at the first recipient they apply
// to.
func (r *Run) Rcpt(ctx context.Context, rcpt *mail.Rcpt) Decision {
	mask := r.chain.maskFor(rcpt.To)
	all := mask | r.group
	if len(r.tx.Envelope.Rcpts) > 0 && r.chain.dataMask(all) != r.chain.dataMask(r.mask) {
		return Decision{Reply: errDifferentFilters, By: "chain"}
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
		r.mask = all
	}
	return d
}

// Limit returns the size limit for the message of this transaction in octets; 0
// means none.
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

// Data runs the message stage.
func (r *Run) Data(ctx context.Context, m *mail.Message) Decision {
	return r.each(ctx, r.tx, mail.StageData, r.masked(r.mask), nil, m)
}

// masked selects the entries of a mask.
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

// dataMask returns the entries of a mask that have a message stage.
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

// each runs the stage of the selected entries in order until one of them ends
// the transaction.
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

// take merges a verdict into the decision.
func (d *Decision) take(tx *mail.Transaction, e *Entry, v *Verdict) {
	d.By = e.Name
	switch v.Action {
	case Reject, Defer:
		d.Reply, d.Delay = v.Reply, v.Delay
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

// refusal returns the reply for a verdict that does not contain one.
func (e *Entry) refusal(a Action, reason string) *mail.Reply {
	if reason == "" {
		reason = "refused by " + e.Name
	}
	if a == Reject {
		return mail.NewReply(550, "5.7.1", "%s", reason)
	}
	return mail.NewReply(451, "4.7.1", "%s", reason)
}

// onError returns the verdict for a filter that failed.
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
