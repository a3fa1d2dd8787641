package relay

import "hoplite/mail"

// seenBy returns the transaction as seen by a route's hop. The route may
// replace the sender.
func (t *transaction) seenBy(route *Route) *mail.Transaction {
	from := route.Rules.ReversePath(t.Envelope.From)
	if from == t.Envelope.From {
		return t.Transaction
	}
	tx := *t.Transaction
	tx.Envelope.From = from
	if route.Rules.Sender != "" {
		tx.Envelope.Owner = t.owner(from)
	}
	return &tx
}

// owner returns the address that receives reports about a message sent as
// sender: the original sender if it can receive mail, else the login, else the
// postmaster.
func (t *transaction) owner(sender mail.Address) mail.Address {
	env, from := &t.session.srv.env, t.Envelope.From
	switch {
	case env.Addresses != nil && env.Addresses.Ours(from.Domain()):
		if found, err := env.Addresses.Resolve(string(from)); err == nil && len(found.Finals) > 0 {
			return from
		}
	case from.ASCIIDomain() == sender.ASCIIDomain():
		return from
	}
	for _, other := range []string{t.Client.User, env.Postmaster} {
		if a, err := mail.ParseAddress(other); err == nil {
			return a
		}
	}
	return sender
}

// refresh updates the transaction that the hop sees from tx, whose header has
// been read in the meantime.
func (v *delivery) refresh(tx *mail.Transaction) {
	if v.tx == tx {
		return
	}
	from, owner := v.tx.Envelope.From, v.tx.Envelope.Owner
	*v.tx = *tx
	v.tx.Envelope.From, v.tx.Envelope.Owner = from, owner
}

// rewrite replaces the sender in the header, before the last stage signs it.
func (v *delivery) rewrite(tx *mail.Transaction, m *mail.Message) (*mail.Message, error) {
	changed, words, err := v.route.Rules.Message(m)
	if err != nil {
		r := mail.AsReply(err)
		tx.Trail.Add(mail.Event{Stage: mail.StageSend, By: "sender", Verdict: "reject", Reply: r})
		return nil, err
	}
	if v.tx.Envelope.From != tx.Envelope.From {
		if words != "" {
			words += ", "
		}
		words += "reverse path " + string(tx.Envelope.From) + " -> " + string(v.tx.Envelope.From)
	}
	if words != "" {
		tx.Trail.Add(mail.Event{Stage: mail.StageSend, By: "sender", Verdict: "tag", Reason: words})
	}
	return changed, nil
}
