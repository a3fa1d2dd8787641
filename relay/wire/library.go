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

// library is the connection as go-smtp sees it, and everything that exists
// only because of go-smtp v0.26:
//
//   - Its reader would read ahead, past the end of a message or of clear text;
//     Read gives it one command at a time, and of a message only the end.
//   - It removes quotes from local parts, so that `"a b"@c` and `a b@c` look the
//     same; address passes a path whole, as a quoted string, and Path undoes it.
//   - It sends each line of a reply in a write of its own, and has fixed texts;
//     Write takes only the code of a reply, and the session's Answer or our own
//     text goes to the client.
//   - It wants a greeting, which was answered long before it is attached, and
//     RSET; the replies to these are swallowed.
//   - It reads BDAT in a way that is not safe; it gets DATA instead (see bdat).
//
// It lives while go-smtp serves the connection: from the first command that
// needs it until a moment of silence, or until the client becomes another one.
type library struct {
	conn     *Conn
	feed     []byte // lines for the library
	fed      int    // octets of feed that it has read
	partial  []byte // of a reply line
	swallow  int    // replies to what the client did not send
	answers  []mail.Reply
	answered int    // of them
	body     octets // message or chunk, after the 354 to come
	leaving  bool   // Read returns io.EOF, and Close gives the connection back
	closed   bool
}

// attach makes sure that the library serves the connection from now on.
func (c *Conn) attach() *library {
	if c.lib != nil {
		return c.lib
	}
	c.lib = &library{conn: c, feed: make([]byte, 0, 128), swallow: 2} // its banner, and the reply to this
	if c.opts.LMTP {
		c.lib.line("LHLO x")
	} else {
		c.lib.line("HELO x")
	}
	return c.lib
}

// mayDetach reports whether go-smtp could let the connection go, as it waits
// for a command that may not come for long.
func (c *Conn) mayDetach() bool {
	return c.lib != nil && c.next == command && !c.order.open() && c.tally.limits.Park > 0
}

// ConnOf returns the connection that go-smtp serves as n.
func ConnOf(n net.Conn) *Conn { return n.(*library).conn }

// line adds a line to what the library reads.
func (l *library) line(parts ...string) {
	l.begin()
	for _, p := range parts {
		l.feed = append(l.feed, p...)
	}
	l.feed = append(l.feed, "\r\n"...)
}

// begin makes room for a line, and drops answers to the one before.
func (l *library) begin() {
	if l.fed == len(l.feed) {
		l.feed, l.fed = l.feed[:0], 0
	}
	l.answers, l.answered = l.answers[:0], 0
}

// address passes MAIL or RCPT on.
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

// domain is what appendPath adds to a path, and Path removes.
const domain = "@x"

// appendPath writes a path so that the library's parser returns it unchanged,
// with domain added. It looks at nothing inside a quoted string but \ and ".
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

// Path returns the path of a MAIL or RCPT as the client wrote it, without
// angle brackets and source route, from what go-smtp passes to the session.
func Path(s string) string { return strings.TrimSuffix(s, domain) }

// data lets the session receive a message: after DATA, or a BDAT.
func (l *library) data(body octets) {
	l.body = body
	l.line("DATA")
}

// endData gives the library the end of the message that the session has read.
func (l *library) endData() { l.line(".") }

// reset ends the library's transaction.
func (l *library) reset() {
	l.line("RSET")
	l.swallow++
}

// response passes on the response to a challenge.
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

// cancel ends a SASL dialogue with a reply.
func (l *library) cancel(r mail.Reply) {
	l.line("*")
	l.answers = append(l.answers, r)
}

// Read gives go-smtp what it is to read next. Most of the work of a connection
// happens here.
func (l *library) Read(p []byte) (int, error) {
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
			return 0, l.conn.err
		}
		l.conn.step()
	}
}

// maxPartial bounds a reply line of the library. Its own are far shorter.
const maxPartial = 16 << 10

// Write takes replies of go-smtp.
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

// replyLine takes a line of a reply. Only the last one counts.
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

// reply gives the client our own reply for one of the library's.
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
		// Everything else in these commands was checked before.
		c.say(refusal(501, "5.5.4", "Invalid parameter value"))
	default:
		c.say(mail.Reply{Code: code, Text: string(text)})
	}
}

// Close is called when go-smtp is done with the connection. It is closed unless
// the library was only asked to let it go.
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

// LocalAddr returns that of the socket.
func (l *library) LocalAddr() net.Addr { return l.conn.sock.LocalAddr() }

// RemoteAddr returns that of the socket.
func (l *library) RemoteAddr() net.Addr { return l.conn.sock.RemoteAddr() }

// SetDeadline does nothing: the library would set one for a whole message.
func (l *library) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, see SetDeadline.
func (l *library) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetDeadline.
func (l *library) SetWriteDeadline(time.Time) error { return nil }

// Feed is the net.Listener from which go-smtp takes its connections: those
// given to Push.
type Feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewFeed returns an open Feed.
func NewFeed() *Feed {
	return &Feed{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Push gives a connection to the library; a closed Feed closes it.
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

// Addr has no meaning.
func (f *Feed) Addr() net.Addr { return &net.UnixAddr{Name: "feed", Net: "unix"} }
