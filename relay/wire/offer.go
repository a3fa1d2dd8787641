package wire

import (
	"slices"
	"strconv"
	"strings"
)

// Offer holds the extensions offered in the reply to EHLO, in addition to
// PIPELINING, ENHANCEDSTATUSCODES, HELP, STARTTLS and XCLIENT, which depend
// only on the connection. Extensions that are not offered are refused.
type Offer struct {
	Size       int64 // maximum message size, 0 for no limit
	EightBit   bool
	UTF8       bool
	DSN        bool
	Chunking   bool
	Binary     bool
	RequireTLS bool // only over TLS (RFC 8689)
	DeliverBy  bool // RFC 2852
	Priority   bool // RFC 6710
	Auth       []string
	Expand     bool // EXPN
	Etrn       bool
	MailMax    int // maximum messages per connection (RFC 9422), 0 for no limit
	RcptMax    int // maximum recipients per message, 0 for no limit
}

// channel holds the properties of a connection that affect its EHLO keywords.
type channel struct {
	startTLS, secure, xclient bool
}

// keywords returns the lines of the EHLO reply, without disabled keywords.
func (o *Offer) keywords(ch channel, disabled disabled) []string {
	size := "SIZE"
	if o.Size > 0 {
		size += " " + strconv.FormatInt(o.Size, 10)
	}
	words := []string{"PIPELINING", "ENHANCEDSTATUSCODES", size}
	for _, w := range []struct {
		on   bool
		word string
	}{
		{o.EightBit, "8BITMIME"}, {o.UTF8, "SMTPUTF8"}, {o.DSN, "DSN"},
		{o.Chunking, "CHUNKING"}, {o.Chunking && o.Binary, "BINARYMIME"},
		{ch.startTLS, "STARTTLS"}, {o.RequireTLS && ch.secure, "REQUIRETLS"},
		{o.DeliverBy, "DELIVERBY"}, {o.Priority, "MT-PRIORITY"},
		{len(o.Auth) > 0, "AUTH " + strings.Join(o.Auth, " ")},
		{o.Expand, "EXPN"}, {o.Etrn, "ETRN"}, {true, "HELP"},
		{ch.xclient, "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT"},
		{o.MailMax > 0 || o.RcptMax > 0, "LIMITS" + o.limits()},
	} {
		if w.on {
			words = append(words, w.word)
		}
	}
	return slices.DeleteFunc(words, disabled.has)
}

func (o *Offer) limits() (s string) {
	if o.MailMax > 0 {
		s += " MAILMAX=" + strconv.Itoa(o.MailMax)
	}
	if o.RcptMax > 0 {
		s += " RCPTMAX=" + strconv.Itoa(o.RcptMax)
	}
	return s
}

// disabled is the set of EHLO keywords disabled by the administrator.
type disabled []string

// has reports whether the keyword of an EHLO line is disabled.
func (d disabled) has(line string) bool {
	word, _, _ := strings.Cut(line, " ")
	return slices.ContainsFunc(d, func(s string) bool { return strings.EqualFold(s, word) })
}

// without removes disabled extensions from an offer.
func (o Offer) without(d disabled) Offer {
	if len(d) == 0 {
		return o
	}
	o.EightBit = o.EightBit && !d.has("8BITMIME")
	o.UTF8 = o.UTF8 && !d.has("SMTPUTF8")
	o.DSN = o.DSN && !d.has("DSN")
	o.Chunking = o.Chunking && !d.has("CHUNKING")
	o.Binary = o.Binary && o.Chunking && !d.has("BINARYMIME")
	o.RequireTLS = o.RequireTLS && !d.has("REQUIRETLS")
	o.DeliverBy = o.DeliverBy && !d.has("DELIVERBY")
	o.Priority = o.Priority && !d.has("MT-PRIORITY")
	if d.has("AUTH") {
		o.Auth = nil
	}
	return o
}

// The parameters of MAIL and RCPT, as bits of a set.
const (
	paramSize = 1 << iota
	paramBody
	paramUTF8
	paramRet
	paramEnvID
	paramAuth
	paramRequireTLS
	paramBy
	paramPriority
	paramNotify
	paramORcpt
)

// param returns the bit of a parameter of MAIL or RCPT, or 0 if it was not
// offered.
func (o *Offer) param(verb, key string) int {
	on := false
	bit := 0
	if verb == "RCPT" {
		switch key {
		case "NOTIFY":
			on, bit = o.DSN, paramNotify
		case "ORCPT":
			on, bit = o.DSN, paramORcpt
		}
	} else {
		switch key {
		case "SIZE":
			on, bit = true, paramSize
		case "BODY":
			on, bit = o.EightBit || o.Binary, paramBody
		case "SMTPUTF8":
			on, bit = o.UTF8, paramUTF8
		case "RET":
			on, bit = o.DSN, paramRet
		case "ENVID":
			on, bit = o.DSN, paramEnvID
		case "AUTH":
			on, bit = len(o.Auth) > 0, paramAuth
		case "REQUIRETLS":
			on, bit = o.RequireTLS, paramRequireTLS
		case "BY":
			on, bit = o.DeliverBy, paramBy
		case "MT-PRIORITY":
			on, bit = o.Priority, paramPriority
		}
	}
	if !on {
		return 0
	}
	return bit
}
