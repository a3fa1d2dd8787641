package wire

import (
	"errors"
	"io"
)

// ReadBody receives a message, decodes and checks it, and writes it to w. The
// session calls it from Data and ignores the library's reader. A message that
// is larger than max (0 means no limit), contains octets that Bare refuses, or
// cannot be written to w, is still read to its end, because the client expects
// the reply there. After ErrBareEnd the connection is closed once the reply has
// been sent. After ErrReset no reply is needed. io.ErrUnexpectedEOF means that
// the connection has ended.
func (c *Conn) ReadBody(w io.Writer, max int64) (Body, error) { return c.recv.read(w, max) }

func (r *receiver) read(w io.Writer, max int64) (Body, error) {
	l := &lines{w: w, max: max, fix: r.conn.opts.Bare == Fix}
	r.begin()
	var err error
	if r.conn.next == chunk {
		err = r.readChunks(l)
	} else if err = r.readDots(l); err == nil {
		r.endOfData()
	} else if errors.Is(err, ErrBareEnd) {
		r.endOfData()
		r.conn.hangup = true // a slow client must not continue with commands
		return l.body, err
	} else {
		err = r.broken(err)
	}
	if err == nil {
		err = l.close()
	}
	return l.body, err
}

// readChunks reads the chunks of a message and answers commands between them.
func (r *receiver) readChunks(l *lines) error {
	c := r.conn
	for {
		if err := r.readChunk(l); err != nil {
			return r.broken(err)
		}
		if r.last {
			r.endOfData()
			return nil
		}
		c.order.chunk()
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

// abandon ends a message between two chunks. go-smtp's replies to the end of
// data are dropped.
func (r *receiver) abandon() {
	c := r.conn
	replies := 1
	if c.opts.LMTP {
		replies = c.order.rcpts
	}
	r.endOfData()
	c.lib.swallow += replies
}

// endOfData ends the transaction in both wire and go-smtp.
func (r *receiver) endOfData() {
	c := r.conn
	c.next = command
	c.order.reset()
	r.received = 0
	c.lib.endData()
}

// broken ends the connection in the middle of a message, because the rest of
// the message must not be executed as commands.
func (r *receiver) broken(err error) error {
	c := r.conn
	c.ended = "the client disconnected within the message"
	switch {
	case errors.Is(err, errOverdraw):
		c.ended = err.Error()
		c.put(refusal(552, "5.3.4", "Message size exceeds the limit by far"))
	case errors.Is(err, errSlow), isTimeout(err):
		c.ended = "timeout while receiving the message"
		c.put(refusal(421, "4.4.2", c.opts.Hostname+" timeout while receiving the message"))
	}
	c.end(io.ErrUnexpectedEOF)
	return io.ErrUnexpectedEOF
}

// discard reads and discards a refused chunk, or a message that the session has
// not read.
func (r *receiver) discard() {
	c := r.conn
	if c.next != refusedChunk {
		r.read(io.Discard, 0)
		return
	}
	r.begin()
	if err := r.readChunk(io.Discard); err != nil {
		r.broken(err)
		return
	}
	c.next = command
}

// bdat handles BDAT. For the first chunk go-smtp receives a DATA command. Its
// own handling of BDAT accepts a truncated chunk and, after RSET between two
// chunks, can mistake the end of one message for that of the next.
func (r *receiver) bdat(arg string) {
	c := r.conn
	switch {
	case !c.client.offer.Chunking && c.order.stage != connected:
		c.say(refusal(502, "5.5.1", "BDAT is not offered"))
		c.bye("4.5.0", "cannot find the end of the chunk")
		return
	case !r.announce(arg):
		c.say(refusal(501, "5.5.4", "Syntax: BDAT size [LAST]"))
		c.bye("4.5.0", "cannot find the end of the chunk")
		return
	case c.client.offer.Size > 0 && r.received > c.client.offer.Size:
		c.say(tooLarge(c.client.offer.Size))
		c.bye("4.3.4", "message too large")
		return
	}
	if refused := c.order.refuse("BDAT"); refused != nil {
		c.refuse(*refused)
		c.next, r.received = refusedChunk, 0
		return
	}
	if c.order.stage == chunking {
		c.next = chunk
		r.begin()
		return
	}
	c.lib.data(chunk)
}
