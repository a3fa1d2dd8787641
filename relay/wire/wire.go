// Package wire carries SMTP and LMTP between a client's socket and go-smtp. It
// reads lines and messages, answers what needs no knowledge of mail, and calls
// the library for the rest; package relay decides what a command means for mail.
//
// Who decides what:
//
//	wire     where a line and a message end, and which octets they may hold
//	wire     which command may come now (503), from the table in order.go
//	wire     the EHLO reply; parameters that were not offered are refused (555)
//	wire     paths, SIZE, BODY=BINARYMIME, BDAT, base64 in AUTH
//	wire     HELO, EHLO, LHLO, NOOP, QUIT, STARTTLS, XCLIENT, VRFY, EXPN, HELP, ETRN
//	wire     deadlines, limits, and the code and text of every reply
//	go-smtp  the values of all other parameters, among them BY and MT-PRIORITY
//	go-smtp  the SASL dialogue, and panics of the session
//	go-smtp  the calls of Mail, Rcpt, Data, Reset and Auth, in one goroutine
//
// Each piece of state has one owner:
//
//	reader   octets received and not yet used, the read deadline, draining
//	replies  octets to be sent, and what is to be done once they are sent
//	order    how far the session has come: greeting, transaction, login
//	tally    commands, errors, failed logins and messages of the connection
//	body     the message that is being received
//	library  what go-smtp still has to read, and replies it is about to give
//	Conn     who the client is, what it was offered, the session on top
//
// Start with Conn.step, which handles one line, and order.go. All that go-smtp
// makes necessary is in library.go.
package wire

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"

	"hoplite/internal/listen"
	"hoplite/mail"
)

// Options are shared by all connections of a listener.
type Options struct {
	Hostname string // in the greeting and in the reply to EHLO
	LMTP     bool
	Limits   Limits
	// Bare says what happens to CR and LF outside CRLF, and to NUL.
	Bare Bare
	// Lenient accepts paths without angle brackets, which old devices send.
	Lenient bool
	// XClient are the networks whose clients may use XCLIENT.
	XClient []netip.Prefix
	// Disable are EHLO keywords that are not announced, for clients with faulty
	// support. The extensions that are part of an Offer are refused, too.
	Disable []string
	// Offer returns what is announced in the reply to EHLO.
	Offer func(*Conn) Offer
	// Answer answers HELP, VRFY, EXPN and ETRN; with ok false the command gets
	// a general reply.
	Answer func(c *Conn, verb, arg string) (r mail.Reply, ok bool)
	// Annotate may add to a refusal that is given during a transaction, such as
	// the transaction's id.
	Annotate func(*Conn, mail.Reply) mail.Reply
	// Library hands a connection to go-smtp, which serves it until Read returns
	// io.EOF.
	Library func(net.Conn)
	// Closed is called once, when the connection is closed.
	Closed func(*Conn)
	// Panic is called when a bug ends a connection outside the library.
	Panic func(value any, stack []byte)
}

// banner greets a client.
func (o *Options) banner() mail.Reply {
	name := "ESMTP"
	if o.LMTP {
		name = "LMTP"
	}
	return mail.Reply{Code: 220, Text: o.Hostname + " " + name + " Hoplite"}
}

// trusts reports whether peer may use XCLIENT: the other end of the socket, not
// the client that it speaks for.
func (o *Options) trusts(peer netip.Addr) bool {
	return slices.ContainsFunc(o.XClient, func(n netip.Prefix) bool { return n.Contains(peer) })
}

// Conn is one SMTP or LMTP connection. Its methods are for the session on top
// of it, in the goroutine that serves the connection; Drain may be called from
// any goroutine.
type Conn struct {
	opts *Options
	sock *listen.Conn
	// State is the session's. It lives as long as the client stays the same:
	// STARTTLS and XCLIENT set it to nil.
	State any

	in    reader
	out   replies
	order order
	tally tally
	body  body
	lib   *library // nil while go-smtp does not serve the connection

	client clientInfo
	verb   string // the command that is being answered
	mail   Mail   // the last MAIL
	next   octets
	hangup bool  // the connection ends after the replies that are due
	err    error // final: nothing is read after it
	once   sync.Once
}

// octets says what the octets that come next are.
type octets int

const (
	command      octets = iota
	response            // to a 334
	message             // DATA after its 354
	chunk               // of BDAT
	refusedChunk        // of a BDAT that was refused
)

// New returns a Conn for an accepted connection; Serve serves it.
func New(sock *listen.Conn, opts *Options) *Conn {
	c := &Conn{opts: opts, sock: sock, client: clientInfo{ident: Ident{Client: sock.Client, Local: sock.Local}}}
	c.order.lmtp = opts.LMTP
	c.tally.limits = opts.Limits.withDefaults()
	c.out = replies{sock: sock, longest: c.tally.limits.AuthLine}
	c.in = reader{sock: sock, limits: &c.tally.limits, out: &c.out, strict: opts.Bare == Reject}
	c.body.in = &c.in
	return c
}

// Socket returns the connection underneath.
func (c *Conn) Socket() *listen.Conn { return c.sock }

// Ident returns who the client is.
func (c *Conn) Ident() Ident { return c.client.ident }

// Helo returns the argument of the last HELO, EHLO or LHLO; esmtp is false
// after HELO.
func (c *Conn) Helo() (name string, esmtp bool) { return c.client.helo, c.client.esmtp }

// Login returns the account that the client has logged in to, or "".
func (c *Conn) Login() string { return c.order.login }

// SetLogin records a successful login. STARTTLS and XCLIENT undo it.
func (c *Conn) SetLogin(account string) { c.order.login = account }

// Mail returns those parameters of the last MAIL that go-smtp does not.
func (c *Conn) Mail() Mail { return c.mail }

// Accepted records that a message was accepted: errors before it no longer
// count.
func (c *Conn) Accepted() { c.tally.accepted() }

// Answer replaces the replies of the library to the present command, one by
// one. A session calls it just before it returns to the library. A 421 ends
// the connection.
func (c *Conn) Answer(r ...mail.Reply) { c.lib.answers = append(c.lib.answers[:0], r...) }

// Then calls f once the replies that are due have been sent, or cannot be: for
// work that no client should wait for.
func (c *Conn) Then(f func()) { c.out.afterwards(f) }

// Drain asks the connection to end: immediately with 421 while it waits for a
// command, otherwise once the present message has been answered.
func (c *Conn) Drain() { c.in.drain() }

// Close sends the replies that are due and closes the socket.
func (c *Conn) Close() error {
	var err error
	c.once.Do(func() {
		c.out.close()
		if c.err == nil {
			c.err = io.EOF // whatever follows QUIT is ignored
		}
		err = c.sock.Close()
		c.in.release()
		if c.opts.Closed != nil {
			c.opts.Closed(c)
		}
	})
	return err
}
