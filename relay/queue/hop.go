package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/report"
	"hoplite/relay/queue/schedule"
)

// intake is the hop that queues mail for one upstream.
type intake struct {
	q    *Queue
	name string
	// late is set for recipients that must be queued because others have
	// already received the message; the upstream is not asked about them.
	// unchecked means that the upstream has not accepted them earlier either.
	late, unchecked bool
}

// Waits returns true, because no other server is contacted before the 250
// reply.
func (h *intake) Waits() bool { return true }

// Open refuses mail before the client sends the message if the disk is nearly
// full (RFC 5321, 4.2.2) or the journal belongs to another owner.
func (h *intake) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	if h.q.fenced.Load() {
		return nil, notStored(journal.ErrFenced)
	}
	if h.q.space.low() {
		return nil, mail.NewReply(452, "4.3.1", "Insufficient system storage, try again later")
	}
	return &handoff{hop: h, tx: tx}, nil
}

func notStored(err error) *mail.Reply {
	return &mail.Reply{Code: 451, Enhanced: "4.3.0", Text: "message could not be stored, try again later", Cause: err}
}

// handoff is one message being written to the journal.
type handoff struct {
	hop   *intake
	tx    *mail.Transaction
	up    *Upstream // nil until it is looked up
	rcpts []mail.Rcpt
	// anyRcpt is set if the upstream accepted one of the recipients only
	// because it accepts every recipient.
	anyRcpt bool
	// lost holds, for each element of rcpts, the outcome of an attempt in which
	// the connection broke, or nil if there was none.
	lost []*mail.Outcome
	msgs []*schedule.Message // stored, but not scheduled before Close
}

// Rcpt accepts r, unless the upstream is known to refuse it.
func (h *handoff) Rcpt(ctx context.Context, r mail.Rcpt) error {
	if h.up == nil {
		h.up = h.hop.q.upstream(h.hop.name)
	}
	if h.up.Check != nil && !h.hop.late {
		if err := h.up.Check(ctx, h.tx, r); err != nil {
			return err
		}
	}
	h.rcpts = append(h.rcpts, r)
	return nil
}

// Send commits the message.
func (h *handoff) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	start := time.Now()
	id, err := h.store(ctx, m)
	reply := mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "queued as " + id}
	switch {
	case errors.Is(err, errTooMany):
		reply = *mail.NewReply(452, "4.5.3", "Too many recipients")
	case err != nil:
		h.hop.q.stopIfFenced(err)
		reply = *notStored(err)
	}
	out := make([]mail.Outcome, len(h.rcpts))
	now := time.Now()
	for i, r := range h.rcpts {
		out[i] = mail.Outcome{Rcpt: r.To, Reply: reply, Hop: h.hop.name, RemoteID: id, At: now, Took: now.Sub(start)}
	}
	return out
}

var errTooMany = errors.New("too many recipients for one message")

const maxRcpts = 5000

// store stores the message under the id of its transaction. A number is
// appended if other recipients of the transaction were already queued with
// different edits.
func (h *handoff) store(ctx context.Context, m *mail.Message) (string, error) {
	tx := h.tx
	if len(h.rcpts) > maxRcpts {
		return "", errTooMany
	}
	env := tx.Envelope
	env.Rcpts = h.rcpts
	msg := schedule.NewMessage(tx.ID, h.hop.name, env, tx.At)
	msg.Size = m.Size()
	msg.Forged, msg.Unverified = report.Forged(tx.Trail), h.unverified()
	state := quarantine(msg, tx.Quarantine)
	if h.afterLoss(msg) {
		state = record.State(msg)
	}
	meta := record.Meta(msg, tx)
	for n := 2; ; n++ {
		err := h.hop.q.opt.Journal.Commit(ctx, journal.Change{Kind: journal.Put, ID: msg.ID, Meta: meta, State: state, Message: m})
		if err == nil {
			break
		}
		if !errors.Is(err, journal.ErrExists) || n > 100 {
			return "", err
		}
		msg.ID = fmt.Sprintf("%s-%d", tx.ID, n)
	}
	h.msgs = append(h.msgs, msg)
	return msg.ID, nil
}

// unverified reports whether recipients were accepted unchecked, because the
// upstream accepts every recipient or was not asked, from a remote client whose
// sender may be forged.
func (h *handoff) unverified() bool {
	if mayGetReports(h.tx) || report.Authenticated(h.tx.Trail) {
		return false
	}
	if h.up == nil {
		h.up = h.hop.q.upstream(h.hop.name)
	}
	h.anyRcpt = h.up.acceptsAny(h.rcpts)
	return h.anyRcpt || h.hop.unchecked || h.up.Unchecked
}

// mayGetReports reports whether a message's sender may receive reports even if
// the upstream accepts every recipient: the address was not supplied by a
// remote client, or it is empty.
func mayGetReports(tx *mail.Transaction) bool {
	return tx.Client.MayRelay || tx.Envelope.From == ""
}

// acceptsAny reports whether an upstream accepts one of the recipients only
// because it accepts every recipient.
func (u *Upstream) acceptsAny(rcpts []mail.Rcpt) bool {
	return u.AcceptsAll != nil && slices.ContainsFunc(rcpts, func(r mail.Rcpt) bool { return u.AcceptsAll(r.To.ASCIIDomain()) })
}

// afterLoss records an attempt in which the connection broke, and reports
// whether there was one. The upstream may already have the message, so the next
// attempt is delayed like any retry. An immediate attempt would send one more
// copy to a server that closes the connection instead of replying.
func (h *handoff) afterLoss(msg *schedule.Message) (was bool) {
	for i, o := range h.lost {
		if o == nil {
			continue
		}
		now := time.Now()
		msg.Rcpts[i] = schedule.Rcpt{Attempts: 1, Tried: now, Last: schedule.KeepReply(o)}
		h.hop.q.update(func(m *schedule.Machine) { msg.Rcpts[i].Next = now.Add(m.FirstRetry(msg.To())) })
		was = true
	}
	return was
}

// quarantine holds a message for the reason given by a filter and returns its
// state for the journal. If there is no reason, it does nothing and returns
// nil.
func quarantine(msg *schedule.Message, reason string) []byte {
	if reason == "" {
		return nil
	}
	msg.Held, msg.HeldAt = reason, time.Now()
	return record.State(msg)
}

// Close starts the deliveries. It is called after the client has received the
// reply, so the reply is not delayed by them.
func (h *handoff) Close() error {
	if len(h.msgs) == 0 {
		return nil
	}
	q := h.hop.q
	q.update(func(m *schedule.Machine) {
		now := time.Now()
		for _, msg := range h.msgs {
			if h.anyRcpt {
				q.postmaster.acceptsAll(msg.Upstream, now)
			}
			m.Admit(msg, now)
		}
	})
	q.stats.queued.Add(int64(len(h.msgs)))
	h.msgs = nil
	return nil
}
