package relay

import (
	"context"
	"strings"

	"hoplite/mail"
)

// rescue handles recipients that failed while others with the same reply
// received the message: temporary failures are queued, and permanent ones are
// reported to the sender.
func (t *transaction) rescue(ctx context.Context, m *mail.Message, out []mail.Outcome) {
	groups := t.asked
	if !t.session.srv.lmtp || len(groups) == 0 {
		groups = everyone(1, len(out))
	}
	later, failed := leftBehind(out, groups)
	if t.session.srv.env.Later != nil {
		for _, i := range later {
			t.enqueue(ctx, i, m, out)
		}
	}
	t.report(ctx, m, out, failed)
}

// enqueue queues the message for one recipient in the queue of its hop.
func (t *transaction) enqueue(ctx context.Context, i int, m *mail.Message, out []mail.Outcome) {
	rcpt := t.Envelope.Rcpts[i]
	tx, m, err := t.out.finished(ctx, i, m)
	if err != nil {
		return
	}
	h, err := t.session.srv.env.Later(rcpt.Hop, !t.out.isLeft(i)).Open(ctx, tx)
	if err != nil {
		return
	}
	defer h.Close()
	if h.Rcpt(ctx, rcpt) != nil {
		return
	}
	if got := h.Send(ctx, m); len(got) == 1 && got[0].Reply.Positive() {
		r := out[i].Reply
		t.Trail.Add(mail.Event{Stage: mail.StageSend, By: out[i].Hop, Rcpt: out[i].Rcpt, Verdict: "defer", Reply: &r,
			Reason: "failed temporarily while others got the message: queued"})
		out[i] = got[0]
	}
}

// report sends the sender a report about permanent failures.
func (t *transaction) report(ctx context.Context, m *mail.Message, out []mail.Outcome, failed []int) {
	bounce := t.session.srv.env.Bounce
	if len(failed) == 0 || bounce == nil {
		return
	}
	var refused []mail.Outcome
	for _, i := range failed {
		refused = append(refused, out[i])
	}
	tx := *t.Transaction
	tx.Envelope.Owner = t.out.owner(failed)
	to, err := bounce(ctx, &tx, m, refused)
	if err != nil {
		t.session.srv.log.Error().Err(err).Str("id", t.ID).Msg("report")
		return
	}
	for _, i := range failed {
		r := out[i].Reply
		what := t.reported(to, i)
		t.Trail.Add(mail.Event{Stage: mail.StageSend, By: out[i].Hop, Rcpt: out[i].Rcpt, Verdict: "bounce", Reply: &r,
			Reason: "refused while others got the message: " + what})
		out[i].Reply = mail.Reply{Code: 250, Enhanced: "2.0.0", Text: strings.ToUpper(what[:1]) + what[1:] + ": " + r.String()}
	}
}

// reported describes who receives the report about a recipient. to is the
// address that a report was sent to, or empty if no report was sent.
func (t *transaction) reported(to mail.Address, place int) string {
	switch {
	case to == "" || !t.Envelope.Rcpts[place].Notify.Wants(mail.NotifyFailure):
		return "no report is due"
	case to == t.Envelope.From:
		return "reported to the sender"
	case to == t.out.owner([]int{place}):
		return "reported to " + string(to)
	}
	return "reported to the postmaster"
}
