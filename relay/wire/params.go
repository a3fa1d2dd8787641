package wire

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Offer is what a connection is offered in answer to EHLO, beside PIPELINING,
// ENHANCEDSTATUSCODES and STARTTLS, which are the wire's own. What is not
// offered is not taken either.
type Offer struct {
	Size       int64 // of a message, 0 for no limit
	EightBit   bool
	UTF8       bool
	DSN        bool
	Chunking   bool
	Binary     bool
	RequireTLS bool // inside TLS only (RFC 8689)
	DeliverBy  bool // RFC 2852
	Priority   bool // RFC 6710
	Auth       []string
	Expand     bool // EXPN
	Etrn       bool
	MailMax    int // messages a connection (RFC 9422), 0 for no limit
	RcptMax    int // recipients a message, 0 for no limit
}

func (c *Conn) keywords() []string {
	o := c.offer
	words := []string{"PIPELINING", "ENHANCEDSTATUSCODES", "SIZE"}
	if o.Size > 0 {
		words[2] += " " + strconv.FormatInt(o.Size, 10)
	}
	_, secure := c.sock.TLS()
	for _, w := range []struct {
		on   bool
		word string
	}{
		{o.EightBit, "8BITMIME"}, {o.UTF8, "SMTPUTF8"}, {o.DSN, "DSN"},
		{o.Chunking, "CHUNKING"}, {o.Chunking && o.Binary, "BINARYMIME"},
		{c.sock.CanTLS() && !c.authed, "STARTTLS"}, {o.RequireTLS && secure, "REQUIRETLS"},
		{o.DeliverBy, "DELIVERBY"}, {o.Priority, "MT-PRIORITY"},
		{len(o.Auth) > 0, "AUTH " + strings.Join(o.Auth, " ")},
		{o.Expand, "EXPN"}, {o.Etrn, "ETRN"}, {true, "HELP"},
		{c.mayXClient(), "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT"},
	} {
		if w.on {
			words = append(words, w.word)
		}
	}
	if limits := o.limits(); limits != "" {
		words = append(words, "LIMITS"+limits)
	}
	return slices.DeleteFunc(words, func(w string) bool { return c.disabled(w) })
}

// disabled tells whether the keyword at the front of s is switched off.
func (c *Conn) disabled(s string) bool {
	word, _, _ := strings.Cut(s, " ")
	for _, d := range c.opts.Disable {
		if strings.EqualFold(d, word) {
			return true
		}
	}
	return false
}

// without takes what is switched off out of an offer.
func (c *Conn) without(o Offer) Offer {
	if len(c.opts.Disable) == 0 {
		return o
	}
	for word, off := range map[string]func(){
		"8BITMIME": func() { o.EightBit = false }, "SMTPUTF8": func() { o.UTF8 = false },
		"DSN": func() { o.DSN = false }, "CHUNKING": func() { o.Chunking, o.Binary = false, false },
		"BINARYMIME": func() { o.Binary = false }, "AUTH": func() { o.Auth = nil },
		"REQUIRETLS": func() { o.RequireTLS = false }, "DELIVERBY": func() { o.DeliverBy = false },
		"MT-PRIORITY": func() { o.Priority = false },
	} {
		if c.disabled(word) {
			off()
		}
	}
	return o
}

func (o Offer) limits() (s string) {
	if o.MailMax > 0 {
		s += " MAILMAX=" + strconv.Itoa(o.MailMax)
	}
	if o.RcptMax > 0 {
		s += " RCPTMAX=" + strconv.Itoa(o.RcptMax)
	}
	return s
}

// params are the ESMTP parameters of MAIL and RCPT that the offer covers.
func (o Offer) params(verb, key string) bool {
	if verb == "RCPT" {
		return o.DSN && (key == "NOTIFY" || key == "ORCPT")
	}
	switch key {
	case "SIZE":
		return true
	case "BODY":
		return o.EightBit || o.Binary
	case "SMTPUTF8":
		return o.UTF8
	case "RET", "ENVID":
		return o.DSN
	case "AUTH":
		return len(o.Auth) > 0
	case "REQUIRETLS":
		return o.RequireTLS
	case "BY":
		return o.DeliverBy
	case "MT-PRIORITY":
		return o.Priority
	}
	return false
}

// address takes MAIL and RCPT apart, checks what the library does not, and
// hands on the rest.
func (c *Conn) address(verb, arg string) {
	if c.helo == "" {
		c.say(helloFirst)
		return
	}
	word := "FROM:"
	if verb == "RCPT" {
		word = "TO:"
	}
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		c.say(refusal(501, "5.5.4", "want "+verb+" "+word+"<address>"))
		return
	}
	path, rest, err := cutPath(strings.TrimLeft(arg[len(word):], " "), c.opts.Lenient)
	if err != nil {
		c.say(refusal(501, "5.5.4", err.Error()+", want "+verb+" "+word+"<address>"))
		return
	}
	if verb == "RCPT" && path == "" {
		c.say(refusal(553, "5.1.3", "a recipient is wanted"))
		return
	}
	if verb == "RCPT" && strings.EqualFold(path, "postmaster") {
		path += "@" + c.opts.Hostname // RFC 5321, 4.5.1
	}
	params, ok := c.checkParams(verb, rest)
	if !ok {
		return
	}
	c.path = path
	// The library's grammar is not needed for the path any more, and it would
	// take the quotes off; it gets one that it cannot misread.
	c.pass(verb, word+standIn(path)+params)
}

// standIn keeps the null path apart, which the library treats differently.
func standIn(path string) string {
	if path == "" {
		return "<>"
	}
	return "<x@x>"
}

var (
	errNoPath  = errors.New("no address in angle brackets")
	errBadPath = errors.New("malformed address")
)

// ParsePath gives the address in what follows RCPT TO: as the door reads it,
// for those who want to know beforehand what it would do.
func ParsePath(arg string) (string, error) {
	path, rest, err := cutPath(arg, false)
	if err == nil && rest != "" {
		err = errBadPath
	}
	return path, err
}

// cutPath takes a path off the front of s: what stands between its angle
// brackets, without a source route (RFC 5321, 4.1.2 and appendix C).
func cutPath(s string, lenient bool) (path, rest string, err error) {
	if !strings.HasPrefix(s, "<") {
		path, rest, _ = strings.Cut(s, " ")
		if !lenient || path == "" || strings.ContainsAny(path, `<>"`) {
			return "", "", errNoPath
		}
		return path, rest, nil
	}
	end := closing(s)
	if end < 0 {
		return "", "", errBadPath
	}
	path, rest = s[1:end], s[end+1:]
	if rest != "" && rest[0] != ' ' {
		return "", "", errBadPath
	}
	if strings.HasPrefix(path, "@") {
		_, mailbox, ok := strings.Cut(path, ":")
		if !ok || mailbox == "" {
			return "", "", errBadPath
		}
		path = mailbox
	}
	return path, strings.TrimLeft(rest, " "), nil
}

// closing finds the > that ends a path; one inside quotes does not.
func closing(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '<', '>':
			if !quoted {
				if s[i] == '<' {
					return -1
				}
				return i
			}
		}
	}
	return -1
}

// checkParams checks the parameters of verb and returns those that the library
// should see, each with a blank in front.
func (c *Conn) checkParams(verb, s string) (rest string, ok bool) {
	seen := make(map[string]bool)
	var size int64
	var extra Extra
	_, secure := c.sock.TLS()
	for _, p := range strings.Fields(s) {
		key, value, hasValue := strings.Cut(p, "=")
		key = strings.ToUpper(key)
		switch {
		case !c.offer.params(verb, key):
			c.say(refusal(555, "5.5.4", "parameter not recognized or not offered"))
			return "", false
		case seen[key]:
			c.say(refusal(501, "5.5.4", "parameter "+key+" given twice"))
			return "", false
		case hasValue && value == "", hasValue == (key == "SMTPUTF8" || key == "REQUIRETLS"), strings.Contains(value, "="):
			c.say(refusal(501, "5.5.4", "parameter "+key+" has a bad value"))
			return "", false
		case key == "BODY" && strings.EqualFold(value, "BINARYMIME") && !c.offer.Binary:
			c.say(refusal(555, "5.5.4", "BINARYMIME is not offered"))
			return "", false
		case key == "REQUIRETLS" && !secure:
			c.say(refusal(530, "5.7.4", "REQUIRETLS is for messages that come in TLS"))
			return "", false
		case key == "BY" || key == "MT-PRIORITY":
			if !extra.set(key, value) {
				c.say(refusal(501, "5.5.4", "parameter "+key+" has a bad value"))
				return "", false
			}
		case key == "SIZE":
			n, ok := c.announced(value)
			if !ok {
				return "", false
			}
			size = n
		default:
			rest += " " + p
		}
		seen[key] = true
	}
	if verb == "MAIL" {
		c.size, c.extra = size, extra
	}
	return rest, true
}

// announced reads a SIZE: up to 20 digits (RFC 1870, 3), so more than fits is
// too large, not malformed.
func (c *Conn) announced(value string) (int64, bool) {
	n, err := strconv.ParseUint(value, 10, 63)
	if errors.Is(err, strconv.ErrRange) && len(value) <= 20 {
		n, err = math.MaxInt64, nil
	}
	if err != nil || value[0] == '+' {
		c.say(refusal(501, "5.5.4", "SIZE is not a number of octets"))
		return 0, false
	}
	if max := c.offer.Size; max > 0 && n > uint64(max) {
		c.say(refusal(552, "5.3.4", "message is larger than "+strconv.FormatInt(max, 10)+" octets"))
		return 0, false
	}
	return int64(n), true
}

// Extra are parameters of MAIL that the library expects at RCPT, where the
// RFCs do not have them.
type Extra struct {
	By       *By
	Priority int // -9 to 9 (RFC 6710, 3)
}

// By is the BY parameter (RFC 2852, 4).
type By struct {
	Seconds int // may be negative
	Return  bool
	Trace   bool
}

func (e *Extra) set(key, value string) bool {
	if key == "MT-PRIORITY" {
		n, err := strconv.Atoi(value)
		e.Priority = n
		return err == nil && n >= -9 && n <= 9 && len(value) <= 2
	}
	seconds, mode, ok := strings.Cut(value, ";")
	n, err := strconv.Atoi(seconds)
	if !ok || err != nil || n > 999999999 || n < -999999999 {
		return false
	}
	mode = strings.ToUpper(mode)
	mode, trace := strings.CutSuffix(mode, "T")
	e.By = &By{Seconds: n, Return: mode == "R", Trace: trace}
	return mode == "N" || mode == "R" && n > 0
}
