// Package wire is the octets of SMTP under go-smtp: a net.Conn that hands the
// library one checked line at a time and rewrites what it answers.
//
// It frames lines, decodes DATA and counts BDAT, owns STARTTLS, XCLIENT and
// the verbs that the library lacks or gets wrong, keeps the deadlines, counts
// errors, and sends the replies of a pipelined batch in one write. Grammar,
// order of a transaction and the SASL dialogue are left to go-smtp; what a
// command means for mail is left to package relay.
//
// The library is there only while mail is talked about: a connection that has
// just said EHLO, or has been silent for a moment between two messages, is in
// the lobby, where it costs little memory.
//
// Five rules carry it. Write only collects, the socket is written before Read
// would block. Read gives out one line a call, so that the library never reads
// ahead. A message is read by ReadBody, past the library, which then sees an
// end of data. TLS is begun here, so that nothing in clear text can be taken
// for protected. And deadlines are ours: after an error nothing more is read.
package wire

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"hoplite/internal/listen"
	"hoplite/mail"
)

// Options are what all connections of a listener share.
type Options struct {
	Hostname string // in the greeting and in the answer to EHLO
	LMTP     bool
	Limits   Limits
	// Bare says what becomes of CR and LF that are not CRLF and of NUL.
	Bare Bare
	// Lenient takes paths without angle brackets, as old devices write them.
	Lenient bool
	// XClient are the networks whose XCLIENT is believed.
	XClient []netip.Prefix
	// Disable are EHLO keywords that are not shown, for clients that stumble
	// over them. What belongs to an Offer is not taken either.
	Disable []string
	// Offer says what the connection is offered in answer to EHLO.
	Offer func(*Conn) Offer
	// Answer answers HELP, VRFY, EXPN and ETRN; ok is false where the
	// listener has nothing to say to the verb.
	Answer func(c *Conn, verb, arg string) (r mail.Reply, ok bool)
	// Library gives the connection to go-smtp, which serves it until Read says
	// io.EOF.
	Library func(*Conn)
	// Closed is called once when the connection is over.
	Closed func(*Conn)
	// Panic hears of a bug that ended a connection in the lobby.
	Panic func(value any, stack []byte)
}

// Limits of one connection; a zero value stands for the default beside it.
type Limits struct {
	Line     int           // 2048 octets of a command line
	AuthLine int           // 12288 octets of a line of AUTH (RFC 4954, 4)
	Commands int           // 10000 commands without a message
	Idle     int           // 200 commands without a message, then each is an error
	Errors   int           // 20 bad commands without a message, then 421
	Slow     int           // 5 bad commands, from then on each costs Delay
	Auths    int           // 3 failed logins, then 421
	Delay    time.Duration // 1 s; negative: none
	IdleTime time.Duration // 5 min until a command begins (RFC 5321, 4.5.3.2.7)
	LineTime time.Duration // 1 min for a line once it has begun
	BodyTime time.Duration // 3 min until more of a message comes
	MinRate  int64         // 64 octets of a message a second, on average ...
	Grace    time.Duration // ... after the first minute
	Park     time.Duration // 1 s of silence between messages, then the lobby
}

func (l Limits) withDefaults() Limits {
	ints := []struct {
		v *int
		d int
	}{{&l.Line, 2048}, {&l.AuthLine, 12288}, {&l.Commands, 10000}, {&l.Idle, 200}, {&l.Errors, 20}, {&l.Slow, 5}, {&l.Auths, 3}}
	for _, i := range ints {
		if *i.v == 0 {
			*i.v = i.d
		}
	}
	times := []struct {
		v *time.Duration
		d time.Duration
	}{{&l.Delay, time.Second}, {&l.IdleTime, 5 * time.Minute}, {&l.LineTime, time.Minute}, {&l.BodyTime, 3 * time.Minute}, {&l.Grace, time.Minute}, {&l.Park, time.Second}}
	for _, t := range times {
		if *t.v == 0 {
			*t.v = t.d
		}
	}
	if l.MinRate == 0 {
		l.MinRate = 64
	}
	return l
}

// phase is what the octets that come next are.
type phase int

const (
	commands  phase = iota
	challenge       // the answer to a 334
	message         // DATA after its 354
	chunk           // BDAT
	refused         // the chunk of a BDAT that was refused
)

// Conn is one SMTP connection. Read and Write are for go-smtp alone, the other
// methods for the session on top of it and, where noted, for other goroutines.
type Conn struct {
	opts Options
	sock *listen.Conn
	// State is the session's, for as long as the connection lives: the library
	// may ask for a session more than once.
	State any

	in   input
	feed []byte // octets for the library that go before everything else
	cmd  []byte // memory for a command in feed
	err  error  // sticky: nothing is read after it

	out       []byte // replies not yet written
	partial   []byte // of a reply line of the library
	overrides []mail.Reply
	answered  int      // of the overrides
	then      []func() // to be called behind the replies
	closed    bool     // nothing comes behind them any more
	swallow   int      // replies of the library that nobody asked for
	hangup    bool

	attached bool // the library serves this connection
	parting  bool // it is about to let it go
	phase    phase
	verb     string // the command that is being answered
	path     string // of the last MAIL or RCPT, without brackets
	size     int64  // of the last MAIL, as announced
	extra    Extra  // of the last MAIL
	bdatting bool   // the library was told of DATA, and has not answered
	rest     int64  // octets of the chunk still to come
	last     bool   // it is the last one
	received int64  // octets of all chunks of this message
	rcpts    int    // recipients taken
	offer    Offer
	name     string // in the greeting that is being answered
	helo     string
	esmtp    bool
	authed   bool
	inMail   bool
	ident    Ident
	epoch    int

	commands, empty, errors, auths int
	counted, lastBad               bool // an error of this command; one to wait for
	rate                           rate

	mu       sync.Mutex // guards the two below and the socket's read deadline
	draining bool
	waiting  bool // in a read that a drain may cut short
	once     sync.Once
}

// Ident is what the client is known as, from its socket, its PROXY header or
// XCLIENT.
type Ident struct {
	Client, Local netip.AddrPort
	Name          string // reverse name as XCLIENT gave it
}

// New puts a wire conn on an accepted connection, see Serve.
func New(sock *listen.Conn, opts Options) *Conn {
	opts.Limits = opts.Limits.withDefaults()
	return &Conn{opts: opts, sock: sock, ident: Ident{Client: sock.Client, Local: sock.Local}}
}

// Socket is the connection underneath.
func (c *Conn) Socket() *listen.Conn { return c.sock }

// Ident says who the client is.
func (c *Conn) Ident() Ident { return c.ident }

// Epoch changes when all that was known of the client has to be forgotten:
// after STARTTLS and XCLIENT.
func (c *Conn) Epoch() int { return c.epoch }

// Helo is the argument of the last HELO, EHLO or LHLO; esmtp is false for HELO.
func (c *Conn) Helo() (name string, esmtp bool) { return c.helo, c.esmtp }

// Path is what stood between the angle brackets of the MAIL or RCPT that is
// being answered, without a source route, quotes kept.
func (c *Conn) Path() string { return c.path }

// Size is the SIZE parameter of the last MAIL, 0 if it had none.
func (c *Conn) Size() int64 { return c.size }

// Extra are the parameters of the last MAIL that the library does not know.
func (c *Conn) Extra() Extra { return c.extra }

// Authed tells the wire that a login succeeded: STARTTLS comes too late now.
func (c *Conn) Authed() { c.authed = true }

// LoggedIn tells whether Authed was called.
func (c *Conn) LoggedIn() bool { return c.authed }

// Accepted tells the wire that a message was taken: the client is not just
// trying things, its errors are forgotten.
func (c *Conn) Accepted() { c.commands, c.errors, c.empty = 0, 0, 0 }

// Answer replaces the library's next replies, one by one. It is called while a
// command is being answered, just before the session returns to the library.
// A 421 ends the connection.
func (c *Conn) Answer(r ...mail.Reply) { c.overrides, c.answered = append(c.overrides[:0], r...), 0 }

// Then has f called once the replies that are due have left, or can't: for what
// no client should wait for.
func (c *Conn) Then(f func()) {
	if c.closed {
		f()
		return
	}
	c.then = append(c.then, f)
}

// Begun tells the wire whether a message has been begun and not been answered.
func (c *Conn) Begun(yes bool) { c.inMail = yes }

// Hangup ends the connection after the replies that are due.
func (c *Conn) Hangup() { c.hangup = true }

// LocalAddr and RemoteAddr are those of the socket.
func (c *Conn) LocalAddr() net.Addr { return c.sock.LocalAddr() }

// RemoteAddr is the other end of the socket.
func (c *Conn) RemoteAddr() net.Addr { return c.sock.RemoteAddr() }

// SetDeadline does nothing: deadlines are the wire's own, as the library sets
// its only once for a whole message.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, see SetDeadline.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetDeadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
