package relay

import (
	"slices"
	"strings"

	"hoplite/mail"
)

// Several recipients can share one reply: in SMTP all recipients of a message,
// in LMTP those that one RCPT resolved to. The functions in this file choose
// that reply, and find the recipients whose outcome differs from it.

// results holds the outcomes for all recipients of the envelope, or one reply
// for all of them.
type results struct {
	all      *mail.Reply
	outcomes []mail.Outcome // indexed as in the envelope
}

// reply returns the single reply for SMTP.
func (r *results) reply() *mail.Reply {
	if r.all != nil {
		return r.all
	}
	return fold(r.outcomes)
}

// replies returns one reply for each accepted RCPT (RFC 2033, 4.2). For each
// RCPT, asked holds the indices of its recipients in the envelope. If asked is
// nil, because a filter has changed the recipients, each reply covers all
// recipients.
func (r *results) replies(rcpts int, asked [][]int) []*mail.Reply {
	list := make([]*mail.Reply, max(rcpts, 1))
	for i := range list {
		switch {
		case r.all != nil || i >= len(asked):
			list[i] = r.reply()
		default:
			mine := make([]mail.Outcome, 0, len(asked[i]))
			for _, place := range asked[i] {
				mine = append(mine, r.outcomes[place])
			}
			list[i] = fold(mine)
		}
	}
	return list
}

// fold combines several outcomes into one reply. A temporary failure takes
// precedence, because another attempt may help, followed by a permanent one.
// Recipients that failed while others received the message have already been
// handled if possible; see leftBehind.
func fold(outcomes []mail.Outcome) *mail.Reply {
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
		return passedOn(temporary)
	case permanent != nil:
		return passedOn(permanent)
	case good == nil:
		return accepted
	case len(outcomes) == 1:
		return passedOn(good)
	}
	return mail.NewReply(250, "2.0.0", "Accepted for %d recipients", len(outcomes))
}

var accepted = mail.NewReply(250, "2.0.0", "Accepted")

func first(a, b *mail.Outcome) *mail.Outcome {
	if a != nil {
		return a
	}
	return b
}

// passedOn returns an outcome's reply as sent to the client. A 421 refers to
// the connection to the next server, not to the client's.
func passedOn(o *mail.Outcome) *mail.Reply {
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
	if strings.TrimSpace(r.Text) == "" {
		r.Text = "reply without text from " + o.Hop
	}
	return &r
}

// leftBehind returns the indices of recipients that failed while others in
// their group received the message. The client must not send the message again,
// so the server has to handle them. later holds the temporary failures, and
// failed the permanent ones.
func leftBehind(outcomes []mail.Outcome, groups [][]int) (later, failed []int) {
	for _, group := range groups {
		good := 0
		for _, i := range group {
			if outcomes[i].Reply.Positive() {
				good++
			}
		}
		if good == 0 || good == len(group) {
			continue
		}
		for _, i := range group {
			switch r := &outcomes[i].Reply; {
			case r.Positive(), slices.Contains(later, i), slices.Contains(failed, i): // groups may share a recipient
			case r.Permanent():
				failed = append(failed, i)
			default:
				later = append(later, i)
			}
		}
	}
	return later, failed
}

func allPositive(outcomes []mail.Outcome) bool {
	for i := range outcomes {
		if !outcomes[i].Reply.Positive() {
			return false
		}
	}
	return true
}

// everyone returns n copies of the list of the first k indices.
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
