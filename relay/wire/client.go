package wire

import (
	"io"
	"net/netip"
	"strconv"
	"strings"

	"hoplite/mail"
)

// clientInfo holds the client's identity and the extensions offered to it.
type clientInfo struct {
	ident Ident
	helo  string
	esmtp bool
	offer Offer
}

// Ident identifies the client by its socket, PROXY header or XCLIENT.
type Ident struct {
	Client, Local netip.AddrPort
	Name          string // reverse name, if XCLIENT gave one
	Claimed       bool   // XCLIENT gave the identity
}

// hello answers HELO, EHLO and LHLO. Each of them ends a transaction (RFC 5321,
// 4.1.4).
func (c *Conn) hello(verb, arg string) {
	name, _, _ := strings.Cut(arg, " ")
	switch {
	case name == "" || len(name) > 255:
		c.say(refusal(501, "5.5.4", "Syntax: "+verb+" hostname"))
		return
	case c.opts.LMTP && verb != "LHLO":
		c.say(refusal(500, "5.5.1", "This is an LMTP server, use LHLO"))
		return
	case !c.opts.LMTP && verb == "LHLO":
		c.say(refusal(500, "5.5.1", "This is an SMTP server, use EHLO"))
		return
	}
	c.reset()
	c.order.hello()
	c.client.helo, c.client.esmtp, c.client.offer = name, verb != "HELO", Offer{}
	disabled := disabled(c.opts.Disable)
	if c.opts.Offer != nil {
		c.client.offer = c.opts.Offer(c).without(disabled)
	}
	r := mail.Reply{Code: 250, Text: c.opts.Hostname}
	if c.client.esmtp {
		_, secure := c.sock.TLS()
		words := c.client.offer.keywords(channel{
			startTLS: c.sock.CanTLS() && c.order.login == "", secure: secure, xclient: c.opts.trusts(c.sock.Peer.Addr()),
		}, disabled)
		r.Text += "\n" + strings.Join(words, "\n")
	}
	c.say(r)
}

// startTLS begins TLS. No octets may follow the command in the same read,
// because they would be unprotected. Treating them as protected is a
// vulnerability (CVE-2011-0411).
func (c *Conn) startTLS(arg string) {
	_, already := c.sock.TLS()
	switch {
	case arg != "":
		c.say(refusal(501, "5.5.4", "Syntax: STARTTLS"))
		return
	case already:
		c.say(refusal(503, "5.5.1", "TLS is already active"))
		return
	case !c.sock.CanTLS():
		c.say(refusal(502, "5.5.1", "STARTTLS is not offered"))
		return
	case len(c.in.data()) > 0:
		c.say(refusal(554, "5.5.1", "Nothing may follow STARTTLS before the handshake"))
		c.hangup = true
		return
	}
	c.put(refusal(220, "2.0.0", "Ready to start TLS"))
	if c.out.flush() != nil || c.sock.StartTLS() != nil {
		// The client would not read a reply in clear text.
		c.err = io.EOF
		c.Close()
		return
	}
	c.forget()
}

// forget discards all information about the client except its address, and
// returns to the start of a session (RFC 3207, 4.2).
func (c *Conn) forget() {
	c.State = nil
	c.client.helo, c.client.esmtp, c.client.offer = "", false, Offer{}
	c.order.forget()
	if c.lib != nil {
		c.lib.leaving = true
	}
}

// xclient sets the client's identity as passed by a front-end server (Postfix,
// XCLIENT_README). It ends an earlier login, which was not that client's.
func (c *Conn) xclient(arg string) {
	if !c.opts.trusts(c.sock.Peer.Addr()) {
		c.say(refusal(550, "5.7.1", "You are not authorized to use XCLIENT"))
		return
	}
	id, ok := c.client.ident.with(arg)
	if !ok {
		c.say(refusal(501, "5.5.4", "Syntax: XCLIENT attribute=value, of NAME, ADDR, PORT, PROTO, HELO, DESTADDR, DESTPORT"))
		return
	}
	id.Claimed = true
	c.client.ident = id
	c.put(c.opts.banner())
	c.forget()
}

// with applies the arguments of XCLIENT.
func (id Ident) with(arg string) (Ident, bool) {
	f := strings.Fields(arg)
	if len(f) == 0 {
		return id, false
	}
	for _, word := range f {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return id, false
		}
		value, ok = xtext(value)
		if !ok || !id.set(strings.ToUpper(key), value) {
			return id, false
		}
	}
	return id, true
}

func (id *Ident) set(key, value string) bool {
	unknown := strings.EqualFold(value, "[UNAVAILABLE]") || strings.EqualFold(value, "[TEMPUNAVAIL]")
	switch key {
	case "NAME":
		if id.Name = value; unknown {
			id.Name = ""
		}
		return true
	case "ADDR":
		return setAddr(&id.Client, value, unknown)
	case "DESTADDR":
		return setAddr(&id.Local, value, unknown)
	case "PORT":
		return setPort(&id.Client, value, unknown)
	case "DESTPORT":
		return setPort(&id.Local, value, unknown)
	}
	return key == "PROTO" || key == "HELO" // the following EHLO has both
}

func setAddr(ap *netip.AddrPort, value string, unknown bool) bool {
	if unknown {
		*ap = netip.AddrPort{}
		return true
	}
	if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
		value = value[5:]
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return false
	}
	*ap = netip.AddrPortFrom(addr.Unmap(), ap.Port())
	return true
}

func setPort(ap *netip.AddrPort, value string, unknown bool) bool {
	n, err := strconv.ParseUint(value, 10, 16)
	if unknown {
		n, err = 0, nil
	}
	*ap = netip.AddrPortFrom(ap.Addr(), uint16(n))
	return err == nil
}

// xtext decodes xtext (RFC 3461, 4). Control characters are refused.
func xtext(s string) (string, bool) {
	if !strings.Contains(s, "+") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil || n < ' ' || n == 0x7f {
			return "", false
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), true
}
