package wire

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// Bare selects the treatment of NUL, and of CR and LF outside CRLF, in a
// message. They are never passed on, because servers disagree about which of
// them end a line. If two servers read a message differently, it can hide
// another message (SMTP smuggling).
type Bare int

const (
	// Reject refuses the message. In a command, a bare LF ends the connection.
	Reject Bare = iota
	// Fix turns a bare LF, with any CRs before it, into CRLF, and other CRs and
	// NUL into spaces. Commands may end in a bare LF.
	Fix
)

// The errors of ReadBody that do not end the connection.
var (
	ErrTooLarge = errors.New("message too large")
	ErrBareLF   = errors.New("bare LF in the message")
	ErrBareCR   = errors.New("bare CR in the message")
	ErrNUL      = errors.New("NUL in the message")
)

// ErrBareEnd means that the client ended a message with LF.LF and is waiting
// for a reply. The connection is closed after the reply.
var ErrBareEnd = errors.New("message ended by <LF>.<LF> instead of <CR><LF>.<CR><LF>")

// ErrReset means that the client abandoned the message between two chunks.
var ErrReset = errors.New("message abandoned by RSET")

// Body describes a message.
type Body struct {
	Size     int64 // octets written
	EightBit bool  // whether any octet is above 127
	LongLine int   // length of the longest line, without its ending
	Fixed    bool  // whether a bare CR, LF or NUL was converted
}

// receiver receives the messages of a connection: DATA up to its final dot, or
// BDAT chunks and the commands between them.
type receiver struct {
	conn     *Conn
	rest     int64 // remaining octets of the chunk
	last     bool  // whether the chunk is the last one
	received int64 // octets of all chunks of this message

	since time.Time // when this message, or this chunk, started to arrive
	n     int64     // octets of the message or chunk so far

	bareEnd tail
}

// tail holds the last octets of a message, to distinguish a client that has
// ended its message with LF.LF from a slow client.
type tail struct {
	last [4]byte
}

// follow adds octets that were received.
func (t *tail) follow(p []byte) {
	if n := len(t.last); len(p) >= n {
		copy(t.last[:], p[len(p)-n:])
		return
	}
	for _, b := range p {
		copy(t.last[:], t.last[1:])
		t.last[len(t.last)-1] = b
	}
}

// ended reports whether the octets end in LF.LF or LF.CRLF, which a client that
// does not use CRLF sends at the end of a message.
func (t *tail) ended() bool {
	l := t.last
	return l[1] == '\n' && l[2] == '.' && l[3] == '\n' ||
		l[0] == '\n' && l[1] == '.' && l[2] == '\r' && l[3] == '\n'
}

// begin prepares for a message and starts measuring its transfer rate.
func (r *receiver) begin() {
	r.conn.in.grow()
	r.since, r.n = time.Now(), 0
	r.bareEnd = tail{[4]byte{3: '\n'}}
}

// fill reads more of a message.
func (r *receiver) fill() error {
	l := r.conn.in.limits
	now := time.Now()
	if t := now.Sub(r.since); t > l.Grace && r.n < int64(t.Seconds()*float64(l.MinRate)) {
		return errSlow
	}
	before := len(r.conn.in.data())
	patience, ended := l.BodyTime, before == 0 && r.bareEnd.ended()
	if ended {
		patience = min(patience, l.BareEnd)
	}
	if err := r.conn.in.fill(now.Add(patience), false); err != nil {
		if ended && isTimeout(err) {
			return ErrBareEnd
		}
		return err
	}
	r.n += int64(len(r.conn.in.data()) - before)
	return nil
}

// overdraw limits the number of octets read from a message that is too large:
// twice the size limit plus this amount. A message within that bound receives a
// regular refusal.
const overdraw = 1 << 20

// errOverdraw means that a message far exceeds its limit.
var errOverdraw = errors.New("message is much larger than the limit")

// readDots reads a message up to CRLF.CRLF and undoes dot-stuffing (RFC 5321,
// 4.5.2). Only CRLF ends a line.
func (r *receiver) readDots(l *lines) error {
	start := true // at the beginning of a line
	cr := false   // the previous octet was CR
	bare := r.conn.opts.bareEnd(r.conn.client.ident.Client.Addr())
	for {
		var n int
		var done bool
		data := r.conn.in.data()
		if bare {
			n, done = bareDots(data, &start, l)
		} else {
			n, done = dots(data, &start, &cr, l)
			r.bareEnd.follow(data[:n])
		}
		r.conn.in.r += n
		if done {
			return nil
		}
		if l.max > 0 && l.seen > 2*l.max+overdraw {
			return errOverdraw
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// dots decodes data into w up to the first octet whose meaning is not yet
// certain. It returns the number of octets used and whether they end the
// message.
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
		// Only a dot after a line ending matters, so skip to the next one.
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

// bareDots is like dots, but for a client that may end lines, and thus the
// message, with LF alone. The writer converts the line endings.
func bareDots(data []byte, start *bool, w io.Writer) (used int, done bool) {
	from, pos := 0, 0
	for pos < len(data) {
		if *start && data[pos] == '.' {
			rest := data[pos:]
			w.Write(data[from:pos])
			switch {
			case len(rest) >= 2 && rest[1] == '\n':
				return pos + 2, true
			case len(rest) >= 3 && rest[1] == '\r' && rest[2] == '\n':
				return pos + 3, true
			case len(rest) == 1, len(rest) == 2 && rest[1] == '\r':
				return pos, false
			}
			pos++
			from = pos
			*start = false
			continue
		}
		end := len(data) - 1
		if i := bytes.Index(data[pos:], lineDot); i >= 0 {
			end = pos + i
		}
		*start = data[end] == '\n'
		pos = end + 1
	}
	w.Write(data[from:pos])
	return pos, false
}

var lineDot = []byte("\n.")

// announce parses the argument of BDAT and prepares for its chunk (RFC 3030,
// 2). It returns false if the argument is malformed.
func (r *receiver) announce(arg string) bool {
	f := strings.Fields(arg)
	if len(f) != 1 && (len(f) != 2 || !strings.EqualFold(f[1], "LAST")) {
		return false
	}
	n, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil {
		return false
	}
	r.received += int64(n)
	r.rest, r.last = int64(n), len(f) == 2
	return true
}

// readChunk reads the rest of a chunk.
func (r *receiver) readChunk(w io.Writer) error {
	for r.rest > 0 {
		data := r.conn.in.data()
		if len(data) == 0 {
			if err := r.fill(); err != nil {
				return err
			}
			continue
		}
		if int64(len(data)) > r.rest {
			data = data[:r.rest]
		}
		w.Write(data)
		r.conn.in.r += len(data)
		r.rest -= int64(len(data))
	}
	return nil
}
