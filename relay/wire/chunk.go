package wire

import (
	"io"
	"strconv"
	"strings"
)

// BDAT (RFC 3030) never reaches the library: its reader takes a chunk that
// broke off for a whole one, and a RSET between two chunks lets the end of one
// message be taken for that of the next. It sees a DATA instead, and ReadBody
// goes through the chunks.

// bdat takes the first chunk of a message.
func (c *Conn) bdat(arg string) {
	if !c.chunkSize(arg) {
		return
	}
	c.bdatting = true
	c.pass("DATA", "")
}

// chunkSize reads the argument of BDAT. A size that is not understood leaves
// no way to know where the next command begins, so it ends the connection.
func (c *Conn) chunkSize(arg string) bool {
	f := strings.Fields(arg)
	var n int64
	err := strconv.ErrSyntax
	if len(f) == 1 || len(f) == 2 && strings.EqualFold(f[1], "LAST") {
		if f[0][0] >= '0' && f[0][0] <= '9' {
			n, err = strconv.ParseInt(f[0], 10, 64)
		}
	}
	switch {
	case !c.offer.Chunking && c.helo != "":
		c.say(refusal(502, "5.5.1", "BDAT is not offered"))
		c.bye("4.5.0", "what follows cannot be told from commands")
	case err != nil || n > 1<<32-1:
		c.say(refusal(501, "5.5.4", "BDAT wants a size and perhaps LAST"))
		c.bye("4.5.0", "what follows cannot be told from commands")
	case c.offer.Size > 0 && c.received+n > c.offer.Size:
		c.say(refusal(552, "5.3.4", "message is larger than "+strconv.FormatInt(c.offer.Size, 10)+" octets"))
		c.bye("4.3.4", "message is larger than we take")
	default:
		c.received += n
		c.rest, c.last = n, len(f) == 2
		return true
	}
	return false
}

// skipChunk reads a chunk that was refused.
func (c *Conn) skipChunk() {
	c.in.grow()
	c.rate = rate{}
	if c.copyChunk(io.Discard) == nil {
		c.phase = commands
	}
}

// readChunks reads a message's chunks and what the client says in between.
func (c *Conn) readChunks(l *lines) error {
	for {
		if err := c.copyChunk(l); err != nil {
			return err
		}
		if c.last {
			c.endOfData()
			return nil
		}
		c.put(refusal(250, "2.0.0", "chunk taken"))
		if err := c.betweenChunks(); err != nil {
			return err
		}
	}
}

func (c *Conn) copyChunk(w io.Writer) error {
	for c.rest > 0 {
		data := c.in.data()
		if len(data) == 0 {
			if err := c.fillBody(); err != nil {
				return c.err
			}
			continue
		}
		if int64(len(data)) > c.rest {
			data = data[:c.rest]
		}
		w.Write(data)
		c.in.r += len(data)
		c.rest -= int64(len(data))
	}
	return nil
}

// betweenChunks answers commands until one of them is BDAT.
func (c *Conn) betweenChunks() error {
	c.phase = commands
	for {
		if c.hangup {
			c.end(io.ErrUnexpectedEOF)
			return c.err
		}
		c.slowDown()
		line, err := c.line()
		if err != nil {
			c.lineError(err)
		} else if more, err := c.betweenCommand(line); more || err != nil {
			return err
		}
		if c.err != nil {
			return io.ErrUnexpectedEOF
		}
	}
}

// betweenCommand answers one of them; more is true when it begins a chunk.
func (c *Conn) betweenCommand(line []byte) (more bool, err error) {
	c.counted, c.lastBad = false, false
	text, r := c.clean(line)
	verb, arg, _ := strings.Cut(text, " ")
	verb = strings.ToUpper(verb)
	switch {
	case !c.tally(verb):
	case r != nil:
		c.say(*r)
	case verb == "BDAT":
		if more = c.chunkSize(arg); more {
			c.phase = chunk
			c.in.grow()
		}
	case verb == "NOOP":
		c.say(refusal(250, "2.0.0", plain["NOOP"]))
	case verb == "RSET":
		c.say(refusal(250, "2.0.0", plain["RSET"]))
		c.endOfData()
		c.swallow++ // the library's reply to its DATA
		if c.opts.LMTP {
			c.swallow += c.rcpts - 1 // it has one for each recipient
		}
		return false, ErrReset
	case verb == "QUIT":
		c.put(refusal(221, "2.0.0", plain["QUIT"]))
		c.end(io.ErrUnexpectedEOF)
	default:
		c.say(refusal(503, "5.5.1", "in the middle of a message only BDAT, NOOP, RSET and QUIT"))
	}
	return more, nil
}
