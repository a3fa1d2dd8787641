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

// introduce tells the server who the client is, if it is configured to be told
// and offers the way.
func (d *dialer) introduce(c *conn, from mail.Client) error {
	c.client = from.Addr
	if c.dirty && d.client != "no" {
		if _, err := c.ask("RSET", d.times.command); err != nil {
			return &step{"RSET", err}
		}
		c.dirty = false
	}
	switch {
	case d.client == "xclient" && len(c.caps.xclient) > 0 && from.Addr.IsValid():
		reply, err := c.ask("XCLIENT"+attributes(c.caps.xclient, from), d.times.command)
		if err != nil {
			return &step{"XCLIENT", err}
		}
		if reply.Code != 220 {
			return refusedBy(c, reply)
		}
		return d.hello(c)
	case d.client == "xforward" && len(c.caps.xforward) > 0 && from.Addr.IsValid():
		reply, err := c.ask("XFORWARD"+attributes(c.caps.xforward, from), d.times.command)
		if err != nil {
			return &step{"XFORWARD", err}
		}
		if !reply.Positive() {
			return refusedBy(c, reply)
		}
	}
	return nil
}

// serves tells whether a connection that was made for one client, or told of
// it, can be used for another.
func (d *dialer) serves(c *conn, from mail.Client) bool {
	switch {
	case d.client == "no" || c.client == from.Addr:
		return true
	case d.client == "proxy":
		return false // the header stands at the start of the connection
	}
	return from.Addr.IsValid()
}

// errOtherClient is a pooled connection that belongs to another client.
var errOtherClient = errors.New("the connection was made for another client")

// reuse makes a pooled connection ready for a client.
func (d *dialer) reuse(ctx context.Context, c *conn, from mail.Client) error {
	if !d.serves(c, from) {
		return errOtherClient
	}
	if d.client == "no" || c.client == from.Addr {
		return nil
	}
	defer c.watch(ctx)()
	return d.introduce(c, from)
}

// attributes are the ones that the server takes.
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

// writeProxy writes a PROXY header, version 2 (haproxy's proxy-protocol.txt,
// 2.2). A client that is unknown becomes LOCAL.
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
