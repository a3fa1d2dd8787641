package forward

import (
	"strings"
	"testing"

	"hoplite/mail"
)

// If a server accepts only one sender, all mail is sent from that address,
// regardless of its path.
func TestSender(t *testing.T) {
	const device = "From: Copier <copier@printer.lan>\r\nSubject: x\r\n\r\nhello\r\n"
	down := newPeer(t, map[string]string{"CONNECT": "drop"})
	down.l.Close()
	for _, c := range []struct {
		name      string
		fallback  bool
		from      mail.Address
		text      string
		wantMail  string
		wantFrom  string
		wantReply string
	}{
		{"mail of a device", false, "copier@printer.lan", device, "MAIL FROM:<scanner@example.org>", "From: Copier <scanner@example.org>", "250"},
		{"as a fallback", true, "copier@printer.lan", device, "MAIL FROM:<scanner@example.org>", "From: Copier <scanner@example.org>", "250"},
		{"a report of this server", false, "", "From: MAILER-DAEMON@mail.example.org\r\n\r\nhello\r\n", "MAIL FROM:<>", "From: scanner@example.org", "250"},
		{"mail that a route has changed", false, "scanner@example.org", "From: scanner@example.org\r\nDKIM-Signature: v=1\r\n\r\nhello\r\n",
			"MAIL FROM:<scanner@example.org>", "From: scanner@example.org", "250"},
		{"signed mail", false, "copier@printer.lan", "DKIM-Signature: v=1\r\n" + device, "", "", "550 5.7.1 Message is signed (DKIM)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, nil)
			up := upstream(t, []string{p.url()}, func(c *Config) { c.Sender, c.Recipients = "scanner@example.org", "any" })
			hop := mail.Hop(up)
			if c.fallback {
				first := upstream(t, []string{down.url()}, func(c *Config) { c.Recipients = "any" })
				first.SetFallback(up)
				hop = first
			}
			tx := mail.NewTransaction(mail.Client{}, c.from)
			got := replies(handOverTx(t, hop, tx, c.text, "ann@example.net"))
			if !strings.HasPrefix(got, "ann@example.net: "+c.wantReply) {
				t.Fatalf("replies %q, want %q", got, c.wantReply)
			}
			if tx.Envelope.From != c.from {
				t.Errorf("the transaction's reverse path became %q", tx.Envelope.From)
			}
			if c.wantMail == "" {
				if len(p.mail()) > 0 {
					t.Error("it was sent")
				}
				return
			}
			if !strings.Contains(p.said(), c.wantMail) {
				t.Errorf("said %q, want %q", p.said(), c.wantMail)
			}
			if text := p.mail()[0]; !strings.Contains(text, c.wantFrom+"\r\n") {
				t.Errorf("got %q, want %q", text, c.wantFrom)
			}
		})
	}
}
