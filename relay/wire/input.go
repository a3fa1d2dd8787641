package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// An idle connection keeps a small buffer; a large one is borrowed while there
// is much to read.
const (
	smallBuffer = 512
	largeBuffer = 16 << 10
)

var buffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// input is what came from the client and was not used yet: buf[r:w].
type input struct {
	buf   []byte
	r, w  int
	small []byte
	large *[largeBuffer]byte
	begun time.Time // when the line at r began to come
}

func (in *input) data() []byte { return in.buf[in.r:in.w] }

// room makes place for at least one octet; it is false when a large buffer
// is full.
func (in *input) room() bool {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.buf == nil {
		in.small = make([]byte, smallBuffer)
		in.buf = in.small
	}
	if in.w < len(in.buf) {
		return true
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
		return true
	}
	if in.large != nil {
		return false
	}
	in.grow()
	return true
}

// grow moves what is there to a large buffer.
func (in *input) grow() {
	if in.large != nil {
		return
	}
	in.large = buffers.Get().(*[largeBuffer]byte)
	in.w = copy(in.large[:], in.data())
	in.r = 0
	in.buf = in.large[:]
}

// shrink gives the large buffer back when nothing is in it.
func (in *input) shrink() {
	if in.large == nil || in.r != in.w {
		return
	}
	buffers.Put(in.large)
	in.large = nil
	in.buf = in.small
	in.r, in.w = 0, 0
}

var (
	errFull  = errors.New("line longer than the buffer")
	errDrain = errors.New("server is shutting down")
	errSlow  = errors.New("message comes too slowly")
)

// fill reads once from the socket, after it has written the replies due.
func (c *Conn) fill(deadline time.Time) error {
	if err := c.flush(); err != nil {
		return err
	}
	if !c.in.room() {
		return errFull
	}
	if err := c.wait(deadline); err != nil {
		return err
	}
	n, err := c.sock.Read(c.in.buf[c.in.w:])
	c.mu.Lock()
	c.waiting = false
	drain := c.draining
	c.mu.Unlock()
	c.in.w += n
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	if drain && isTimeout(err) && (c.phase == commands || c.phase == challenge) {
		return errDrain
	}
	return err
}

// wait sets the deadline of the read that follows, unless the server stops and
// there is nothing that should be read any more.
func (c *Conn) wait(deadline time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = c.phase == commands || c.phase == challenge
	if c.draining && c.waiting {
		return errDrain
	}
	c.sock.SetReadDeadline(deadline)
	return nil
}

// Drain asks the connection to end: at once with 421 if it waits for a
// command, else when the message under way has been answered. It may be called
// from any goroutine.
func (c *Conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.waiting {
		c.sock.SetReadDeadline(time.Now())
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// errLong is a line over its limit; it was skipped up to its end.
var errLong = errors.New("line too long")

// skipMax is how much of an endless line is read before the connection ends.
const skipMax = 64 << 10

// line reads the next line, without its LF. The slice is good until the next
// read.
func (c *Conn) line() ([]byte, error) {
	l := c.opts.Limits
	for scanned := 0; ; {
		data := c.in.data()
		if i := bytes.IndexByte(data[scanned:], '\n'); i >= 0 {
			end := scanned + i
			line := data[:end]
			c.in.r += end + 1
			if end+1 > c.lineLimit(line) {
				return nil, errLong
			}
			return line, nil
		}
		scanned = len(data)
		if scanned >= c.lineLimit(data) {
			return nil, c.skipLine()
		}
		now := time.Now()
		deadline, park := c.patience(now), c.idle()
		if scanned == 0 {
			c.in.shrink()
			c.in.begun = time.Time{}
		} else {
			park = false
			if c.in.begun.IsZero() {
				c.in.begun = now
			}
			deadline = c.in.begun.Add(l.LineTime)
		}
		if err := c.fill(deadline); err != nil {
			if park && isTimeout(err) {
				err = errPark
			}
			return nil, err
		}
	}
}

// lineLimit is the limit for the line that begins with b, line end included.
func (c *Conn) lineLimit(b []byte) int {
	if c.phase == challenge || len(b) >= 5 && bytes.EqualFold(b[:5], []byte("AUTH ")) {
		return c.opts.Limits.AuthLine
	}
	return c.opts.Limits.Line
}

// skipLine reads on to the end of a line that is too long.
func (c *Conn) skipLine() error {
	begun := time.Now()
	for skipped := 0; skipped < skipMax; {
		data := c.in.data()
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			c.in.r += i + 1
			return errLong
		}
		skipped += len(data)
		c.in.r = c.in.w
		if err := c.fill(begun.Add(c.opts.Limits.LineTime)); err != nil {
			return err
		}
	}
	return errFull
}
