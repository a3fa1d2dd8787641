package wire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hoplite/mail"
)

// reply is a reply of the library while its lines come in.
type reply struct {
	code  int
	lines []string
}

// maxPartial bounds a reply line of the library. Its own are far shorter.
const maxPartial = 16 << 10

// Write takes replies of the library. Nothing reaches the socket before the
// next Read that has to wait, so the replies to a batch of commands leave
// together (RFC 2920, 3.2).
func (c *Conn) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			if len(c.partial)+len(p) < maxPartial {
				c.partial = append(c.partial, p...)
			}
			break
		}
		line := append(c.partial, p[:i]...)
		p = p[i+1:]
		c.replyLine(strings.TrimRight(string(line), "\r"))
		c.partial = c.partial[:0]
	}
	return n, nil
}

func (c *Conn) replyLine(line string) {
	if len(line) < 3 {
		return
	}
	code, err := strconv.Atoi(line[:3])
	if err != nil {
		return
	}
	more := len(line) > 3 && line[3] == '-'
	c.reply.code = code
	c.reply.lines = append(c.reply.lines, line[min(4, len(line)):])
	if more {
		return
	}
	r := c.reply
	c.reply = reply{}
	if c.swallow > 0 {
		c.swallow--
		return
	}
	c.finish(r)
}

// finish turns a reply of the library into ours.
func (c *Conn) finish(r reply) {
	switch {
	case len(c.overrides) > 0 && !c.bdatting:
		o := c.overrides[0]
		c.overrides = c.overrides[1:]
		c.say(o)
	case r.code == 250 && (c.verb == "EHLO" || c.verb == "HELO" || c.verb == "LHLO"):
		c.put(c.greeted())
	case r.code == 334:
		c.phase = challenge
		c.put(mail.Reply{Code: 334, Text: r.lines[0]})
	case r.code == 354 && c.bdatting:
		c.bdatting, c.phase = false, chunk
	case c.bdatting:
		c.bdatting, c.phase = false, refused
		c.say(c.better(r))
	case r.code == 354:
		c.phase = message
		c.put(mail.Reply{Code: 354, Text: "end your message with a line that holds one dot"})
	default:
		c.say(c.better(r))
	}
}

func (c *Conn) banner() mail.Reply {
	name := "ESMTP"
	if c.opts.LMTP {
		name = "LMTP"
	}
	return mail.Reply{Code: 220, Text: c.opts.Hostname + " " + name + " Hoplite"}
}

// better puts the library's replies right: other codes where it does not
// follow the RFC, our own words.
func (c *Conn) better(r reply) mail.Reply {
	enhanced, text := cutEnhanced(r.lines[len(r.lines)-1])
	out := mail.Reply{Code: r.code, Enhanced: enhanced, Text: text}
	switch {
	case r.code == 502 && enhanced == "5.5.1" && strings.HasPrefix(text, "Please introduce"):
		return helloFirst
	case r.code == 502 && strings.HasPrefix(text, "Missing MAIL"):
		return refusal(503, "5.5.1", "say MAIL first")
	case r.code == 502 && strings.HasPrefix(text, "Missing RCPT"):
		return refusal(503, "5.5.1", "no recipients")
	case c.verb == "AUTH" && r.code == 502:
		return refusal(501, "5.5.4", "AUTH wants a mechanism")
	case c.verb == "AUTH" && r.code == 454 && strings.HasPrefix(text, "Invalid base64"):
		return refusal(501, "5.5.2", "not base64")
	case c.verb == "AUTH" && r.code == 501:
		return refusal(501, "5.7.0", "authentication given up")
	case c.verb == "AUTH" && r.code == 235:
		return mail.Reply{Code: 235, Enhanced: "2.7.0", Text: "authentication succeeded"}
	case r.code == 500 && enhanced == "5.5.4":
		return refusal(501, "5.5.4", "parameter has a bad value")
	case r.code == 500 && enhanced == "5.5.1" && c.opts.LMTP:
		return wantLHLO
	case r.code == 500 && enhanced == "5.5.1":
		return wantEHLO
	}
	if t, ok := plain[c.verb]; ok && r.code/100 == 2 {
		out.Text = t
	}
	return out
}

var plain = map[string]string{
	"NOOP": "ok",
	"RSET": "forgotten",
	"QUIT": "goodbye",
}

// cutEnhanced takes a status code of RFC 3463 off the front of a text.
func cutEnhanced(s string) (enhanced, text string) {
	first, rest, _ := strings.Cut(s, " ")
	if len(first) >= 5 && first[1] == '.' && strings.Count(first, ".") == 2 && strings.Trim(first, "0123456789.") == "" {
		return first, rest
	}
	return "", s
}

// say counts a reply and puts it out.
func (c *Conn) say(r mail.Reply) {
	c.put(r)
	switch {
	case c.verb == "MAIL" && r.Code == 250:
		c.received, c.rcpts = 0, 0
	case c.verb == "RCPT" && r.Code/100 == 2:
		c.rcpts++
	}
	l := c.opts.Limits
	if r.Code >= 500 && !c.counted && r.Code != 502 {
		c.counted, c.lastBad = true, true
		c.errors++
		if r.Code == 535 {
			c.auths++
		}
	}
	switch {
	case r.Code == 421:
		c.hangup = true
	case c.hangup:
	case c.auths >= l.Auths:
		c.say(refusal(421, "4.7.0", c.opts.Hostname+" too many failed logins"))
	case c.errors >= l.Errors:
		c.say(refusal(421, "4.7.0", c.opts.Hostname+" too many errors"))
	}
}

// maxText keeps a reply line under the 512 octets of RFC 5321, 4.5.3.1.5.
const maxText = 480

// put formats a reply: its enhanced code stands on every line (RFC 2034, 4),
// and nothing that a client or another server said can break out of a line.
func (c *Conn) put(r mail.Reply) {
	if c.err != nil {
		return
	}
	lines := strings.Split(strings.TrimRight(r.Text, "\n"), "\n")
	for i, text := range lines {
		sep := byte('-')
		if i == len(lines)-1 {
			sep = ' '
		}
		c.out = fmt.Appendf(c.out, "%03d%c", r.Code, sep)
		if r.Enhanced != "" && r.Code != 334 && r.Code != 354 {
			c.out = append(append(c.out, r.Enhanced...), ' ')
		}
		limit := maxText
		if r.Code == 334 {
			limit = c.opts.Limits.AuthLine
		}
		c.out = appendClean(c.out, text, limit)
		c.out = append(c.out, "\r\n"...)
	}
}

func appendClean(out []byte, s string, limit int) []byte {
	if len(s) > limit {
		s = s[:limit]
	}
	for i := range len(s) {
		b := s[i]
		if b < ' ' || b >= 0x7f {
			b = '?'
		}
		out = append(out, b)
	}
	return out
}

// flushTime bounds how long a client may take to read its replies.
const flushTime = time.Minute

// keepOut is how much of the reply buffer an idle connection keeps.
const keepOut = 1 << 10

// flush writes the replies that are due.
func (c *Conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	c.sock.SetWriteDeadline(time.Now().Add(flushTime))
	_, err := c.sock.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > keepOut {
		c.out = nil
	}
	return err
}
