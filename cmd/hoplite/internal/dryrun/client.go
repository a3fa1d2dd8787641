package dryrun

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"slices"

	"hoplite/mail"
)

// client speaks for the client in question and records the dialogue.
type client struct {
	conn net.Conn
	in   *textproto.Reader
	x    *Explanation
}

// newClient sends the PROXY header that names the client's address.
func newClient(conn net.Conn, ip netip.Addr, x *Explanation) *client {
	if ip.Is4() {
		fmt.Fprintf(conn, "PROXY TCP4 %s 127.0.0.1 40000 25\r\n", ip)
	} else {
		fmt.Fprintf(conn, "PROXY TCP6 %s ::1 40000 25\r\n", ip)
	}
	return &client{conn, textproto.NewReader(bufio.NewReader(conn)), x}
}

// say sends a line, records the reply and reports whether it is positive. An
// empty text only reads a reply.
func (c *client) say(text string) (ok bool, err error) {
	if text != "" {
		fmt.Fprintf(c.conn, "%s\r\n", text)
	}
	l := line{Client: text}
	for {
		got, err := c.in.ReadLine()
		if err != nil {
			if errors.Is(err, io.EOF) && len(l.Server) > 0 {
				break
			}
			return false, fmt.Errorf("dry run: %w", err)
		}
		l.Server = append(l.Server, got)
		if len(got) < 4 || got[3] != '-' {
			break
		}
	}
	c.x.Dialogue = append(c.x.Dialogue, l)
	last := l.Server[len(l.Server)-1]
	fmt.Sscanf(last, "%d", &c.x.code)
	return c.x.code < 400, nil
}

// run is the whole dialogue; it ends early when a command is refused.
func (c *client) run(protocol string, q Question) error {
	for _, text := range opening(protocol, q) {
		if ok, err := c.say(text); err != nil || !ok {
			return err
		}
	}
	for _, to := range q.To {
		ok, err := c.say("RCPT TO:<" + to + ">")
		if err != nil {
			return err
		}
		if ok {
			c.x.accepted++
		}
	}
	if q.Message != nil && c.x.accepted > 0 {
		if ok, err := c.data(q.Message); err != nil || !ok {
			return err
		}
	}
	code := c.x.code
	_, err := c.say("QUIT")
	c.x.Dialogue = c.x.Dialogue[:len(c.x.Dialogue)-1]
	c.x.code = code
	return err
}

// opening returns the lines up to MAIL; the first, empty one waits for the
// greeting.
func opening(protocol string, q Question) []string {
	hello := "EHLO "
	if protocol == "lmtp" {
		hello = "LHLO "
	}
	lines := []string{"", hello + q.Helo}
	if q.User != "" {
		lines = append(lines, "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+q.User+"\x00dry run")))
	}
	from := "MAIL FROM:<" + q.From + ">"
	if slices.ContainsFunc(append([]string{q.From}, q.To...), func(a string) bool { return mail.Address(a).NeedsUTF8() }) {
		from += " SMTPUTF8" // as a real client would (RFC 6531, 3.4)
	}
	if q.Message != nil {
		from += fmt.Sprintf(" SIZE=%d", len(q.Message))
	}
	return append(lines, from)
}

// data sends the message and reports whether DATA was accepted.
func (c *client) data(message []byte) (ok bool, err error) {
	if ok, err := c.say("DATA"); err != nil || !ok {
		return ok, err
	}
	body := bytes.ReplaceAll(bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	w := textproto.NewWriter(bufio.NewWriter(c.conn)).DotWriter()
	w.Write(body)
	if err := w.Close(); err != nil {
		return false, fmt.Errorf("dry run: %w", err)
	}
	_, err = c.say("")
	return true, err
}
