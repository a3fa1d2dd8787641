package wire

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"hoplite/mail"
)

// library is the net.Conn that go-smtp serves. It contains all workarounds for
// go-smtp v0.26:
//
//   - The library would read ahead, past the end of a message or of clear text.
//     Read returns one command at a time and, of a message, only its end.
//   - It removes quotes from local parts, which makes `"a b"@c` and `a b@c` equal.
//     address passes the whole path as one quoted string; Path restores it.
//   - It writes each line of a reply separately, with its own text. Write uses
//     only the code, and sends the session's reply or wire's own.
//   - It needs HELO and RSET, which have already been answered. Its replies to
//     them are dropped.
//   - Its handling of BDAT is unsafe; it receives DATA instead. See receiver.bdat.
//
// A library exists while go-smtp serves the connection: from the first command
// that needs it until the client is silent between messages, or until STARTTLS
// or XCLIENT begins a new session.
type library struct {
	conn     *Conn
	feed     []byte // input for go-smtp
	fed      int    // octets of feed already read
	partial  []byte // of a reply line
	swallow  int    // replies to drop
	answers  []mail.Reply
	answered int    // number of answers used
	body     octets // input that follows the next 354: message or chunk
	leaving  bool   // Read returns io.EOF, and Close returns the connection to serve
	closed   bool
}

// attach returns the connection's library. If necessary, it creates one, and
// go-smtp then serves the connection.
func (c *Conn) attach() *library {
	if c.lib != nil {
		return c.lib
	}
	c.lib = &library{conn: c, feed: make([]byte, 0, 128), swallow: 2} // the greeting and the reply to this command
	if c.opts.LMTP {
		c.lib.line("LHLO x")
	} else {
		c.lib.line("HELO x")
	}
	return c.lib
}

// mayDetach reports whether the library can be detached while the client is
// silent.
func (c *Conn) mayDetach() bool {
	return c.lib != nil && c.next == command && !c.order.open() && c.tally.limits.Park > 0
}

// ConnOf returns the Conn of a connection that go-smtp serves.
func ConnOf(n net.Conn) *Conn { return n.(*library).conn }

// line adds a line to the input of go-smtp.
func (l *library) line(parts ...string) {
	l.begin()
	for _, p := range parts {
		l.feed = append(l.feed, p...)
	}
	l.feed = append(l.feed, "\r\n"...)
}

// begin prepares feed for another line, and drops answers to the previous line.
func (l *library) begin() {
	if l.fed == len(l.feed) {
		l.feed, l.fed = l.feed[:0], 0
	}
	l.answers, l.answered = l.answers[:0], 0
}

// address passes MAIL or RCPT to go-smtp.
func (l *library) address(verb, path string, params []byte) {
	l.begin()
	switch {
	case verb == "RCPT" && path == "":
		l.feed = appendPath(append(l.feed, "RCPT TO:"...), "<>") // the session refuses it
	case verb == "RCPT":
		l.feed = appendPath(append(l.feed, "RCPT TO:"...), path)
	case path == "":
		l.feed = append(l.feed, "MAIL FROM:<>"...)
	default:
		l.feed = appendPath(append(l.feed, "MAIL FROM:"...), path)
	}
	l.feed = append(append(l.feed, params...), "\r\n"...)
}

// domain is added to a path by appendPath and removed by Path.
const domain = "@x"

// appendPath appends a path to b in a form from which the library's parser
// produces the unchanged path and domain. In a quoted string only \ and " are
// special.
func appendPath(b []byte, path string) []byte {
	b = append(b, `<"`...)
	for i := range len(path) {
		if path[i] == '"' || path[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, path[i])
	}
	return append(b, `"`+domain+">"...)
}

// Path returns the path of a MAIL or RCPT as sent by the client, without angle
// brackets and source route. s is the path that go-smtp passes to the session.
func Path(s string) string { return strings.TrimSuffix(s, domain) }

// data makes go-smtp call the session's Data after DATA or BDAT.
func (l *library) data(body octets) {
	l.body = body
	l.line("DATA")
}

// endData passes on the end of the message.
func (l *library) endData() { l.line(".") }

// reset ends the transaction in go-smtp.
func (l *library) reset() {
	l.line("RSET")
	l.swallow++
}

// response passes the response to a challenge to go-smtp.
func (l *library) response(line []byte) {
	text, refused := clean(line)
	switch {
	case refused != nil || text == "*":
		l.cancel(cancelled)
	case !isBase64(text):
		l.cancel(notBase64)
	default:
		l.line(text)
	}
}

// cancel ends a SASL dialogue; r is the reply to the client.
func (l *library) cancel(r mail.Reply) {
	l.line("*")
	l.answers = append(l.answers, r)
}

// Read returns input for go-smtp. While there is none, it handles input from
// the client, so most of a connection's work is done in this method.
func (l *library) Read(p []byte) (n int, err error) {
	defer func() { // go-smtp recovers only from panics in the session
		if p := recover(); p != nil {
			l.conn.panicked(p)
			n, err = 0, io.EOF
		}
	}()
	for {
		if l.fed < len(l.feed) {
			n := copy(p, l.feed[l.fed:])
			l.fed += n
			return n, nil
		}
		switch {
		case l.leaving:
			return 0, io.EOF
		case l.conn.err != nil:
			return 0, io.EOF // go-smtp would log any other error
		}
		l.conn.step()
	}
}

// maxPartial is the maximum length of a reply line from go-smtp, whose lines
// are all far shorter.
const maxPartial = 16 << 10

// Write receives go-smtp's replies.
func (l *library) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			if len(l.partial)+len(p) < maxPartial {
				l.partial = append(l.partial, p...)
			}
			break
		}
		line := p[:i]
		if len(l.partial) > 0 {
			line = append(l.partial, line...)
			l.partial = l.partial[:0]
		}
		p = p[i+1:]
		l.replyLine(bytes.TrimRight(line, "\r"))
	}
	return n, nil
}

// replyLine handles one line of a reply; only the last one matters.
func (l *library) replyLine(line []byte) {
	if len(line) < 4 || line[3] == '-' {
		return
	}
	code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if l.swallow > 0 {
		l.swallow--
		return
	}
	l.reply(code, line[4:])
}

// reply sends the client the reply that replaces one from go-smtp.
func (l *library) reply(code int, text []byte) {
	c := l.conn
	switch {
	case code == 354:
		if c.next = l.body; c.next == message {
			c.put(mail.Reply{Code: 354, Text: "End data with <CR><LF>.<CR><LF>"})
		}
	case l.answered < len(l.answers):
		l.answered++
		c.say(l.answers[l.answered-1])
	case code == 334:
		c.next = response
		c.put(mail.Reply{Code: 334, Text: string(text)})
	case code == 235:
		c.say(refusal(235, "2.7.0", "Authentication successful"))
	case code == 421: // the session has panicked
		c.say(refusal(421, "4.3.0", c.opts.Hostname+" internal server error"))
	case code >= 500 && (c.verb == "MAIL" || c.verb == "RCPT"):
		// Everything except the values of parameters has already been checked.
		c.say(refusal(501, "5.5.4", "Invalid parameter value"))
	default:
		c.say(mail.Reply{Code: code, Text: string(text)})
	}
}

// Close is called when go-smtp stops serving the connection. It closes the
// connection or, if the library is only detached, serves it without go-smtp.
func (l *library) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	if l.leaving {
		l.conn.lib = nil
		go l.conn.serve()
		return nil
	}
	return l.conn.Close()
}

// LocalAddr returns the local address of the socket.
func (l *library) LocalAddr() net.Addr { return l.conn.sock.LocalAddr() }

// RemoteAddr returns the remote address of the socket.
func (l *library) RemoteAddr() net.Addr { return l.conn.sock.RemoteAddr() }

// SetDeadline does nothing, because go-smtp would set a single deadline for a
// whole message.
func (l *library) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing; see SetDeadline.
func (l *library) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing; see SetDeadline.
func (l *library) SetWriteDeadline(time.Time) error { return nil }

// Feed is a net.Listener whose Accept returns the connections passed to Push.
type Feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewFeed returns an open Feed.
func NewFeed() *Feed {
	return &Feed{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Push passes a connection to go-smtp; a closed Feed closes it.
func (f *Feed) Push(c net.Conn) {
	select {
	case f.conns <- c:
	case <-f.done:
		c.Close()
	}
}

// Accept waits for a connection.
func (f *Feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (f *Feed) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// Addr returns a meaningless address.
func (f *Feed) Addr() net.Addr { return &net.UnixAddr{Name: "feed", Net: "unix"} }
