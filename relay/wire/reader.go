package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"hoplite/internal/listen"
)

// An idle connection keeps a small buffer and borrows a large one while it
// receives a message or a long line.
const (
	smallBuffer = 512
	largeBuffer = 16 << 10
)

var buffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// buffer holds received octets that have not been used yet: buf[r:w].
type buffer struct {
	buf   []byte
	r, w  int
	small []byte
	large *[largeBuffer]byte
}

func (b *buffer) data() []byte { return b.buf[b.r:b.w] }

// room makes room for at least one octet. It returns false if the large buffer
// is full.
func (b *buffer) room() bool {
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
	if b.buf == nil {
		b.small = make([]byte, smallBuffer)
		b.buf = b.small
	}
	if b.w < len(b.buf) {
		return true
	}
	if b.r > 0 {
		b.w = copy(b.buf, b.buf[b.r:b.w])
		b.r = 0
		return true
	}
	if b.large != nil {
		return false
	}
	b.grow()
	return true
}

// grow moves the contents to a large buffer.
func (b *buffer) grow() {
	if b.large != nil {
		return
	}
	b.large = buffers.Get().(*[largeBuffer]byte)
	b.w = copy(b.large[:], b.data())
	b.r = 0
	b.buf = b.large[:]
}

// shrink returns the large buffer if it is empty.
func (b *buffer) shrink() {
	if b.large == nil || b.r != b.w {
		return
	}
	buffers.Put(b.large)
	b.large = nil
	b.buf = b.small
	b.r, b.w = 0, 0
}

// Reader errors other than those from the socket.
var (
	errLong   = errors.New("line too long")           // it was skipped to its end
	errFull   = errors.New("line too long to skip")   // the connection must end
	errBareLF = errors.New("line ended by a bare LF") // the connection must end
	errDrain  = errors.New("server is shutting down")
	errSlow   = errors.New("message arrives too slowly")
)

// reader reads lines and octets from a client, with deadlines.
type reader struct {
	buffer
	sock   *listen.Conn
	limits *Limits
	out    *replies
	strict bool      // a line ends in CRLF, LF alone is an error
	begun  time.Time // when the first octets of an incomplete line arrived

	mu       sync.Mutex // guards the fields below and the read deadline
	draining bool
	waiting  bool // in a read that drain may interrupt
}

// fill sends the pending replies and reads once from the socket. A wait for a
// command ends when the server shuts down.
func (r *reader) fill(deadline time.Time, forCommand bool) error {
	if err := r.out.flush(); err != nil {
		return err
	}
	if !r.room() {
		return errFull
	}
	if err := r.wait(deadline, forCommand); err != nil {
		return err
	}
	n, err := r.sock.Read(r.buf[r.w:])
	r.mu.Lock()
	r.waiting = false
	drain := r.draining
	r.mu.Unlock()
	r.w += n
	switch {
	case n > 0:
		return nil // the next read returns an error again
	case err == nil:
		return io.ErrNoProgress
	case drain && forCommand && isTimeout(err):
		return errDrain
	}
	return err
}

// wait sets the deadline of the next read. Once the server is shutting down, no
// further command is read.
func (r *reader) wait(deadline time.Time, forCommand bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = forCommand
	if r.draining && forCommand {
		return errDrain
	}
	r.sock.SetReadDeadline(deadline)
	return nil
}

// drain interrupts the current wait for a command and all later ones. It may be
// called from any goroutine.
func (r *reader) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	if r.waiting {
		r.sock.SetReadDeadline(time.Now())
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// line returns the next line without its LF. The line is valid until the next
// read. The first octet must arrive within patience. auth is set for the
// response to a challenge, which may be longer than a command.
func (r *reader) line(patience time.Duration, auth bool) ([]byte, error) {
	for scanned := 0; ; {
		data := r.data()
		if i := bytes.IndexByte(data[scanned:], '\n'); i >= 0 {
			end := scanned + i
			line := data[:end]
			r.r += end + 1
			r.begun = time.Time{}
			switch {
			case end+1 > r.lineLimit(line, auth):
				return nil, errLong
			case r.strict && !bytes.HasSuffix(line, []byte("\r")):
				return nil, errBareLF
			}
			return line, nil
		}
		scanned = len(data)
		if scanned >= r.lineLimit(data, auth) {
			return nil, r.skipLine()
		}
		if err := r.fill(r.lineDeadline(scanned > 0, patience), true); err != nil {
			return nil, err
		}
	}
}

// lineDeadline returns the deadline for the next octets of a line.
func (r *reader) lineDeadline(partial bool, patience time.Duration) time.Time {
	now := time.Now()
	if !partial {
		r.shrink()
		r.begun = time.Time{}
		return now.Add(patience)
	}
	if r.begun.IsZero() {
		r.begun = now
	}
	return r.begun.Add(r.limits.LineTime)
}

// lineLimit returns the maximum length, including the line ending, of a line
// that begins with b.
func (r *reader) lineLimit(b []byte, auth bool) int {
	if auth || len(b) >= 5 && bytes.EqualFold(b[:5], []byte("AUTH ")) {
		return r.limits.AuthLine
	}
	return r.limits.Line
}

// skipMax is the maximum number of octets of an endless line that are skipped
// before the connection ends.
const skipMax = 64 << 10

// skipLine reads to the end of a line that is too long.
func (r *reader) skipLine() error {
	deadline := time.Now().Add(r.limits.LineTime)
	for skipped := 0; skipped < skipMax; {
		data := r.data()
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			r.r += i + 1
			return errLong
		}
		skipped += len(data)
		r.r = r.w
		if err := r.fill(deadline, true); err != nil {
			return err
		}
	}
	return errFull
}

// linger allows the last reply time to arrive. Closing a socket with unread
// octets resets the connection, and the client might not receive the reply.
func (r *reader) linger() {
	half, ok := r.sock.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	r.room()
	r.sock.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	for n := 0; n < 1<<20; {
		k, err := r.sock.Read(r.buf[:cap(r.buf)])
		if err != nil {
			return
		}
		n += k
	}
}

// release drops the received octets and returns the large buffer.
func (r *reader) release() {
	r.r = r.w
	r.shrink()
}
