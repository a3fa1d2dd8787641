package relay

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/emersion/go-smtp"

	"hoplite/internal/conf"
	"hoplite/internal/spool"
	"hoplite/mail"
	"hoplite/relay/wire"
)

// Data receives the message, passes it through the chain and sends it to the
// hops. It reads the message through wire, not from the library's reader.
func (s *session) Data(io.Reader) error {
	t := s.tx
	box := s.srv.env.Spool.New(t.Envelope.Size)
	defer box.Close()
	body, err := s.conn.ReadBody(box, t.limit())
	if err == nil {
		err = box.Done()
	}
	if errors.Is(err, wire.ErrReset) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err // no message was received; Reset or Logout ends the transaction
	}
	s.tx = nil     // the transaction will be answered from here on
	defer func() { // takes effect only if the code below panics
		if !t.ending {
			t.abort("internal server error, see the log")
		}
	}()
	if err != nil {
		return s.answer(t, s.refused(t, bodyReply(err, t)))
	}
	m, err := mail.NewMessage(content(box))
	if err != nil {
		return s.answer(t, s.refused(t, &mail.Reply{Code: 552, Enhanced: "5.3.4", Text: err.Error(), Cause: err}))
	}
	m.EightBit, m.LongLine = body.EightBit, body.LongLine
	if body.Fixed {
		t.Trail.Add(mail.Event{Stage: mail.StageData, By: "listener", Verdict: "tag", Reason: "bare CR, LF or NUL converted"})
	}
	if m.Repaired != "" {
		t.Trail.Add(mail.Event{Stage: mail.StageData, By: "listener", Verdict: "tag", Reason: m.Repaired})
	}
	t.describe(m)
	if !s.srv.env.Chain.has("hops") {
		if r := t.looped(m); r != nil {
			return s.answer(t, s.refused(t, r))
		}
	}
	return s.answer(t, t.judge(s.srv.ctx, m))
}

// content returns the content of a spool, directly from memory if possible.
func content(box *spool.Spool) mail.Content {
	if b, ok := box.Bytes(); ok {
		return mail.Bytes(b)
	}
	return box
}

// limit returns the maximum size of the message, as far as it is known before
// the message is received.
func (t *transaction) limit() int64 {
	limit := int64(t.session.srv.cfg.MaxSize)
	if n := t.run.Limit(); n > 0 && (limit == 0 || n < limit) {
		limit = n
	}
	return limit
}

// bodyReply returns the reply to a message that could not be received.
func bodyReply(err error, t *transaction) *mail.Reply {
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		r := mail.NewReply(552, "5.3.4", "Message size exceeds limit of %s", conf.Bytes(t.limit()))
		r.Cause = err
		return r
	case errors.Is(err, wire.ErrBareEnd):
		return &mail.Reply{Code: 554, Enhanced: "5.6.0", Text: "Message rejected: " + err.Error() + "; only clients in relay_from may do that, with bare = \"fix\"", Cause: err}
	case errors.Is(err, wire.ErrBareLF), errors.Is(err, wire.ErrBareCR), errors.Is(err, wire.ErrNUL):
		return &mail.Reply{Code: 554, Enhanced: "5.6.0", Text: "Message rejected: " + err.Error() + "; lines must end with <CR><LF> (RFC 5321, 2.3.8)", Cause: err}
	}
	t.session.srv.log.Error().Err(err).Str("id", t.ID).Msg("spool")
	return &mail.Reply{Code: 452, Enhanced: "4.3.1", Text: "Insufficient system storage", Cause: err}
}

// describe records the parts of the header that are needed for the log and
// history.
func (t *transaction) describe(m *mail.Message) {
	h := &t.Header
	h.Size = m.Size()
	for f := range mail.Fields(m.Head) {
		switch {
		case f.Is("Received"):
			h.Hops++
		case f.Is("Message-ID") && h.MessageID == "":
			h.MessageID = shorten(f.Text(), 250)
		case f.Is("From") && h.From == "":
			h.From = shorten(f.Text(), 250)
		case f.Is("Subject") && h.Subject == "":
			h.Subject = shorten(f.Text(), 250)
		}
	}
	if learn := t.session.srv.env.Learn; learn != nil && h.Hops > 0 && t.Client.Name != "" {
		learn(m.Head, time.Now(), t.Client.Name)
	}
}

func shorten(s string, n int) string { return s[:min(len(s), n)] }

// refused records that the message was refused before the filters saw it.
func (s *session) refused(t *transaction, r *mail.Reply) results {
	t.Trail.Add(mail.Event{Stage: mail.StageData, By: "listener", Verdict: verdictOf(r), Reply: r})
	return results{all: r}
}

// judge passes the message through the filters and, if they accept it, to the
// hops.
func (t *transaction) judge(ctx context.Context, m *mail.Message) results {
	d := t.run.Data(ctx, m)
	switch {
	case d.Reply != nil:
		return results{all: d.Reply}
	case d.Discard || t.discard:
		t.discard = true
		return results{all: accepted}
	}
	if d.Message != nil {
		m = d.Message
	}
	if d.From != nil || d.Redirect != "" || len(d.AddRcpts)+len(d.DropRcpts) > 0 {
		if d.From != nil {
			t.Envelope.From = *d.From
		}
		if r := t.readdress(ctx, d.Redirect, d.AddRcpts, d.DropRcpts); r != nil {
			return results{all: r}
		}
	}
	m = t.stamp(m)
	res := results{outcomes: t.out.send(ctx, m)}
	t.rescue(ctx, m, res.outcomes)
	return res
}

// readdress opens all handoffs again after filters have changed the envelope.
// At RCPT the hops were offered the client's recipients, but the message is now
// sent to others.
func (t *transaction) readdress(ctx context.Context, redirect mail.Address, add, drop []mail.Address) *mail.Reply {
	old, left := t.Envelope.Rcpts, t.out.left
	t.out.close(&t.session.srv.log)
	t.Envelope.Rcpts = nil
	var want []mail.Rcpt
	if redirect != "" {
		r := mail.Rcpt{To: redirect, Orig: old[0].Orig, Via: []string{"redirect"}}
		want, t.asked = append(want, r), everyone(len(t.asked), 1)
	} else {
		for _, r := range old {
			if !slices.Contains(drop, r.To) {
				want = append(want, r)
			}
		}
		t.asked = nil // in LMTP each reply now covers all recipients
	}
	for _, a := range add {
		want = append(want, mail.Rcpt{To: a, Orig: a, Via: []string{"added by a filter"}})
	}
	for _, r := range want {
		if t.index(r.To) >= 0 {
			continue
		}
		m := t.add(ctx, r)
		switch {
		case m.refusal == nil:
		case slices.ContainsFunc(left, func(l leftover) bool { return l.rcpt.To == r.To }):
			t.leave(&m)
		default:
			return m.refusal
		}
	}
	if len(t.Envelope.Rcpts) == 0 {
		t.discard = true
	}
	return nil
}

// answer sends the reply, or in LMTP one reply per recipient, and ends the
// transaction once they have been sent.
func (s *session) answer(t *transaction, res results) error {
	r := res.reply()
	replies := []mail.Reply{t.withID(r)}
	if s.srv.lmtp {
		replies = replies[:0]
		for _, r := range res.replies(t.rcpts, t.asked) {
			replies = append(replies, t.withID(r))
		}
	}
	verdict := "accepted"
	switch {
	case t.discard && r.Positive():
		verdict = "discarded"
	case !r.Positive():
		verdict = verdictWord(r)
	case !allPositive(res.outcomes):
		verdict = "partly"
	}
	if r.Positive() {
		s.conn.Accepted()
	}
	t.Trail.Outcomes = append(t.Trail.Outcomes, res.outcomes...)
	s.conn.Answer(replies...)
	t.ending = true
	s.conn.Then(func() { t.finish(verdict, replies[0]) })
	if r.Positive() || s.srv.lmtp {
		return nil
	}
	return &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.EnhancedCode{r.Code / 100, 0, 0}, Message: "refused"}
}
