package forward

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"hoplite/mail"
)

// conn is one connection to a server, ready for a transaction.
type conn struct {
	nc     net.Conn
	r      *bufio.Reader
	w      *bufio.Writer
	server *server
	addr   string // the server's address
	caps   caps
	proof  proof
	client netip.AddrPort // the client whose identity was sent to the server
	times  *timeouts
	ctx    context.Context // of the call that uses the connection

	used   int         // number of messages
	mails  int         // number of MAIL commands
	broken bool        // nothing more can be sent on it
	dirty  bool        // a transaction was begun but not ended
	expire *time.Timer // closes it after keep_idle; nil until first needed
}

// connBuffer is the number of octets that are buffered before they are written.
const connBuffer = 16 << 10

func newConn(nc net.Conn, s *server, times *timeouts) *conn {
	c := &conn{server: s, addr: nc.RemoteAddr().String(), times: times}
	if s.network == "unix" {
		c.addr = s.address
	}
	c.setTransport(nc)
	return c
}

// setTransport makes the connection read from and write to nc. Octets that were
// read ahead are dropped: those after STARTTLS were sent in clear text and must
// not be treated as replies (RFC 3207, 5).
func (c *conn) setTransport(nc net.Conn) {
	c.nc = nc
	c.r = bufio.NewReaderSize(nc, maxReplyLine)
	c.w = bufio.NewWriterSize(nc, connBuffer)
}

// spent reports whether the server accepts no more MAIL commands on this
// connection (MAILMAX of RFC 9422).
func (c *conn) spent() bool { return c.caps.mailMax > 0 && c.mails >= c.caps.mailMax }

// past is a deadline in the past.
var past = time.Unix(1, 0)

// watch interrupts reads and writes on the connection when ctx is done.
func (c *conn) watch(ctx context.Context) func() {
	c.ctx = ctx
	nc := c.nc
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(past) })
	return func() { stop() }
}

// arm sets the deadline of the next read or write.
func (c *conn) arm(timeout time.Duration) {
	c.nc.SetDeadline(time.Now().Add(timeout))
	if c.ctx.Err() != nil { // it was done just before the call
		c.nc.SetDeadline(past)
	}
}

// flush writes the buffered octets.
func (c *conn) flush(timeout time.Duration) error {
	c.arm(timeout)
	if err := c.w.Flush(); err != nil {
		c.broken = true
		return err
	}
	return nil
}

// ask sends one command and waits for its reply.
func (c *conn) ask(line string, timeout time.Duration) (*mail.Reply, error) {
	c.w.WriteString(line)
	c.w.WriteString("\r\n")
	if err := c.flush(timeout); err != nil {
		return nil, err
	}
	return c.wait(timeout)
}

// wait reads one reply. A 421 is the last one on a connection.
func (c *conn) wait(timeout time.Duration) (*mail.Reply, error) {
	c.arm(timeout)
	reply, err := readReply(c.r)
	if err != nil {
		c.broken = true
		return nil, err
	}
	reply.Host = c.server.name()
	if reply.Code == 421 {
		c.broken = true
	}
	return reply, nil
}

// skip reads n replies that no longer matter.
func (c *conn) skip(n int) {
	for ; n > 0 && !c.broken; n-- {
		c.wait(c.times.command)
	}
}

// failed returns an error on this connection at a stage of the conversation.
func (c *conn) failed(stage string, err error) error {
	return &stageError{stage: stage, host: c.server.name(), addr: c.addr, err: err}
}

// nothing returns the error for a transaction that never began.
func (c *conn) nothing(err error) error {
	c.broken = true
	return c.failed("MAIL", fmt.Errorf("%w: %w", errNothingSent, err))
}

// isLocal reports whether a connection stays on this machine.
func (c *conn) isLocal() bool {
	if c.server.network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(c.addr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// quit sends QUIT and closes the connection without waiting for the reply.
func (c *conn) quit() {
	if !c.broken {
		c.nc.SetDeadline(time.Now().Add(time.Second))
		c.w.WriteString("QUIT\r\n")
		c.w.Flush()
	}
	c.nc.Close()
}
