package wire

import (
	"errors"
	"io"
	"time"

	"hoplite/mail"
)

// Read gives go-smtp its next line.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if len(c.feed) > 0 {
			n := copy(p, c.feed)
			c.feed = c.feed[n:]
			return n, nil
		}
		if c.parting {
			return 0, io.EOF
		}
		if c.err != nil {
			return 0, c.err
		}
		switch c.phase {
		case refused:
			c.skipChunk()
		case message, chunk:
			// The session did not want the message, the client sends it all the same.
			c.ReadBody(io.Discard, 0)
		default:
			c.next()
		}
	}
}

// next reads a line and deals with it.
func (c *Conn) next() {
	c.overrides, c.answered = c.overrides[:0], 0
	if c.hangup {
		c.end(io.EOF)
		return
	}
	c.slowDown()
	line, err := c.line()
	if err != nil {
		c.lineError(err)
		return
	}
	if c.phase == challenge {
		c.phase = commands
		c.response(line)
		return
	}
	c.command(line)
}

func (c *Conn) lineError(err error) {
	switch {
	case errors.Is(err, errPark):
		c.part()
	case errors.Is(err, errLong) && c.phase == challenge:
		c.phase = commands
		c.feed = []byte("*\r\n") // gives the dialogue up; the library says 501
	case errors.Is(err, errLong):
		c.verb = ""
		c.say(mail.Reply{Code: 500, Enhanced: "5.5.2", Text: "line too long"})
	case errors.Is(err, errFull):
		c.bye("4.5.0", "line too long")
	case errors.Is(err, errDrain):
		c.bye("4.3.2", "shutting down, try again later")
	case isTimeout(err):
		c.bye("4.4.2", "nothing heard from you for too long")
	default:
		c.end(io.EOF)
	}
}

// bye says 421 and ends the connection.
func (c *Conn) bye(enhanced, text string) {
	c.put(mail.Reply{Code: 421, Enhanced: enhanced, Text: c.opts.Hostname + " " + text})
	c.end(io.EOF)
}

// end makes err the last word of Read and closes the socket.
func (c *Conn) end(err error) {
	if c.err == nil {
		c.flush()
		c.err = err
	}
	c.linger()
	c.Close()
}

// linger lets the last reply arrive: closing a socket that holds unread octets
// resets the connection, and the client might never see why.
func (c *Conn) linger() {
	half, ok := c.sock.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.in.room()
	c.sock.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	for n := 0; n < 1<<20; {
		k, err := c.sock.Read(c.in.buf[:cap(c.in.buf)])
		if err != nil {
			return
		}
		n += k
	}
}

// rate watches over the speed at which a message comes.
type rate struct {
	since time.Time
	n     int64
}

// fillBody reads more of a message. An error is final: what comes after a
// message that broke off must not be taken for commands.
func (c *Conn) fillBody() error {
	l := c.opts.Limits
	now := time.Now()
	if c.rate.since.IsZero() {
		c.rate = rate{since: now}
	}
	if t := now.Sub(c.rate.since); t > l.Grace && c.rate.n < int64(t.Seconds()*float64(l.MinRate)) {
		c.abort(errSlow)
		return errSlow
	}
	before := c.in.w - c.in.r
	if err := c.fill(now.Add(l.BodyTime)); err != nil {
		c.abort(err)
		return err
	}
	c.rate.n += int64(c.in.w - c.in.r - before)
	return nil
}

// abort ends the connection in the middle of a message.
func (c *Conn) abort(err error) {
	if isTimeout(err) || errors.Is(err, errSlow) {
		c.put(mail.Reply{Code: 421, Enhanced: "4.4.2", Text: c.opts.Hostname + " message came too slowly, nothing kept"})
	}
	c.end(io.ErrUnexpectedEOF)
}

// slowDown makes somebody wait who makes one mistake after the other.
func (c *Conn) slowDown() {
	l := c.opts.Limits
	if !c.lastBad || l.Delay < 0 || c.errors <= l.Slow && c.auths == 0 {
		return
	}
	c.lastBad = false
	c.flush()
	time.Sleep(l.Delay)
}

// Close writes what is due and closes the socket, unless the library was only
// asked to let it go.
func (c *Conn) Close() error {
	if c.parting {
		c.takeBack()
		return nil
	}
	var err error
	c.once.Do(func() {
		c.flush()
		c.closed = true
		if c.err == nil {
			c.err = io.EOF // nothing behind QUIT is looked at
		}
		err = c.sock.Close()
		c.in.r = c.in.w
		c.in.shrink()
		if c.opts.Closed != nil {
			c.opts.Closed(c)
		}
	})
	return err
}
