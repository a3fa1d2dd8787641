package forward

import (
	"errors"
	"fmt"
	"io"
	"time"

	"hoplite/mail"
)

// body sends the message to the recipients that were accepted.
func (c *conn) body(p *parcel, got answers, accepted int, bdat, dataSent bool) answers {
	if accepted == 0 && !dataSent {
		return got
	}
	if bdat {
		return c.chunk(p, got)
	}
	if !dataSent {
		c.w.WriteString("DATA\r\n")
		c.arm(c.times.command)
		if err := c.w.Flush(); err != nil {
			return got.all(c.lost("DATA", err))
		}
	}
	reply, err := c.wait(c.times.command)
	if err != nil {
		return got.all(c.lost("DATA", err))
	}
	if reply.Code != 354 {
		return got.all(odd(reply))
	}
	if accepted == 0 {
		// DATA was on its way with the recipients: an empty message ends it
		// (RFC 2920, 3.1), and the server refuses that.
		c.w.WriteString(".\r\n")
		if err := c.w.Flush(); err == nil {
			c.wait(c.times.data)
		}
		return got
	}
	out := &stuffer{w: c.w, line: true}
	if err := c.stream(p.msg, out); err != nil {
		return got.all(c.early("the message", err))
	}
	out.end()
	p.sent()
	c.arm(c.times.data)
	if err := c.w.Flush(); err != nil {
		return got.all(c.early("the message", err))
	}
	return c.final(p, got)
}

// chunk sends the message as one BDAT (RFC 3030): no octet needs an escape. It
// could leave in one write with MAIL and RCPT, but a server that refuses those
// and does not swallow the chunk (several have had that bug) would take the
// message's text for commands, and from a client it trusts. So it waits until
// somebody is accepted.
func (c *conn) chunk(p *parcel, got answers) answers {
	fmt.Fprintf(c.w, "BDAT %d LAST\r\n", p.msg.Size())
	if err := c.stream(p.msg, c.w); err != nil {
		return got.all(c.early("the message", err))
	}
	p.sent()
	c.arm(c.times.data)
	if err := c.w.Flush(); err != nil {
		return got.all(c.early("the message", err))
	}
	return c.final(p, got)
}

// sent notes that the server will have the whole message: from here on only its
// answer counts, however long it takes.
func (p *parcel) sent() {
	if p.patience != nil {
		p.patience.Stop()
	}
}

// early looks whether a server that broke off in the middle of a message said
// why.
func (c *conn) early(during string, err error) *mail.Reply {
	c.broken = true
	if unread := (*step)(nil); errors.As(err, &unread) {
		return c.lost(during, err) // our own side: the server said nothing
	}
	if reply, e := c.wait(time.Second); e == nil && reply.Code >= 400 {
		return odd(reply)
	}
	return c.lost(during, err)
}

// stream writes the message, the deadline moving with each piece.
func (c *conn) stream(m *mail.Message, w io.Writer) error {
	c.arm(c.times.data)
	if _, err := w.Write(m.Header()); err != nil {
		return err
	}
	body := m.Body()
	if b, ok := m.Base.(mail.Bytes); ok {
		c.arm(c.times.data)
		_, err := w.Write(b[len(m.Head):])
		return err
	}
	buf := pieces.Get().(*[]byte)
	defer pieces.Put(buf)
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			c.arm(c.times.data)
			if _, err := w.Write((*buf)[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &step{"read the message", err}
		}
	}
}

// final reads the answers to the message: one, or with LMTP one for each
// recipient that was accepted (RFC 2033, 4.2).
func (c *conn) final(p *parcel, got answers) answers {
	c.used++
	var reply *mail.Reply
	for i := range got {
		if got[i] != nil {
			continue
		}
		if reply == nil || c.server.lmtp {
			var err error
			if reply, err = c.wait(c.times.data); err != nil {
				return got.all(c.lost("its answer to the message", err))
			}
			if !reply.Positive() {
				reply = odd(reply)
			}
		}
		got[i] = reply
	}
	c.dirty = false
	return got
}
