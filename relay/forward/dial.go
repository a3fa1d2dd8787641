package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"hoplite/internal/listen"
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
	tls    *tls.ConnectionState
	used   int // messages
	mails  int // MAIL commands
	broken bool
	dirty  bool           // a transaction was begun and not ended
	client netip.AddrPort // whom the server was told of
	times  *timeouts
	ctx    context.Context // of the call that uses the connection
	expire *time.Timer     // closes it when it was idle for long; nil before that
}

type timeouts struct{ connect, command, data time.Duration }

const connBuffer = 16 << 10

// spent tells whether the server takes no further MAIL on this connection
// (MAILMAX of RFC 9422).
func (c *conn) spent() bool { return c.caps.mailMax > 0 && c.mails >= c.caps.mailMax }

// dialer is what an upstream knows about making connections.
type dialer struct {
	helo   string
	policy string // off, may, require, verify
	tls    listen.Profile
	auth   *authenticator
	client string // no, xclient, xforward, proxy
	times  timeouts
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	roots  *tls.Config // for tests
	loopOK bool
	// heloOnly leaves EHLO out, for a server that hung up on it.
	heloOnly bool
	weakTLS  func(server string, state tls.ConnectionState)
}

// step says what was being done when a connection failed.
type step struct {
	what string
	err  error
}

func (s *step) Error() string { return s.what + ": " + s.err.Error() }
func (s *step) Unwrap() error { return s.err }

// open connects to a server and brings the connection to the point where MAIL
// may come. An error is a *mail.Reply of the server's, or a *step.
func (d *dialer) open(ctx context.Context, s *server, from mail.Client) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.times.connect)
	defer cancel()
	nc, err := d.dial(ctx, s.network, s.address)
	if err != nil {
		return nil, &step{"connect to " + s.address, err}
	}
	c, err := d.begin(ctx, nc, s, from)
	if errors.Is(err, errNoEHLO) {
		// It hung up on a word that it does not know.
		if nc, err = d.dial(ctx, s.network, s.address); err != nil {
			return nil, &step{"connect to " + s.address, err}
		}
		old := *d
		old.heloOnly = true
		return old.begin(ctx, nc, s, from)
	}
	return c, err
}

// errNoEHLO is a server that closes the connection at EHLO.
var errNoEHLO = errors.New("it closed the connection at EHLO")

func (d *dialer) begin(ctx context.Context, nc net.Conn, s *server, from mail.Client) (*conn, error) {
	c := &conn{nc: nc, server: s, addr: nc.RemoteAddr().String(), times: &d.times}
	if s.network == "unix" {
		c.addr = s.address
	}
	c.buffers()
	stop := c.watch(ctx)
	defer stop()
	if err := d.greet(ctx, c, from); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) buffers() {
	c.r = bufio.NewReaderSize(c.nc, maxReplyLine)
	c.w = bufio.NewWriterSize(c.nc, connBuffer)
}

// past is a deadline that has gone by.
var past = time.Unix(1, 0)

// watch makes whatever the connection waits for end with ctx.
func (c *conn) watch(ctx context.Context) func() {
	c.ctx = ctx
	nc := c.nc
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(past) })
	return func() { stop() }
}

func (d *dialer) greet(ctx context.Context, c *conn, from mail.Client) error {
	if d.client == "proxy" {
		if err := writeProxy(c.nc, from); err != nil {
			return &step{"PROXY", err}
		}
	}
	if c.server.tls {
		if err := d.startTLS(ctx, c); err != nil {
			return err
		}
	}
	greeting, err := c.wait(d.times.connect)
	if err != nil {
		return &step{"greeting", err}
	}
	if greeting.Code != 220 {
		return refusedBy(c, greeting)
	}
	if err := d.hello(c); err != nil {
		return err
	}
	if err := d.secure(ctx, c); err != nil {
		return err
	}
	if d.auth != nil {
		if err := d.auth.login(ctx, c, d.helo); err != nil {
			return err
		}
	}
	return d.introduce(c, from)
}

// hello says EHLO, and HELO to servers that don't know it (RFC 5321, 4.1.4).
func (d *dialer) hello(c *conn) error {
	verb := "EHLO"
	if c.server.lmtp {
		verb = "LHLO"
	}
	if !d.heloOnly {
		reply, err := c.ask(verb+" "+d.helo, d.times.connect)
		switch {
		case err != nil && !c.server.lmtp && c.tls == nil && closed(err):
			return &step{verb, fmt.Errorf("%w: %w", errNoEHLO, err)}
		case err != nil:
			return &step{verb, err}
		case reply.Code == 250:
			c.caps = parseCaps(reply.Text)
			return nil
		case c.server.lmtp || reply.Code == 421:
			return refusedBy(c, reply)
		}
	}
	reply, err := c.ask("HELO "+d.helo, d.times.connect)
	if err != nil {
		return &step{"HELO", err}
	}
	if reply.Code != 250 {
		return refusedBy(c, reply)
	}
	c.caps = caps{}
	return nil
}

// closed tells the end of a connection from a silent one.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// refusedBy marks a reply with the server that gave it.
func refusedBy(c *conn, r *mail.Reply) *mail.Reply {
	r.Host = c.server.name()
	return r
}

// ask sends one command and waits for its reply.
func (c *conn) ask(line string, timeout time.Duration) (*mail.Reply, error) {
	c.w.WriteString(line)
	c.w.WriteString("\r\n")
	c.arm(timeout)
	if err := c.w.Flush(); err != nil {
		return nil, c.broke(err)
	}
	return c.wait(timeout)
}

func (c *conn) arm(timeout time.Duration) {
	c.nc.SetDeadline(time.Now().Add(timeout))
	if c.ctx.Err() != nil { // it ended just before
		c.nc.SetDeadline(past)
	}
}

// wait reads one reply.
func (c *conn) wait(timeout time.Duration) (*mail.Reply, error) {
	c.arm(timeout)
	reply, err := readReply(c.r)
	if err != nil {
		return nil, c.broke(err)
	}
	reply.Host = c.server.name()
	if reply.Code == 421 {
		c.broken = true
	}
	return reply, nil
}

func (c *conn) broke(err error) error {
	c.broken = true
	return err
}

// quit says goodbye without waiting for an answer, and closes.
func (c *conn) quit() {
	if !c.broken {
		c.nc.SetDeadline(time.Now().Add(time.Second))
		c.w.WriteString("QUIT\r\n")
		c.w.Flush()
	}
	c.nc.Close()
}
