package intake

import (
	"bytes"
	"io"
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
	"hoplite/mail/refusal"
)

// Bounce is a report about another message, such as a delivery failure report
// or a complaint by a recipient.
type Bounce struct {
	// Recipients lists the recipients in a machine-readable report (RFC
	// 3464), or those named with a reply code in a free-text bounce.
	Recipients []Failed
	// Complaint is set if the report is a complaint (RFC 5965).
	Complaint *Complaint
	// Reporter is the server that wrote the report.
	Reporter string
	// Original is the header block of the reported message, or nil if the
	// report does not include it.
	Original []byte

	// OurID is the id that this program assigned to the message, and EnvID
	// the one assigned by the sender (RFC 3461, 4.4). InReplyTo is the
	// Message-ID that the report refers to.
	OurID, EnvID, InReplyTo string
}

// Failed is the report about one recipient.
type Failed struct {
	Rcpt       string
	Original   string // the address that the sender used, if different
	Action     string // failed, delayed, delivered, relayed, expanded
	Status     string // 5.1.1
	Diagnostic string // the other server's reply
	Remote     string
}

// Meanings explains the failure based on its text or, if the text is unknown,
// on its codes.
func (f *Failed) Meanings() []mail.Meaning {
	if m := refusal.Explain(f.Diagnostic); len(m) > 0 {
		return m
	}
	return refusal.Explain(f.Status)
}

const maxFailed = 100

// readBounce returns the report contained in a message, in standard form or
// free text, or nil if there is none.
func readBounce(head, body []byte) *Bounce {
	whole := make([]byte, 0, len(head)+len(body)+2)
	whole = append(append(append(whole, head...), '\n'), body...)
	tree := mime.WalkBytes(whole)
	if tree.Root == nil {
		return nil
	}
	b := &Bounce{InReplyTo: fieldText(head, "In-Reply-To")}
	root := tree.Root
	if root.Is("multipart", "report") {
		for _, p := range root.Children {
			part := section(whole, p)
			switch {
			case p.Type == "message" && (p.Subtype == "delivery-status" || p.Subtype == "global-delivery-status"):
				b.status(part)
			case p.Type == "message" && p.Subtype == "feedback-report":
				b.Complaint = readComplaint(part)
				b.EnvID = fieldText(part, "Original-Envelope-Id")
			case p.Type == "message" && p.Subtype != "disposition-notification", p.Is("text", "rfc822-headers"):
				h, _ := split(part)
				b.Original = h
			}
		}
		if len(b.Recipients) > 0 || b.Original != nil || b.Complaint != nil {
			return b
		}
	}
	if !looksLikeBounce(head) {
		return nil
	}
	b.prose(plainText(whole, root, body))
	b.attached(whole, root, body)
	if b.Reporter == "" {
		b.Reporter = senderDomain(head)
	}
	if len(b.Recipients) == 1 && b.Recipients[0].Rcpt == "" {
		b.Recipients[0].Rcpt = failedRecipient(head)
	}
	if len(b.Recipients) == 0 && b.Original == nil {
		return nil
	}
	return b
}

// section returns the decoded body of a part.
func section(whole []byte, p *mime.Part) []byte {
	from, to := p.Body.From.Off, p.Body.To.Off
	if from < 0 || to > int64(len(whole)) || from > to {
		return nil
	}
	raw := whole[from:to]
	if p.Encoding != "base64" && p.Encoding != "quoted-printable" {
		return raw
	}
	dec, _ := mime.Decoder(p.Encoding, bytes.NewReader(raw))
	out, _ := io.ReadAll(io.LimitReader(dec, 4<<20))
	return out
}

// status parses the groups of fields in a delivery-status part: one for the
// message, then one for each recipient.
func (b *Bounce) status(part []byte) {
	first := true
	for len(part) > 0 && len(b.Recipients) < maxFailed {
		group, rest := split(bytes.TrimLeft(part, "\r\n"))
		part = rest
		var f Failed
		for field := range mail.Fields(group) {
			text := field.Text()
			switch strings.ToLower(field.Name) {
			case "reporting-mta":
				b.Reporter = afterSemicolon(text)
			case "original-envelope-id":
				b.EnvID = text
			case "x-hoplite-id":
				b.OurID = text
			case "final-recipient":
				f.Rcpt = afterSemicolon(text)
			case "original-recipient":
				f.Original = afterSemicolon(text)
			case "action":
				f.Action = strings.ToLower(text)
			case "status":
				f.Status, _, _ = strings.Cut(text, " ")
			case "diagnostic-code":
				f.Diagnostic = afterSemicolon(text)
			case "remote-mta":
				f.Remote = afterSemicolon(text)
			}
		}
		if f.Rcpt == "" {
			f.Rcpt = f.Original
		}
		if strings.EqualFold(f.Original, f.Rcpt) {
			f.Original = ""
		}
		if !first || f.Rcpt != "" {
			if f.Rcpt != "" || f.Status != "" {
				b.Recipients = append(b.Recipients, f)
			}
		}
		first = false
	}
}

// fieldText returns the text of the first field with that name.
func fieldText(head []byte, name string) string {
	for f := range mail.Fields(head) {
		if f.Is(name) {
			return f.Text()
		}
	}
	return ""
}

func afterSemicolon(s string) string {
	if _, after, ok := strings.Cut(s, ";"); ok {
		s = after
	}
	return strings.Trim(strings.TrimSpace(s), "<>")
}

// looksLikeBounce recognises reports that do not follow RFC 3464.
func looksLikeBounce(head []byte) bool {
	for f := range mail.Fields(head) {
		text := strings.ToLower(f.Text())
		switch strings.ToLower(f.Name) {
		case "return-path":
			if text == "<>" {
				return true
			}
		case "from", "sender":
			if strings.Contains(text, "mailer-daemon") || strings.Contains(text, "postmaster@") || strings.Contains(text, "mail delivery") {
				return true
			}
		case "x-failed-recipients":
			return true
		}
	}
	return false
}

// senderDomain returns the domain of the address in From, which is the name of
// the server in reports that do not name it otherwise, or "".
func senderDomain(head []byte) string {
	from, _, _ := strings.Cut(fieldText(head, "From"), " (")
	_, domain, _ := strings.Cut(from[strings.LastIndexByte(from, '<')+1:], "@")
	if domain = strings.TrimRight(domain, ">"); strings.ContainsAny(domain, " <@,") {
		return ""
	}
	return domain
}
