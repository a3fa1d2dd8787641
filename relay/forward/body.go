package forward

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"hoplite/mail"
)

// pieces holds buffers for messages that are not in memory.
var pieces = sync.Pool{New: func() any {
	b := make([]byte, 64<<10)
	return &b
}}

// errReadMessage means that the message could not be read locally, which is not
// the server's fault.
var errReadMessage = errors.New("read message")

// data sends the message to the accepted recipients.
func (t *transaction) data(accepted int, dataSent bool) {
	c := t.c
	if accepted == 0 && !dataSent {
		return
	}
	if !dataSent {
		c.w.WriteString("DATA\r\n")
		if err := c.flush(c.times.command); err != nil {
			t.got.all(t.lost("DATA", err))
			return
		}
	}
	reply, err := c.wait(c.times.command)
	if err != nil {
		t.got.all(t.lost("DATA", err))
		return
	}
	if reply.Code != 354 {
		t.got.all(unexpected(reply))
		return
	}
	if accepted == 0 {
		// DATA was already sent together with the recipients. An empty message
		// ends it (RFC 2920, 3.1); the server refuses that message.
		c.w.WriteString(".\r\n")
		if err := c.w.Flush(); err == nil {
			c.wait(c.times.data)
		}
		return
	}
	out := &stuffer{w: c.w, line: true}
	if err := t.stream(out); err != nil {
		t.got.all(t.early("DATA", err))
		return
	}
	out.end()
	if t.flushed("DATA") {
		t.final()
	}
}

// chunk sends the message as one BDAT chunk (RFC 3030), without escaping. It
// could be sent together with MAIL and RCPT, but a server that refuses those
// and does not read the chunk (a bug in several servers) would interpret the
// message as commands from a trusted client. For this reason, chunk waits until
// a recipient has been accepted.
func (t *transaction) chunk(accepted int) error {
	c := t.c
	if accepted == 0 {
		return nil
	}
	fmt.Fprintf(c.w, "BDAT %d LAST\r\n", t.p.msg.Size())
	if err := t.stream(c.w); err != nil {
		t.got.all(t.early("BDAT", err))
	} else if t.flushed("BDAT") {
		t.final()
	}
	for _, r := range t.got {
		if r != nil && (r.Code == 500 || r.Code == 502) {
			// The server does not actually support BDAT and has interpreted the
			// message as commands, so the connection is unusable.
			c.broken = true
			return &offerError{got: t.got, chunking: true}
		}
	}
	return nil
}

// flushed writes the buffered end of the message.
func (t *transaction) flushed(stage string) bool {
	t.p.sent()
	if err := t.c.flush(t.c.times.data); err != nil {
		t.got.all(t.early(stage, err))
		return false
	}
	return true
}

// early checks whether a server that closed the connection in the middle of a
// message sent a reason.
func (t *transaction) early(stage string, err error) *mail.Reply {
	c := t.c
	c.broken = true
	if errors.Is(err, errReadMessage) {
		return t.lost(stage, err)
	}
	if reply, e := c.wait(time.Second); e == nil && reply.Code >= 400 {
		return unexpected(reply)
	}
	return t.lost(stage, err)
}

// stream writes the message, renewing the deadline for each piece.
func (t *transaction) stream(w io.Writer) error {
	c, m := t.c, t.p.msg
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
			return fmt.Errorf("%w: %w", errReadMessage, err)
		}
	}
}

// final reads the replies to the message: a single one, or with LMTP one for
// each accepted recipient (RFC 2033, 4.2).
func (t *transaction) final() {
	c := t.c
	c.used++
	var reply *mail.Reply
	for i := range t.got {
		if t.got[i] != nil {
			continue
		}
		if reply == nil || c.server.lmtp {
			var err error
			if reply, err = c.wait(c.times.data); err != nil {
				t.got.all(t.lost("end of data", err))
				return
			}
			if !reply.Positive() {
				reply = unexpected(reply)
			}
		}
		t.got[i] = reply
	}
	c.dirty = false
}
