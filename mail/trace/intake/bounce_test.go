package intake

import (
	"slices"
	"strings"
	"testing"

	"hoplite/mail/trace"
)

const bounced = "From: ann@a.example\nSubject: hello\n"

// TestFreeTextBounces parses reports from servers that do not write
// message/delivery-status.
func TestFreeTextBounces(t *testing.T) {
	for _, c := range []struct {
		name, in string
		rcpts    []string
		status   string
		said     string // contained in the first diagnostic
		remote   string
		original bool
	}{
		{"Postfix", "From: MAILER-DAEMON@mx.a.example (Mail Delivery System)\n\nThis is the mail system at host mx.a.example.\n\nIf you need help, please contact <postmaster@a.example>.\n\n" +
			"<bob@b.example>: host mx.b.example[192.0.2.9] said: 550 5.1.1\n    <bob@b.example>: Recipient address rejected: User unknown (in\n    reply to RCPT TO command)\n\n" +
			"<eve@c.example>: host mx.c.example[192.0.2.10] said: 452 4.2.2 mailbox full\n",
			[]string{"bob@b.example", "eve@c.example"}, "5.1.1", "User unknown (in reply to RCPT TO command)", "mx.b.example", false},
		{"Exim", "From: Mail Delivery System <Mailer-Daemon@a.example>\nX-Failed-Recipients: bob@b.example\n\nThis message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered.\n\n" +
			"  bob@b.example\n    host mx.b.example [192.0.2.9]\n    SMTP error from remote mail server after RCPT TO:<bob@b.example>:\n    550 5.7.1 Relaying denied\n\n" +
			"------ This is a copy of the message, including all the headers. ------\n\nReturn-path: <ann@a.example>\nReceived: from pc by a.example; Tue, 12 May 2026 08:30:05 +0000\n" + bounced,
			[]string{"bob@b.example"}, "5.7.1", "550 5.7.1 Relaying denied", "mx.b.example", true},
		{"Gmail", "From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>\nX-Failed-Recipients: bob@b.example\n\n** Address not found **\n\nYour message wasn't delivered to bob@b.example because the address couldn't be found.\n\nThe response from the remote server was:\n550 5.1.1 <bob@b.example>: Recipient address rejected\n",
			[]string{"bob@b.example"}, "5.1.1", "Recipient address rejected", "", false},
		{"older Gmail", "From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>\n\nDelivery to the following recipient failed permanently:\n\n     bob@b.example\n\nTechnical details of permanent failure:\nGoogle tried to deliver your message, but it was rejected by the server for the recipient domain b.example by mx.b.example. [192.0.2.9].\n\nThe error that the other server returned was:\n550 5.2.1 account disabled\n\n----- Original message -----\n\nReceived: by 10.1.1.1 with SMTP id x; Tue, 12 May 2026 08:30:05 +0000\n" + bounced,
			[]string{"bob@b.example"}, "5.2.1", "account disabled", "mx.b.example", true},
		{"Exchange", "From: postmaster@a.example\n\nDelivery has failed to these recipients or groups:\n\nbob@b.example (bob@b.example)\nThe email address you entered couldn't be found.\n\nDiagnostic information for administrators:\n\nGenerating server: ex1.a.example\n\nbob@b.example\nRemote Server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup'\n\nOriginal message headers:\n\nReceived: from pc by ex1.a.example; Tue, 12 May 2026 08:30:05 +0000\n" + bounced,
			[]string{"bob@b.example"}, "5.1.10", "RecipientNotFound", "", true},
		{"older Exchange", "From: System Administrator <postmaster@a.example>\n\nYour message did not reach some or all of the intended recipients.\n\nThe following recipient(s) cannot be reached:\n\n      'bob@b.example' on 5/12/2026 10:30 AM\n            550 5.7.1 Unable to relay\n",
			[]string{"bob@b.example"}, "5.7.1", "Unable to relay", "", false},
		{"HTML only", "From: postmaster@a.example\nContent-Type: text/html\n\n<html><body><p>Delivery has failed to these recipients:</p><p><a href=\"mailto:bob@b.example\">bob@b.example</a></p><p>Remote Server returned &#39;550 5.4.1 Recipient address rejected: Access denied&#39;</p></body></html>\n",
			[]string{"bob@b.example"}, "5.4.1", "Access denied", "", false},
		{"qmail", "Return-Path: <>\nFrom: MAILER-DAEMON@a.example\n\nHi. This is the qmail-send program at a.example.\n\n<bob@b.example>:\n192.0.2.9 does not like recipient.\nRemote host said: 550 5.7.1 relaying denied\nGiving up on 192.0.2.9.\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <ann@a.example>\nReceived: (qmail 1 invoked by uid 3); 12 May 2026 08:30:05 -0000\n" + bounced,
			[]string{"bob@b.example"}, "5.7.1", "relaying denied", "", true},
		{"only in the header", "From: MAILER-DAEMON@a.example\nX-Failed-Recipients: bob@b.example\n\nIt failed:\n\n550 5.1.1 no such user\n",
			[]string{"bob@b.example"}, "5.1.1", "no such user", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := Read(t.Context(), []byte(c.in))
			if err != nil || in.Bounce == nil {
				t.Fatalf("%v %+v", err, in)
			}
			var rcpts []string
			for _, f := range in.Bounce.Recipients {
				rcpts = append(rcpts, f.Rcpt)
			}
			if !slices.Equal(rcpts, c.rcpts) {
				t.Fatalf("recipients %q, want %q: %+v", rcpts, c.rcpts, in.Bounce)
			}
			f := in.Bounce.Recipients[0]
			if f.Status != c.status || !strings.Contains(f.Diagnostic, c.said) || f.Remote != c.remote || f.Action != "failed" {
				t.Errorf("%+v", f)
			}
			if len(f.Meanings()) == 0 {
				t.Errorf("%q has no meaning", f.Diagnostic)
			}
			if has := len(in.Bounce.Original) > 0; has != c.original || has && !strings.Contains(string(in.Bounce.Original), "Subject: hello") {
				t.Errorf("original %q", in.Bounce.Original)
			}
		})
	}
}

// TestPostfixReasons reads Postfix's own reasons, which have no reply code, and
// replies whose code is on the second line.
func TestPostfixReasons(t *testing.T) {
	in, err := Read(t.Context(), []byte("From: MAILER-DAEMON@a.example (Mail Delivery System)\n\nThis is the mail system at host mx.a.example.\n\nIf you need help, <postmaster@a.example>: write\nto us.\n\n"+
		"<bob@b.example>: Host or domain name not found. Name service error for\n    name=b.example type=A: Host not found\n\n<eve@c.example>: host\n    mx.c.example[192.0.2.10] said: 452 4.2.2\n    mailbox full\n\n<dan@d.example>: connect to mx.d.example[192.0.2.11]:25: Connection timed out\n"))
	if err != nil || in.Bounce == nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range in.Bounce.Recipients {
		got = append(got, strings.Join([]string{f.Rcpt, f.Remote, f.Status, f.Diagnostic}, "|"))
	}
	want := []string{
		"bob@b.example|||Host or domain name not found. Name service error for name=b.example type=A: Host not found",
		"eve@c.example|mx.c.example|4.2.2|452 4.2.2 mailbox full",
		"dan@d.example|||connect to mx.d.example[192.0.2.11]:25: Connection timed out",
	}
	if !slices.Equal(got, want) || in.Bounce.Reporter != "mx.a.example" {
		t.Errorf("%s: %q\nwant %q", in.Bounce.Reporter, got, want)
	}
}

// TestReporters checks the server that wrote a free-text report.
func TestReporters(t *testing.T) {
	for _, c := range [][2]string{
		{"From: MAILER-DAEMON@a.example\n\nHi. This is the qmail-send program at ns1.a.example.\n", "ns1.a.example"},
		{"From: postmaster@a.example\n\nGenerating server: ex1.a.example\n", "ex1.a.example"},
		{"From: Mail Delivery System <Mailer-Daemon@host.a.example>\n", "host.a.example"},
		{"From: MAILER-DAEMON@a.example (Mail Delivery System)\n", "a.example"},
		{"From: MAILER-DAEMON\n", ""},
		{"From: mailer-daemon@a.example, b@b.example\n", ""},
	} {
		in, err := Read(t.Context(), []byte(c[0]+"\nIt failed:\n\n<bob@b.example>:\n550 5.1.1 no such user\n"))
		if err != nil || in.Bounce == nil || in.Bounce.Reporter != c[1] {
			t.Errorf("%q: %v %+v", c[0], err, in)
		}
	}
}

// TestNotABounce checks that personal mail quoting a reply is not treated as a
// bounce.
func TestNotABounce(t *testing.T) {
	for _, in := range []string{
		"From: ann@a.example\n\nI got this for bob@b.example:\n550 5.1.1 no such user\n",
		"From: postmaster@a.example\n\nThe server will be down at 4:30.\n",
		"Return-Path: <>\nFrom: bob@b.example\n\nI am out of the office until 12 May.\n",
	} {
		if got, err := Read(t.Context(), []byte(in)); err != nil || got.Bounce != nil {
			t.Errorf("%q: %v %+v", in, err, got.Bounce)
		}
	}
}

const complaint = `From: abuse@isp.example
To: abuse@a.example
Subject: FW: offer
Content-Type: multipart/report; report-type=feedback-report; boundary="B"

--B
Content-Type: text/plain

This is an email abuse report.
--B
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <ann@a.example>
Original-Rcpt-To: <bob@isp.example>
Arrival-Date: Tue, 12 May 2026 08:30:06 +0000
Source-IP: 192.0.2.7
Reported-Domain: a.example
Incidents: 3

--B
Content-Type: message/rfc822

Received: from mx.a.example ([192.0.2.7]) by mx.isp.example with ESMTP; Tue, 12 May 2026 08:30:05 +0000
From: ann@a.example
Message-ID: <1@a.example>

buy
--B--
`

func TestComplaint(t *testing.T) {
	in, err := Read(t.Context(), []byte(complaint))
	if err != nil || in.Bounce == nil || in.Bounce.Complaint == nil {
		t.Fatalf("%v %+v", err, in)
	}
	c := in.Bounce.Complaint
	if c.Type != "abuse" || c.SourceIP != "192.0.2.7" || c.MailFrom != "ann@a.example" || c.Incidents != 3 ||
		!slices.Equal(c.Rcpts, []string{"bob@isp.example"}) || !slices.Equal(c.Domains, []string{"a.example"}) || c.Reporter != "SomeGenerator/1.0" {
		t.Errorf("%+v", c)
	}
	if tr := trace.Read(in.Bounce.Original, trace.Options{}); tr.MessageID != "<1@a.example>" || len(tr.Steps) != 1 {
		t.Errorf("original %q", in.Bounce.Original)
	}
	// A report that contains only its type is still a complaint.
	bare := strings.Replace(complaint, "Incidents: 3", "Incidents: -1", 1)
	if in, err := Read(t.Context(), []byte(bare)); err != nil || in.Bounce.Complaint.Incidents != 1 {
		t.Errorf("%v %+v", err, in)
	}
}

// TestReferences checks the identifiers by which our history knows the reported
// message.
func TestReferences(t *testing.T) {
	const id = "01m83cchqfy872as"
	in, err := Read(t.Context(), []byte(strings.Replace(strings.Replace(report, "From: ", "In-Reply-To: <m1@a.example>\nFrom: ", 1),
		"\n\nFinal-Recipient:", "\nOriginal-Envelope-Id: env7\nX-Hoplite-Id: "+id+"\n\nFinal-Recipient:", 1)))
	if err != nil || in.Bounce == nil {
		t.Fatalf("%v %+v", err, in)
	}
	if b := in.Bounce; b.EnvID != "env7" || b.OurID != id || b.InReplyTo != "<m1@a.example>" {
		t.Errorf("ENVID %q, our id %q, In-Reply-To %q", b.EnvID, b.OurID, b.InReplyTo)
	}
	if in.Pasted || in.Outlook {
		t.Errorf("an intact report is taken for a copy: %+v", in)
	}
	// A quoted copy has lost something, so that missing fields prove nothing.
	if in, err := Read(t.Context(), []byte("> "+strings.ReplaceAll(strings.TrimSuffix(clean(t), "\n"), "\n", "\n> "))); err != nil || !in.Pasted {
		t.Errorf("%v, pasted %v", err, in.Pasted)
	}
}
