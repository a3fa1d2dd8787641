// Package wire connects the sockets of SMTP and LMTP clients to go-smtp. It
// reads lines and messages, answers commands that do not depend on mail
// handling, and passes the others to the library. The handling of mail is left
// to package relay.
//
// The division of work:
//
//	wire     the ends of lines and messages, and the octets they may contain
//	wire     the order of commands (503): the table in order.go
//	wire     the EHLO reply; parameters that are not offered are refused (555)
//	wire     paths, SIZE, BODY=BINARYMIME, BDAT, base64 in AUTH
//	wire     HELO, EHLO, LHLO, NOOP, QUIT, STARTTLS, XCLIENT, VRFY, EXPN, HELP, ETRN
//	wire     deadlines, limits, and the code and text of every reply
//	go-smtp  the values of all other parameters, among them BY and MT-PRIORITY
//	go-smtp  the SASL dialogue, and recovery from panics in the session
//	go-smtp  calls Mail, Rcpt, Data, Reset and Auth of the session
//
// Each piece of state has one owner:
//
//	reader   received octets, the read deadline, draining
//	replies  octets to send, and functions to call once they have been sent
//	order    the stage of the session: greeting, transaction, login
//	tally    the numbers of commands, errors, failed logins and messages
//	receiver the message being received
//	library  input for go-smtp, and the session's replies to its commands
//	Conn     the client's identity, the offer made to it, the session itself
//
// Start with Conn.step, which handles one line, and order.go. All
// workarounds for go-smtp are in library.go.
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

// Options holds settings shared by all connections of a listener.
type Options struct {
	Hostname string // in the greeting and in the reply to EHLO
	LMTP     bool
	Limits   Limits
	// Bare selects the treatment of NUL, and of CR and LF outside CRLF.
	Bare Bare
	// BareFrom lists the networks whose clients may end a message with LF.LF if
	// Bare is Fix. Smuggling needs two servers that disagree about the end of a
	// message, so these networks must contain only your own devices and
	// programs.
	BareFrom []netip.Prefix
	// Lenient accepts paths without angle brackets, which old devices send.
	Lenient bool
	// XClient lists the networks whose clients may use XCLIENT.
	XClient []netip.Prefix
	// Disable lists EHLO keywords that are not announced, for clients with
	// faulty support. Extensions that are part of an Offer are also refused.
	Disable []string
	// Offer returns the extensions announced in the reply to EHLO.
	Offer func(*Conn) Offer
	// Answer answers HELP, VRFY, EXPN and ETRN. If ok is false, the command
	// gets a general reply.
	Answer func(c *Conn, verb, arg string) (r mail.Reply, ok bool)
	// Annotate may add text, such as an id, to refusals during a transaction.
	Annotate func(*Conn, mail.Reply) mail.Reply
	// Library passes a connection to go-smtp, which serves it until Read
	// returns io.EOF.
	Library func(net.Conn)
	// Closed is called once, when the connection is closed.
	Closed func(*Conn)
	// Panic is called with the recovered value if a panic outside the library
	// ends a connection.
	Panic func(value any)
}

// banner returns the greeting.
func (o *Options) banner() mail.Reply {
	name := "ESMTP"
	if o.LMTP {
		name = "LMTP"
	}
	return mail.Reply{Code: 220, Text: o.Hostname + " " + name + " Hoplite"}
}

// bareEnd reports whether a client may end a message with LF.LF.
func (o *Options) bareEnd(client netip.Addr) bool {
	return o.Bare == Fix && slices.ContainsFunc(o.BareFrom, func(n netip.Prefix) bool { return n.Contains(client) })
}

// trusts reports whether peer, the remote end of the socket rather than the
// client it represents, may use XCLIENT.
func (o *Options) trusts(peer netip.Addr) bool {
	return slices.ContainsFunc(o.XClient, func(n netip.Prefix) bool { return n.Contains(peer) })
}

// Conn is one SMTP or LMTP connection. Its methods are for the session that
// uses it and must be called from the goroutine that serves the connection.
// Drain may be called from any goroutine.
type Conn struct {
	opts *Options
	sock *listen.Conn
	// State belongs to the session. STARTTLS and XCLIENT set it to nil, because
	// they begin a new session.
	State any

	in    reader
	out   replies
	order order
	tally tally
	recv  receiver
	lib   *library // nil while go-smtp does not serve the connection

	client clientInfo
	verb   string // the command being answered
	mail   Mail   // parameters of the last MAIL
	next   octets
	hangup bool   // the connection ends after the pending replies
	ended  string // reason for closing the connection, unless the client did
	err    error  // final: nothing more is read
	once   sync.Once
}

// octets determines the meaning of the next octets from the client.
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
	c.recv.conn = c
	return c
}

// Socket returns the underlying connection.
func (c *Conn) Socket() *listen.Conn { return c.sock }

// Ident returns the client's identity.
func (c *Conn) Ident() Ident { return c.client.ident }

// Helo returns the argument of the last HELO, EHLO or LHLO. After HELO, esmtp is
// false.
func (c *Conn) Helo() (name string, esmtp bool) { return c.client.helo, c.client.esmtp }

// Login returns the account that the client is logged in to, or "".
func (c *Conn) Login() string { return c.order.login }

// SetLogin records a successful login. STARTTLS and XCLIENT clear it.
func (c *Conn) SetLogin(account string) { c.order.login = account }

// Mail returns the parameters of the last MAIL that go-smtp does not pass on.
func (c *Conn) Mail() Mail { return c.mail }

// Accepted records that a message was accepted, and resets the count of errors.
func (c *Conn) Accepted() { c.tally.accepted() }

// Abandoned describes how a transaction without a message ended: by a command,
// or with the connection.
func (c *Conn) Abandoned() string {
	switch {
	case c.ended != "":
		return c.ended
	case c.verb == "" || c.err != nil && c.verb != "QUIT":
		return "the client disconnected"
	}
	return "the client sent " + c.verb
}

// Answer sets the replies to the current command, which replace those of the
// library in order. The session calls it just before it returns to the library.
// A 421 closes the connection.
func (c *Conn) Answer(r ...mail.Reply) { c.lib.answers = append(c.lib.answers[:0], r...) }

// Then calls f once the pending replies have been sent or sending them has
// failed. The client does not have to wait for f.
func (c *Conn) Then(f func()) { c.out.afterwards(f) }

// Drain asks the connection to end: immediately with 421 if it is waiting for a
// command, otherwise after the reply to the current message.
func (c *Conn) Drain() { c.in.drain() }

// Close sends the pending replies and closes the socket.
func (c *Conn) Close() error {
	var err error
	c.once.Do(func() {
		c.out.close()
		if c.err == nil {
			c.err = io.EOF // input after QUIT is ignored
		}
		err = c.sock.Close()
		c.in.release()
		if c.opts.Closed != nil {
			c.opts.Closed(c)
		}
	})
	return err
}
