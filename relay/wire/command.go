package wire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"hoplite/mail"
)

// Serve greets the client and answers its commands until the connection is
// closed or go-smtp serves it.
func (c *Conn) Serve() {
	c.put(c.opts.banner())
	c.serve()
}

// serve answers commands until one of them needs the library. Before the first
// MAIL and while idle, a connection does not use the library and so needs
// little memory.
func (c *Conn) serve() {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
		}
	}()
	for c.err == nil && c.lib == nil {
		c.step()
	}
	if c.err == nil {
		c.opts.Library(c.lib)
	}
}

// panicked ends this connection, and no other, after a panic that go-smtp does
// not recover from.
func (c *Conn) panicked(value any) {
	if c.opts.Panic != nil {
		c.opts.Panic(value)
	}
	c.Close()
}

// step handles the client's next input, usually one line.
func (c *Conn) step() {
	switch c.next {
	case message, chunk, refusedChunk:
		c.recv.discard()
		return
	}
	if c.hangup {
		c.end(io.EOF)
		return
	}
	if d := c.tally.delay(); d > 0 {
		c.out.flush()
		time.Sleep(d)
	}
	auth := c.next == response
	patience, park := c.tally.limits.IdleTime, c.mayDetach()
	if park {
		patience = c.tally.limits.Park
	}
	line, err := c.in.line(patience, auth)
	c.next = command
	switch {
	case err == nil && auth:
		c.lib.response(line)
	case err == nil:
		c.command(line)
	case park && isTimeout(err) && len(c.in.data()) == 0:
		c.lib.leaving = true
	default:
		c.badLine(err, auth)
	}
}

// badLine handles an error in reading a line.
func (c *Conn) badLine(err error, auth bool) {
	switch {
	case errors.Is(err, errLong) && auth:
		c.lib.cancel(cancelled)
	case errors.Is(err, errLong):
		c.verb = ""
		c.say(refusal(500, "5.5.2", "Line too long"))
	case errors.Is(err, errBareLF):
		c.verb = ""
		c.say(refusal(500, "5.5.2", "Bare <LF> received; lines must end with <CR><LF>"))
		c.hangup, c.ended = true, "bare <LF> in a command"
	case errors.Is(err, errFull):
		c.bye("4.5.0", "line too long")
	case errors.Is(err, errDrain):
		c.bye("4.3.2", "service shutting down, try again later")
	case isTimeout(err):
		c.bye("4.4.2", "timeout exceeded")
	default:
		c.end(io.EOF)
	}
}

// command answers a line, or passes it to the library.
func (c *Conn) command(line []byte) {
	text, refused := clean(line)
	verb, arg, _ := strings.Cut(text, " ")
	verb, arg = strings.ToUpper(verb), strings.Trim(arg, " ")
	c.verb = ""
	if !c.tally.command(verb) {
		c.say(refusal(421, "4.7.0", c.opts.Hostname+" too many commands"))
		return
	}
	if refused != nil {
		c.say(*refused)
		return
	}
	if verb == "DATA" && arg != "" && c.order.stage != chunking {
		c.say(refusal(501, "5.5.4", "Syntax: DATA"))
		return
	}
	if verb != "BDAT" { // the chunk follows even if the command is refused
		if r := c.order.refuse(verb); r != nil {
			c.refuse(*r)
			return
		}
	}
	c.verb = verb
	switch verb {
	case "HELO", "EHLO", "LHLO":
		c.hello(verb, arg)
	case "MAIL", "RCPT":
		c.address(verb, arg)
	case "DATA":
		c.lib.data(message)
	case "BDAT":
		c.recv.bdat(arg)
	case "AUTH":
		c.auth(arg)
	case "STARTTLS":
		c.startTLS(arg)
	case "XCLIENT":
		c.xclient(arg)
	case "RSET":
		c.reset()
		c.say(refusal(250, "2.0.0", "Ok"))
	case "QUIT":
		c.put(refusal(221, "2.0.0", "Bye"))
		c.Close()
	case "HELP", "VRFY", "EXPN", "ETRN":
		c.ask(verb, arg)
	default:
		c.say(general(verb, arg))
	}
}

// clean checks that a line has no control characters and is valid UTF-8 (RFC
// 5321, 4.1.2; RFC 6531, 3.3). It removes trailing spaces, as RFC 5321, 4.1.1
// recommends.
func clean(line []byte) (string, *mail.Reply) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	for _, b := range line {
		if b < ' ' && b != '\t' || b == 0x7f {
			return "", bad(501, "5.5.2", "Control character in command")
		}
	}
	if !utf8.Valid(line) {
		return "", bad(501, "5.5.2", "Command is not valid UTF-8")
	}
	if i := bytes.IndexByte(line, '\t'); i >= 0 {
		line = bytes.ReplaceAll(line, []byte("\t"), []byte(" "))
	}
	return string(bytes.Trim(line, " ")), nil
}

// address handles MAIL and RCPT.
func (c *Conn) address(verb, arg string) {
	_, secure := c.sock.TLS()
	args := arguments{verb: verb, offer: &c.client.offer, lenient: c.opts.Lenient, secure: secure}
	var mem [128]byte
	path, m, params, refused := args.parse(arg, mem[:0])
	if refused != nil {
		c.refuse(*refused)
		return
	}
	if verb == "MAIL" {
		if c.tally.full() {
			c.say(refusal(421, "4.7.0", c.opts.Hostname+" Too many messages on this connection"))
			return
		}
		c.mail, c.order.binary = m, m.Binary
	} else if strings.EqualFold(path, "postmaster") {
		path += "@" + c.opts.Hostname // RFC 5321, 4.5.1
	}
	c.attach().address(verb, path, params)
}

// auth checks the parts of AUTH that do not depend on the mechanism.
func (c *Conn) auth(arg string) {
	mech, initial, _ := strings.Cut(arg, " ")
	switch {
	case disabled(c.opts.Disable).has("AUTH"):
		c.say(refusal(502, "5.5.1", "AUTH is not offered"))
	case mech == "":
		c.say(refusal(501, "5.5.4", "Syntax: AUTH mechanism"))
	case !isBase64(initial):
		c.say(notBase64)
	default:
		c.attach().line("AUTH ", arg)
	}
}

var (
	notBase64 = refusal(501, "5.5.2", "Invalid base64 data")
	cancelled = refusal(501, "5.7.0", "Authentication cancelled")
)

// isBase64 reports whether s is an initial response or the response to a
// challenge; "=" is an empty one (RFC 4954, 4).
func isBase64(s string) bool {
	if s == "=" {
		return true
	}
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}

// ask passes a command to the session. If the session does not answer it, a
// general reply is sent.
func (c *Conn) ask(verb, arg string) {
	if c.opts.Answer != nil {
		if r, ok := c.opts.Answer(c, verb, arg); ok {
			c.say(r)
			return
		}
	}
	c.say(general(verb, arg))
}

// general returns the reply to a command that needs neither state nor session.
// SEND, SOML, SAML and TURN were never widely used (RFC 5321, F.6). VERB, ONEX
// and XUSR are Sendmail commands, which old clients still send; they have no
// effect.
func general(verb, arg string) mail.Reply {
	switch verb {
	case "NOOP", "VERB", "ONEX", "XUSR":
		return refusal(250, "2.0.0", "Ok")
	case "HELP":
		return refusal(214, "2.0.0", "See RFC 5321")
	case "VRFY":
		if arg == "" {
			return refusal(501, "5.5.4", "Syntax: VRFY address")
		}
		return refusal(252, "2.5.0", "Cannot VRFY user, but will accept message and attempt delivery")
	case "EXPN", "ETRN", "SEND", "SOML", "SAML", "TURN":
		return refusal(502, "5.5.1", "Command not implemented")
	}
	return refusal(500, "5.5.2", "Command not recognized")
}

// reset ends the transaction in both wire and the library.
func (c *Conn) reset() {
	if c.order.stage == chunking {
		c.recv.abandon()
		return
	}
	if c.order.open() {
		c.lib.reset()
		c.order.reset()
	}
}

// put sends a reply without counting it.
func (c *Conn) put(r mail.Reply) {
	if c.err == nil {
		c.out.put(r)
	}
}

// refuse sends a refusal that does not come from the session.
func (c *Conn) refuse(r mail.Reply) {
	if c.opts.Annotate != nil && c.order.open() {
		r = c.opts.Annotate(c, r)
	}
	c.say(r)
}

// say sends the reply to a command and counts it. A 421 ends the connection.
func (c *Conn) say(r mail.Reply) {
	c.put(r)
	c.order.replied(c.verb, r.Code)
	why := c.tally.reply(r.Code)
	switch {
	case r.Code == 421:
		c.hangup, c.ended = true, r.Text
	case why != "" && !c.hangup:
		c.say(refusal(421, "4.7.0", c.opts.Hostname+" "+why))
	}
}

// bye sends a 421 and ends the connection.
func (c *Conn) bye(enhanced, text string) {
	c.put(refusal(421, enhanced, c.opts.Hostname+" "+text))
	c.ended = text
	c.end(io.EOF)
}

// end sends the pending replies and closes the socket. Subsequent reads return
// err.
func (c *Conn) end(err error) {
	if c.err == nil {
		c.out.flush()
		c.err = err
	}
	c.in.linger()
	c.Close()
}
