package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// Hop is the way into the queue for mail to the upstream called name. Send
// answers 250 when the message is on disk.
func (q *Queue) Hop(name string) mail.Hop { return &intake{q, name} }

type intake struct {
	q    *Queue
	name string
}

// Waits says that nobody else is asked before the 250.
func (h *intake) Waits() bool { return true }

// Open refuses while the disk is nearly full, before the client sends
// anything large (RFC 5321, 4.2.2).
func (h *intake) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	if h.q.lowSpace() {
		return nil, mail.NewReply(452, "4.3.1", "not enough disk space for mail, try again later")
	}
	return &handoff{hop: h, tx: tx}, nil
}

// lowSpace looks at the disk once a second at most.
func (q *Queue) lowSpace() bool {
	if q.opt.Free == nil || q.settings.Load().Reserve <= 0 {
		return false
	}
	now := time.Now().UnixNano()
	if at := q.spaceAt.Load(); now-at > int64(time.Second) && q.spaceAt.CompareAndSwap(at, now) {
		free, err := q.opt.Free()
		low := err == nil && free < q.settings.Load().Reserve
		if was := q.spaceLow.Swap(low); was != low {
			e := q.log.Warn()
			if !low {
				e = q.log.Info()
			}
			e.Int64("free", free).Int64("reserve", q.settings.Load().Reserve).Bool("refusing", low).Msg("free space of the queue's disk")
		}
	}
	return q.spaceLow.Load()
}

// handoff is one message on its way into the journal.
type handoff struct {
	hop   *intake
	tx    *mail.Transaction
	rcpts []mail.Rcpt
	items []*item // stored; nobody works on them before Close
}

// Rcpt takes r, unless the upstream is known to refuse it.
func (h *handoff) Rcpt(ctx context.Context, r mail.Rcpt) error {
	q := h.hop.q
	q.mu.Lock()
	up := q.upstreams[h.hop.name]
	q.mu.Unlock()
	if up != nil && up.Check != nil {
		if err := up.Check(ctx, h.tx, r); err != nil {
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
		reply = *mail.NewReply(452, "4.5.3", "too many recipients")
	case err != nil:
		reply = mail.Reply{Code: 451, Enhanced: "4.3.0", Text: "message could not be stored, try again later", Cause: err}
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

// store gives the message the id of its transaction, or, when other recipients
// of it went here before with edits of their own, that id with a number.
func (h *handoff) store(ctx context.Context, m *mail.Message) (string, error) {
	q, tx := h.hop.q, h.tx
	if len(h.rcpts) > maxRcpts {
		return "", errTooMany
	}
	it := newItem(tx.ID, h.hop.name, tx.Envelope, tx.At)
	it.env.Rcpts = h.rcpts
	it.rcpts = make([]rcpt, len(h.rcpts))
	it.size = m.Size()
	it.noReport = forged(tx.Trail)
	state := it.quarantine(tx)
	meta := packMeta(it, tx)
	for n := 2; ; n++ {
		err := q.opt.Journal.Commit(ctx, journal.Change{Kind: journal.Put, ID: it.id, Meta: meta, State: state, Message: m})
		if err == nil {
			break
		}
		if !errors.Is(err, journal.ErrExists) || n > 100 {
			return "", err
		}
		it.id = fmt.Sprintf("%s-%d", tx.ID, n)
	}
	h.items = append(h.items, it)
	return it.id, nil
}

// Close lets the deliveries begin. Until then the client may have its reply
// without waiting for them to get going.
func (h *handoff) Close() error {
	q := h.hop.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range h.items {
		q.admit(it)
	}
	h.items = nil
	return nil
}
