package wire

import (
	"errors"
	"io"
)

// ReadBody receives a message, decodes and checks it, and writes it to w. The
// session calls it from Data and ignores the library's reader. A message that is
// larger than max (0 means no limit), has octets that Bare refuses, or cannot be
// written to w, is still read to its end, where the client expects the reply.
// After ErrReset no reply is needed. io.ErrUnexpectedEOF means that the connection
// has ended.
func (c *Conn) ReadBody(w io.Writer, max int64) (Body, error) {
	l := &lines{w: w, max: max, fix: c.opts.Bare == Fix}
	c.body.begin()
	var err error
	if c.next == chunk {
		err = c.readChunks(l)
	} else if err = c.body.readDots(l); err == nil {
		c.endOfData()
	} else {
		err = c.broken(err)
	}
	if err == nil {
		err = l.close()
	}
	return l.body, err
}

// readChunks reads the chunks of a message, and answers the commands between
// them.
func (c *Conn) readChunks(l *lines) error {
	for {
		if err := c.body.readChunk(l); err != nil {
			return c.broken(err)
		}
		if c.body.last {
			c.endOfData()
			return nil
		}
		c.order.stage = chunking
		c.put(refusal(250, "2.0.0", "Chunk received"))
		for c.next = command; c.next == command; {
			c.step()
			switch {
			case c.err != nil:
				return io.ErrUnexpectedEOF
			case c.order.stage != chunking:
				return ErrReset
			}
		}
	}
}

// abandon ends a message between two chunks. The replies of go-smtp to the end of
// data are dropped.
func (c *Conn) abandon() {
	replies := 1
	if c.opts.LMTP {
		replies = c.order.rcpts
	}
	c.endOfData()
	c.lib.swallow += replies
}

// endOfData ends the transaction, here and in go-smtp.
func (c *Conn) endOfData() {
	c.next = command
	c.order.reset()
	c.body.received = 0
	c.lib.endData()
}

// broken ends the connection in the middle of a message: the rest of the message
// must not be executed as commands.
func (c *Conn) broken(err error) error {
	switch {
	case errors.Is(err, errOverdraw):
		c.put(refusal(552, "5.3.4", "Message size exceeds the limit by far"))
	case errors.Is(err, errSlow), isTimeout(err):
		c.put(refusal(421, "4.4.2", c.opts.Hostname+" timeout while receiving the message"))
	}
	c.end(io.ErrUnexpectedEOF)
	return io.ErrUnexpectedEOF
}

// discard reads a refused chunk, or a message that the session has not read.
func (c *Conn) discard() {
	if c.next != refusedChunk {
		c.ReadBody(io.Discard, 0)
		return
	}
	c.body.begin()
	if err := c.body.readChunk(io.Discard); err != nil {
		c.broken(err)
		return
	}
	c.next = command
}

// bdat handles BDAT. For the first chunk go-smtp gets a DATA, as its own handling
// of BDAT accepts a chunk that was cut off, and after RSET between two chunks can
// mistake the end of one message for that of the next.
func (c *Conn) bdat(arg string) {
	switch {
	case !c.client.offer.Chunking && c.order.stage != connected:
		c.say(refusal(502, "5.5.1", "BDAT is not offered"))
		c.bye("4.5.0", "cannot find the end of the chunk")
		return
	case !c.body.announce(arg):
		c.say(refusal(501, "5.5.4", "Syntax: BDAT size [LAST]"))
		c.bye("4.5.0", "cannot find the end of the chunk")
		return
	case c.client.offer.Size > 0 && c.body.received > c.client.offer.Size:
		c.say(tooLarge(c.client.offer.Size))
		c.bye("4.3.4", "message too large")
		return
	}
	if r := c.order.refuse("BDAT"); r != nil {
		c.refuse(*r)
		c.next, c.body.received = refusedChunk, 0
		return
	}
	if c.order.stage == chunking {
		c.next = chunk
		c.body.begin()
		return
	}
	c.lib.data(chunk)
}
