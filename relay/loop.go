package relay

import (
	"bytes"
	"strings"

	"hoplite/mail"
	"hoplite/mail/received"
)

// Limits that apply if no "hops" filter detects loops.
const (
	// maxHops is the maximum number of Received fields of a message (RFC 5321,
	// 6.3).
	maxHops = 100
	// maxVisits is the maximum number of Received fields written by this
	// server. A message may pass through a mailing list and a content scanner,
	// and return from both.
	maxVisits = 5
)

// looped returns the refusal of a looping message, or nil. A loop is detected
// by too many Received fields, by one that this server wrote for the same
// message and recipient, or by a Delivered-To field with that recipient. A
// trusted client, such as a content scanner, may return a message once for the
// same recipient. Fields below a Resent field are ignored, because they date
// from before the message was resent (RFC 5322, 3.6.6).
func (t *transaction) looped(m *mail.Message) *mail.Reply {
	if t.Header.Hops > maxHops {
		return mail.NewReply(554, "5.4.6", "Too many hops: the message has %d Received fields, %d are allowed", t.Header.Hops, maxHops)
	}
	host := []byte(t.Hostname)
	visits, returns, allowed := 0, 0, 0
	if t.Client.Trusted || t.Client.MayRelay {
		allowed = 1
	}
	for f := range mail.Fields(m.Head) {
		switch {
		case f.Is("Resent-From"), f.Is("Resent-Date"), f.Is("Resent-Message-ID"):
			return nil
		case f.Is("Delivered-To"):
			if to := t.recipient(f.Text()); to != "" {
				return mail.NewReply(554, "5.4.6", "Mail loop: the message has been delivered to <%s> before", to)
			}
		case f.Is("Received") && bytes.Contains(f.Value(), host):
			l := received.Parse(f.Value())
			if _, ok := mail.IDTime(l.ID); !ok || !strings.EqualFold(l.By.Name, t.Hostname) {
				continue
			}
			visits++
			to := t.recipient(l.For)
			if to != "" {
				returns++
			}
			if returns > allowed {
				return mail.NewReply(554, "5.4.6", "Mail loop: %s had this message for <%s> before, as %s", t.Hostname, to, l.ID)
			}
			if visits > maxVisits {
				return mail.NewReply(554, "5.4.6", "Mail loop: %s had this message %d times before, first as %s", t.Hostname, visits, l.ID)
			}
		}
	}
	return nil
}

// recipient returns the recipient in the envelope that a field names, or "".
func (t *transaction) recipient(written string) mail.Address {
	a, err := mail.ParseAddress(strings.Trim(strings.TrimSpace(written), "<>"))
	if err != nil || a == "" {
		return ""
	}
	for i := range t.Envelope.Rcpts {
		if r := &t.Envelope.Rcpts[i]; a.Key() == r.To.Key() || a.Key() == r.Orig.Key() {
			return r.To
		}
	}
	return ""
}
