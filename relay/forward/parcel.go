package forward

import (
	"slices"
	"time"

	"hoplite/mail"
)

// parcel is a message with the recipients that it goes to on one connection.
type parcel struct {
	tx    *mail.Transaction
	rcpts []mail.Rcpt
	msg   *mail.Message
	// waits is set when a client waits for the outcome: a server that failed
	// recently is then not tried again yet. The queue has its own pauses.
	waits bool
	// patience, if not nil, ends the hand-over of a waiting client, until the
	// server has the whole message and only its reply is missing: to give up
	// then would send a message twice (RFC 5321, 4.5.3.2.6).
	patience *time.Timer
	// sevenBit is set for a message that was re-encoded, whatever the client
	// announced.
	sevenBit bool
}

// only is the parcel for some of its recipients, by index.
func (p *parcel) only(places []int) *parcel {
	if len(places) == len(p.rcpts) {
		return p
	}
	part := *p
	part.rcpts = make([]mail.Rcpt, len(places))
	for k, i := range places {
		part.rcpts[k] = p.rcpts[i]
	}
	return &part
}

// sent notes that the server will have the whole message: from here on only its
// reply counts, however long it takes.
func (p *parcel) sent() {
	if p.patience != nil {
		p.patience.Stop()
	}
}

// answers are the replies to a transaction, one for each recipient; nil where
// there is none yet.
type answers []*mail.Reply

// all gives r to every recipient without an answer.
func (a answers) all(r *mail.Reply) answers {
	for i := range a {
		if a[i] == nil {
			a[i] = r
		}
	}
	return a
}

// deferred are the recipients refused only because they were too many for a
// transaction that accepted others.
func (a answers) deferred() []int {
	if !slices.ContainsFunc(a, func(r *mail.Reply) bool { return r.Positive() }) {
		return nil
	}
	var list []int
	for i, r := range a {
		if r.Code == 452 && (r.Enhanced == "" || r.Enhanced == "4.5.3") {
			list = append(list, i)
		}
	}
	return list
}
