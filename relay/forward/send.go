package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hoplite/mail"
)

// errNothingSent marks a failure before the server answered anything about
// this transaction: trying on a fresh connection can't send a message twice.
var errNothingSent = errors.New("connection was gone before the transaction began")

// parcel is what one transaction carries.
type parcel struct {
	tx    *mail.Transaction
	rcpts []mail.Rcpt
	msg   *mail.Message
	// waits is set when a client waits for the outcome: then a server that
	// failed a moment ago is not tried again yet. The queue has its own pauses.
	waits bool
	// patience ends the hand-over of a client that waits, until the server has
	// the message and only its answer is missing: whoever gave up then would
	// send a message twice that the server takes (RFC 5321, 4.5.3.2.6). Usually
	// nil.
	patience *time.Timer
	// sevenBit is set for a message that was re-encoded, whatever the client
	// announced.
	sevenBit bool
}

// answers are the replies to a transaction, one for each recipient.
type answers []*mail.Reply

func (a answers) all(r *mail.Reply) answers {
	for i := range a {
		if a[i] == nil {
			a[i] = r
		}
	}
	return a
}

// send carries out one transaction. An error means that the connection broke
// before the server had said anything to it; whatever came later is in the
// answers, one for each recipient.
func (c *conn) send(ctx context.Context, p *parcel) (answers, error) {
	defer c.watch(ctx)()
	got := make(answers, len(p.rcpts))
	if reply := c.fits(p); reply != nil {
		return got.all(reply), nil
	}
	if c.dirty {
		c.w.WriteString("RSET\r\n")
	}
	reset := c.dirty
	c.dirty = true
	from, err := c.mailLine(p)
	if err != nil {
		return got.all(mail.AsReply(err)), nil
	}
	c.mails++
	return c.dialogue(p, got, from, reset)
}

// rcptBatch is how many recipients are sent before their replies are read: two
// sides that only write would wait for each other once the buffers between
// them are full (RFC 2920, 3.1).
const rcptBatch = 100

// sendAll is send for any number of recipients: in as many transactions as the
// server's limit wants (RCPTMAX of RFC 9422), and again for those that were too
// many for one (452, RFC 5321, 4.5.3.1.10), as long as that gets some of them
// on. Who has no answer then needs another connection.
func (c *conn) sendAll(ctx context.Context, p *parcel) (answers, error) {
	got := make(answers, len(p.rcpts))
	todo := make([]int, len(p.rcpts))
	for i := range todo {
		todo[i] = i
	}
	for first := true; len(todo) > 0 && !c.broken; first = false {
		some := todo
		if n := c.caps.rcptMax; n > 0 {
			some = todo[:min(n, len(todo))]
		}
		if !first && c.spent() {
			for _, i := range todo {
				got[i] = nil
			}
			break
		}
		said, err := c.send(ctx, p.only(some))
		if err != nil && first {
			return nil, err
		} else if err != nil {
			break
		}
		for k, i := range some {
			got[i] = said[k]
		}
		again := tooMany(said)
		for k := range again {
			again[k] = some[again[k]]
		}
		todo = append(again, todo[len(some):]...)
	}
	return got, nil
}

// only is the parcel for some of its recipients, by their places.
func (p *parcel) only(places []int) *parcel {
	if len(places) == len(p.rcpts) {
		return p
	}
	part := *p
	part.rcpts = make([]mail.Rcpt, len(places))
	for k, i := range places {
		part.rcpts[k] = p.rcpts[i]
	}
	return &part
}

// tooMany are the recipients that were put off with 452 in a transaction that
// others got through.
func tooMany(got answers) []int {
	var list []int
	some := false
	for i, r := range got {
		switch {
		case r.Positive():
			some = true
		case r.Code == 452 && (r.Enhanced == "" || r.Enhanced == "4.5.3"):
			list = append(list, i)
		}
	}
	if !some {
		return nil
	}
	return list
}

// dialogue sends MAIL, RCPT and DATA, in one go where the server can pipeline.
func (c *conn) dialogue(p *parcel, got answers, from string, reset bool) (answers, error) {
	bdat := c.caps.chunking
	batch := 0
	if c.caps.pipelining {
		batch = min(len(p.rcpts), rcptBatch)
	}
	dataSent := c.caps.pipelining && !bdat && batch == len(p.rcpts)
	c.w.WriteString(from)
	c.writeRcpts(p, 0, batch)
	if dataSent {
		c.w.WriteString("DATA\r\n")
	}
	reply, err := c.begin(reset)
	if err != nil {
		return nil, err
	}
	if !reply.Positive() {
		// Whatever happens now, this is why.
		for i := range got {
			got[i] = odd(reply)
		}
		c.skip(batch)
		if c.broken {
			return got, nil
		}
		return c.body(p, got, 0, bdat, dataSent), nil
	}
	accepted := 0
	for i := range p.rcpts {
		if i == batch {
			batch = min(i+1, len(p.rcpts))
			if c.caps.pipelining {
				batch = min(i+rcptBatch, len(p.rcpts))
			}
			c.writeRcpts(p, i, batch)
			c.arm(c.times.command)
			if err := c.w.Flush(); err != nil {
				return got.all(c.lost("RCPT", err)), nil
			}
		}
		if reply, err = c.wait(c.times.command); err != nil {
			return got.all(c.lost("RCPT", err)), nil
		}
		if reply.Positive() {
			accepted++
		} else {
			got[i] = odd(reply)
		}
		if c.broken {
			return got.all(got[i]), nil
		}
	}
	return c.body(p, got, accepted, bdat, dataSent), nil
}

// begin waits for the answer to MAIL. An error means that nothing was begun.
func (c *conn) begin(reset bool) (*mail.Reply, error) {
	c.arm(c.times.command)
	if err := c.w.Flush(); err != nil {
		return nil, c.nothing(err)
	}
	if reset {
		if r, err := c.wait(c.times.command); err != nil {
			return nil, c.nothing(err)
		} else if r.Code == 421 {
			return nil, c.nothing(r)
		}
	}
	reply, err := c.wait(c.times.command)
	if err != nil {
		return nil, c.nothing(err)
	}
	if reply.Code == 421 { // it hangs up before it heard anything of the message
		return nil, c.nothing(reply)
	}
	return reply, nil
}

func (c *conn) writeRcpts(p *parcel, from, to int) {
	for i := from; i < to; i++ {
		c.w.WriteString(c.rcptLine(p, &p.rcpts[i]))
	}
}

// skip reads n replies that no longer matter.
func (c *conn) skip(n int) {
	for range n {
		if c.broken {
			return
		}
		c.wait(c.times.command)
	}
}

// nothing is the error of a transaction that never began.
func (c *conn) nothing(err error) error {
	c.broken = true
	return fmt.Errorf("%w: %w", errNothingSent, err)
}

// odd makes a refusal of any reply that does not belong where it came: what is
// not 4xx or 5xx there is not understood, and so temporary.
func odd(r *mail.Reply) *mail.Reply {
	if r.Code >= 400 {
		return r
	}
	return &mail.Reply{Code: 451, Enhanced: "4.5.0", Host: r.Host,
		Text: fmt.Sprintf("%s gave the unexpected answer %q", r.Host, short(r.String()))}
}

// lost is the temporary outcome of a connection that broke.
func (c *conn) lost(during string, err error) *mail.Reply {
	c.broken = true
	return &mail.Reply{Code: 451, Enhanced: "4.4.2", Cause: err,
		Text: fmt.Sprintf("lost connection to %s during %s: %s", c.server.name(), during, plainError(err))}
}

// plainError leaves addresses and the like of net errors out.
func plainError(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return "stopped"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection"
	case errors.Is(err, errGarbage):
		return err.Error()
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}
