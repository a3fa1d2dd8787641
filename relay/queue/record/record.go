// Package record defines the data that the queue stores with a message: the
// meta and state in the journal, and the envelope files in deferred and inject.
//
// Start with Meta and State; Envelope and File are the human-readable form.
package record

import (
	"fmt"
	"net/netip"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/schedule"
)

// The first octet of meta and of state is the number of its encoding. Existing
// encodings never change; a change requires a new number. An unknown number is
// an error.
const (
	metaForm = 1
	// metaUnverified replaces metaForm if the message is Unverified.
	metaUnverified = 2
	// metaOwned begins with a flag for Unverified and the Owner of the
	// envelope.
	metaOwned = 3
	stateForm = 1
)

// Meta returns the immutable part of a queued message: its envelope, its
// origin, and the trail so far.
func Meta(msg *schedule.Message, tx *mail.Transaction) []byte {
	p := packer{make([]byte, 0, 512)}
	switch {
	case msg.Envelope.Owner != "":
		p.b = append(p.b, metaOwned)
		p.flag(msg.Unverified)
		p.text(string(msg.Envelope.Owner))
	case msg.Unverified:
		p.b = append(p.b, metaUnverified)
	default:
		p.b = append(p.b, metaForm)
	}
	p.text(msg.Upstream)
	p.time(msg.At)
	p.flag(msg.Forged)
	packEnvelope(&p, &msg.Envelope)
	p.text(tx.Hostname)
	p.text(tx.Quarantine)
	packClient(&p, &tx.Client)
	p.text(tx.Header.MessageID)
	p.text(tx.Header.From)
	p.text(tx.Header.Subject)
	packTrail(&p, tx.Trail)
	return p.b
}

// ReadMeta decodes the output of Meta into msg, whose ID must be set, and into
// tx unless it is nil.
func ReadMeta(b []byte, msg *schedule.Message, tx *mail.Transaction) error {
	if len(b) == 0 || b[0] < metaForm || b[0] > metaOwned {
		return fmt.Errorf("envelope of %s has a form that this version cannot read", msg.ID)
	}
	msg.Unverified = b[0] == metaUnverified
	u := unpacker{b: b[1:]}
	if b[0] == metaOwned {
		msg.Unverified = u.flag()
		msg.Envelope.Owner = mail.Address(u.text())
	}
	msg.Upstream = u.text()
	msg.At = u.time()
	msg.Forged = u.flag()
	unpackEnvelope(&u, &msg.Envelope)
	if tx != nil {
		tx.ID, tx.At, tx.Envelope = msg.ID, msg.At, msg.Envelope
		tx.Hostname = u.text()
		tx.Quarantine = u.text()
		unpackClient(&u, &tx.Client)
		tx.Header.MessageID = u.text()
		tx.Header.From = u.text()
		tx.Header.Subject = u.text()
		tx.Trail = unpackTrail(&u)
	}
	if u.err != nil {
		return fmt.Errorf("envelope of %s: %w", msg.ID, u.err)
	}
	return nil
}

func packEnvelope(p *packer, e *mail.Envelope) {
	p.text(string(e.From))
	p.text(e.Body)
	p.flag(e.UTF8)
	p.flag(e.RequireTLS)
	p.text(e.Auth)
	p.text(e.Ret)
	p.text(e.EnvID)
	p.flag(e.DeliverBy != nil)
	if by := e.DeliverBy; by != nil {
		p.time(by.At)
		p.flag(by.Return)
		p.flag(by.Trace)
	}
	p.num(int64(e.Priority))
	p.count(len(e.Rcpts))
	for i := range e.Rcpts {
		r := &e.Rcpts[i]
		p.text(string(r.To))
		orig := r.Orig
		if orig == r.To {
			orig = ""
		}
		p.text(string(orig))
		p.text(r.Folder)
		p.num(int64(r.Notify))
		p.text(r.ORcpt)
		p.count(len(r.Via))
		for _, via := range r.Via {
			p.text(via)
		}
	}
}

func unpackEnvelope(u *unpacker, e *mail.Envelope) {
	e.From = mail.Address(u.text())
	e.Body = u.text()
	e.UTF8 = u.flag()
	e.RequireTLS = u.flag()
	e.Auth = u.text()
	e.Ret = u.text()
	e.EnvID = u.text()
	if u.flag() {
		e.DeliverBy = &mail.DeliverBy{At: u.time(), Return: u.flag(), Trace: u.flag()}
	}
	e.Priority = int(u.num())
	e.Rcpts = make([]mail.Rcpt, u.count())
	for i := range e.Rcpts {
		r := &e.Rcpts[i]
		r.To = mail.Address(u.text())
		if r.Orig = mail.Address(u.text()); r.Orig == "" {
			r.Orig = r.To
		}
		r.Folder = u.text()
		r.Notify = mail.Notify(u.num())
		r.ORcpt = u.text()
		for range u.count() {
			r.Via = append(r.Via, u.text())
		}
	}
}

func packClient(p *packer, c *mail.Client) {
	p.text(c.Listener)
	p.text(c.Protocol)
	addr := ""
	if c.Addr.IsValid() {
		addr = c.Addr.String()
	}
	p.text(addr)
	p.text(c.Helo)
	p.text(c.Name)
	p.text(c.User)
}

func unpackClient(u *unpacker, c *mail.Client) {
	c.Listener = u.text()
	c.Protocol = u.text()
	c.Addr, _ = netip.ParseAddrPort(u.text())
	c.Helo = u.text()
	c.Name = u.text()
	c.User = u.text()
}

func packTrail(p *packer, t *mail.Trail) {
	if t == nil {
		t = &mail.Trail{}
	}
	p.count(len(t.Events))
	for i := range t.Events {
		e := &t.Events[i]
		p.time(e.At)
		p.text(string(e.Stage))
		p.text(e.By)
		p.text(string(e.Rcpt))
		p.text(e.Verdict)
		packReply(p, e.Reply)
		p.text(e.Reason)
		p.count(len(e.Facts))
		for _, f := range e.Facts {
			p.text(f.Key)
			p.text(f.Value)
		}
		p.num(int64(e.Took))
		p.flag(e.Shadow)
	}
	p.count(len(t.Auth))
	for i := range t.Auth {
		a := &t.Auth[i]
		p.text(a.Method)
		p.text(a.Value)
		p.text(a.Reason)
		p.text(a.Comment)
		p.count(len(a.Props))
		for _, prop := range a.Props {
			p.text(prop.Type)
			p.text(prop.Name)
			p.text(prop.Value)
		}
	}
}

func unpackTrail(u *unpacker) *mail.Trail {
	t := &mail.Trail{}
	for range u.count() {
		e := mail.Event{
			At: u.time(), Stage: mail.Stage(u.text()), By: u.text(), Rcpt: mail.Address(u.text()),
			Verdict: u.text(), Reply: unpackReply(u), Reason: u.text(),
		}
		for range u.count() {
			e.Facts = append(e.Facts, mail.Fact{Key: u.text(), Value: u.text()})
		}
		e.Took = time.Duration(u.num())
		e.Shadow = u.flag()
		t.Events = append(t.Events, e)
	}
	for range u.count() {
		a := mail.AuthResult{Method: u.text(), Value: u.text(), Reason: u.text(), Comment: u.text()}
		for range u.count() {
			a.Props = append(a.Props, mail.AuthProp{Type: u.text(), Name: u.text(), Value: u.text()})
		}
		t.Auth = append(t.Auth, a)
	}
	return t
}

func packReply(p *packer, r *mail.Reply) {
	p.flag(r != nil)
	if r != nil {
		p.num(int64(r.Code))
		p.text(r.Enhanced)
		p.text(r.Text)
		p.text(r.Host)
	}
}

func unpackReply(u *unpacker) *mail.Reply {
	if !u.flag() {
		return nil
	}
	return &mail.Reply{Code: int(u.num()), Enhanced: u.text(), Text: u.text(), Host: u.text()}
}

// State returns the mutable part of a queued message: its hold and the progress
// of each recipient.
func State(msg *schedule.Message) []byte {
	p := packer{make([]byte, 0, 64+64*len(msg.Rcpts))}
	p.b = append(p.b, stateForm)
	held := msg.Held
	if msg.AwaitsUpstream() {
		held = "" // determined again at each start
	}
	p.text(held)
	p.time(msg.HeldAt)
	p.text(msg.Override)
	p.flag(msg.Warned)
	for i := range msg.Rcpts {
		r := &msg.Rcpts[i]
		p.num(int64(r.Status))
		p.count(r.Attempts)
		p.time(r.Next)
		p.time(r.Tried)
		packReply(&p, r.Last)
	}
	return p.b
}

// ReadState decodes the output of State into msg, which must have the same
// number of Rcpts. b is empty if there is no state.
func ReadState(b []byte, msg *schedule.Message) error {
	if len(b) == 0 {
		return nil
	}
	if b[0] != stateForm {
		return fmt.Errorf("state of %s has a form that this version cannot read", msg.ID)
	}
	u := unpacker{b: b[1:]}
	msg.Held = u.text()
	msg.HeldAt = u.time()
	msg.Override = u.text()
	msg.Warned = u.flag()
	for i := range msg.Rcpts {
		r := &msg.Rcpts[i]
		r.Status = schedule.Status(u.num())
		r.Attempts = int(u.num())
		r.Next = u.time()
		r.Tried = u.time()
		r.Last = unpackReply(&u)
	}
	if u.err != nil {
		return fmt.Errorf("state of %s: %w", msg.ID, u.err)
	}
	return nil
}
