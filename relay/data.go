package relay

import (
	"bytes"
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

// Data takes the message, lets the chain judge it and hands it over. The octets
// come from the wire, not from the library's reader.
func (s *session) Data(io.Reader) error {
	t := s.tx
	box := s.srv.env.Spool.New(t.Envelope.Size)
	defer box.Close()
	body, err := s.conn.ReadBody(box, t.limit())
	if err == nil {
		err = box.Done()
	}
	if errors.Is(err, wire.ErrReset) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err // nothing came; the rest is done by Reset or Logout
	}
	s.tx = nil     // answered now, one way or the other
	defer func() { // of effect after a panic only
		if !t.ending {
			t.finish("aborted", mail.Reply{})
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
	t.describe(m)
	return s.answer(t, t.judge(s.srv.ctx, m))
}

// content is a spool as a message's base.
func content(box *spool.Spool) mail.Content {
	if b, ok := box.Bytes(); ok {
		return mail.Bytes(b)
	}
	return box
}

// limit is the size up to which the message is kept while it flows.
func (t *transaction) limit() int64 {
	limit := int64(t.session.srv.cfg.MaxSize)
	if n := t.run.Limit(); n > 0 && (limit == 0 || n < limit) {
		limit = n
	}
	return limit
}

// bodyReply is the answer to a message that could not be kept.
func bodyReply(err error, t *transaction) *mail.Reply {
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		r := mail.NewReply(552, "5.3.4", "message larger than %s", conf.Bytes(t.limit()))
		r.Cause = err
		return r
	case errors.Is(err, wire.ErrBareLF), errors.Is(err, wire.ErrBareCR), errors.Is(err, wire.ErrNUL):
		return &mail.Reply{Code: 554, Enhanced: "5.6.0", Text: err.Error() + ": lines end with CR LF (RFC 5321, 2.3.8)", Cause: err}
	}
	t.session.srv.log.Error().Err(err).Str("id", t.ID).Msg("spool")
	return &mail.Reply{Code: 452, Enhanced: "4.3.1", Text: "no space for this message at the moment", Cause: err}
}

// describe keeps what log, history and look-ups want to know of the header.
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

// results are the outcomes for all recipients of the envelope, or one reply
// for all of them.
type results struct {
	all      *mail.Reply
	outcomes []mail.Outcome // by place in the envelope
}

// refused is a message that is not taken.
func (s *session) refused(t *transaction, r *mail.Reply) results {
	t.Trail.Add(mail.Event{Stage: mail.StageData, By: "listener", Verdict: verdictOf(r), Reply: r})
	return results{all: r}
}

// judge runs the chain over the message and sends on what it lets through.
func (t *transaction) judge(ctx context.Context, m *mail.Message) results {
	d := t.run.Data(ctx, m)
	switch {
	case d.Reply != nil:
		return results{all: d.Reply}
	case d.Discard || t.discard:
		t.discard = true
		return results{all: mail.NewReply(250, "2.0.0", "accepted")}
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
	return results{outcomes: t.send(ctx, m)}
}

// readdress opens all handoffs anew after the chain has changed the envelope.
// The hops were asked at RCPT for what the client wanted; they are asked once
// more for what is sent.
func (t *transaction) readdress(ctx context.Context, redirect mail.Address, add, drop []mail.Address) *mail.Reply {
	old := t.Envelope.Rcpts
	t.close()
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
		t.asked = nil // LMTP: no longer one to one, all hear of all
	}
	for _, a := range add {
		want = append(want, mail.Rcpt{To: a, Orig: a, Via: []string{"added by a filter"}})
	}
	for _, r := range want {
		if t.index(r.To) >= 0 {
			continue
		}
		if _, reply := t.add(ctx, r); reply != nil {
			return reply
		}
	}
	if len(t.Envelope.Rcpts) == 0 {
		t.discard = true
	}
	return nil
}

// everyone is n times the first k places.
func everyone(n, k int) [][]int {
	places := make([]int, k)
	for i := range places {
		places[i] = i
	}
	out := make([][]int, n)
	for i := range out {
		out[i] = places
	}
	return out
}

// answer folds the results into one reply, or one for each recipient in LMTP,
// and ends the transaction.
func (s *session) answer(t *transaction, res results) error {
	r := res.all
	if r == nil {
		r = t.fold(res.outcomes)
	}
	asked := len(t.asked)
	var replies []mail.Reply
	if s.srv.lmtp {
		replies = t.each(res, asked)
	} else {
		replies = []mail.Reply{t.withID(r)}
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

// each is LMTP's answer: one reply for each RCPT that was taken (RFC 2033,
// 4.2).
func (t *transaction) each(res results, asked int) []mail.Reply {
	replies := make([]mail.Reply, 0, max(asked, 1))
	for i := range max(asked, 1) {
		r := res.all
		if r == nil {
			mine := res.outcomes
			if i < len(t.asked) {
				mine = make([]mail.Outcome, 0, len(t.asked[i]))
				for _, place := range t.asked[i] {
					mine = append(mine, res.outcomes[place])
				}
			}
			r = t.fold(mine)
		}
		replies = append(replies, t.withID(r))
	}
	return replies
}

// fold makes one reply of several outcomes. Whoever could be helped by a second
// try decides, unless somebody has the message: those that failed beside it
// were dealt with by send, as far as that was possible.
func (t *transaction) fold(outcomes []mail.Outcome) *mail.Reply {
	var good, temporary, permanent *mail.Outcome
	for i := range outcomes {
		o := &outcomes[i]
		switch {
		case o.Reply.Positive():
			good = first(good, o)
		case o.Reply.Permanent():
			permanent = first(permanent, o)
		default:
			temporary = first(temporary, o)
		}
	}
	switch {
	case temporary != nil:
		return spoken(temporary)
	case permanent != nil:
		return spoken(permanent)
	case good == nil:
		return mail.NewReply(250, "2.0.0", "accepted")
	case len(outcomes) == 1:
		return spoken(good)
	}
	return mail.NewReply(250, "2.0.0", "accepted for %d recipients", len(outcomes))
}

func first(a, b *mail.Outcome) *mail.Outcome {
	if a != nil {
		return a
	}
	return b
}

// spoken is an outcome's reply as the client hears it. A 421 said that the
// connection to the next server ends, not this one.
func spoken(o *mail.Outcome) *mail.Reply {
	r := o.Reply
	if r.Code == 421 {
		r.Code = 451
	}
	if r.Code < 200 || r.Code > 599 {
		r.Code, r.Enhanced = 451, "4.3.0"
	}
	if r.Enhanced == "" {
		r.Enhanced = string([]byte{byte('0' + r.Code/100)}) + ".0.0"
	}
	if len(bytes.TrimSpace([]byte(r.Text))) == 0 {
		r.Text = "no text from " + o.Hop
	}
	return &r
}

func allPositive(outcomes []mail.Outcome) bool {
	for i := range outcomes {
		if !outcomes[i].Reply.Positive() {
			return false
		}
	}
	return true
}
