package dsn

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// field is one header field.
type field struct{ name, value string }

// header returns the fields in order. It keeps the usual spelling of their
// names; the library would write Reporting-Mta and Mime-Version.
func header(fields ...field) (message.Header, error) {
	var h message.Header
	for _, f := range slices.Backward(fields) { // Add inserts at the top
		value := strings.TrimSpace(safe.Header(f.value))
		if value == "" {
			continue
		}
		var one textproto.Header
		one.Add(f.name, value)
		raw, err := one.Raw(f.name)
		if err != nil {
			return h, err
		}
		copy(raw, f.name)
		h.AddRaw(raw)
	}
	return h, nil
}

// common returns the leading fields of every message from the mail system.
func common(hostname string, to mail.Address, subject, id string, at time.Time) []field {
	if ascii, ok := to.ASCII(); ok { // A-labels do not require SMTPUTF8
		to = ascii
	}
	return []field{
		{"From", "Mail Delivery System <MAILER-DAEMON@" + hostname + ">"},
		{"To", "<" + string(to) + ">"},
		{"Subject", subject},
		{"Date", date(at)},
		{"Message-ID", "<" + id + "@" + hostname + ">"},
		{"MIME-Version", "1.0"},
	}
}

func date(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }

// newMessage returns a message with the composed octets.
func newMessage(b []byte) (*mail.Message, error) {
	m, err := mail.NewMessage(mail.Bytes(b))
	if err != nil {
		return nil, err
	}
	m.EightBit = !ascii(b)
	return m, nil
}

func ascii(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 })
}

// sevenBit reports whether octets can be sent unencoded to any server: ASCII
// without NUL, in lines of at most 998 octets that end in CRLF (RFC 2045, 2.7).
func sevenBit(b []byte) bool {
	if !ascii(b) || bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	for line := range bytes.Lines(b) {
		text := bytes.TrimSuffix(line, []byte("\r\n"))
		if len(text) > 998 || bytes.ContainsAny(text, "\r\n") {
			return false
		}
	}
	return true
}

// Notice is a plain-text message from the mail system to a person.
type Notice struct {
	ID       string
	Hostname string
	At       time.Time
	To       mail.Address
	Subject  string
	Text     string // lines end in \n
}

// Compose returns the message.
func (n *Notice) Compose() (*mail.Message, error) {
	kind, encoding := "text/plain; charset=us-ascii", "7bit"
	text := strings.ReplaceAll(n.Text, "\n", "\r\n")
	if !sevenBit([]byte(text)) {
		kind, encoding = "text/plain; charset=utf-8", "quoted-printable"
	}
	h, err := header(append(common(n.Hostname, n.To, n.Subject, n.ID, n.At),
		field{"Auto-Submitted", "auto-generated"},
		field{"Content-Type", kind}, field{"Content-Transfer-Encoding", encoding})...)
	if err != nil {
		return nil, fmt.Errorf("compose notice: %w", err)
	}
	var b bytes.Buffer
	w, err := message.CreateWriter(&b, h)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compose notice: %w", err)
	}
	return newMessage(b.Bytes())
}
