package wire

import "hoplite/mail"

// stage is the progress of a session (RFC 5321, 4.1.4).
type stage int

const (
	connected stage = iota // no greeting yet
	greeted                // HELO, EHLO or LHLO was accepted
	mailing                // MAIL was accepted
	addressed              // at least one RCPT was accepted
	chunking               // a chunk other than the last was accepted
	stages
)

var (
	sendHello = refusal(503, "5.5.1", "Send EHLO first")
	sendLHLO  = refusal(503, "5.5.1", "Send LHLO first")
	nested    = refusal(503, "5.5.1", "Nested MAIL command")
	sendMail  = refusal(503, "5.5.1", "Send MAIL first")
	noRcpts   = refusal(503, "5.5.1", "No valid recipients")
	inMail    = refusal(503, "5.5.1", "Not permitted during a mail transaction")
	inChunks  = refusal(503, "5.5.1", "Only BDAT, NOOP, RSET and QUIT are permitted between chunks")
)

// commandOrder contains the refusal of each command in each stage; nil means
// that the command is permitted. Commands that are not listed are permitted in
// all stages except the last.
var commandOrder = map[string][stages]*mail.Reply{
	//          connected   greeted   mailing  addressed  chunking
	"MAIL":    {&sendHello, nil, &nested, &nested, &inChunks},
	"RCPT":    {&sendHello, &sendMail, nil, nil, &inChunks},
	"DATA":    {&sendHello, &sendMail, &noRcpts, nil, &inChunks},
	"BDAT":    {&sendHello, &sendMail, &noRcpts, nil, nil},
	"AUTH":    {&sendHello, nil, &inMail, &inMail, &inChunks},
	"XCLIENT": {nil, nil, &inMail, &inMail, &inChunks},
	"RSET":    {},
	"NOOP":    {},
	"QUIT":    {},
}

var otherOrder = [stages]*mail.Reply{chunking: &inChunks}

// order is the part of a session's state that determines which commands are
// permitted. It changes with the replies to commands.
type order struct {
	lmtp   bool
	stage  stage
	rcpts  int    // accepted in this transaction
	binary bool   // the transaction's body is BINARYMIME, which DATA cannot carry
	login  string // the account, "" before a login
}

// refuse returns the refusal of a command that is not currently permitted, or
// nil.
func (o *order) refuse(verb string) *mail.Reply {
	row, ok := commandOrder[verb]
	if !ok {
		row = otherOrder
	}
	if r := row[o.stage]; r != nil {
		if r == &sendHello && o.lmtp {
			return &sendLHLO
		}
		return r
	}
	switch {
	case verb == "AUTH" && o.login != "":
		r := refusal(503, "5.5.1", "Already authenticated")
		return &r
	case verb == "STARTTLS" && o.login != "":
		r := refusal(503, "5.5.1", "STARTTLS is not permitted after AUTH")
		return &r
	case verb == "DATA" && o.binary: // RFC 3030, 3
		r := refusal(502, "5.5.1", "Use BDAT for BODY=BINARYMIME")
		return &r
	}
	return nil
}

// open reports whether a transaction is in progress.
func (o *order) open() bool { return o.stage > greeted }

// replied updates the state for a reply to a command.
func (o *order) replied(verb string, code int) {
	switch {
	case code/100 != 2:
	case verb == "MAIL":
		o.stage, o.rcpts = mailing, 0
	case verb == "RCPT":
		o.stage, o.rcpts = addressed, o.rcpts+1
	}
}

// chunk records that a chunk other than the last was accepted.
func (o *order) chunk() { o.stage = chunking }

// hello begins or restarts a session.
func (o *order) hello() { o.stage = greeted; o.reset() }

// reset ends the transaction, if there is one.
func (o *order) reset() {
	o.stage = min(o.stage, greeted)
	o.rcpts, o.binary = 0, false
}

// forget returns to the state of a new connection (RFC 3207, 4.2).
func (o *order) forget() { *o = order{lmtp: o.lmtp} }
