package forward

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"hoplite/mail"
)

// fits refuses a message that the server does not support unmodified, before
// anything is sent.
func (t *transaction) fits() *mail.Reply {
	c, p := t.c, t.p
	name := c.server.name()
	if c.caps.size > 0 && p.msg.Size() > c.caps.size {
		return mail.NewReply(552, "5.3.4", "message of %d octets exceeds the limit of %s (%d)", p.msg.Size(), name, c.caps.size)
	}
	if p.tx.Envelope.RequireTLS && (requirement{least: verified}.meets(c.proof) != nil || !c.caps.requireTLS) {
		return mail.NewReply(550, "5.7.30", "REQUIRETLS: %s does not offer it over TLS with a verified certificate", name)
	}
	if t.utf8 && !c.caps.utf8 {
		return needsUTF8(name)
	}
	if p.msg.EightBit && !c.caps.eightBit && !c.caps.binary {
		return mail.NewReply(554, "5.6.3", "%s supports 7-bit text only, and this message has 8-bit characters: "+
			"send it as quoted-printable or base64", name)
	}
	return nil
}

func needsUTF8(name string) *mail.Reply {
	return mail.NewReply(553, "5.6.7", "%s does not support addresses or header fields with non-ASCII characters (SMTPUTF8)", name)
}

// need holds the extensions that a message requires.
type need struct{ utf8 bool }

// needs examines the message itself rather than the client's parameters,
// because a client may request SMTPUTF8 for every message (RFC 6531, 3.4).
func needs(p *parcel) need {
	return need{utf8: addressesNeedUTF8(p) || p.tx.Envelope.UTF8 && eightBit(p.msg.Header())}
}

func eightBit(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r > 0x7f }) >= 0
}

// mailLine returns the MAIL command with the parameters that the server
// supports.
func (t *transaction) mailLine() (string, error) {
	c, p := t.c, t.p
	e := &p.tx.Envelope
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + string(t.written(e.From)) + ">")
	if c.caps.sizeKnown {
		fmt.Fprintf(&b, " SIZE=%d", p.msg.Size())
	}
	switch {
	case p.sevenBit:
	case e.Body == "BINARYMIME" && c.caps.binary && c.caps.chunking:
		b.WriteString(" BODY=BINARYMIME")
	case e.Body == "BINARYMIME" && !c.caps.binary:
		return "", mail.NewReply(554, "5.6.3", "%s does not support binary content (BINARYMIME)", c.server.name())
	case p.msg.EightBit && c.caps.eightBit:
		b.WriteString(" BODY=8BITMIME")
	}
	if t.utf8 {
		b.WriteString(" SMTPUTF8")
	}
	if e.RequireTLS {
		b.WriteString(" REQUIRETLS")
	}
	if c.caps.dsn {
		if e.Ret != "" {
			b.WriteString(" RET=" + e.Ret)
		}
		if e.EnvID != "" {
			b.WriteString(" ENVID=" + xtext(e.EnvID))
		}
	}
	if e.DeliverBy != nil && c.caps.deliverBy {
		b.WriteString(byParam(e.DeliverBy))
	}
	if e.Priority != 0 && c.caps.priority {
		fmt.Fprintf(&b, " MT-PRIORITY=%d", e.Priority)
	}
	if e.Auth != "" && has(c.caps.auth, "PLAIN") {
		b.WriteString(" AUTH=" + xtext(e.Auth))
	}
	b.WriteString("\r\n")
	return b.String(), nil
}

// written returns an address as written in this transaction: with A-labels
// unless the transaction uses SMTPUTF8.
func (t *transaction) written(a mail.Address) mail.Address {
	if !t.utf8 {
		return plain(a)
	}
	return a
}

// plain returns a with A-labels if it can be sent without SMTPUTF8.
func plain(a mail.Address) mail.Address {
	if ascii, ok := a.ASCII(); ok {
		return ascii
	}
	return a
}

// byParam returns the BY parameter with the remaining time (RFC 2852, 4). It is
// empty if the deadline for returning the message has passed.
func byParam(by *mail.DeliverBy) string {
	mode := "N"
	if by.Return {
		mode = "R"
	}
	left := int(time.Until(by.At).Seconds())
	if left <= 0 && by.Return {
		return ""
	}
	if by.Trace {
		mode += "T"
	}
	return fmt.Sprintf(" BY=%d;%s", left, mode)
}

// rcptLine returns a RCPT command.
func (t *transaction) rcptLine(r *mail.Rcpt) string {
	c := t.c
	line := "RCPT TO:<" + string(t.written(r.To)) + ">"
	if c.caps.dsn {
		if n := notify(r.Notify); n != "" {
			line += " NOTIFY=" + n
		}
		if r.ORcpt != "" {
			line += " ORCPT=" + orcpt(r.ORcpt)
		}
	}
	return line + "\r\n"
}

func notify(n mail.Notify) string {
	if n&mail.NotifyNever != 0 {
		return "NEVER"
	}
	var words []string
	for _, k := range []struct {
		bit  mail.Notify
		word string
	}{{mail.NotifySuccess, "SUCCESS"}, {mail.NotifyFailure, "FAILURE"}, {mail.NotifyDelay, "DELAY"}} {
		if n&k.bit != 0 {
			words = append(words, k.word)
		}
	}
	return strings.Join(words, ",")
}

// orcpt encodes an address of the form type;address (RFC 3461, 4.2).
func orcpt(s string) string {
	kind, addr, ok := strings.Cut(s, ";")
	if !ok {
		kind, addr = "rfc822", s
	}
	return kind + ";" + xtext(addr)
}

// xtext encodes s as in RFC 3461, section 4. Non-ASCII octets are written in
// hexadecimal, which every server understands, rather than as the unitext of
// RFC 6533.
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '+' || c == '=' || c >= 0x7f {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
