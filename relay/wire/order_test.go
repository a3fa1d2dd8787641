package wire

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hoplite/internal/listen"
)

// inEachStage contains the reply code for each command in each stage of a
// session.
var inEachStage = []struct {
	command                                         string
	connected, greeted, mailing, addressed, between int
}{
	{"HELO c.example.org", 250, 250, 250, 250, 503},
	{"EHLO c.example.org", 250, 250, 250, 250, 503},
	{"LHLO c.example.org", 500, 500, 500, 500, 503},
	{"EHLO", 501, 501, 501, 501, 503},
	{"MAIL FROM:<a@example.org>", 503, 250, 503, 503, 503},
	{"MAIL FROM:<a@example.org> SIZE=x", 503, 501, 503, 503, 503},
	{"RCPT TO:<b@example.org>", 503, 503, 250, 250, 503},
	{"RCPT TO:<no@example.org>", 503, 503, 550, 550, 503},
	{"RCPT TO:b@example.org", 503, 503, 501, 501, 503},
	{"DATA", 503, 503, 503, 354, 503},
	{"DATA now", 501, 501, 501, 501, 503},
	{"BDAT 0", 503, 503, 503, 250, 250},
	{"BDAT 0 LAST", 503, 503, 503, 250, 250},
	{"BDAT x", 501, 501, 501, 501, 501},
	{"AUTH", 503, 501, 503, 503, 503},
	{"AUTH PLAIN !!!", 503, 501, 503, 503, 503},
	{"AUTH PLAIN", 503, 334, 503, 503, 503},
	{"STARTTLS", 220, 220, 220, 220, 503},
	{"STARTTLS now", 501, 501, 501, 501, 503},
	{"XCLIENT ADDR=192.0.2.7", 220, 220, 503, 503, 503},
	{"XCLIENT", 501, 501, 503, 503, 503},
	{"RSET", 250, 250, 250, 250, 250},
	{"NOOP", 250, 250, 250, 250, 250},
	{"QUIT", 221, 221, 221, 221, 221},
	{"HELP", 214, 214, 214, 214, 503},
	{"VRFY ann", 252, 252, 252, 252, 503},
	{"EXPN list", 502, 502, 502, 502, 503},
	{"ETRN example.org", 502, 502, 502, 502, 503},
	{"VERB ON", 250, 250, 250, 250, 503},
	{"TURN", 502, 502, 502, 502, 503},
	{"FOO", 500, 500, 500, 500, 503},
	{"", 500, 500, 500, 500, 503},
}

func TestOrder(t *testing.T) {
	s := start(t, Options{XClient: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, withTLS(t))
	way := []struct{ line, reply string }{
		{"EHLO c.example.org", "250"}, {"MAIL FROM:<a@example.org>", "250"},
		{"RCPT TO:<b@example.org>", "250"}, {"BDAT 3\r\nx", "250"},
	}
	for _, row := range inEachStage {
		for st, want := range []int{row.connected, row.greeted, row.mailing, row.addressed, row.between} {
			t.Run(fmt.Sprintf("%s in stage %d", row.command, st), func(t *testing.T) {
				c := s.dial(t)
				c.want("220")
				for _, w := range way[:st] {
					c.say(w.line, w.reply)
				}
				c.say(row.command, fmt.Sprint(want))
			})
		}
	}
}

// Each of these ends the transaction, and a new one can begin without any trace
// of the previous one.
func TestEndOfTransaction(t *testing.T) {
	s := start(t, Options{}, listen.Options{})
	for name, script := range map[string][]string{
		"RSET":             {"RSET", "250"},
		"EHLO":             {"EHLO d.example.org", "250"},
		"HELO":             {"HELO d.example.org", "250"},
		"DATA":             {"DATA", "354", "x\r\n.", "250"},
		"refused DATA":     {"DATA", "354", "x\x00\r\n.", "554"},
		"BDAT":             {"BDAT 3 LAST\r\nx", "250"},
		"RSET in chunks":   {"BDAT 3\r\nx", "250", "RSET", "250"},
		"BINARYMIME":       {"RSET", "250", "MAIL FROM:<a@example.org> BODY=BINARYMIME", "250", "RCPT TO:<b@example.org>", "250", "DATA", "502", "BDAT 3 LAST\r\nx", "250"},
		"RSET, BINARYMIME": {"RSET", "250", "MAIL FROM:<a@example.org> BODY=BINARYMIME", "250", "RSET", "250", "MAIL FROM:<a@example.org>", "250", "RCPT TO:<b@example.org>", "250", "DATA", "354", ".", "250"},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t)
			c.hello()
			c.say("MAIL FROM:<a@example.org>", "250")
			c.say("RCPT TO:<b@example.org>", "250")
			for i := 0; i < len(script); i += 2 {
				c.say(script[i], script[i+1])
			}
			c.say("RCPT TO:<c@example.org>", "503")
			c.say("MAIL FROM:<d@example.org>", "250")
			c.say("DATA", "503")
			c.say("RCPT TO:<e@example.org>", "250")
			c.say("DATA", "354")
			c.say("y\r\n.", "250 2.0.0 kept")
			all := s.store.all()
			if got := all[len(all)-1]; got != "from d@example.org size 0;to e@example.org;y\r\n" {
				t.Errorf("kept %q", got)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	s := start(t, Options{XClient: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, withTLS(t))
	login := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ann\x00right"))
	c := s.dial(t)
	if got := c.want("220") + c.say("EHLO x", "250"); !strings.Contains(got, "STARTTLS") {
		t.Errorf("STARTTLS is not offered: %s", got)
	}
	c.say(login, "235")
	c.say(login, "503")
	c.say("STARTTLS", "503")
	if got := c.say("EHLO x", "250"); strings.Contains(got, "STARTTLS") {
		t.Errorf("STARTTLS is offered after a login: %s", got)
	}
	if got := s.conns[0].Login(); got != "ann" {
		t.Errorf("logged in as %q", got)
	}
	// The front-end's next client has not logged in.
	c.say("XCLIENT ADDR=192.0.2.7", "220")
	c.say("EHLO y", "250")
	if got := s.conns[0].Login(); got != "" {
		t.Errorf("after XCLIENT still logged in as %q", got)
	}
	c.say(login, "235")
}

// A bare LF does not end a command, and text after it is not executed.
func TestBareLFInCommands(t *testing.T) {
	s := start(t, Options{}, listen.Options{})
	for _, in := range []string{"NOOP\nMAIL FROM:<a@example.org>\r\n", "NOOP\n", "MAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\r\nNOOP\r\n", "\n\r\n"} {
		c := s.dial(t)
		c.hello()
		c.send(in)
		c.want("500 5.5.2")
		c.closed()
	}
	c := s.dial(t)
	c.hello()
	c.say("AUTH PLAIN", "334")
	c.send("AGFubgByaWdodA==\n")
	c.want("500 5.5.2")
	c.closed()
	c = start(t, Options{Bare: Fix}, listen.Options{}).dial(t)
	c.hello()
	c.send("NOOP\nMAIL FROM:<a@example.org>\n")
	c.want("250 2.0.0")
	c.want("250 2.1.0")
}
