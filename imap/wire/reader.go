package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// Reader reads commands from a connection. It holds no buffer between commands.
type Reader struct {
	Limits Limits
	// Continue asks the client to send the literal that it announced.
	Continue func() error

	src    io.Reader
	in     *[]byte // pooled input buffer; nil while it is empty
	lo, hi int
	first  [1]byte // the octet that made Wait return
	cmd    []byte
	text   int // octets of the command outside literals
	lits   int // octets of the command's literals
}

// NewReader returns a reader for commands from src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src, Limits: Anonymous} }

// From reads all further input from src. There must be no unread input.
func (r *Reader) From(src io.Reader) { r.src = src }

// Buffered reports whether there is unread input.
func (r *Reader) Buffered() bool { return r.lo < r.hi }

// Release returns the buffers to the pool. Any input in them is lost.
func (r *Reader) Release() {
	if r.in != nil {
		pool.Put(r.in)
		r.in = nil
	}
	r.lo, r.hi = 0, 0
	if cap(r.cmd) > 1<<10 {
		r.cmd = nil
	}
}

// Wait returns when input has arrived. It holds no buffer while it is waiting.
func (r *Reader) Wait() error {
	if r.Buffered() {
		return nil
	}
	r.Release()
	n, err := r.src.Read(r.first[:])
	if n == 0 {
		if err == nil {
			return nil
		}
		return err
	}
	r.in = pool.Get().(*[]byte)
	(*r.in)[0] = r.first[0]
	r.hi = 1
	return nil
}

// fill reads more input into the buffer, which must be empty.
func (r *Reader) fill() error {
	if r.in == nil {
		r.in = pool.Get().(*[]byte)
	}
	n, err := r.src.Read(*r.in)
	r.lo, r.hi = 0, n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Literal is a message that the client is about to send.
type Literal struct {
	Size   int64
	Sync   bool // the client waits for a continuation request
	Binary bool // a literal8, which may contain NULs
}

// Command reads the next command with its literals, without the line ending.
// The slice is valid until the next call. If the command contains a message,
// Command stops before the message, which msg describes; the caller reads it
// with Message and continues with More.
func (r *Reader) Command() (cmd []byte, msg *Literal, err error) {
	r.text, r.lits = 0, 0
	return r.read(false)
}

// More reads the text after a message in the same command: the end of the
// command, or the arguments of the next message.
func (r *Reader) More() (cmd []byte, msg *Literal, err error) { return r.read(true) }

// read reads a command, or the rest of one if more is set.
func (r *Reader) read(more bool) (cmd []byte, msg *Literal, err error) {
	r.cmd = r.cmd[:0]
	for {
		if err := r.line(r.Limits.Line); err != nil {
			return r.cmd, nil, err
		}
		lit, start, ok := literal(r.cmd)
		if !ok {
			return trimEOL(r.cmd), nil, nil
		}
		if more || isMessage(r.cmd[:start]) {
			return r.cmd[:start], &lit, nil
		}
		if lit.Size > int64(r.Limits.Literals-r.lits) && lit.Size > int64(r.idLimit()-r.lits) {
			if lit.Sync {
				return r.cmd, nil, &TooBigError{r.cmd}
			}
			return r.cmd, nil, ErrTooLong
		}
		if lit.Sync {
			if err := r.Continue(); err != nil {
				return r.cmd, nil, err
			}
		}
		if err := r.take(int(lit.Size)); err != nil {
			return r.cmd, nil, err
		}
		r.lits += int(lit.Size)
	}
}

// Line reads a line that answers a continuation request rather than being a
// command.
func (r *Reader) Line() ([]byte, error) {
	r.cmd, r.text = r.cmd[:0], 0
	err := r.line(max(r.Limits.Line, r.Limits.Auth))
	return trimEOL(r.cmd), err
}

// line appends a line, with its line ending, to the command, which may not exceed
// limit, or the larger limit of ID and AUTHENTICATE.
func (r *Reader) line(limit int) error {
	for {
		if r.lo == r.hi {
			if err := r.fill(); err != nil {
				return err
			}
		}
		b := (*r.in)[r.lo:r.hi]
		i := bytes.IndexByte(b, '\n')
		if i >= 0 {
			b = b[:i+1]
		}
		r.cmd = append(r.cmd, b...)
		r.text += len(b)
		r.lo += len(b)
		if r.text > limit && r.text > r.lineLimit() {
			return ErrTooLong
		}
		if i >= 0 {
			return nil
		}
	}
}

// lineLimit returns the limit on lines of an ID or AUTHENTICATE command, or 0 for
// other commands.
func (r *Reader) lineLimit() int {
	if r.is("AUTHENTICATE") {
		return r.Limits.Auth
	}
	return r.idLimit()
}

// idLimit returns the limit for an ID command, or 0 for other commands.
func (r *Reader) idLimit() int {
	if r.is("ID") {
		return r.Limits.ID
	}
	return 0
}

// is reports whether the command has a name and arguments.
func (r *Reader) is(name string) bool {
	p := scanner{b: r.cmd}
	p.Tag()
	p.SP()
	return p.Command() == name && p.peek() == ' '
}

// take adds n octets to the command.
func (r *Reader) take(n int) error {
	for n > 0 {
		if r.lo == r.hi {
			if err := r.fill(); err != nil {
				return err
			}
		}
		k := min(n, r.hi-r.lo)
		r.cmd = append(r.cmd, (*r.in)[r.lo:r.lo+k]...)
		r.lo += k
		n -= k
	}
	return nil
}

// Message returns a reader for the message described by lit. It must be read
// completely before the next call.
func (r *Reader) Message(lit *Literal) io.Reader { return &message{r: r, left: lit.Size} }

type message struct {
	r    *Reader
	left int64
}

func (m *message) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, io.EOF
	}
	if m.r.lo == m.r.hi {
		if err := m.r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("within a message: %w", io.ErrUnexpectedEOF) // not the end of the message
			}
			return 0, err
		}
	}
	b := (*m.r.in)[m.r.lo:m.r.hi]
	n := copy(p, b[:min(int64(len(b)), m.left)])
	m.r.lo += n
	m.left -= int64(n)
	return n, nil
}

// literal looks for {n}, {n+} or ~{n} at the end of a line (RFC 9051, 9; RFC
// 7888), and returns the literal and its offset.
func literal(line []byte) (lit Literal, start int, ok bool) {
	b := trimEOL(line)
	if len(b) < 3 || b[len(b)-1] != '}' {
		return lit, 0, false
	}
	i := len(b) - 2
	lit.Sync = b[i] != '+'
	if !lit.Sync {
		i--
	}
	end := i
	for i >= 0 && b[i] >= '0' && b[i] <= '9' {
		i--
	}
	if i < 0 || i == end || b[i] != '{' {
		return lit, 0, false
	}
	var err error
	if lit.Size, err = strconv.ParseInt(string(b[i+1:end+1]), 10, 64); err != nil {
		lit.Size = math.MaxInt64 // above any limit
	}
	if i > 0 && b[i-1] == '~' {
		lit.Binary = true
		i--
	}
	return lit, i, true
}

func trimEOL(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	return bytes.TrimSuffix(b, []byte("\r"))
}

// isMessage reports whether a literal after this beginning of a command is the
// message of an APPEND or REPLACE rather than a mailbox name.
func isMessage(cmd []byte) bool {
	p := NewParser(cmd, AllForms)
	p.Tag()
	p.SP()
	name := p.Command()
	if name == "UID" {
		p.SP()
		name = p.Command()
	}
	switch name {
	case "APPEND":
	case "REPLACE":
		p.SP()
		p.Set()
	default:
		return false
	}
	p.SP()
	p.AString()
	p.SP()
	return p.Err() == nil
}
