// Package rewrite changes the sender of a message for a next server that
// accepts only certain senders: the reverse path and the fields From, Sender
// and Reply-To.
//
// A message signed by its author is refused instead, since the signature would
// no longer match. Recipients and all other fields are unchanged. The caller
// decides which mail is changed, and who receives reports about it. Start with
// Rules.
package rewrite

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// Rules define how the sender of a message is changed. Map is applied before
// Sender, so the former authors in Reply-To are mapped addresses. A nil *Rules
// changes nothing.
type Rules struct {
	// Sender, if not empty, replaces the reverse path and becomes the only
	// author. The former authors become the Reply-To, unless the message
	// already has one.
	Sender mail.Address
	// Map replaces addresses.
	Map Map
}

// New returns the rules for a sender and a map, or nil if both are empty.
func New(sender mail.Address, m Map) *Rules {
	if sender == "" && len(m.to) == 0 {
		return nil
	}
	return &Rules{Sender: sender, Map: m}
}

// ReversePath returns the reverse path to use instead of from. The null path is
// kept: otherwise reports about reports would be sent.
func (r *Rules) ReversePath(from mail.Address) mail.Address {
	switch {
	case r == nil || from == "":
		return from
	case r.Sender != "":
		return r.Sender
	}
	return r.Map.Apply(from)
}

// Message returns m with its sender changed, and a description of the changes.
// If nothing has to be changed, it returns m itself and an empty description.
// The error is the refusal of a signed message, or that of reading it.
func (r *Rules) Message(m *mail.Message) (changed *mail.Message, words string, err error) {
	if r == nil {
		return m, "", nil
	}
	h := readHeader(m)
	fields, words := r.fields(h)
	if words == "" {
		return m, "", nil
	}
	kind, err := h.signed(m)
	if err != nil {
		return nil, "", err
	}
	if kind != "" {
		return nil, "", mail.NewReply(550, "5.7.1",
			"Message is signed (%s), and sending it as %s would break the signature", kind, r.as(h))
	}
	e := *m
	e.Top, e.Drop = nil, append([]mail.Span(nil), m.Drop...)
	for f := range mail.Fields(m.Top) {
		if !changes(f) {
			e.Top = append(e.Top, f.Raw...)
		}
	}
	e.Top = append(e.Top, fields...) // below Received
	var drop []mail.Span
	for _, f := range h.senders {
		if f.inHead {
			drop = append(drop, f.Span)
		}
	}
	return e.Edited(nil, drop...), words, nil
}

// as returns the new sender address, for the text of the refusal.
func (r *Rules) as(h *header) mail.Address {
	if r.Sender != "" {
		return r.Sender
	}
	for _, f := range h.senders {
		for _, a := range f.list {
			if to, ok := r.Map.mailbox(a); ok {
				return to
			}
		}
	}
	return ""
}

// changes reports whether rules can change a field.
func changes(f mail.Field) bool { return f.Is("From") || f.Is("Sender") || f.Is("Reply-To") }

// header is the information about a header block that rules need.
type header struct {
	senders    []senderField
	signatures bool // there is a DKIM or ARC signature
}

// senderField is a From, Sender or Reply-To field.
type senderField struct {
	mail.Field
	list   []mime.Address
	inHead bool // sent by the client; otherwise it was added in Top
}

func readHeader(m *mail.Message) *header {
	h := &header{}
	h.read(m.Top, nil, false)
	h.read(m.Head, m.Drop, true)
	return h
}

// read adds the fields of a block, except for dropped ones.
func (h *header) read(block []byte, drop []mail.Span, inHead bool) {
	for f := range mail.Fields(block) {
		if dropped(f.Span, drop) {
			continue
		}
		switch {
		case changes(f):
			h.senders = append(h.senders, senderField{f, mime.ParseAddresses(f.Text()), inHead})
		case f.Is("DKIM-Signature"), f.Is("ARC-Message-Signature"):
			h.signatures = true
		}
	}
}

func dropped(s mail.Span, drop []mail.Span) bool {
	for _, d := range drop {
		if d.Start <= s.Start && s.Start < d.End {
			return true
		}
	}
	return false
}

// fields returns the new From, Sender and Reply-To fields, and a description of
// the changes, which is empty if there are none.
func (r *Rules) fields(h *header) (fields []byte, words string) {
	var out bytes.Buffer
	var changes []string
	var authors []mailbox
	hasReplyTo := false
	for _, f := range h.senders {
		list, mapped := r.Map.list(f.list)
		changes = append(changes, mapped...)
		switch {
		case r.Sender != "" && f.Is("From"):
			authors = append(authors, list...)
			continue
		case r.Sender != "" && f.Is("Sender"): // the sender is now the author
			if !r.isSender(list) {
				changes = append(changes, "Sender removed")
			}
			continue
		}
		hasReplyTo = hasReplyTo || f.Is("Reply-To")
		if len(mapped) == 0 {
			out.Write(f.Raw)
		} else {
			writeField(&out, f.Name, list)
		}
	}
	if r.Sender == "" {
		return out.Bytes(), strings.Join(changes, ", ")
	}
	name := ""
	if len(authors) > 0 {
		name = authors[0].name
	}
	if !r.isSender(authors) {
		changes = append(changes, fmt.Sprintf("From %s -> %s", cmp.Or(addresses(authors), "(none)"), r.Sender))
		if answer := repliable(authors); !hasReplyTo && len(answer) > 0 {
			writeField(&out, "Reply-To", answer)
		}
	}
	writeField(&out, "From", []mailbox{{name: name, addr: string(r.Sender)}})
	return out.Bytes(), strings.Join(changes, ", ")
}

// isSender reports whether a list consists only of Sender.
func (r *Rules) isSender(list []mailbox) bool {
	return len(list) == 1 && mail.Key(list[0].addr) == r.Sender.Key()
}
