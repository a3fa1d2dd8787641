package mail

import (
	"regexp"
	"strings"
)

// Meaning explains a reply code or an enhanced status code. The server, the
// documentation and "hoplite code" share one table of meanings.
type Meaning struct {
	Code  string // 452 or X.7.1
	Title string
	RFC   string   // where the code is defined
	Why   []string // common causes
	Next  string   // what to do
}

// LookupCode explains a reply code (452), an enhanced status code (5.7.1), or
// any text that contains one or both.
func LookupCode(text string) []Meaning {
	var found []Meaning
	basic, enhanced := FindCodes(text)
	for _, m := range meanings {
		if m.Code == basic {
			found = append(found, m)
		}
	}
	if enhanced == "" {
		return found
	}
	class, rest, _ := strings.Cut(enhanced, ".")
	for _, m := range meanings {
		if m.Code == "X."+rest {
			m.Code = enhanced
			m.Title += " (" + classTitle[class] + ")"
			found = append(found, m)
		}
	}
	if len(found) == 0 || found[len(found)-1].Code != enhanced {
		if t, ok := classTitle[class]; ok {
			subject, _, _ := strings.Cut(rest, ".")
			title := t + ": " + subjectTitle[subject]
			if subjectTitle[subject] == "" {
				title = t + ", with an unregistered detail code"
			}
			found = append(found, Meaning{Code: enhanced, RFC: "RFC 3463, 3", Title: title, Next: classNext[class]})
		}
	}
	return found
}

var (
	findBasic    = regexp.MustCompile(`(?:^|[^0-9.])([2-5][0-9]{2})(?:[^0-9.]|$)`)
	findEnhanced = regexp.MustCompile(`(?:^|[^0-9.])([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[^0-9.]|\.?$|\.[^0-9])`)
)

// FindCodes finds the first reply code and the first enhanced status code in
// a text, such as a pasted bounce.
func FindCodes(text string) (basic, enhanced string) {
	if m := findBasic.FindStringSubmatch(text); m != nil {
		basic = m[1]
	}
	if m := findEnhanced.FindStringSubmatch(text); m != nil {
		enhanced = m[1]
	}
	return basic, enhanced
}

// Meanings returns the whole table, for documentation.
func Meanings() []Meaning { return append([]Meaning(nil), meanings...) }

var classTitle = map[string]string{"2": "success", "4": "temporary: it will be retried", "5": "permanent"}

var classNext = map[string]string{
	"2": "Nothing to do.",
	"4": "Wait: the sending server retries by itself. Investigate if it lasts for hours.",
	"5": "It will not be retried: fix the cause, then send again.",
}

var subjectTitle = map[string]string{
	"0": "other", "1": "the address", "2": "the mailbox", "3": "the mail system", "4": "network and routing",
	"5": "the SMTP dialogue", "6": "the content", "7": "security or policy",
}

var meanings = []Meaning{
	{"211", "system status or help reply", "RFC 5321, 4.2.3", []string{"answer to HELP STATUS"}, "Nothing to do."},
	{"214", "help text", "RFC 5321, 4.2.3", []string{"answer to HELP"}, "Nothing to do."},
	{"220", "ready", "RFC 5321, 4.2.3", []string{"greeting", "answer to STARTTLS: the TLS handshake comes next"}, "Nothing to do."},
	{"221", "closing the connection", "RFC 5321, 4.2.3", []string{"answer to QUIT"}, "Nothing to do."},
	{"235", "logged in", "RFC 4954, 6", []string{"the password was right"}, "Nothing to do."},
	{"250", "done", "RFC 5321, 4.2.3", []string{"the command worked", "after the final dot: the server now answers for the message"}, "Nothing to do. Keep the id in the text: the other side finds the message by it."},
	{"251", "not here, will forward", "RFC 5321, 3.4", []string{"the recipient has moved and mail is passed on"}, "Note the new address."},
	{"252", "cannot verify the user, will try to deliver", "RFC 5321, 3.5.3", []string{"answer to VRFY of a server that does not disclose its users"}, "Send the mail to find out."},
	{"334", "continue the login", "RFC 4954, 4", []string{"the next step of AUTH"}, "Nothing to do."},
	{"354", "send the message, end it with a dot", "RFC 5321, 4.2.3", []string{"answer to DATA"}, "Nothing to do."},
	{"421", "service not available, closing the connection", "RFC 5321, 4.2.3", []string{"the server stops or restarts", "too many connections or errors from this address", "idle for too long"}, "The sender retries by itself. If it lasts, check connection limits and the server's load."},
	{"432", "a password transition is needed", "RFC 4954, 4.7.12", []string{"the account must move to another login method"}, "Set a new password."},
	{"450", "mailbox temporarily unavailable", "RFC 5321, 4.2.3", []string{"greylisting: the first attempt of an unknown sender is deferred", "the mailbox is locked", "the next server is down, so the recipient cannot be verified"}, "Wait for the next attempt; greylisting ends after some minutes."},
	{"451", "local error while processing", "RFC 5321, 4.2.3", []string{"disk, DNS or a filter had a problem", "the server had an internal error"}, "Wait for the next attempt; the receiving server's log has details."},
	{"452", "insufficient storage", "RFC 5321, 4.2.3", []string{"disk nearly full", "mailbox over quota", "too many recipients at once (with 4.5.3: send the rest separately, which servers do by themselves)"}, "Free space on the receiving side; for 4.5.3 nothing."},
	{"454", "temporary login or TLS failure", "RFC 4954, 6; RFC 3207, 4", []string{"the login service is down", "TLS is temporarily unavailable"}, "Try again later; on your own server, check the certificate and the accounts."},
	{"455", "parameter cannot be honored now", "RFC 5321, 4.1.1.11", []string{"an option of MAIL or RCPT is temporarily off"}, "Try again later."},
	{"500", "command not understood", "RFC 5321, 4.2.3", []string{"unknown command", "line too long", "the body was read as commands after an error"}, "Check what the client sent; old servers answer EHLO with it."},
	{"501", "syntax error in the arguments", "RFC 5321, 4.2.3", []string{"malformed address", "control characters"}, "Fix the address or the client."},
	{"502", "command not implemented", "RFC 5321, 4.2.3", []string{"the server knows the command and does not offer it"}, "Don't use that command here."},
	{"503", "commands in the wrong order", "RFC 5321, 4.2.3", []string{"MAIL twice", "DATA without an accepted recipient", "the client ignored an earlier refusal"}, "Look for the first refusal before this one."},
	{"504", "parameter not implemented", "RFC 5321, 4.2.3", []string{"login method that the server does not offer"}, "Choose another method."},
	{"521", "host does not accept mail", "RFC 7504", []string{"the host never accepts mail"}, "Use the address's real mail server; check its MX records."},
	{"523", "encryption needed", "RFC 4954", []string{"TLS is too weak or missing"}, "Enable TLS in the client."},
	{"530", "login or TLS is needed first", "RFC 4954, 6; RFC 3207, 4", []string{"the client did not log in", "STARTTLS was not used"}, "Enable SMTP authentication and TLS in the client."},
	{"534", "login method too weak", "RFC 4954, 6", []string{"the account does not allow this method"}, "Choose a stronger method, or an app password."},
	{"535", "login refused", "RFC 4954, 6", []string{"wrong user name or password", "the account does not exist or is locked", "too many failed attempts"}, "Check name (often the full address) and password."},
	{"538", "login needs encryption", "RFC 4954, 6", []string{"the password would be sent in clear text"}, "Enable STARTTLS or TLS in the client."},
	{"541", "refused by the recipient's rules", "", []string{"spam filter"}, "Ask the recipient's postmaster, with the whole reply."},
	{"550", "refused", "RFC 5321, 4.2.3", []string{"no such mailbox", "relay access denied", "refused by policy: SPF, DMARC, block list, content"}, "The enhanced code and the text after it say which; check the address first."},
	{"551", "user not local", "RFC 5321, 3.4", []string{"the recipient has moved; the text gives the new address"}, "Use the new address."},
	{"552", "too much data", "RFC 5321, 4.2.3", []string{"message larger than the limit (5.3.4)", "mailbox over quota (5.2.2)"}, "Send a smaller message or a link; or the recipient frees space."},
	{"553", "address not allowed", "RFC 5321, 4.2.3", []string{"the sender address does not belong to the login", "address syntax"}, "Send with the address of the account that logs in."},
	{"554", "refused", "RFC 5321, 4.2.3", []string{"content or policy", "too many hops: a loop (5.4.6)", "in the greeting: the server accepts no mail from this IP address"}, "Read the text; for 5.4.6, find out which servers forward to each other."},
	{"555", "parameter not recognized", "RFC 5321, 4.1.1.11", []string{"the client used an extension that was not offered"}, "Check what EHLO offered."},
	{"556", "domain does not accept mail", "RFC 7504; RFC 7505", []string{"null MX record"}, "The address is wrong: its domain does not accept mail."},

	{"X.1.0", "address problem", "RFC 3463, 3.2", nil, "Check the address."},
	{"X.1.1", "no such mailbox", "RFC 3463, 3.2", []string{"typing error", "the person has left", "the alias is missing on the receiving server"}, "Check the part before the @."},
	{"X.1.2", "no such domain, or it is unreachable", "RFC 3463, 3.2", []string{"typing error in the domain", "DNS records gone"}, "Check the part after the @ and its MX records."},
	{"X.1.3", "address syntax is invalid", "RFC 3463, 3.2", nil, "Check for spaces, commas and quotes."},
	{"X.1.4", "address is ambiguous", "RFC 3463, 3.2", nil, "Use the full address."},
	{"X.1.6", "mailbox has moved", "RFC 3463, 3.2", nil, "Ask for the new address."},
	{"X.1.7", "sender address syntax is invalid", "RFC 3463, 3.2", nil, "Check the sender's account settings."},
	{"X.1.8", "sender's domain is invalid", "RFC 3463, 3.2", []string{"no MX or address record for it"}, "Give the sender domain DNS records."},
	{"X.1.10", "domain has a null MX", "RFC 7505", nil, "The domain does not accept mail: check the address."},
	{"X.2.0", "mailbox problem", "RFC 3463, 3.3", nil, "Ask the recipient's postmaster."},
	{"X.2.1", "mailbox disabled", "RFC 3463, 3.3", nil, "Ask the recipient in another way."},
	{"X.2.2", "mailbox full", "RFC 3463, 3.3", nil, "The recipient must free space."},
	{"X.2.3", "message too large for this mailbox", "RFC 3463, 3.3", nil, "Send a smaller message."},
	{"X.3.0", "mail system problem", "RFC 3463, 3.4", nil, "The receiving server's log has details."},
	{"X.3.1", "mail system full", "RFC 3463, 3.4", nil, "Free space on the receiving server."},
	{"X.3.2", "mail system not accepting messages now", "RFC 3463, 3.4", []string{"it is shutting down or reloading"}, "Wait."},
	{"X.3.4", "message too big for the system", "RFC 3463, 3.4", nil, "Send a smaller message, or raise the limit."},
	{"X.4.1", "no answer from host", "RFC 3463, 3.5", []string{"server down", "firewall", "wrong port"}, "Try to connect by hand from the sending server."},
	{"X.4.2", "bad connection", "RFC 3463, 3.5", []string{"the connection was lost"}, "Check for firewalls that inspect SMTP and for MTU problems."},
	{"X.4.3", "directory server failure", "RFC 3463, 3.5", []string{"no answer from DNS"}, "Check the DNS servers."},
	{"X.4.4", "no route", "RFC 3463, 3.5", []string{"no usable MX or address record"}, "Check the DNS records of the recipient's domain."},
	{"X.4.5", "system congestion", "RFC 3463, 3.5", nil, "Wait."},
	{"X.4.6", "loop", "RFC 3463, 3.5", []string{"two servers forward to each other"}, "Read the Received lines: fix the two servers whose names repeat."},
	{"X.4.7", "delivery time expired", "RFC 3463, 3.5", []string{"the message was in the queue for too long"}, "Check the reply to the last attempt, which the report quotes."},
	{"X.5.0", "protocol problem", "RFC 3463, 3.6", nil, "Check the whole dialogue."},
	{"X.5.1", "invalid command", "RFC 3463, 3.6", nil, "Check the command before it."},
	{"X.5.2", "syntax error", "RFC 3463, 3.6", nil, "Check the command before it."},
	{"X.5.3", "too many recipients", "RFC 3463, 3.6", nil, "Servers send the rest by themselves; otherwise split the list."},
	{"X.5.4", "invalid arguments", "RFC 3463, 3.6", nil, "Check the parameters of the command."},
	{"X.5.6", "line too long", "RFC 4954, 6", nil, "Break the lines: at most 998 characters."},
	{"X.6.0", "content problem", "RFC 3463, 3.7", nil, "Check the structure of the message."},
	{"X.6.1", "media type not supported", "RFC 3463, 3.7", nil, "Send the content as another type."},
	{"X.6.2", "conversion required but prohibited", "RFC 3463, 3.7", nil, "Send without that content, or to another server."},
	{"X.6.3", "conversion required but not supported", "RFC 3463, 3.7", []string{"8-bit text for a server that accepts only 7-bit text"}, "Send as quoted-printable or base64."},
	{"X.6.6", "content not available", "RFC 4468", nil, "Try again."},
	{"X.6.7", "address or header needs UTF-8, which the next server does not support", "RFC 6531, 3.7.4", nil, "Use an ASCII address."},
	{"X.7.0", "security or policy", "RFC 3463, 3.8", nil, "Read the text after the code."},
	{"X.7.1", "not allowed", "RFC 3463, 3.8", []string{"relay access denied: log in, or the domain is not handled there", "sender or content refused by policy"}, "If it is your own server: log in, or add the client to relay_from."},
	{"X.7.4", "security feature not supported", "RFC 3463, 3.8", nil, "Choose another login method."},
	{"X.7.8", "login refused", "RFC 4954, 6", []string{"wrong password"}, "Check name and password."},
	{"X.7.9", "login method too weak", "RFC 4954, 6", nil, "Choose another method."},
	{"X.7.10", "encryption needed", "RFC 7817; RFC 5248", nil, "Enable TLS."},
	{"X.7.11", "login needs encryption", "RFC 4954, 6", nil, "Enable TLS."},
	{"X.7.13", "account disabled", "RFC 5248", nil, "Ask the administrator."},
	{"X.7.20", "no passing DKIM signature", "RFC 7372", nil, "Check the sender's DKIM keys and whether the message was changed in transit."},
	{"X.7.23", "SPF failed", "RFC 7372", nil, "Add the sending address to the domain's SPF record, or send through its own server."},
	{"X.7.24", "SPF could not be evaluated", "RFC 7372", nil, "Fix the domain's SPF record."},
	{"X.7.25", "reverse DNS failed", "RFC 7372", nil, "Give the sending IP address a PTR record whose name resolves back to it."},
	{"X.7.26", "several authentication checks failed", "RFC 7372", []string{"DMARC: neither SPF nor DKIM of the From domain passed"}, "Align SPF or DKIM with the From address."},
	{"X.7.27", "sender has a null MX", "RFC 7505", nil, "Use a sender address that can receive mail."},
	{"X.7.28", "mail flood", "RFC 8496", nil, "Slow down; find out what sends so many messages."},
	{"X.7.29", "ARC failed", "RFC 8617", nil, "Find the forwarder that broke the chain."},
	{"X.7.30", "REQUIRETLS not possible", "RFC 8689", nil, "Send without REQUIRETLS, or through a server that has it."},
}
