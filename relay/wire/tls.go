package wire

import (
	"io"

	"hoplite/mail"
)

// startTLS begins TLS. Nothing may have come behind the command: it could not
// be protected, and taking it for protected is a hole (CVE-2011-0411).
func (c *Conn) startTLS(arg string) {
	_, already := c.sock.TLS()
	switch {
	case arg != "":
		c.say(refusal(501, "5.5.4", "STARTTLS takes no parameter"))
		return
	case already || c.authed:
		c.say(refusal(503, "5.5.1", "too late for STARTTLS"))
		return
	case !c.sock.CanTLS():
		c.say(refusal(502, "5.5.1", "STARTTLS is not offered"))
		return
	case len(c.in.data()) > 0:
		c.say(refusal(554, "5.5.1", "nothing may follow STARTTLS before the handshake"))
		c.Hangup()
		return
	}
	c.put(mail.Reply{Code: 220, Enhanced: "2.0.0", Text: "go ahead"})
	if c.flush() != nil || c.sock.StartTLS() != nil {
		// In clear text nothing more can be said that would be believed.
		c.err = io.EOF
		c.Close()
		return
	}
	c.forget()
}

// forget begins the session anew (RFC 3207, 4.2).
func (c *Conn) forget() {
	c.epoch++
	c.name, c.helo, c.esmtp = "", "", false
	c.offer = Offer{}
	if c.attached {
		c.feed = []byte("RSET\r\n")
		c.swallow++
	}
}
