package relay

import (
	"context"

	"hoplite/mail"
)

// rescue deals with recipients that failed while others with the same reply got
// the message: temporary failures are queued, permanent ones are reported to the
// sender.
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

// enqueue puts the message for one recipient into the queue of its hop.
func (t *transaction) enqueue(ctx context.Context, i int, m *mail.Message, out []mail.Outcome) {
	rcpt := t.Envelope.Rcpts[i]
	hop := t.session.srv.env.Later(rcpt.Hop)
	if hop == nil {
		return
	}
	h, err := hop.Open(ctx, t.Transaction)
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
	if err := bounce(ctx, t.Transaction, m, refused); err != nil {
		t.session.srv.log.Error().Err(err).Str("id", t.ID).Msg("report")
		return
	}
	for _, i := range failed {
		r := out[i].Reply
		t.Trail.Add(mail.Event{Stage: mail.StageSend, By: out[i].Hop, Rcpt: out[i].Rcpt, Verdict: "bounce", Reply: &r,
			Reason: "refused while others got the message: reported to the sender"})
		out[i].Reply = mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "Reported to the sender: " + r.String()}
	}
}
