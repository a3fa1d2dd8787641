package dryrun

import (
	"bufio"
	"bytes"
	"crypto/tls"
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

// client acts as the SMTP or LMTP client and records the dialogue.
type client struct {
	conn net.Conn
	in   *textproto.Reader
	x    *Explanation
}

func newClient(conn net.Conn, x *Explanation) *client {
	return &client{conn, textproto.NewReader(bufio.NewReader(conn)), x}
}

// proxy sends the PROXY header that names the client's address.
func (c *client) proxy(ip netip.Addr) {
	if ip.Is4() {
		fmt.Fprintf(c.conn, "PROXY TCP4 %s 127.0.0.1 40000 25\r\n", ip)
	} else {
		fmt.Fprintf(c.conn, "PROXY TCP6 %s ::1 40000 25\r\n", ip)
	}
}

// encrypt starts TLS. The certificate was created for this dialogue.
func (c *client) encrypt() {
	c.conn = tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	c.in = textproto.NewReader(bufio.NewReader(c.conn))
}

// say sends a line, records the reply and reports whether it is positive. If
// text is empty, it only reads a reply.
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

// run runs the whole dialogue, which ends early if a command is refused. mode
// is the listener's TLS mode.
func (c *client) run(protocol, mode string, q Question) error {
	if mode == "implicit" {
		c.encrypt()
	}
	for _, text := range opening(protocol, mode, q) {
		if ok, err := c.say(text); err != nil || !ok {
			return err
		}
		if text == "STARTTLS" {
			c.encrypt()
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

// opening returns the lines up to MAIL. The first one is empty and waits for
// the greeting. A client that logs in starts TLS first, if possible.
func opening(protocol, mode string, q Question) []string {
	hello := "EHLO "
	if protocol == "lmtp" {
		hello = "LHLO "
	}
	lines := []string{"", hello + q.Helo}
	if q.User != "" {
		if mode == "starttls" {
			lines = append(lines, "STARTTLS", hello+q.Helo)
		}
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
