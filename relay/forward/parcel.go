package forward

import (
	"slices"
	"strings"
	"time"

	"hoplite/mail"
)

// parcel is a message with the recipients for one connection.
type parcel struct {
	tx    *mail.Transaction
	rcpts []mail.Rcpt
	msg   *mail.Message
	// waits is set if a client is waiting for the outcome. A server that failed
	// recently is then not tried again yet. The queue has its own retry
	// schedule.
	waits bool
	// patience, if not nil, limits the time that a client waits for the server
	// to receive the whole message. While only the server's reply is missing
	// there is no limit, because giving up at that point would send the message
	// twice (RFC 5321, 4.5.3.2.6).
	patience *time.Timer
	// sevenBit is set for a message that was re-encoded as 7-bit text, whatever
	// the client announced.
	sevenBit bool
}

// only returns the parcel for the recipients with the given indices.
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

// sent records that the server is receiving the whole message. From this point
// on only its reply matters, however long it takes.
func (p *parcel) sent() {
	if p.patience != nil {
		p.patience.Stop()
	}
}

// answers holds the replies to a transaction, one for each recipient. A nil
// reply is still missing.
type answers []*mail.Reply

// all sets r for every recipient without an answer.
func (a answers) all(r *mail.Reply) answers {
	for i := range a {
		if a[i] == nil {
			a[i] = r
		}
	}
	return a
}

// deferred returns the recipients that were refused only because there were too
// many in a transaction that accepted others.
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

// tlsNotRequired reports whether the message asks to be delivered even if DANE or
// MTA-STS would prevent it (RFC 8689, 5). REQUIRETLS has precedence.
func (p *parcel) tlsNotRequired() bool {
	if p.tx.Envelope.RequireTLS {
		return false
	}
	for f := range mail.Fields(p.msg.Head) {
		if f.Is("TLS-Required") {
			return strings.EqualFold(f.Text(), "No")
		}
	}
	return false
}
