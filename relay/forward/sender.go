package forward

import (
	"time"

	"hoplite/mail"
)

// Sender returns the address that all mail is sent as; "" if senders stay.
func (u *Upstream) Sender() mail.Address {
	if u.rules == nil {
		return ""
	}
	return u.rules.Sender
}

// sentAs returns the parcel with the configured sender. Routes have replaced the
// sender of nearly all mail before it was signed; the rest are this server's own
// reports and mail that comes here as a fallback.
func (u *Upstream) sentAs(p *parcel) (*parcel, *mail.Reply) {
	if u.rules == nil {
		return p, nil
	}
	msg, _, err := u.rules.Message(p.msg)
	if err != nil {
		return nil, mail.AsReply(err)
	}
	as := *p
	as.msg = msg
	if from := u.rules.ReversePath(p.tx.Envelope.From); from != p.tx.Envelope.From {
		tx := *p.tx
		tx.Envelope.From = from
		as.tx = &tx
	}
	return &as, nil
}

// refuse returns the outcomes of a parcel that no server was asked about.
func (u *Upstream) refuse(p *parcel, why *mail.Reply) []mail.Outcome {
	return u.outcomes(p, nil, make(answers, len(p.rcpts)).all(why), time.Now())
}
