package dsn

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
)

func original(text string) *mail.Message {
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		panic(err)
	}
	return m
}

func example() Report {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return Report{
		ID: "id-f1", Hostname: "mail.example.org", At: at, To: "ann@example.org", Kind: Failed,
		Original: "id", Arrived: at.Add(-time.Minute), EnvID: "env 7",
		Rcpts: []Rcpt{{
			Rcpt:  mail.Rcpt{To: "bob@example.net", Orig: "team@example.org", ORcpt: "rfc822;team@example.org"},
			Reply: mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user", Host: "mx.example.net"},
			At:    at,
		}},
		Message: original("Subject: hi\r\nMessage-ID: <m1@example.org>\r\n\r\nthe body\r\n"),
	}
}

// parsed is a decoded part of a report.
type parsed struct {
	header textproto.MIMEHeader
	body   string
}

// parse parses a report with the standard library.
func parse(t *testing.T, r Report) (netmail.Header, []parsed) {
	t.Helper()
	m, err := r.Compose()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	m.WriteTo(&b)
	for line := range bytes.Lines(b.Bytes()) {
		if !bytes.HasSuffix(line, []byte("\r\n")) || bytes.Count(line, []byte("\r")) != 1 || len(line) > 1000 {
			t.Fatalf("line %q", line)
		}
		if _, fits := r.To.ASCII(); fits && !ascii(line) {
			t.Fatalf("not ASCII: %q", line)
		}
	}
	if _, fits := r.To.ASCII(); m.EightBit == fits {
		t.Errorf("EightBit is %v", m.EightBit)
	}
	msg, err := netmail.ReadMessage(&b)
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("%s %v %v", kind, params, err)
	}
	var parts []parsed
	for mr := multipart.NewReader(msg.Body, params["boundary"]); ; {
		p, err := mr.NextPart()
		if err == io.EOF {
			return msg.Header, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		var in io.Reader = p // quoted-printable is already decoded
		if p.Header.Get("Content-Transfer-Encoding") == "base64" {
			in = base64.NewDecoder(base64.StdEncoding, p)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, parsed{p.Header, string(body)})
	}
}

func contains(t *testing.T, what, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, text)
		}
	}
}

func TestFailed(t *testing.T) {
	h, parts := parse(t, example())
	if h.Get("Auto-Submitted") != "auto-replied" || h.Get("To") != "<ann@example.org>" || h.Get("In-Reply-To") != "<m1@example.org>" {
		t.Errorf("header %v", h)
	}
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	contains(t, "text", parts[0].body, "    reply   <bob@example.net> at mx.example.net: 550 5.1.1 no such user\r\n    5.1.1   ", "    next    ",
		"you wrote to team@example.org, which forwards to this address", "    id\r\n")
	contains(t, "status", parts[1].body, "Original-Envelope-Id: env 7\r\n", "Reporting-MTA: dns; mail.example.org\r\n",
		"\r\n\r\nOriginal-Recipient: rfc822;team@example.org\r\n", "Final-Recipient: rfc822; bob@example.net\r\n",
		"Action: failed\r\n", "Status: 5.1.1\r\n", "Remote-MTA: dns; mx.example.net\r\n",
		"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n", "Last-Attempt-Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n")
	contains(t, "original", parts[2].body, "Subject: hi", "the body")
	if parts[1].header.Get("Content-Type") != "message/delivery-status" || parts[2].header.Get("Content-Type") != "message/rfc822" {
		t.Errorf("types %v %v", parts[1].header, parts[2].header)
	}
}

func TestReturnedPart(t *testing.T) {
	large := original("Subject: hi\r\n\r\n" + strings.Repeat("x\r\n", MaxReturned))
	for _, tc := range []struct {
		name  string
		edit  func(*Report)
		kind  string
		has   string
		lacks string
	}{
		{"RET=HDRS", func(r *Report) { r.Ret = "HDRS" }, "text/rfc822-headers", "Subject: hi", "the body"},
		{"RET=FULL", func(r *Report) { r.Ret = "FULL" }, "message/rfc822", "the body", "\x00"},
		{"a large message comes back as its header", func(r *Report) { r.Message, r.Ret = large, "FULL" }, "text/rfc822-headers", "Subject: hi", "x\r\nx"},
		{"a large header is cut", func(r *Report) {
			r.Message = original("Subject: hi\r\n" + strings.Repeat("X-Long: y\r\n", 900) + "X-Big: " + strings.Repeat("z\r\n ", 400) + "\r\n" + strings.Repeat("A: "+strings.Repeat("b", 900)+"\r\n", 90) + "\r\n")
		}, "text/rfc822-headers", "Subject: hi", "\x00"},
		{"a delay returns no body", func(r *Report) { r.Kind = Delayed; r.Ret = "FULL" }, "text/rfc822-headers", "Subject: hi", "the body"},
		{"UTF-8 addresses", func(r *Report) { r.Rcpts[0].To = "jürg@example.net" }, "message/global", "the body", "\x00"},
		{"UTF-8 addresses, RET=HDRS", func(r *Report) { r.UTF8, r.Ret = true, "HDRS" }, "message/global-headers", "Subject: hi", "the body"},
		{"8-bit original", func(r *Report) { r.Message = original("Subject: grüße\r\n\r\nthe body\r\n") }, "message/global", "Subject: grüße\r\n", "\x00"},
		{"8-bit header", func(r *Report) { r.Message, r.Ret = original("Subject: grüße\r\n\r\nthe body\r\n"), "HDRS" }, "text/rfc822-headers; charset=utf-8", "Subject: grüße\r\n", "the body"},
		{"a line too long for SMTP", func(r *Report) {
			r.Message = original("Subject: hi\r\n\r\n" + strings.Repeat("long", 300) + "\r\n")
		}, "message/global", strings.Repeat("long", 300), "\x00"},
		{"bare line ends", func(r *Report) { r.Message = original("Subject: hi\r\n\r\na\nb\rc\r\n") }, "message/global", "a\nb\rc\r\n", "\x00"},
		{"NUL", func(r *Report) { r.Message = original("Subject: hi\r\n\r\na\x00b\r\n") }, "message/global", "a\x00b", "\xff"},
		{"the sender's domain is in UTF-8", func(r *Report) { r.To = "ann@bücher.example" }, "message/global", "the body", "\x00"},
		{"the sender's name is in UTF-8", func(r *Report) { r.To = "jürg@example.org" }, "message/global", "the body", "\x00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := example()
			tc.edit(&r)
			_, parts := parse(t, r)
			last := parts[len(parts)-1]
			if last.header.Get("Content-Type") != tc.kind {
				t.Errorf("type %v", last.header)
			}
			if !strings.Contains(last.body, tc.has) || strings.Contains(last.body, tc.lacks) {
				t.Errorf("body %.200q", last.body)
			}
			if len(last.body) > MaxReturned+1000 {
				t.Errorf("%d octets returned", len(last.body))
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		name  string
		kind  Kind
		reply mail.Reply
		want  string
	}{
		{"failed as said", Failed, mail.Reply{Code: 552, Enhanced: "5.2.2"}, "Status: 5.2.2"},
		{"failed without a code", Failed, mail.Reply{Code: 550}, "Status: 5.0.0"},
		{"failed with a code of another class", Failed, mail.Reply{Code: 550, Enhanced: "4.2.2"}, "Status: 5.0.0"},
		{"expired", Failed, mail.Reply{Code: 451, Enhanced: "4.3.0"}, "Status: 5.4.7"},
		{"delayed as said", Delayed, mail.Reply{Code: 450, Enhanced: "4.2.1"}, "Status: 4.2.1"},
		{"delayed without a code", Delayed, mail.Reply{Code: 421}, "Status: 4.4.0"},
		{"relayed", Relayed, mail.Reply{Code: 250}, "Status: 2.0.0"},
		{"delivered", Delivered, mail.Reply{Code: 250, Enhanced: "2.1.5"}, "Status: 2.1.5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := example()
			r.Kind, r.Rcpts[0].Reply = tc.kind, tc.reply
			_, parts := parse(t, r)
			contains(t, "status", parts[1].body, tc.want+"\r\n", "Action: "+string(tc.kind)+"\r\n")
		})
	}
}

// Text from an upstream or a sender must not break out of its field or part.
func TestHostileWords(t *testing.T) {
	r := example()
	r.EnvID = "x\r\nBcc: evil@example.com"
	r.Rcpts[0].Reply.Text = "no\r\n\r\n--report-id-f1\r\nContent-Type: text/html\r\n\r\n<b>\x1b[2J\x00" + strings.Repeat("y", 5000) + "ü"
	r.Rcpts[0].Reply.Host = "mx\r\nAction: delivered"
	r.Message = original("Message-ID: <a@b>\r\n evil\r\nSubject: x\r\n\r\n")
	h, parts := parse(t, r)
	if len(parts) != 3 || h.Get("Bcc") != "" || h.Get("In-Reply-To") != "" {
		t.Errorf("%d parts, header %v", len(parts), h)
	}
	if strings.Count(parts[1].body, "\r\nAction:") != 1 {
		t.Errorf("status %q", parts[1].body)
	}
}

func TestRecipientInUTF8(t *testing.T) {
	r := example()
	r.To, r.Rcpts[0].To, r.Rcpts[0].Reply.Text = "ann@bücher.example", "jürg@example.net", "unbekannter Empfänger"
	h, parts := parse(t, r)
	if h.Get("To") != "<ann@xn--bcher-kva.example>" {
		t.Errorf("To is %q", h.Get("To"))
	}
	if kind := parts[1].header.Get("Content-Type"); kind != "message/global-delivery-status" {
		t.Errorf("type %q", kind)
	}
	contains(t, "status", parts[1].body, "Final-Recipient: utf-8; jürg@example.net\r\n", "Diagnostic-Code: smtp; =?utf-8?q?550_5.1.1_unbekannter_Empf=C3=A4nger?=\r\n")
	contains(t, "text", parts[0].body, "jürg@example.net", "unbekannter", "Empfänger")
}

func TestNotice(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct{ name, text, encoding string }{
		{"ASCII", "two\nlines\n", "7bit"},
		{"UTF-8", "grüße\n", "quoted-printable"},
		{"a long line", strings.Repeat("long", 300) + "\n", "quoted-printable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := Notice{ID: "n1", Hostname: "mail.example.org", At: at, To: "post@example.org", Subject: "Note", Text: tc.text}
			m, err := n.Compose()
			if err != nil || m.EightBit {
				t.Fatal(err, m.EightBit)
			}
			var b bytes.Buffer
			m.WriteTo(&b)
			got, err := netmail.ReadMessage(&b)
			if err != nil {
				t.Fatal(err)
			}
			var body io.Reader = got.Body
			if tc.encoding != "7bit" {
				body = quotedprintable.NewReader(body)
			}
			text, err := io.ReadAll(body)
			if err != nil || strings.ReplaceAll(string(text), "\r\n", "\n") != tc.text {
				t.Errorf("text %q, %v", text, err)
			}
			for name, want := range map[string]string{
				"From": "Mail Delivery System <MAILER-DAEMON@mail.example.org>", "To": "<post@example.org>", "Subject": "Note",
				"Date": "Mon, 23 Nov 2026 12:00:00 +0000", "Message-ID": "<n1@mail.example.org>", "Mime-Version": "1.0",
				"Auto-Submitted": "auto-generated", "Content-Transfer-Encoding": tc.encoding,
			} {
				if got.Header.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
				}
			}
		})
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("no such user", "mx.example.net", "env", "Subject: x\r\n\r\nbody\r\n")
	f.Add("a\r\nb\x00\xff", "\r\n", "\n", "\r\n")
	f.Fuzz(func(t *testing.T, text, host, env, message string) {
		r := example()
		r.Rcpts[0].Reply.Text, r.Rcpts[0].Reply.Host, r.EnvID = text, host, env
		m, err := mail.NewMessage(mail.Bytes(message))
		if err != nil {
			return
		}
		r.Message = m
		out, err := r.Compose()
		if err != nil {
			return
		}
		for f := range mail.Fields(out.Head) {
			if f.Name == "" {
				t.Fatalf("header broken: %q", out.Head)
			}
		}
		var b bytes.Buffer
		out.WriteTo(&b)
		if !sevenBit(b.Bytes()) {
			t.Fatalf("not 7-bit: %q", b.Bytes())
		}
	})
}

// TestWords tests the human-readable text.
func TestWords(t *testing.T) {
	until := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name  string
		edit  func(r *Report)
		has   []string
		lacks []string
	}{
		{
			"failed", func(*Report) {},
			[]string{"could not be delivered", "will not be\r\ntried again", "<bob@example.net> at mx.example.net: 550 5.1.1 no such user", "you wrote to team@example.org", "received on 23 November 2026 at 11:59:00 +0000"},
			[]string{"temporary failure", "tried until"},
		},
		{
			"expired", func(r *Report) {
				r.Rcpts[0].Reply = mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused"}
			},
			[]string{"<bob@example.net>: 451 4.4.1 connection refused", "temporary failure, but it has persisted for too long"}, []string{" at mx"},
		},
		{
			"delayed", func(r *Report) { r.Kind, r.Rcpts[0].Until = Delayed, until },
			[]string{"has not yet been delivered", "need not send it again", "Delivery is tried until 28 November 2026 at 12:00 +0000"}, []string{"could not be delivered"},
		},
		{"delivered", func(r *Report) { r.Kind = Delivered }, []string{"was delivered"}, []string{"550", "next"}},
		{"relayed", func(r *Report) { r.Kind = Relayed }, []string{"passed on to the next server"}, []string{"550", "reply"}},
		{"in other words", func(r *Report) { r.Why = "This was forged." }, []string{"This was forged.", "bob@example.net"}, []string{"will not be\r\ntried again"}},
		{"not forwarded", func(r *Report) { r.Rcpts[0].Orig = r.Rcpts[0].To }, nil, []string{"you wrote to"}},
		{
			"several lines of a reply", func(r *Report) { r.Rcpts[0].Reply.Text = "no\nsuch\nuser" },
			[]string{"no / such / user"}, nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := example()
			tc.edit(&r)
			_, parts := parse(t, r)
			contains(t, "text", parts[0].body, tc.has...)
			for _, x := range tc.lacks {
				if strings.Contains(parts[0].body, x) {
					t.Errorf("text contains %q:\n%s", x, parts[0].body)
				}
			}
		})
	}
}

// The reply's explanation is the same as in hoplite trace, within 76 columns.
func TestReplyExplained(t *testing.T) {
	r := example()
	r.Rcpts[0].Reply = mail.Reply{Code: 550, Enhanced: "5.7.30", Text: "Basic authentication is not supported for Client Submission.", Host: "smtp.office365.com"}
	_, parts := parse(t, r)
	contains(t, "text", parts[0].body, "<bob@example.net> at smtp.office365.com: 550 5.7.30 Basic", "no longer accepts a user name and password", "    next    ")
	for line := range strings.Lines(parts[0].body) {
		if len(strings.TrimRight(line, "\r\n")) > 76 {
			t.Errorf("long line %q", line)
		}
	}
}
