package wire

import (
	"net/netip"
	"strconv"
	"strings"
)

// mayXClient tells whether the peer, not the client it may speak for, is one
// that we believe.
func (c *Conn) mayXClient() bool {
	for _, n := range c.opts.XClient {
		if n.Contains(c.sock.Peer.Addr()) {
			return true
		}
	}
	return false
}

// xclient takes over what a front server knows of the client (Postfix,
// XCLIENT_README). Logins are not taken over: a login is something that we
// have seen ourselves.
func (c *Conn) xclient(arg string) {
	switch {
	case !c.mayXClient():
		c.say(refusal(550, "5.7.1", "you may not use XCLIENT"))
		return
	case c.inMail:
		c.say(refusal(503, "5.5.1", "XCLIENT in the middle of a message"))
		return
	}
	id, ok := c.ident.with(arg)
	if !ok {
		c.say(refusal(501, "5.5.4", "XCLIENT wants NAME, ADDR, PORT, PROTO, HELO, DESTADDR, DESTPORT"))
		return
	}
	c.ident = id
	c.put(c.banner())
	c.forget()
}

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
		if !ok {
			return id, false
		}
		unknown := strings.EqualFold(value, "[UNAVAILABLE]") || strings.EqualFold(value, "[TEMPUNAVAIL]")
		switch strings.ToUpper(key) {
		case "NAME":
			if id.Name = value; unknown {
				id.Name = ""
			}
		case "ADDR":
			ok = setAddr(&id.Client, value, unknown)
		case "DESTADDR":
			ok = setAddr(&id.Local, value, unknown)
		case "PORT":
			ok = setPort(&id.Client, value, unknown)
		case "DESTPORT":
			ok = setPort(&id.Local, value, unknown)
		case "PROTO", "HELO": // the client says EHLO itself in a moment
		default:
			ok = false
		}
		if !ok {
			return id, false
		}
	}
	return id, true
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

// xtext decodes RFC 3461, 4. Control characters are refused.
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
