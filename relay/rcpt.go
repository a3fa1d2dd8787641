package relay

import (
	"errors"
	"strings"

	"github.com/emersion/go-smtp"

	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/relay/wire"
)

// Rcpt handles a recipient. The address is resolved to final addresses. Each of
// these passes through the filters, is assigned a route, and is offered to the
// route's hop.
func (s *session) Rcpt(path string, o *smtp.RcptOptions) error {
	t := s.tx
	path = wire.Path(path)
	if max := s.srv.cfg.MaxRecipients; max > 0 && t.rcpts >= max {
		return s.reply(mail.NewReply(452, "4.5.3", "Too many recipients"))
	}
	addr, err := mail.ParseAddress(path)
	if err != nil {
		return s.refuseRcpt(t, mail.Address(path), mail.NewReply(553, "5.1.3", "Recipient address rejected: %v", err), "listener")
	}
	if addr.NeedsUTF8() && !t.Envelope.UTF8 {
		return s.refuseRcpt(t, addr, mail.NewReply(553, "5.6.7", "Recipient address requires SMTPUTF8"), "listener")
	}
	addr = s.postmaster(addr)
	finals, r := s.resolve(addr)
	if r == nil && t.Envelope.From != "" && s.srv.env.Rewritten != nil && s.srv.env.Rewritten(addr) {
		// Mail to a rewritten sender is legitimate only if it is a report.
		// Anything else is spam to a harvested address.
		r = mail.NewReply(550, "5.7.1", "Recipient address rejected: rewritten senders receive delivery reports only")
	}
	if r != nil {
		return s.refuseRcpt(t, addr, r, "addresses")
	}
	notify := notifyOf(o.Notify)
	orcpt := ""
	if o.OriginalRecipient != "" {
		orcpt = string(o.OriginalRecipientType) + ";" + o.OriginalRecipient
	}
	var few [2]member // most addresses resolve to one
	members := few[:0]
	mark, discard := len(t.Envelope.Rcpts), t.discard
	t.run.Group(finals)
	for _, final := range finals {
		final.Notify, final.ORcpt = notify, orcpt
		members = append(members, t.ask(s.srv.ctx, final))
	}
	if m := t.refusalFor(members); m != nil {
		t.withdraw(mark)
		t.discard = discard
		if len(members) > 1 {
			t.Trail.Add(mail.Event{Stage: mail.StageRcpt, By: m.by, Rcpt: m.rcpt.To, Verdict: verdictOf(m.refusal), Reply: m.refusal,
				Reason: "one of several addresses of <" + string(addr) + ">: all of them are refused with it"})
		}
		return s.refuseRcpt(t, addr, m.refusal, m.by)
	}
	places := make([]int, len(members))
	for i := range members {
		m := &members[i]
		if places[i] = m.place; m.refusal == nil {
			continue
		}
		places[i] = t.leave(m)
		t.Trail.Add(mail.Event{Stage: mail.StageRcpt, By: m.by, Rcpt: m.rcpt.To, Verdict: verdictOf(m.refusal), Reply: m.refusal,
			Reason: "one of several addresses of <" + string(addr) + ">: this one is not accepted"})
	}
	t.rcpts++
	t.asked = append(t.asked, places)
	return s.reply(t.rcptReply(addr, places))
}

// postmaster returns addr. For the postmaster at an address literal that the
// client is connected to, it returns the postmaster at the listener's name,
// because such mail is accepted under every name of the server (RFC 5321,
// 4.5.1).
func (s *session) postmaster(addr mail.Address) mail.Address {
	ip, ok := addr.Literal()
	if !ok || ip != s.conn.Ident().Local.Addr().Unmap() || !strings.EqualFold(addr.Local(), "postmaster") {
		return addr
	}
	if named, err := mail.Join("postmaster", s.srv.env.Hostname); err == nil {
		return named
	}
	return addr
}

// rcptReply returns 251 if the mail is forwarded to a single remote address
// (RFC 5321, 3.4) that may be disclosed to the client, otherwise 250.
func (t *transaction) rcptReply(addr mail.Address, accepted []int) *mail.Reply {
	if len(accepted) == 1 {
		if to := t.Envelope.Rcpts[accepted[0]].To; t.Client.User != "" && to.Key() != addr.Key() && to.Domain() != addr.Domain() {
			return mail.NewReply(251, "2.1.5", "User not local; will forward to <%s>", to)
		}
	}
	return recipientOK
}

func (s *session) refuseRcpt(t *transaction, addr mail.Address, r *mail.Reply, by string) error {
	if n := len(t.Trail.Events); n == 0 || t.Trail.Events[n-1].Reply != r {
		t.Trail.Add(mail.Event{Stage: mail.StageRcpt, By: by, Rcpt: addr, Verdict: verdictOf(r), Reply: r})
	}
	if len(t.refused) < maxNamed {
		t.refused = append(t.refused, addr)
	}
	t.last = t.withID(r)
	return s.reply(r)
}

// resolve returns the final addresses of a recipient.
func (s *session) resolve(addr mail.Address) ([]mail.Rcpt, *mail.Reply) {
	if s.srv.env.Addresses == nil {
		return []mail.Rcpt{{To: addr, Orig: addr}}, nil
	}
	res, err := s.srv.env.Addresses.Resolve(string(addr))
	switch {
	case errors.Is(err, alias.ErrLoop), errors.Is(err, alias.ErrTooMany):
		return nil, &mail.Reply{Code: 554, Enhanced: "5.4.6", Text: "Alias loop detected", Cause: err}
	case err != nil:
		return nil, mail.AsReply(err)
	}
	var finals []mail.Rcpt
	for _, f := range res.Finals {
		to, err := mail.ParseAddress(f.Address)
		if err != nil {
			return nil, &mail.Reply{Code: 451, Enhanced: "4.3.5", Text: "Server configuration error: invalid alias target", Cause: err}
		}
		finals = append(finals, mail.Rcpt{To: to, Orig: addr, Folder: f.Folder, Via: via(res.Path)})
	}
	if len(finals) == 0 {
		return nil, mail.NewReply(550, "5.1.1", "Recipient address rejected: no such user")
	}
	return finals, nil
}

// via returns the names of the aliases through which an address was resolved.
func via(path []alias.Step) []string {
	var names []string
	for _, p := range path {
		names = append(names, p.From+" ("+p.By+")")
	}
	return names
}

// index returns the index of a recipient in the envelope, or -1.
func (t *transaction) index(a mail.Address) int {
	for i, r := range t.Envelope.Rcpts {
		if r.To == a {
			return i
		}
	}
	return -1
}

func notifyOf(set []smtp.DSNNotify) (n mail.Notify) {
	for _, v := range set {
		switch v {
		case smtp.DSNNotifyNever:
			n |= mail.NotifyNever
		case smtp.DSNNotifySuccess:
			n |= mail.NotifySuccess
		case smtp.DSNNotifyFailure:
			n |= mail.NotifyFailure
		case smtp.DSNNotifyDelayed:
			n |= mail.NotifyDelay
		}
	}
	return n
}
