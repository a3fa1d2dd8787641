// Package dsn writes reports about the delivery of mail: multipart/report of
// RFC 3461, 3462 and 3464, and of RFC 6533 where addresses are in UTF-8.
//
// A report has words for people first, then the fields for programs, then the
// message or its header. Whether one is due, and to whom, is decided by the
// queue.
package dsn

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode/utf8"

	"hoplite/mail"
)

// Kind is what a report tells.
type Kind string

// The kinds, in the words of RFC 3464, 2.3.3.
const (
	Failed  Kind = "failed"
	Delayed Kind = "delayed"
	// Delivered is for a message that reached its mailbox, Relayed for one that
	// went to a server that will not report by itself.
	Delivered Kind = "delivered"
	Relayed   Kind = "relayed"
)

// MaxReturned is the most of the original message that a report carries; a
// larger one comes back as its header alone, and no more of it than this.
const MaxReturned = 64 << 10

// Report is one report about one message.
type Report struct {
	ID       string // ours for the report
	Hostname string // ours
	At       time.Time
	To       mail.Address // who gets it: the sender of the message

	Kind     Kind
	Original string    // our id of the message
	Arrived  time.Time // when we got it
	EnvID    string    // the sender's own id (RFC 3461, 4.4)
	Ret      string    // FULL or HDRS; anything else means FULL for failures
	UTF8     bool      // the message came with SMTPUTF8
	Rcpts    []Rcpt
	// Why is said to people instead of Kind's usual first words; for
	// notes to the postmaster.
	Why string
	// Message is what it is about; nil when its octets cannot be had.
	Message *mail.Message
}

// Rcpt is what the report says of one recipient.
type Rcpt struct {
	mail.Rcpt
	Reply mail.Reply // the last answer; Host is who gave it
	At    time.Time  // of the last attempt
	Until time.Time  // delayed: how long we try
}

// Compose writes the report.
func (r *Report) Compose() (*mail.Message, error) {
	utf8Needed := r.UTF8 || r.To.NeedsUTF8()
	for i := range r.Rcpts {
		utf8Needed = utf8Needed || r.Rcpts[i].To.NeedsUTF8()
	}
	boundary := "report-" + r.ID
	var b bytes.Buffer
	r.header(&b, boundary)
	fmt.Fprintf(&b, "--%s\r\n", boundary)
	if err := text(&b, r.words()); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "\r\n--%s\r\n", boundary)
	r.status(&b, utf8Needed)
	if r.Message != nil {
		fmt.Fprintf(&b, "\r\n--%s\r\n", boundary)
		if err := r.returned(&b, utf8Needed); err != nil {
			return nil, fmt.Errorf("write report about %s: %w", r.Original, err)
		}
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	m, err := mail.NewMessage(mail.Bytes(b.Bytes()))
	if err != nil {
		return nil, fmt.Errorf("write report about %s: %w", r.Original, err)
	}
	m.EightBit = bytes.IndexFunc(b.Bytes(), func(c rune) bool { return c >= 0x80 }) >= 0
	return m, nil
}

var subjects = map[Kind]string{
	Failed:    "Undelivered mail returned to sender",
	Delayed:   "Delayed mail, still being tried",
	Delivered: "Delivered: your mail",
	Relayed:   "Passed on: your mail",
}

func (r *Report) header(b *bytes.Buffer, boundary string) {
	field := func(name, value string) { fmt.Fprintf(b, "%s: %s\r\n", name, value) }
	field("From", fmt.Sprintf("Mail Delivery System <MAILER-DAEMON@%s>", clean(r.Hostname)))
	field("To", "<"+clean(string(r.To))+">")
	field("Subject", subjects[r.Kind])
	field("Date", r.At.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	field("Message-ID", fmt.Sprintf("<%s@%s>", r.ID, clean(r.Hostname)))
	// Nobody's vacation program may answer this (RFC 3834, 5).
	field("Auto-Submitted", "auto-replied")
	if id := r.messageID(); id != "" {
		field("In-Reply-To", id)
	}
	field("MIME-Version", "1.0")
	field("Content-Type", fmt.Sprintf("multipart/report; report-type=delivery-status;\r\n\tboundary=%q", boundary))
	b.WriteString("\r\n")
}

// messageID is the original's, if it is harmless to repeat.
func (r *Report) messageID() string {
	if r.Message == nil {
		return ""
	}
	for f := range mail.Fields(r.Message.Header()) {
		if f.Is("Message-ID") {
			if id := f.Text(); len(id) < 250 && clean(id) == id && strings.HasPrefix(id, "<") && !strings.ContainsAny(id, " \t") {
				return id
			}
			return ""
		}
	}
	return ""
}

// text writes a text/plain part, quoted-printable where it must be.
func text(b *bytes.Buffer, s string) error {
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Description: Notification\r\n")
	b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	if _, err := io.WriteString(w, strings.ReplaceAll(s, "\n", "\r\n")); err != nil {
		return err
	}
	return w.Close()
}

// status writes the fields for programs (RFC 3464, 2.2 and 2.3).
func (r *Report) status(b *bytes.Buffer, utf8Needed bool) {
	kind := "message/delivery-status"
	if utf8Needed {
		kind = "message/global-delivery-status"
	}
	fmt.Fprintf(b, "Content-Type: %s\r\nContent-Description: Delivery report\r\n\r\n", kind)
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s: %s\r\n", name, clean(value))
		}
	}
	field("Original-Envelope-Id", r.EnvID)
	field("Reporting-MTA", "dns; "+r.Hostname)
	field("X-Hoplite-Id", r.Original)
	if !r.Arrived.IsZero() {
		field("Arrival-Date", r.Arrived.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	}
	for i := range r.Rcpts {
		rc := &r.Rcpts[i]
		b.WriteString("\r\n")
		field("Original-Recipient", rc.ORcpt)
		field("Final-Recipient", address(rc.To))
		field("Action", string(r.Kind))
		field("Status", r.statusCode(rc))
		if rc.Reply.Host != "" {
			field("Remote-MTA", "dns; "+rc.Reply.Host)
			field("Diagnostic-Code", "smtp; "+oneLine(rc.Reply.String()))
		} else if r.Kind == Failed || r.Kind == Delayed {
			field("Diagnostic-Code", "x-hoplite; "+oneLine(rc.Reply.String()))
		}
		if !rc.At.IsZero() {
			field("Last-Attempt-Date", rc.At.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
		}
		if r.Kind == Delayed && !rc.Until.IsZero() {
			field("Will-Retry-Until", rc.Until.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
		}
	}
}

// address is an address with its type (RFC 3464, 2.3.2; RFC 6533, 3).
func address(a mail.Address) string {
	if a.NeedsUTF8() {
		return "utf-8; " + string(a)
	}
	return "rfc822; " + string(a)
}

// statusCode is the enhanced code that fits the report: a failure of what was
// only put off has waited too long (4.4.7 as 5.4.7, RFC 3463).
func (r *Report) statusCode(rc *Rcpt) string {
	code := rc.Reply.Enhanced
	class := map[Kind]string{Failed: "5", Delayed: "4", Delivered: "2", Relayed: "2"}[r.Kind]
	switch {
	case r.Kind == Failed && !rc.Reply.Permanent():
		return "5.4.7"
	case strings.HasPrefix(code, class+"."):
		return code
	case r.Kind == Delayed:
		return "4.4.0"
	}
	return class + ".0.0"
}

// returned adds the message, or its header where that is wished or where the
// message is large.
func (r *Report) returned(b *bytes.Buffer, utf8Needed bool) error {
	full := r.Kind == Failed && r.Ret != "HDRS" && r.Message.Size() <= MaxReturned
	kind := map[bool]string{true: "message/rfc822", false: "text/rfc822-headers"}[full]
	if utf8Needed {
		kind = map[bool]string{true: "message/global", false: "message/global-headers"}[full]
	}
	head := r.Message.Header()
	encoding := "7bit"
	if r.Message.EightBit || !ascii(head) {
		encoding = "8bit"
	}
	fmt.Fprintf(b, "Content-Type: %s\r\nContent-Description: Undelivered message\r\nContent-Transfer-Encoding: %s\r\n\r\n", kind, encoding)
	if full {
		_, err := r.Message.WriteTo(b)
		return err
	}
	if len(head) > MaxReturned {
		head = head[:bytes.LastIndexByte(head[:MaxReturned], '\n')+1]
	}
	b.Write(head)
	return nil
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// clean keeps what strangers wrote from ending a field or hiding in one.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
}

// oneLine folds a reply into a field, bounded.
func oneLine(s string) string {
	s = clean(strings.ReplaceAll(s, "\n", " "))
	if len(s) > 900 {
		s = strings.ToValidUTF8(s[:900], "")
	}
	if !ascii([]byte(s)) {
		s = mime.QEncoding.Encode("utf-8", s)
	}
	return s
}
