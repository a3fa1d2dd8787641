package server

import (
	"context"

	"hoplite/mail"
	"hoplite/relay/queue"
)

// signOwn signs a message of this server for a hop. A message that cannot be
// signed is sent without a signature.
func (r *runtime) signOwn(hop string, m *mail.Message) *mail.Message {
	g := r.signing.Load()
	if g == nil {
		return m
	}
	signed, err := g.SignOwn(context.Background(), hop, m)
	if err != nil {
		r.log.Warn().Err(err).Str("hop", hop).Msg("message of this server not signed")
		return m
	}
	return signed
}

// sendOwn signs and queues a message of this server. Failures to deliver it are
// not reported.
func (r *runtime) sendOwn(ctx context.Context, tx *mail.Transaction, to mail.Address, m *mail.Message) error {
	rcpt := mail.Rcpt{To: to, Orig: to, Notify: mail.NotifyNever}
	if g := r.signing.Load(); g != nil {
		// Without a route, queuing the message fails with the reason.
		if hop, _, err := g.router().Route(tx, rcpt); err == nil {
			m = r.signOwn(hop, m)
		}
	}
	h, err := r.queue.Hop(queue.Router).Open(ctx, tx)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.Rcpt(ctx, rcpt); err != nil {
		return err
	}
	for _, o := range h.Send(ctx, m) {
		if !o.Reply.Positive() {
			return &o.Reply
		}
	}
	return nil
}
