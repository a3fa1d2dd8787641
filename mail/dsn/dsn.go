// Package dsn composes messages from the mail system itself: reports about the
// delivery of mail (RFC 3461, 3464 and 6522, and RFC 6533 for UTF-8 addresses),
// and notices to the postmaster.
//
// A report consists of a human-readable text, machine-readable fields, and the
// original message or its header. It is 7-bit ASCII regardless of the original,
// so that every server accepts it; SMTPUTF8 is needed only for a recipient with
// a UTF-8 local part. Package relay/queue/report decides which reports are due,
// and to whom they are sent.
//
// Start with Report.Compose.
package dsn

import (
	"bytes"
	"fmt"
	"mime"
	"strings"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// Kind is the type of a report.
type Kind string

// The kinds, named as in RFC 3464, 2.3.3.
const (
	Failed  Kind = "failed"
	Delayed Kind = "delayed"
	// Delivered means that the message was delivered to a mailbox. Relayed
	// means that it was passed to a server that might not send reports itself.
	Delivered Kind = "delivered"
	Relayed   Kind = "relayed"
)

// MaxReturned is the maximum size of an original message that is included in a
// report. For a larger message the report contains only the header, truncated
// to this size.
const MaxReturned = 64 << 10

// Report is a report about one message.
type Report struct {
	ID       string // id of the report
	Hostname string // name of this server
	At       time.Time
	To       mail.Address // the sender of the original message, or the postmaster

	Kind     Kind
	Original string    // our id for the original message
	Arrived  time.Time // when the original was received
	EnvID    string    // the sender's id for the original (RFC 3461, 4.4)
	Ret      string    // FULL or HDRS; anything else means FULL for failures
	UTF8     bool      // the original was received with SMTPUTF8
	Rcpts    []Rcpt
	// Why replaces the usual opening sentences in reports to the postmaster.
	Why string
	// Message is the original message, or nil if it is not available.
	Message *mail.Message
}

// Rcpt is one recipient in a report.
type Rcpt struct {
	mail.Rcpt
	Reply mail.Reply // the last reply; Host is the server that sent it
	At    time.Time  // time of the last attempt
	Until time.Time  // for delays, the time until which delivery is attempted
}

var subjects = map[Kind]string{
	Failed:    "Undelivered mail returned to sender",
	Delayed:   "Delayed mail, still being tried",
	Delivered: "Delivered: your mail",
	Relayed:   "Passed on: your mail",
}

// Compose returns the report as a message.
func (r *Report) Compose() (*mail.Message, error) {
	b, err := r.compose()
	if err == nil {
		var m *mail.Message
		if m, err = newMessage(b); err == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("compose report about %s: %w", r.Original, err)
}

func (r *Report) compose() ([]byte, error) {
	h, err := header(append(common(r.Hostname, r.To, subjects[r.Kind], r.ID, r.At),
		field{"Auto-Submitted", "auto-replied"}, // prevents vacation replies (RFC 3834, 5)
		field{"In-Reply-To", r.messageID()},
		field{"Content-Type", "multipart/report; report-type=delivery-status"})...)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := message.CreateWriter(&b, h)
	if err != nil {
		return nil, err
	}
	status, err := r.status()
	if err != nil {
		return nil, err
	}
	parts := []part{
		{"text/plain; charset=utf-8", "Notification", "quoted-printable", []byte(strings.ReplaceAll(r.words(), "\n", "\r\n"))},
		status,
	}
	if r.Message != nil {
		returned, err := r.returned()
		if err != nil {
			return nil, err
		}
		parts = append(parts, returned)
	}
	for i := range parts {
		if err := parts[i].write(w); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return b.Bytes(), err
}

// part is one MIME part of the report.
type part struct {
	kind, description, encoding string
	content                     []byte
}

func (p *part) write(report *message.Writer) error {
	h, err := header(field{"Content-Type", p.kind}, field{"Content-Description", p.description}, field{"Content-Transfer-Encoding", p.encoding})
	if err != nil {
		return err
	}
	w, err := report.CreatePart(h)
	if err != nil {
		return err
	}
	if _, err := w.Write(p.content); err != nil {
		return err
	}
	return w.Close()
}

// utf8 reports whether the content types of RFC 6533 are needed because an
// address or the original message contains UTF-8.
func (r *Report) utf8() bool {
	needed := r.UTF8 || r.To.NeedsUTF8()
	for i := range r.Rcpts {
		needed = needed || r.Rcpts[i].To.NeedsUTF8()
	}
	return needed
}

// messageID returns the original's Message-ID if it can be repeated safely.
func (r *Report) messageID() string {
	if r.Message == nil {
		return ""
	}
	for f := range mail.Fields(r.Message.Header()) {
		if f.Is("Message-ID") {
			if id := f.Text(); len(id) < 250 && ascii([]byte(id)) && safe.Header(id) == id && strings.HasPrefix(id, "<") && !strings.ContainsAny(id, " \t") {
				return id
			}
			return ""
		}
	}
	return ""
}

// status returns the machine-readable part (RFC 3464, 2.2 and 2.3): a group of
// fields about the message, and one for each recipient.
func (r *Report) status() (part, error) {
	groups := [][]field{{
		{"Original-Envelope-Id", r.EnvID},
		{"Reporting-MTA", "dns; " + r.Hostname},
		{"X-Hoplite-Id", r.Original},
		{"Arrival-Date", optionalDate(r.Arrived)},
	}}
	for i := range r.Rcpts {
		groups = append(groups, r.rcptStatus(&r.Rcpts[i]))
	}
	var b bytes.Buffer
	for _, g := range groups {
		h, err := header(g...)
		if err == nil {
			err = textproto.WriteHeader(&b, h.Header)
		}
		if err != nil {
			return part{}, err
		}
	}
	p := part{"message/delivery-status", "Delivery report", "7bit", b.Bytes()}
	if r.utf8() {
		p.kind = "message/global-delivery-status"
	}
	if !ascii(p.content) {
		p.encoding = "quoted-printable"
	}
	return p, nil
}

func (r *Report) rcptStatus(rc *Rcpt) []field {
	g := []field{
		{"Original-Recipient", rc.ORcpt},
		{"Final-Recipient", typedAddress(rc.To)},
		{"Action", string(r.Kind)},
		{"Status", r.statusCode(rc)},
	}
	switch {
	case rc.Reply.Host != "":
		g = append(g, field{"Remote-MTA", "dns; " + rc.Reply.Host}, field{"Diagnostic-Code", "smtp; " + diagnostic(&rc.Reply)})
	case r.Kind == Failed || r.Kind == Delayed:
		g = append(g, field{"Diagnostic-Code", "x-hoplite; " + diagnostic(&rc.Reply)})
	}
	g = append(g, field{"Last-Attempt-Date", optionalDate(rc.At)})
	if r.Kind == Delayed {
		g = append(g, field{"Will-Retry-Until", optionalDate(rc.Until)})
	}
	return g
}

// optionalDate returns "" for the zero time.
func optionalDate(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return date(t)
}

// typedAddress returns an address with its type (RFC 3464, 2.3.2; RFC 6533, 3).
func typedAddress(a mail.Address) string {
	if a.NeedsUTF8() {
		return "utf-8; " + string(a)
	}
	return "rfc822; " + string(a)
}

// diagnostic returns a reply on one line of ASCII.
func diagnostic(r *mail.Reply) string {
	s := safe.Clip(strings.ReplaceAll(r.String(), "\n", " "), 600)
	if !ascii([]byte(s)) {
		s = mime.QEncoding.Encode("utf-8", safe.Header(s))
	}
	return s
}

// statusCode returns the enhanced status code for the report. A temporary
// failure that persisted for too long becomes 5.4.7 (RFC 3463).
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

// returned returns the part with the original message, or only its header if
// the sender requested that or the message is large. message/rfc822 must not be
// encoded (RFC 2046, 5.2.1), so a message that is not 7-bit text is included as
// message/global, which may be encoded (RFC 6532, 3.5).
func (r *Report) returned() (part, error) {
	p := part{"text/rfc822-headers", "Undelivered message header", "7bit", r.Message.Header()}
	full := r.Kind == Failed && r.Ret != "HDRS" && r.Message.Size() <= MaxReturned
	if full {
		var b bytes.Buffer
		if _, err := r.Message.WriteTo(&b); err != nil {
			return p, err
		}
		p = part{"message/rfc822", "Undelivered message", "7bit", b.Bytes()}
	} else if len(p.content) > MaxReturned {
		p.content = p.content[:bytes.LastIndexByte(p.content[:MaxReturned], '\n')+1]
	}
	encode := !sevenBit(p.content)
	switch {
	case full && (encode || r.utf8()):
		p.kind = "message/global"
	case r.utf8():
		p.kind = "message/global-headers"
	case encode:
		p.kind = "text/rfc822-headers; charset=utf-8"
	}
	if encode && full {
		p.encoding = "base64" // preserves every octet, including bare CR and LF
	} else if encode {
		p.encoding = "quoted-printable"
	}
	return p, nil
}
