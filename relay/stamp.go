package relay

import (
	"fmt"
	"time"

	"hoplite/mail"
	"hoplite/mail/authres"
	"hoplite/mail/safe"
)

// stamp adds the server's fields above the message: Received,
// Authentication-Results, and on submission the fields that RFC 6409, 8
// permits. It removes Authentication-Results fields that claim to be from this
// server (RFC 8601, 5) and, if the client is not trusted, those that name no
// server. All other octets are left unchanged.
func (t *transaction) stamp(m *mail.Message) *mail.Message {
	top := t.received()
	if len(t.Trail.Auth) > 0 {
		top = append(top, authres.Field(t.Hostname, t.Trail.Auth)...)
	}
	drop := authres.Ours(m.Head, t.ownNames, !t.Client.Trusted)
	if t.Client.MayRelay && t.session.srv.cfg.FixHeaders == "submission" {
		more, bcc := t.submission(m)
		top, drop = append(top, more...), mergeSpans(drop, bcc)
	}
	return m.Edited(top, apart(drop, m.Drop)...)
}

// ownNames returns the names that Authentication-Results fields in the message
// must not carry. A trusted server may be one of our own and add the results of
// its checks, so for such a server only results in this listener's name are
// considered forged.
func (t *transaction) ownNames() []string {
	names := []string{t.Hostname}
	if more := t.session.srv.env.Names; more != nil && !t.Client.Trusted {
		names = append(names, more()...)
	}
	return names
}

// received returns the trace field (RFC 5321, 4.4). It names the recipient only
// if there is a single one, because all recipients can read the field and must
// not learn about each other.
func (t *transaction) received() []byte {
	c := &t.Client
	b := make([]byte, 0, 320)
	say := func(words ...string) {
		for _, w := range words {
			b = append(b, w...)
		}
	}
	say("Received: from ", hostName(c.Helo), " (")
	b = appendPeer(b, c)
	say(")\r\n\tby ", t.Hostname, " (Hoplite) with ", c.With(t.Envelope.UTF8), " id ", t.ID)
	if c.TLS != nil {
		say("\r\n\t(using ", c.TLS.Version, " with cipher ", c.TLS.Cipher, ")")
	}
	if len(t.asked) == 1 && len(t.Envelope.Rcpts) == 1 {
		if to := t.Envelope.Rcpts[0].Orig; to != "" && len(to) < 200 {
			say("\r\n\tfor <", string(to), ">")
		}
	}
	return t.At.AppendFormat(b, "; Mon, 2 Jan 2006 15:04:05 -0700\r\n")
}

// appendPeer adds the client's address, and its name if known.
func appendPeer(b []byte, c *mail.Client) []byte {
	addr := c.Addr.Addr()
	if !addr.IsValid() {
		return append(b, "local"...)
	}
	if c.Name != "" {
		b = append(append(b, hostName(c.Name)...), ' ')
	}
	b = append(b, '[')
	if addr.Is6() {
		b = append(b, "IPv6:"...)
	}
	return append(addr.AppendTo(b), ']')
}

// hostName returns a name that is valid in the from clause of Received. A
// client may try to forge trace information with its HELO argument.
func hostName(s string) string {
	if s == "" {
		return "unknown"
	}
	return safe.Host(s)
}

// submission returns the fields missing from the message, and those to remove
// because they name hidden recipients.
func (t *transaction) submission(m *mail.Message) (top []byte, drop []mail.Span) {
	date, id := false, false
	for f := range mail.Fields(m.Head) {
		switch {
		case f.Is("Date"):
			date = true
		case f.Is("Message-ID"):
			id = true
		case f.Is("Bcc"), f.Is("Resent-Bcc"):
			drop = append(drop, f.Span)
		}
	}
	if !date {
		top = fmt.Appendf(top, "Date: %s\r\n", t.At.Format(time.RFC1123Z))
	}
	if !id {
		t.Header.MessageID = "<" + t.ID + "@" + t.Hostname + ">"
		top = fmt.Appendf(top, "Message-ID: %s\r\n", t.Header.MessageID)
	}
	if len(top)+len(drop) > 0 {
		t.Trail.Add(mail.Event{Stage: mail.StageData, By: "stamp", Verdict: "tag", Reason: "header completed for submission"})
	}
	return top, drop
}

// mergeSpans merges two ascending lists that do not overlap.
func mergeSpans(a, b []mail.Span) []mail.Span {
	out := make([]mail.Span, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].Start <= b[0].Start {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return out
}

// apart returns the spans in want that do not overlap any in have, the spans
// that a filter has already removed.
func apart(want, have []mail.Span) []mail.Span {
	var out []mail.Span
next:
	for _, w := range want {
		for _, h := range have {
			if w.Start < h.End && h.Start < w.End {
				continue next
			}
		}
		out = append(out, w)
	}
	return out
}
