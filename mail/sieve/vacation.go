package sieve

import (
	"fmt"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// The bounds of the least time between two vacation replies to one sender.
const (
	defaultVacation = 7 * 24 * time.Hour
	maxVacation     = 60 * 24 * time.Hour
)

func compileVacation(c *compiler, n *node) statement {
	a := c.arguments(n, map[string]tag{
		"days": {value: argNumber}, "seconds": {ext: "vacation-seconds", value: argNumber},
		"subject": {value: argString}, "from": {value: argString}, "handle": {value: argString},
		"addresses": {value: argList}, "mime": {},
	}, argString)
	if a == nil {
		return nil
	}
	every := defaultVacation
	switch unit := a.only("days", "seconds"); unit {
	case "days":
		every = time.Duration(min(max(a.tags[unit].num, 1), 1000)) * 24 * time.Hour
	case "seconds":
		every = time.Duration(min(a.tags[unit].num, 1<<31)) * time.Second
	}
	every = min(every, maxVacation)
	subject, from, handle, reason := a.text("subject"), a.text("from"), a.text("handle"), a.texts(0)[0]
	if a.has("from") {
		c.checkAddress(n, from)
	}
	var own []text
	if arg, ok := a.tags["addresses"]; ok {
		own = c.texts(n, arg.strs)
	}
	asMIME, named := a.has("mime"), a.has("handle")
	return step{n.line, func(r *run) {
		reply := &Reply{Subject: oneLine(subject.expand(r)), From: from.expand(r), Addresses: expandAll(r, own), MIME: asMIME, Every: every}
		text := reason.expand(r)
		// Replies that differ are counted apart (RFC 5230, 4.2).
		if reply.Handle = handle.expand(r); !named {
			reply.Handle = fmt.Sprintf("%q %q %t %q", reply.Subject, reply.From, asMIME, text)
		}
		r.add(Action{Kind: Vacation, Reason: text, Reply: reply})
	}}
}

// WhyNoReply returns the reason for which a message gets no automatic reply, or
// "" if it may get one (RFC 3834, 2; RFC 5230, 4.5 and 4.6). Own lists the
// addresses of the recipient, who must be named in a header field: a message
// that came through a list or an alias is not answered.
func WhyNoReply(m *mail.Message, from mail.Address, own []string) string {
	if from == "" {
		return "the reverse path is empty"
	}
	if machine(from.Local()) {
		return "the sender is a program: " + string(from)
	}
	head := m.Header()
	named := false
	for f := range mail.Fields(head) {
		name := strings.ToLower(f.Name)
		switch {
		case strings.HasPrefix(name, "list-"):
			return "the message is from a mailing list (" + f.Name + ")"
		case name == "auto-submitted" && !strings.HasPrefix(strings.ToLower(f.Text()), "no"):
			return "the message was sent automatically (Auto-Submitted)"
		case name == "precedence" && bulk(f.Text()):
			return "the message is bulk mail (Precedence)"
		case name == "x-auto-response-suppress" && suppressed(f.Text()):
			return "the sender asks for no automatic reply (X-Auto-Response-Suppress)"
		case name == "x-spam-flag" && strings.EqualFold(f.Text(), "yes"):
			return "the message is marked as spam (X-Spam-Flag)"
		case name == "to" || name == "cc" || name == "bcc" || strings.HasPrefix(name, "resent-") && len(name) <= len("resent-bcc"):
			named = named || names(f.Text(), own)
		}
	}
	if names(string(from), own) {
		return "the recipient is the sender"
	}
	if !named {
		return "the recipient is not named in To, Cc or Bcc"
	}
	return ""
}

// machine reports whether a local part belongs to a program (RFC 3834, 2; RFC
// 5230, 4.6).
func machine(local string) bool {
	local = strings.ToLower(local)
	switch local {
	case "mailer-daemon", "listserv", "majordomo", "noreply", "no-reply", "donotreply", "do-not-reply":
		return true
	}
	return strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-request") ||
		strings.HasSuffix(local, "-owner") || strings.HasSuffix(local, "-bounces") || strings.Contains(local, "-bounces+")
}

func bulk(v string) bool {
	switch strings.ToLower(v) {
	case "bulk", "list", "junk":
		return true
	}
	return false
}

// suppressed reads the field with which Exchange declines automatic replies
// ([MS-OXCMAIL], 2.2.3.2.14).
func suppressed(v string) bool {
	for part := range strings.SplitSeq(strings.ToLower(v), ",") {
		switch strings.TrimSpace(part) {
		case "all", "oof", "autoreply":
			return true
		}
	}
	return false
}

// names reports whether an address list contains one of the addresses.
func names(v string, own []string) bool {
	for _, a := range mime.ParseAddresses(v) {
		key := mail.Key(a.Addr())
		for _, o := range own {
			if key != "" && key == mail.Key(o) {
				return true
			}
		}
	}
	return false
}
