package wire

import (
	"bytes"
	"errors"
	"io"
)

// Bare says what is done about CR and LF that are not CRLF and about NUL in a
// message. Passed on they never are: servers differ about where they end a
// line, and a message that two servers read differently can hide another one
// (SMTP smuggling).
type Bare int

const (
	// Reject refuses the message.
	Reject Bare = iota
	// Fix makes CRLF of a bare LF and of CRs in front of one, a blank of any
	// other CR and of NUL.
	Fix
)

// The errors of ReadBody that leave the connection in step.
var (
	ErrTooLarge = errors.New("message too large")
	ErrBareLF   = errors.New("bare LF in the message")
	ErrBareCR   = errors.New("bare CR in the message")
	ErrNUL      = errors.New("NUL in the message")
)

// Body says what was found in a message.
type Body struct {
	Size     int64 // octets written
	EightBit bool  // an octet over 127
	LongLine int   // the longest line, without its end
	Fixed    bool  // bare CR, LF or NUL were converted
}

// ErrReset means that the client gave the message up between two chunks.
var ErrReset = errors.New("message given up by RSET")

// ReadBody reads the message that is due, decoded and checked, and writes it
// to w. The session calls it from its Data and leaves the library's reader
// alone. A message larger than max (0: no limit) or with octets that Bare
// refuses is read to its end all the same, so that the reply finds the client
// in step. An error of w comes back the same way. After ErrReset no reply is
// due. io.ErrUnexpectedEOF means that the connection is over: there is no
// message.
func (c *Conn) ReadBody(w io.Writer, max int64) (Body, error) {
	l := &lines{w: w, max: max, fix: c.opts.Bare == Fix}
	c.in.grow()
	c.rate = rate{}
	var err error
	if c.phase == chunk {
		err = c.readChunks(l)
	} else {
		err = c.readDots(l)
	}
	if err == nil {
		err = l.close()
	}
	return l.body, err
}

// endOfData gives the library the end of data that it waits for.
func (c *Conn) endOfData() {
	c.phase = commands
	c.feed = []byte(".\r\n")
}

// overdraw is how much of a message that is too large anyway is still read for
// the sake of a proper refusal, beside as much again as the limit.
const overdraw = 1 << 20

// readDots reads a message up to CRLF.CRLF and takes away the dots that were
// put in front of others (RFC 5321, 4.5.2). Only CRLF begins a line here.
func (c *Conn) readDots(l *lines) error {
	start := true // at the beginning of a line
	cr := false   // the octet before was CR
	for {
		data := c.in.data()
		n, done := dots(data, &start, &cr, l)
		c.in.r += n
		if done {
			c.endOfData()
			return nil
		}
		if l.max > 0 && l.seen > 2*l.max+overdraw {
			c.put(refusal(552, "5.3.4", "message is much larger than we take"))
			c.end(io.ErrUnexpectedEOF)
			return ErrTooLarge
		}
		if err := c.fillBody(); err != nil {
			return c.err
		}
	}
}

// dots decodes data into w as far as it can tell what it means. It returns how
// much it used and whether that was the end of the message.
func dots(data []byte, start, cr *bool, w io.Writer) (used int, done bool) {
	from, pos := 0, 0
	for pos < len(data) {
		if *start && data[pos] == '.' {
			rest := data[pos:]
			switch {
			case len(rest) >= 3 && rest[1] == '\r' && rest[2] == '\n':
				w.Write(data[from:pos])
				return pos + 3, true
			case len(rest) < 3 && (len(rest) == 1 || rest[1] == '\r'):
				w.Write(data[from:pos])
				return pos, false
			}
			w.Write(data[from:pos])
			pos++
			from = pos
			*start, *cr = false, false
			continue
		}
		// Only a dot behind a line end is of interest, wherever that is.
		end := len(data) - 1
		if i := bytes.Index(data[pos:], lineDot); i >= 0 {
			end = pos + i
		}
		before := *cr
		if end > 0 {
			before = data[end-1] == '\r'
		}
		*start, *cr = before && data[end] == '\n', data[end] == '\r'
		pos = end + 1
	}
	w.Write(data[from:pos])
	return pos, false
}

var lineDot = []byte("\n.")
