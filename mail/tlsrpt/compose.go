package tlsrpt

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-message"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// Letter is a report sent by mail (RFC 8460, 5.3).
type Letter struct {
	Report *Report
	// Submitter is the name of the reporting server. ID and At are those of the
	// message.
	Submitter string
	ID        string
	At        time.Time
	From, To  mail.Address
}

// FileName returns the name of a report's file (RFC 8460, 5.1).
func (r *Report) FileName(submitter string) string {
	return fmt.Sprintf("%s!%s!%d!%d.json.gz", submitter, r.Domain(), r.Range.Start.Unix(), r.Range.End.Unix())
}

// text returns the summary for people.
func (r *Report) text(submitter string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "TLS report about mail from %s to %s,\r\nfrom %s to %s (RFC 8460).\r\n\r\n",
		submitter, r.Domain(), r.Range.Start.UTC().Format(time.DateTime), r.Range.End.UTC().Format(time.DateTime+" MST"))
	for i := range r.Policies {
		p := &r.Policies[i]
		fmt.Fprintf(&b, "%s: %d sessions succeeded, %d failed\r\n", p.Policy.Type, p.Summary.Successful, p.Summary.Failed)
		for _, f := range p.Failures {
			fmt.Fprintf(&b, "  %s at %s: %d\r\n", f.Result, safe.Line(f.MX), f.Sessions)
		}
	}
	return b.String()
}

// Compose returns the message. It asks to be delivered even if TLS fails,
// because it may report that failure (TLS-Required, RFC 8689, 5).
func (l *Letter) Compose() (*mail.Message, error) {
	file, err := l.Report.Compress()
	if err != nil {
		return nil, err
	}
	domain := l.Report.Domain()
	var h message.Header
	for _, f := range [][2]string{ // AddRaw inserts at the top
		{"Content-Type", `multipart/report; report-type="tlsrpt"; boundary="` + l.ID + `"`},
		{"MIME-Version", "1.0"},
		{"Auto-Submitted", "auto-generated"},
		{"TLS-Required", "No"},
		{"TLS-Report-Submitter", l.Submitter},
		{"TLS-Report-Domain", domain},
		{"Message-ID", "<" + l.ID + "@" + l.Submitter + ">"},
		{"Date", l.At.Format("Mon, 2 Jan 2006 15:04:05 -0700")},
		{"Subject", "Report Domain: " + domain + " Submitter: " + l.Submitter + " Report-ID: <" + l.Report.ID + ">"},
		{"To", "<" + string(l.To) + ">"},
		{"From", "<" + string(l.From) + ">"},
	} {
		h.AddRaw([]byte(f[0] + ": " + safe.Header(f[1]) + "\r\n"))
	}
	var b bytes.Buffer
	if err := l.write(&b, h, file); err != nil {
		return nil, fmt.Errorf("compose report: %w", err)
	}
	return mail.NewMessage(mail.Bytes(b.Bytes()))
}

func (l *Letter) write(out io.Writer, h message.Header, file []byte) error {
	w, err := message.CreateWriter(out, h)
	if err != nil {
		return err
	}
	var text message.Header
	text.SetContentType("text/plain", map[string]string{"charset": "us-ascii"})
	part, err := w.CreatePart(text)
	if err != nil {
		return err
	}
	if _, err = io.WriteString(part, l.Report.text(l.Submitter)); err != nil {
		return err
	}
	if err = part.Close(); err != nil {
		return err
	}
	var attached message.Header
	attached.SetContentType("application/tlsrpt+gzip", nil)
	attached.SetContentDisposition("attachment", map[string]string{"filename": l.Report.FileName(l.Submitter)})
	attached.Set("Content-Transfer-Encoding", "base64")
	if part, err = w.CreatePart(attached); err != nil {
		return err
	}
	if _, err = part.Write(file); err != nil {
		return err
	}
	if err = part.Close(); err != nil {
		return err
	}
	return w.Close()
}
