package forward

import (
	"context"
	"slices"
	"strings"

	"hoplite/mail"
)

// probe asks whether the server would take r, without sending anything.
func (c *conn) probe(ctx context.Context, from mail.Address, r mail.Rcpt) (*mail.Reply, error) {
	defer c.watch(ctx)()
	params := ""
	if from.NeedsUTF8() || r.To.NeedsUTF8() {
		if !c.caps.utf8 {
			return needsUTF8(c.server.name()), nil
		}
		params = " SMTPUTF8"
	}
	commands := []string{"MAIL FROM:<" + string(from) + ">" + params + "\r\n", "RCPT TO:<" + string(r.To) + ">\r\n"}
	if c.dirty {
		commands = slices.Insert(commands, 0, "RSET\r\n")
	}
	c.dirty = true
	c.mails++
	atOnce := 1
	if c.caps.pipelining {
		atOnce = len(commands)
	}
	var reply *mail.Reply
	for some := range slices.Chunk(commands, atOnce) {
		c.w.WriteString(strings.Join(some, ""))
		c.arm(c.times.command)
		if err := c.w.Flush(); err != nil {
			return nil, c.nothing(err)
		}
		for range some {
			said, err := c.wait(c.times.command)
			switch {
			case err != nil:
				return nil, c.nothing(err)
			case said.Code == 421:
				return nil, c.nothing(said)
			case reply == nil || reply.Positive(): // else a refusal, and that is why
				reply = said
			}
		}
		if !reply.Positive() {
			return odd(reply), nil
		}
	}
	return reply, nil
}
