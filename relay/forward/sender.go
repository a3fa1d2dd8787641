package forward

import (
	"time"

	"hoplite/mail"
)

// Sender returns the address that all mail is sent as, or "" if senders are not
// replaced.
func (u *Upstream) Sender() mail.Address {
	if u.rules == nil {
		return ""
	}
	return u.rules.Sender
}

// sentAs returns the parcel with the configured sender. Routes have already
// replaced the sender of nearly all mail, before it was signed. The exceptions
// are this server's own reports and mail sent to this upstream as a fallback.
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

// refuse returns the outcomes of a parcel for which no server was asked.
func (u *Upstream) refuse(p *parcel, why *mail.Reply) []mail.Outcome {
	return u.outcomes(p, nil, make(answers, len(p.rcpts)).all(why), time.Now())
}
