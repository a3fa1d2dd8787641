package forward

import (
	"slices"
	"strings"
	"testing"

	"hoplite/mail"
)

// An internationalized domain does not by itself require SMTPUTF8, because
// every server accepts its A-label.
func TestInternationalDomains(t *testing.T) {
	const with, without = "250-old\r\n250 SMTPUTF8", "250 old"
	for name, tt := range map[string]struct {
		ehlo     string
		from, to mail.Address
		want     []string // commands
		refused  string
	}{
		"A-label for an old server": {without, "bob@example.com", "ann@bücher.example", []string{"MAIL FROM:<bob@example.com>", "RCPT TO:<ann@xn--bcher-kva.example>"}, ""},
		"the sender's, too":         {without, "bob@bücher.example", "ann@example.org", []string{"MAIL FROM:<bob@xn--bcher-kva.example>", "RCPT TO:<ann@example.org>"}, ""},
		"A-label for a new server":  {with, "bob@example.com", "ann@bücher.example", []string{"MAIL FROM:<bob@example.com>", "RCPT TO:<ann@xn--bcher-kva.example>"}, ""},
		"a local part needs UTF-8":  {with, "bob@example.com", "jürg@bücher.example", []string{"MAIL FROM:<bob@example.com> SMTPUTF8", "RCPT TO:<jürg@bücher.example>"}, ""},
		"an old server, local part": {without, "bob@example.com", "jürg@bücher.example", nil, "553 5.6.7"},
	} {
		for _, mode := range []string{"queue", "in-line", "call-ahead"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				p := newPeer(t, map[string]string{"EHLO": tt.ehlo})
				u := upstream(t, []string{p.url()}, func(c *Config) {
					if mode != "call-ahead" {
						c.Recipients = "any"
					}
				})
				hop := mail.Hop(u)
				if mode != "queue" {
					hop = u.Inline()
				}
				tx := mail.NewTransaction(mail.Client{}, tt.from)
				tx.Envelope.UTF8 = true
				out := handOverTx(t, hop, tx, "Subject: x\r\n\r\n", tt.to)
				if got := out[0].Reply.String(); tt.refused == "" != out[0].Reply.Positive() || !strings.HasPrefix(got, tt.refused) {
					t.Errorf("got %s", got)
				}
				lines := strings.Split(p.said(), "\n")
				for _, want := range tt.want {
					if !slices.Contains(lines, want) {
						t.Errorf("not said: %s, but %q", want, lines)
					}
				}
			})
		}
	}
}
