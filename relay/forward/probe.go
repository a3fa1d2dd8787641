package forward

import (
	"context"
	"slices"
	"strings"

	"hoplite/mail"
)

// said is the reply that determined the answer for a recipient.
type said struct {
	*mail.Reply
	// atRcpt is set for a reply to RCPT; a reply to MAIL is about the sender.
	atRcpt bool
}

// probe asks whether the server would accept mail for r, without sending any.
// An error means that the server could not be asked.
func (c *conn) probe(ctx context.Context, from mail.Address, r mail.Rcpt) (said, error) {
	defer c.watch(ctx)()
	params := ""
	from, r.To = plain(from), plain(r.To)
	if from.NeedsUTF8() || r.To.NeedsUTF8() {
		if !c.caps.utf8 {
			return said{Reply: needsUTF8(c.server.name())}, nil
		}
		params = " SMTPUTF8"
	}
	commands := []string{"MAIL FROM:<" + string(from) + ">" + params + "\r\n", "RCPT TO:<" + string(r.To) + ">\r\n"}
	replies := 2
	if c.dirty {
		commands = slices.Insert(commands, 0, "RSET\r\n")
		replies = 3
	}
	c.dirty = true
	c.mails++
	atOnce := 1
	if c.caps.pipelining {
		atOnce = len(commands)
	}
	answer := said{}
	for some := range slices.Chunk(commands, atOnce) {
		c.w.WriteString(strings.Join(some, ""))
		if err := c.flush(c.times.command); err != nil {
			return said{}, c.nothing(err)
		}
		for range some {
			reply, err := c.wait(c.times.command)
			replies--
			switch {
			case err != nil:
				return said{}, c.nothing(err)
			case reply.Code == 421:
				return said{}, c.nothing(reply)
			case replies == 2: // RSET: whatever the reply, that to MAIL matters
			case answer.Reply == nil || answer.Positive(): // otherwise it was already refused
				answer = said{reply, replies == 0}
			}
		}
		if answer.Reply != nil && !answer.Positive() {
			break
		}
	}
	if !answer.Positive() {
		answer.Reply = unexpected(answer.Reply)
	}
	return answer, nil
}

// unknownCodes lists the enhanced codes for a recipient that does not exist or
// does not accept mail (RFC 3463, 3.2 and 3.3; 5.1.10 of RFC 7505).
var unknownCodes = []string{"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"}

// unknownWords lists the phrases that servers use for such refusals without one
// of these codes.
var unknownWords = []string{
	"user unknown", "unknown user", "no such user", "user not found", "user doesn't exist", "no such recipient",
	"recipient unknown", "unknown recipient", "invalid recipient", "recipient not found", "recipient address rejected",
	"no such mailbox", "mailbox not found", "mailbox unavailable", "no mailbox", "invalid mailbox", "unknown mailbox",
	"does not exist", "not listed in", "unrouteable address", "no such address", "unknown address", "address unknown",
	"account disabled", "account is disabled", "mailbox disabled", "unknown local part", "no such person", "not a valid",
}

// otherWords lists words in refusals because of the sender, the client or a
// policy, whatever their code.
var otherWords = []string{
	"sender", "relay", "block", "blacklist", "spam", "spf", "dkim", "dmarc", "policy", "greylist", "reputation",
	"reverse dns", "ptr", "too many", "verify failed", "authentica", "from address", "client", "access denied",
}

// isUnknownRcpt reports whether a reply is a refusal of the recipient that can
// be cached for other senders: a permanent reply to RCPT whose code or text
// means that the recipient does not exist.
func (s said) isUnknownRcpt() bool {
	if !s.atRcpt || !s.Permanent() {
		return false
	}
	text := strings.ToLower(s.Text)
	contains := func(w string) bool { return strings.Contains(text, w) }
	switch {
	case slices.ContainsFunc(otherWords, contains):
		return false
	case s.Enhanced != "":
		return slices.Contains(unknownCodes, s.Enhanced)
	}
	return (s.Code == 550 || s.Code == 551 || s.Code == 553) && slices.ContainsFunc(unknownWords, contains)
}
