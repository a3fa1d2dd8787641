package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"

	"hoplite/mail"
)

// introduce passes the client's identity to the server, if this is configured
// and supported by the server.
func (d *dialer) introduce(c *conn, from mail.Client) error {
	c.client = from.Addr
	if c.dirty && d.tellClient != "no" {
		if _, err := c.ask("RSET", d.times.command); err != nil {
			return c.failed("RSET", err)
		}
		c.dirty = false
	}
	switch {
	case d.tellClient == "xclient" && len(c.caps.xclient) > 0 && from.Addr.IsValid():
		reply, err := c.ask("XCLIENT"+attributes(c.caps.xclient, from), d.times.command)
		if err != nil {
			return c.failed("XCLIENT", err)
		}
		if reply.Code != 220 {
			return reply
		}
		return d.hello(c, false)
	case d.tellClient == "xforward" && len(c.caps.xforward) > 0 && from.Addr.IsValid():
		reply, err := c.ask("XFORWARD"+attributes(c.caps.xforward, from), d.times.command)
		if err != nil {
			return c.failed("XFORWARD", err)
		}
		if !reply.Positive() {
			return reply
		}
	}
	return nil
}

// serves reports whether a connection opened for one client can be used for
// another.
func (d *dialer) serves(c *conn, from mail.Client) bool {
	switch {
	case d.tellClient == "no" || c.client == from.Addr:
		return true
	case d.tellClient == "proxy":
		return false // the PROXY header is sent once, before anything else
	}
	return from.Addr.IsValid()
}

// errOtherClient means that a pooled connection is bound to another client.
var errOtherClient = errors.New("the connection was made for another client")

// reuse prepares a pooled connection for a client.
func (d *dialer) reuse(ctx context.Context, c *conn, from mail.Client) error {
	if !d.serves(c, from) {
		return errOtherClient
	}
	if d.tellClient == "no" || c.client == from.Addr {
		return nil
	}
	defer c.watch(ctx)()
	return d.introduce(c, from)
}

// attributes returns the client attributes that the server accepts (Postfix's
// XCLIENT_README and XFORWARD_README).
func attributes(offered []string, from mail.Client) string {
	addr := from.Addr.Addr().Unmap()
	text := addr.String()
	if addr.Is6() {
		text = "IPV6:" + text
	}
	name := from.Name
	if name == "" {
		name = "[UNAVAILABLE]"
	}
	proto := "SMTP"
	if from.ESMTP {
		proto = "ESMTP"
	}
	login := from.User
	if login == "" {
		login = "[UNAVAILABLE]"
	}
	var b strings.Builder
	for _, a := range []struct{ name, value string }{
		{"NAME", name}, {"ADDR", text}, {"PROTO", proto}, {"HELO", from.Helo}, {"LOGIN", login},
	} {
		if has(offered, a.name) && a.value != "" {
			b.WriteString(" " + a.name + "=" + xtext(a.value))
		}
	}
	return b.String()
}

// writeProxy writes a version 2 PROXY header (haproxy's proxy-protocol.txt,
// 2.2). An unknown client is sent as LOCAL.
func writeProxy(w io.Writer, from mail.Client) error {
	head := []byte("\r\n\r\n\x00\r\nQUIT\n")
	src, dst := from.Addr, from.Local
	if !src.IsValid() || !dst.IsValid() {
		_, err := w.Write(append(head, 0x20, 0, 0, 0))
		return err
	}
	a, b := src.Addr().Unmap(), dst.Addr().Unmap()
	family := byte(0x11)
	if a.Is6() || b.Is6() {
		family = 0x21
		a, b = netip.AddrFrom16(a.As16()), netip.AddrFrom16(b.As16())
	}
	body := append(a.AsSlice(), b.AsSlice()...)
	body = binary.BigEndian.AppendUint16(body, src.Port())
	body = binary.BigEndian.AppendUint16(body, dst.Port())
	head = append(head, 0x21, family)
	head = binary.BigEndian.AppendUint16(head, uint16(len(body)))
	_, err := w.Write(append(head, body...))
	return err
}
