package imap

import (
	"fmt"
	"io"
	"time"

	"hoplite/imap/wire"
)

// call is a command being run: its input, and the output for its responses. A
// handler parses the arguments, sends untagged responses and returns; the
// session then sends the tagged response: OK, or the response for the error.
type call struct {
	session *session
	out     output
	tag     string
	name    string // upper case
	uid     bool   // the UID form: sets and responses count in UIDs
	args    *wire.Parser
	message *wire.Literal // the message sent with APPEND or REPLACE

	code      string // response code of the tagged OK, including brackets
	note      string // appended to "completed"
	current   bool   // the client already has the mailbox's current state
	completed bool   // the tagged response has been sent
}

// readTag reads the tag, which stays "*" if it is not valid.
func (c *call) readTag() bool {
	tag := c.args.Tag()
	if c.args.Err() != nil {
		return false
	}
	c.tag = tag
	return true
}

// ok sends the tagged OK.
func (c *call) ok() {
	c.out.WriteString(c.tag)
	c.out.WriteString(" OK ")
	if c.code != "" {
		c.out.WriteString(c.code)
		c.out.WriteString(" ")
	}
	if c.uid {
		c.out.WriteString("UID ")
	}
	c.out.WriteString(c.name)
	c.out.WriteString(" completed")
	c.out.WriteString(c.note)
	c.out.WriteString("\r\n")
	c.completed = true
}

// setCode sets the response code of the tagged OK.
func (c *call) setCode(format string, args ...any) { c.code = "[" + fmt.Sprintf(format, args...) + "]" }

// body returns a reader for the message sent with the command. The reader
// extends the deadline while data arrives.
func (c *call) body() io.Reader { return &patientReader{c.session, c.session.in.Message(c.message)} }

type patientReader struct {
	s *session
	r io.Reader
}

func (p *patientReader) Read(b []byte) (int, error) {
	p.s.conn.SetReadDeadline(time.Now().Add(writeTimeout))
	return p.r.Read(b)
}

// more reads the rest of a command after a message, up to the end of the
// command or the arguments of the next message.
func (c *call) more() error {
	c.session.conn.SetReadDeadline(time.Now().Add(writeTimeout))
	rest, msg, err := c.session.in.More()
	if err != nil {
		return err
	}
	c.args, c.message = wire.NewParser(rest, c.session.srv.dialect.grammar), msg
	return nil
}

// drain reads the rest of a command and discards its messages.
func (c *call) drain() error {
	for c.message != nil && !c.message.Sync {
		if c.session.account == nil || c.message.Size > int64(c.session.srv.cfg.AppendLimit) {
			return wire.ErrTooLong
		}
		if _, err := io.Copy(io.Discard, c.body()); err != nil {
			return err
		}
		if err := c.more(); err != nil {
			return err
		}
	}
	c.message = nil
	return nil
}

// output writes responses.
type output struct{ *wire.Writer }

// untagged sends an untagged response line.
func (o output) untagged(format string, args ...any) {
	o.WriteString("* ")
	fmt.Fprintf(o, format, args...)
	o.WriteString("\r\n")
}

// tagged sends the response that completes a command.
func (o output) tagged(tag, text string) {
	o.WriteString(tag)
	o.WriteString(" ")
	o.WriteString(text)
	o.WriteString("\r\n")
}

// proceed sends a continuation request.
func (o output) proceed(text string) error {
	o.WriteString("+ ")
	o.WriteString(text)
	o.WriteString("\r\n")
	return o.Flush()
}
