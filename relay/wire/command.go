package wire

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"hoplite/mail"
)

func refusal(code int, enhanced, text string) mail.Reply {
	return mail.Reply{Code: code, Enhanced: enhanced, Text: text}
}

// command looks at a line: it is answered here, or goes to the library.
func (c *Conn) command(line []byte) {
	c.counted, c.lastBad = false, false
	c.verb = ""
	text, r := c.clean(line)
	verb, arg, _ := strings.Cut(text, " ")
	verb, arg = strings.ToUpper(verb), strings.Trim(arg, " ")
	if !c.tally(verb) {
		return
	}
	if r != nil {
		c.say(*r)
		return
	}
	c.verb = verb
	if answer, ok := fixed[verb]; ok {
		c.say(answer)
		return
	}
	switch verb {
	case "EHLO", "HELO", "LHLO":
		c.hello(verb, arg)
	case "MAIL", "RCPT":
		c.address(verb, arg)
	case "BDAT":
		c.bdat(arg)
	case "STARTTLS":
		c.startTLS(arg)
	case "XCLIENT":
		c.xclient(arg)
	case "HELP", "VRFY", "EXPN", "ETRN":
		c.ask(verb, arg)
	case "AUTH":
		switch {
		case c.helo == "":
			c.say(helloFirst)
		case c.disabled("AUTH"):
			c.say(refusal(502, "5.5.1", "AUTH is not offered"))
		default:
			c.pass(verb, arg)
		}
	case "DATA":
		c.pass(verb, arg)
	case "NOOP", "RSET", "QUIT":
		c.pass(verb, "")
	default:
		c.verb = ""
		c.say(refusal(500, "5.5.2", "command not recognized"))
	}
}

// fixed are verbs of other times, answered without a thought: the first four
// never came into use (RFC 5321, F.6 and appendix F), the others are
// Sendmail's and mean nothing to us, but old clients say them.
var fixed = map[string]mail.Reply{
	"SEND": refusal(502, "5.5.1", "SEND is not implemented"),
	"SOML": refusal(502, "5.5.1", "SOML is not implemented"),
	"SAML": refusal(502, "5.5.1", "SAML is not implemented"),
	"TURN": refusal(502, "5.5.1", "TURN is not implemented, see ETRN"),
	"VERB": refusal(250, "2.0.0", "verbose mode makes no difference here"),
	"ONEX": refusal(250, "2.0.0", "one message only, as you like"),
	"XUSR": refusal(250, "2.0.0", "initial submission noted"),
}

var helloFirst = refusal(503, "5.5.1", "say EHLO first")

// clean checks the octets of a command line: ended by CRLF, no control
// characters, valid UTF-8 (RFC 5321, 4.1.2; RFC 6531, 3.3). Trailing blanks
// are cut off, as RFC 5321, 4.1.1 wants.
func (c *Conn) clean(line []byte) (string, *mail.Reply) {
	rest, crlf := bytes.CutSuffix(line, []byte("\r"))
	if !crlf && c.opts.Bare == Reject {
		r := refusal(500, "5.5.2", "lines end with CR LF")
		return "", &r
	}
	for _, b := range rest {
		if b < ' ' && b != '\t' || b == 0x7f {
			r := refusal(501, "5.5.2", "control character in a command")
			return "", &r
		}
	}
	if !utf8.Valid(rest) {
		r := refusal(501, "5.5.2", "command is not valid UTF-8")
		return "", &r
	}
	if i := bytes.IndexByte(rest, '\t'); i >= 0 {
		rest = bytes.ReplaceAll(rest, []byte("\t"), []byte(" "))
	}
	return string(bytes.Trim(rest, " ")), nil
}

// tally counts commands; false ends the connection.
func (c *Conn) tally(verb string) bool {
	l := c.opts.Limits
	if c.commands++; c.commands > l.Commands {
		c.say(refusal(421, "4.7.0", c.opts.Hostname+" too many commands"))
		return false
	}
	switch verb {
	case "MAIL", "RCPT", "DATA", "BDAT", "QUIT":
		return true
	}
	if c.empty++; c.empty > l.Idle {
		c.errors++
		c.lastBad = true
	}
	return true
}

// pass hands a command to the library, if the lobby can't answer it.
func (c *Conn) pass(verb, arg string) {
	if !c.attached && c.alone(verb) {
		return
	}
	c.cmd = append(c.cmd[:0], verb...)
	if arg != "" {
		c.cmd = append(append(c.cmd, ' '), arg...)
	}
	c.cmd = append(c.cmd, "\r\n"...)
	c.feed = c.cmd
}

// response hands an answer to a 334 to the library.
func (c *Conn) response(line []byte) {
	text, r := c.clean(line)
	if r != nil {
		text = "*" // gives the dialogue up
	}
	c.feed = append(append(c.feed[:0:0], text...), "\r\n"...)
}

func (c *Conn) hello(verb, arg string) {
	if name, _, _ := strings.Cut(arg, " "); name != "" && len(name) <= 255 {
		c.name = name
		c.pass(verb, name)
		return
	}
	c.say(refusal(501, "5.5.4", verb+" wants the name of your host"))
}

// greeted is called when the library has taken a greeting.
func (c *Conn) greeted() mail.Reply {
	c.helo, c.esmtp = c.name, c.verb != "HELO"
	c.offer = Offer{}
	if c.opts.Offer != nil {
		c.offer = c.without(c.opts.Offer(c))
	}
	r := mail.Reply{Code: 250, Text: c.opts.Hostname}
	if c.esmtp {
		r.Text += "\n" + strings.Join(c.keywords(), "\n")
	}
	return r
}

// ask lets the session answer.
func (c *Conn) ask(verb, arg string) {
	if c.opts.Answer != nil {
		if r, ok := c.opts.Answer(c, verb, arg); ok {
			c.say(r)
			return
		}
	}
	switch {
	case verb == "VRFY" && arg != "":
		c.say(refusal(252, "2.5.0", "send mail, and it will be tried"))
	case verb == "HELP":
		c.say(refusal(214, "2.0.0", "see RFC 5321"))
	case verb == "VRFY":
		c.say(refusal(501, "5.5.4", "VRFY wants an address"))
	default:
		c.say(refusal(502, "5.5.1", verb+" is not implemented"))
	}
}
