package wire

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
)

// reply is a reply of the library: of its text the last line counts.
type reply struct {
	code int
	text []byte
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
		line := p[:i]
		if len(c.partial) > 0 {
			line = append(c.partial, line...)
			c.partial = c.partial[:0]
		}
		p = p[i+1:]
		c.replyLine(bytes.TrimRight(line, "\r"))
	}
	return n, nil
}

func (c *Conn) replyLine(line []byte) {
	if len(line) < 3 {
		return
	}
	code := 0
	for _, b := range line[:3] {
		if b < '0' || b > '9' {
			return
		}
		code = code*10 + int(b-'0')
	}
	if len(line) > 3 && line[3] == '-' {
		return
	}
	if c.swallow > 0 {
		c.swallow--
		return
	}
	c.finish(reply{code, line[min(4, len(line)):]})
}

// finish turns a reply of the library into ours.
func (c *Conn) finish(r reply) {
	switch {
	case c.answered < len(c.overrides) && !c.bdatting:
		c.answered++
		c.say(c.overrides[c.answered-1])
	case r.code == 250 && (c.verb == "EHLO" || c.verb == "HELO" || c.verb == "LHLO"):
		c.put(c.greeted())
	case r.code == 334:
		c.phase = challenge
		c.put(mail.Reply{Code: 334, Text: string(r.text)})
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
	enhanced, text := cutEnhanced(string(r.text))
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
	text, more := strings.TrimRight(r.Text, "\n"), true
	for more {
		var line string
		line, text, more = strings.Cut(text, "\n")
		c.out = append(c.out, byte('0'+r.Code/100%10), byte('0'+r.Code/10%10), byte('0'+r.Code%10), ' ')
		if more {
			c.out[len(c.out)-1] = '-'
		}
		if r.Enhanced != "" && r.Code != 334 && r.Code != 354 {
			c.out = append(append(c.out, r.Enhanced...), ' ')
		}
		limit := maxText
		if r.Code == 334 {
			limit = c.opts.Limits.AuthLine
		}
		c.out = append(appendClean(c.out, line, limit), "\r\n"...)
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

// flush writes the replies that are due, and does what had to wait for that.
func (c *Conn) flush() (err error) {
	if len(c.out) > 0 {
		c.sock.SetWriteDeadline(time.Now().Add(flushTime))
		_, err = c.sock.Write(c.out)
		if c.out = c.out[:0]; cap(c.out) > keepOut {
			c.out = nil
		}
	}
	for len(c.then) > 0 {
		f := c.then[0]
		c.then = slices.Delete(c.then, 0, 1)
		f()
	}
	return err
}
