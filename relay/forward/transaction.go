package forward

import (
	"context"
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// transaction is one sequence of MAIL, RCPT and DATA on a connection.
type transaction struct {
	c    *conn
	p    *parcel
	got  answers
	bdat bool // the message is sent with BDAT
	utf8 bool // the transaction uses SMTPUTF8
}

// send performs one transaction. An error is an *offerError, or means that the
// connection broke before the server had replied to any of its commands. Later
// failures are recorded in the answers, one for each recipient.
func (c *conn) send(ctx context.Context, p *parcel) (answers, error) {
	defer c.watch(ctx)()
	t := transaction{c: c, p: p, got: make(answers, len(p.rcpts)), bdat: c.caps.chunking, utf8: needs(p).utf8}
	if reply := t.fits(); reply != nil {
		return t.got.all(reply), nil
	}
	from, err := t.mailLine()
	if err != nil {
		return t.got.all(mail.AsReply(err)), nil
	}
	reset := c.dirty
	if reset {
		c.w.WriteString("RSET\r\n")
	}
	c.dirty = true
	c.mails++
	err = t.run(from, reset)
	return t.got, err
}

// sendAll is like send, but for any number of recipients. It uses as many
// transactions as the server's limit requires (RCPTMAX of RFC 9422). Recipients
// refused as too many for one transaction (452, RFC 5321, 4.5.3.1.10) are sent
// again until no more of them are accepted. Recipients without an answer need
// another connection.
func (c *conn) sendAll(ctx context.Context, p *parcel) (answers, error) {
	got := make(answers, len(p.rcpts))
	todo := make([]int, len(p.rcpts))
	for i := range todo {
		todo[i] = i
	}
	for first := true; len(todo) > 0 && !c.broken; first = false {
		some := todo
		if n := c.caps.most(p, todo); n < len(todo) {
			some = todo[:n]
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
		again := said.deferred()
		for k := range again {
			again[k] = some[again[k]]
		}
		todo = append(again, todo[len(some):]...)
	}
	return got, nil
}

// most returns the number of recipients, of those with the given indices, that
// the server accepts in one transaction. It is at least one.
func (c *caps) most(p *parcel, places []int) int {
	n := len(places)
	if c.rcptMax > 0 {
		n = min(n, c.rcptMax)
	}
	if c.domainMax == 0 {
		return n
	}
	domains := map[string]bool{}
	for k, i := range places[:n] {
		if domains[p.rcpts[i].To.ASCIIDomain()] = true; len(domains) > c.domainMax {
			return k
		}
	}
	return n
}

// rcptBatch is the maximum number of recipients that are sent before their
// replies are read. If both sides only wrote, they would deadlock once the
// buffers between them were full (RFC 2920, 3.1).
const rcptBatch = 100

// run sends MAIL, RCPT and the message, pipelined if the server supports it.
func (t *transaction) run(from string, reset bool) error {
	c, batch := t.c, 0
	if c.caps.pipelining {
		batch = min(len(t.p.rcpts), rcptBatch)
	}
	dataSent := c.caps.pipelining && !t.bdat && batch == len(t.p.rcpts)
	c.w.WriteString(from)
	t.writeRcpts(0, batch)
	if dataSent {
		c.w.WriteString("DATA\r\n")
	}
	reply, err := t.begin(reset)
	if err != nil {
		return err
	}
	accepted := 0
	if reply.Positive() {
		if accepted, err = t.readRcpts(batch); err != nil {
			t.got.all(t.lost("RCPT", err))
		}
	} else {
		// This reply is the cause of all later ones.
		t.got.all(unexpected(reply))
		c.skip(batch)
	}
	if c.broken {
		return nil
	}
	if t.bdat {
		return t.chunk(accepted)
	}
	t.data(accepted, dataSent)
	if !reply.Positive() && brokenBody(reply, from) {
		return &offerError{got: t.got, eightBit: true}
	}
	return nil
}

// begin waits for the reply to MAIL. An error means that the transaction did
// not begin.
func (t *transaction) begin(reset bool) (*mail.Reply, error) {
	c := t.c
	if err := c.flush(c.times.command); err != nil {
		return nil, c.nothing(err)
	}
	if reset {
		// The reply to RSET is ignored; only the reply to MAIL matters.
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
	if reply.Code == 421 { // sent before the server knows the message
		return nil, c.nothing(reply)
	}
	return reply, nil
}

func (t *transaction) writeRcpts(from, to int) {
	for i := from; i < to; i++ {
		t.c.w.WriteString(t.rcptLine(&t.p.rcpts[i]))
	}
}

// readRcpts reads the replies to RCPT. The first batch of commands has already
// been sent; readRcpts sends the remaining ones. It returns the number of
// accepted recipients.
func (t *transaction) readRcpts(batch int) (accepted int, err error) {
	c := t.c
	for i := range t.p.rcpts {
		if i == batch {
			batch = min(i+1, len(t.p.rcpts))
			if c.caps.pipelining {
				batch = min(i+rcptBatch, len(t.p.rcpts))
			}
			t.writeRcpts(i, batch)
			if err := c.flush(c.times.command); err != nil {
				return accepted, err
			}
		}
		reply, err := c.wait(c.times.command)
		if err != nil {
			return accepted, err
		}
		if reply.Positive() {
			accepted++
		} else {
			t.got[i] = tooMany(unexpected(reply))
		}
		if c.broken {
			t.got.all(t.got[i])
			return accepted, nil
		}
	}
	return accepted, nil
}

// tooMany turns a 552 reply that means too many recipients into a temporary
// refusal (RFC 5321, 4.5.3.1.10). Any other 552 means that the mailbox is full.
func tooMany(r *mail.Reply) *mail.Reply {
	if r.Code != 552 || r.Enhanced != "5.5.3" && (r.Enhanced != "" || !strings.Contains(strings.ToLower(r.Text), "too many")) {
		return r
	}
	temporary := *r
	temporary.Code, temporary.Enhanced = 452, "4.5.3"
	return &temporary
}

// unexpected turns a reply that is not valid at this point into a refusal. A
// reply other than 4xx or 5xx has no known meaning, so it is treated as
// temporary.
func unexpected(r *mail.Reply) *mail.Reply {
	if r.Code >= 400 {
		return r
	}
	return &mail.Reply{Code: 451, Enhanced: "4.5.0", Host: r.Host,
		Text: fmt.Sprintf("%s gave the unexpected reply %q", r.Host, safe.Clip(r.String(), 80))}
}

// lost returns the temporary outcome for a connection that broke at a stage of
// the transaction.
func (t *transaction) lost(stage string, err error) *mail.Reply {
	c := t.c
	c.broken = true
	return &mail.Reply{Code: 451, Enhanced: "4.4.2", Cause: err,
		Text: fmt.Sprintf("lost connection to %s during %s: %s", c.server.name(), stage, cause(err))}
}

// offerError means that the server refuses an extension it offered in its EHLO
// reply. The message can be sent again without the extension.
type offerError struct {
	got      answers // the refusals
	chunking bool
	eightBit bool
}

func (*offerError) Error() string { return "the server refuses an extension that it offers" }

// brokenBody reports whether MAIL may have been refused because of its BODY
// parameter, rather than because of the sender.
func brokenBody(r *mail.Reply, from string) bool {
	if !strings.Contains(from, " BODY=8BITMIME") {
		return false
	}
	switch r.Code {
	case 501, 504, 554, 555:
		return r.Enhanced == "" || strings.HasPrefix(r.Enhanced, "5.5.") || strings.HasPrefix(r.Enhanced, "5.6.")
	}
	return false
}
