package refusal

import (
	"regexp"
	"strings"
	"testing"

	"hoplite/mail"
)

// Every entry is complete and has a source.
func TestEntries(t *testing.T) {
	list := All()
	if len(list) < 80 {
		t.Errorf("only %d entries", len(list))
	}
	month := regexp.MustCompile(`^20\d\d-\d\d$`)
	for i, r := range list {
		if r.By == "" || r.Cause == "" || r.Job == "" || r.Next == "" || r.Source == "" || !month.MatchString(r.Since) {
			t.Errorf("entry %d is incomplete: %+v", i, r)
		}
		if len(r.codes) == 0 && len(r.texts) == 0 {
			t.Errorf("entry %d applies to everything: %s", i, r.Cause)
		}
		for _, c := range r.codes {
			if _, enhanced := mail.FindCodes(c.prefix + "1"); enhanced == "" {
				t.Errorf("entry %d: %q is no code", i, c.prefix)
			}
		}
		for _, parts := range r.texts {
			for _, p := range parts {
				if len(p) < 3 || p != strings.ToLower(p) {
					t.Errorf("entry %d: the text %q can't be found", i, p)
				}
			}
		}
	}
}

// The cases are replies from real servers, with words that the explanation must
// contain.
func TestFind(t *testing.T) {
	tests := []struct{ reply, by, cause string }{
		{"550 5.7.30 Basic authentication is not supported for Client Submission.", "Microsoft 365", "no longer accepts a user name"},
		{"550-5.7.30 This mail has been blocked because DKIM does not pass. gsmtp", "Gmail", "DKIM"},
		{"550 5.7.30 REQUIRETLS needed", "REQUIRETLS", "REQUIRETLS"},
		{"550 5.7.515 Access denied, sending domain example.org does not meet the required authentication level.", "Outlook.com", "SPF, DKIM and DMARC"},
		{"550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "Microsoft 365", "block list"},
		{"550 5.7.649 Access denied, banned sending IP", "Microsoft 365", "block list"},
		{"550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.", "Microsoft 365", "tenant"},
		{"550 5.7.68 TenantInboundAttribution; There is a partner connector configured", "Microsoft 365", "connector"},
		{"550 5.4.1 Recipient address rejected: Access denied. [X.prod.protection.outlook.com]", "Microsoft 365", "does not exist"},
		{"554 5.2.252 SendAsDenied; scanner@example.org not allowed to send as ann@example.org", "Microsoft 365", "may not send"},
		{"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.", "Microsoft 365", "SMTP AUTH"},
		{"550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).", "Outlook.com", "block list"},
		{"421-4.7.26 Your email has been rate limited because it is unauthenticated. Gmail requires all\r\n421-4.7.26 senders to authenticate with either SPF or DKIM.", "Gmail", "Neither SPF nor DKIM"},
		{"550-5.7.26 Unauthenticated email from example.org is not accepted due to domain's DMARC policy.", "Gmail", "DMARC fails"},
		{"550-5.7.25 [2001:db8::1] The IP address sending this message does not have a PTR record setup", "Gmail", "PTR"},
		{"421 4.7.29 Your email has been rate limited because this message wasn't sent over a TLS connection.", "Gmail", "TLS"},
		{"421 4.7.32 Your email has been rate limited because the From: header isn't aligned", "Gmail", "aligned"},
		{"450-4.2.1 The user you are trying to contact is receiving mail at a rate that prevents", "Gmail", "more mail"},
		{"421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1", "Yahoo", "puts mail"},
		{"553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred", "Yahoo", "refuses everything"},
		{"553 5.7.2 [TSS11] All messages from 192.0.2.1 will be permanently deferred", "Yahoo", "refuses everything"},
		{"554 5.7.1 [HM08] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137", "Apple", "spam"},
		{"550 Rejected by header based Anti-Spoofing policy: a@a.example", "Mimecast", "refuses the sender"},
		{"451 Internal resource temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451", "Mimecast", "greylisting"},
		{"421 Reject due to policy violations", "IONOS", "do not exist"},
		{"421 Rate limit reached. Please try again later", "IONOS", "short time"},
		{"554: Dialup/transient IP not allowed. Use a mailgateway or contact toda@rx.t-online.de if obsolete. (DIAL)", "Telekom", "dial-up"},
		{"554 IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify.)", "Telekom", "addresses it knows"},
		{"554 IP=192.0.2.1 - None/bad reputation. Ask your postmaster for help or to contact tobr@rx.t-online.de for reset. (NOWL)", "Telekom", "addresses it knows"},
		{"550 Ip frequency limited. http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000725", "QQ", "too often"},
		{"550 Domain frequency limited", "QQ", "too often"},
		{"550 Mail content denied. http://service.exmail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000726", "QQ", "bulk mail"},
		{"550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients", "Microsoft 365", "more recipients"},
		{"550 5.2.121 Recipient Per Hour Receive Limit Exceeded", "Microsoft 365", "recipient's mailbox"},
		{"550 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", "Postfix", "PTR"},
		{"552-5.7.0 This message was blocked because its content presents a potential security issue.", "Gmail", "attachment"},
		{"534-5.7.9 Application-specific password required. Learn more at", "Gmail", "two-step"},
		{"550 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", "Proofpoint", "reputation"},
		{"550 SC-001 (COL0-MC4-F44) Unfortunately, messages from 192.0.2.1 weren't sent. Please contact your Internet service provider since part of their network is on our block list.", "Outlook.com", "block list"},
		{"550 5.7.703 Your message can't be delivered because messages to b.example are blocked by your organization using Tenant Allow Block List.", "Microsoft 365", "Tenant Allow/Block"},
		{"451-4.7.23 The sending IP address for this message doesn't have a PTR record, or the PTR record's forward DNS entry doesn't match the sending IP address.", "Gmail", "PTR"},
		{"454 4.7.0 Too many login attempts, please try again later. gsmtp", "Gmail", "too often"},
		{"450 4.2.1 Peak SMTP relay limit exceeded for customer.", "Gmail", "peak rate"},
		{"550 5.7.9 Unresolvable RFC.5322 from domain", "Yahoo", "From (5322)"},
		{"550 5.7.1 [CS02] Message rejected due to local policy.", "Apple", "spam"},
		{"450 4.7.1 Messages temporarily deferred due to excessive volume", "Apple", "too much"},
		{"554-gmx.net (mxgmx115) Nemesis ESMTP Service not available\n554-No SMTP service\n554 IP address is black listed.", "GMX", "refuses the connection"},
		{"550 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; Error: open resolver", "Spamhaus", "not listed"},
		{"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.spamcop.net", "SpamCop", "reported"},
		{"554 Client host [192.0.2.1] listed in bl.spamcop.net", "SpamCop", "reported"},
		{"451 4.7.1 Greylisting in action, please come back later", "greylisting", "put off"},
		{"450 4.2.0 <ann@example.org>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/", "greylisting", "put off"},
		{"552 5.2.2 <ann@example.org>: Quota exceeded (mailbox for user is full)", "any server", "full"},
		{"552 5.3.4 Message size exceeds fixed limit", "any server", "larger"},
		{"554 5.7.1 <ann@example.org>: Relay access denied", "any server", "not responsible"},
		{"550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown in virtual mailbox table", "any server", "no such mailbox"},
		{"550 relay not permitted", "any server", "not responsible"},
		{"550 5.7.1 <mail.example.org[192.0.2.1]>: Client host rejected: Access denied", "Postfix", "A rule of the server"},
		{"550 Sender verify failed", "Exim", "reverse path"},
		{"550 5.5.2 Bare LF not allowed", "any server", "line ends"},
	}
	for _, tt := range tests {
		got := Find(tt.reply)
		if len(got) != 1 || !strings.Contains(got[0].By, tt.by) || !strings.Contains(got[0].Cause, tt.cause) {
			t.Errorf("%s\n\tgot %+v\n\twant %q by %s", tt.reply, got, tt.cause, tt.by)
		}
	}
}

// A code without a text belongs to no server, and an unknown text yields no entry,
// so that the caller falls back to the code; ByCode yields all that name it.
func TestFindByCode(t *testing.T) {
	for code, want := range map[string]int{"5.7.30": 3, "550 5.7.30": 3, "550 5.7.515": 1, "5.7.620": 1, "5.2.121": 1, "5.7.9999": 0, "452": 0, "": 0} {
		if got := ByCode(code); len(got) != want {
			t.Errorf("%q: %d entries, want %d", code, len(got), want)
		}
		if got := Find(code); got != nil {
			t.Errorf("%q: %+v", code, got)
		}
	}
	for _, text := range []string{"550 5.0.0 computer says no", "hello", "250 2.0.0 Ok: queued as ABC"} {
		if got := Find(text); got != nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestParseMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"nonsense":            "is not a field",
		"color: red":          `no field "color"`,
		"code: 5.7.x":         "not an enhanced code",
		"code: 5.7.9-3":       "not a range",
		"by: a\n\ncode: 5.7.": "not an enhanced code",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("550 5.7.30 Basic authentication is not supported")
	f.Add("421-4.7.0 [TSS04]\n421 x")
	f.Fuzz(func(t *testing.T, text string) {
		if len(Find(text)) > len(All()) {
			t.Error("more entries than there are")
		}
	})
}
