package relay

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// Addresses that other servers have executed, opened or passed on are refused
// or treated as ordinary local parts, in which nothing has a special meaning
// (CVE-2020-7247, CVE-2016-1000282).
func TestHostileAddresses(t *testing.T) {
	d := open(t, "smtp", nil)
	for _, tt := range []struct{ verb, path, want string }{
		{"MAIL FROM", ";sleep 66;", "553 5.1.7"}, {"MAIL FROM", "a@example.net;reboot", "553 5.1.7"},
		{"RCPT TO", "|/bin/sh", "553 5.1.3"}, {"RCPT TO", `"|/bin/sh"@example.org`, "250"}, {"RCPT TO", "/etc/passwd@example.org", "250"},
		{"RCPT TO", ":include:/etc/passwd@example.org", "553 5.1.3"}, {"RCPT TO", `":include:/etc/passwd"@example.org`, "250"},
		{"RCPT TO", "-oQ/tmp@example.org", "250"}, {"RCPT TO", "${run{/bin/sh}}@example.org", "250"}, {"RCPT TO", "`id`@example.org", "250"},
		{"RCPT TO", "../../etc/passwd@example.org", "250"}, {"RCPT TO", "a/../b@example.org", "250"}, {"RCPT TO", "ann@../../example.org", "553"},
		{"RCPT TO", `"a\"b"@example.org`, "250"}, {"RCPT TO", "a\\@example.org", "553"}, {"RCPT TO", "ann@example.org\x00@elsewhere.example", "501"},
		{"RCPT TO", "ann@example.org\rRCPT TO:<eve@example.org>", "501"}, {"RCPT TO", "<ann@example.org>", "501"},
		{"RCPT TO", strings.Repeat("x", 65) + "@example.org", "553"}, {"RCPT TO", "ann@" + strings.Repeat("x.", 130) + "org", "553"},
	} {
		t.Run(fmt.Sprintf("%s %.40q", tt.verb, tt.path), func(t *testing.T) {
			c := d.hello(t)
			if tt.verb == "RCPT TO" {
				c.say("MAIL FROM:<a@example.net>", "250")
			}
			got := c.say(tt.verb+":<"+tt.path+">", tt.want)
			for _, b := range []byte(got) {
				if b < ' ' || b > '~' {
					t.Errorf("the reply has %q", got)
				}
			}
			if len(got) > 510 {
				t.Errorf("the reply has %d octets", len(got))
			}
			c.say("RSET", "250")
		})
	}
}

// Text from a client is logged as JSON without control characters, so that it
// cannot forge lines or control a terminal.
func TestHostileTextInLog(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.dial(t)
	c.say("EHLO \x1b[2Jevil", "501")
	c.say("EHLO a\u009b31mb\u202e", "250")
	c.say("MAIL FROM:<\"a\u009bb\"@example.net> SMTPUTF8", "553 5.1.7")
	c.say("RSET", "250")
	c.say("MAIL FROM:<a@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	c.say("Subject: \x1b[31m\u202ered\r\nFrom: \xff\xfe\r\nMessage-ID: <\x1b]0;x\x07>\r\n\r\nhello\r\n.", "250")
	c.settle()
	lines := 0
	for line := range strings.Lines(d.log()) {
		lines++
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("%v: %q", err, line)
		}
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\x07\u009b\u202e\r\n") {
			t.Errorf("the log has %q", line)
		}
	}
	if lines < 2 {
		t.Errorf("%d lines", lines)
	}
}

// Non-ASCII addresses without SMTPUTF8 are refused in every order of commands,
// and the session continues.
func TestUTF8WithoutSMTPUTF8(t *testing.T) {
	d := open(t, "smtp", nil)
	for _, talk := range [][][2]string{
		{{"VRFY \u00e4nn@example.org", "252"}, {"MAIL FROM:<\u00e4@example.net>", "553 5.6.7"}, {"DATA", "503"}},
		{{"MAIL FROM:<\u00e4@example.net>", "553 5.6.7"}, {"RCPT TO:<ann@example.org>", "503"}},
		{{"MAIL FROM:<a@example.net>", "250"}, {"RCPT TO:<\u00e4nn@example.org>", "553 5.6.7"}, {"DATA", "503"}, {"RCPT TO:<ann@example.org>", "250"}, {"DATA", "354"}, {hi + ".", "250"}},
		{{"MAIL FROM:<\u00e4@example.net> SMTPUTF8", "250"}, {"RCPT TO:<\u00e4nn@example.org>", "250"}, {"DATA", "354"}, {hi + ".", "250"}},
		{{"MAIL FROM:<a@example.net> SMTPUTF8", "250"}, {"RCPT TO:<\xe4nn@example.org>", "501"}, {"EXPN \u00e4", "5"}, {"RSET", "250"}},
	} {
		c := d.hello(t)
		for _, line := range talk {
			c.say(line[0], line[1])
		}
		c.say("NOOP", "250")
	}
}

// A client that sends commands before the greeting is answered in order.
func TestEarlyTalker(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.connect(t)
	io.WriteString(c, "EHLO early.example.net\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<no@example.org>\r\nDATA\r\nQUIT\r\nNOOP\r\n")
	for _, want := range []string{"220", "250", "250 2.1.0", "550 5.1.1", "503", "221", ""} {
		c.want(want)
	}
}

// An endless line in a message uses no memory beyond that of the message.
func TestLongBodyLine(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) { c.MaxSize = 16 << 20 })
	c := d.hello(t)
	c.say("MAIL FROM:<a@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	io.WriteString(c, "Subject: x\r\n\r\n")
	piece := strings.Repeat("x", 1<<20)
	for range 8 {
		io.WriteString(c, piece)
	}
	c.say("\r\n.", "250")
	runtime.ReadMemStats(&after)
	if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 64 {
		t.Errorf("%d MiB were allocated for a message of 8 MiB", mib)
	}
}

// A message larger than its announced size is refused after it has been
// received, without losing synchronization.
func TestAnnouncedTooSmall(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) { c.MaxSize = 100_000 })
	c := d.hello(t)
	c.say("MAIL FROM:<a@example.net> SIZE=1", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	line := strings.Repeat("x", 70) + "\r\n"
	c.say(strings.Repeat(line, 200_000/len(line))+".", "552 5.3.4")
	c.say("NOOP", "250 2.0.0 Ok")
	c.say("MAIL FROM:<a@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("BDAT 0", "250")
	c.say("BDAT 150000 LAST\r\n"+strings.Repeat("x", 10), "552 5.3.4")
	c.want("421")
	c.want("")
}

// The binary transfer of RFC 3030 is not offered, because no next hop supports
// it.
func TestBinaryIsNotOffered(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.dial(t)
	if got := c.say("EHLO client.example.net", "250"); strings.Contains(got, "BINARYMIME") || !strings.Contains(got, "CHUNKING") {
		t.Errorf("offered %s", got)
	}
	c.say("MAIL FROM:<a@example.net> BODY=BINARYMIME", "555 5.5.4")
	c.say("MAIL FROM:<a@example.net> BODY=8BITMIME", "250")
}

// Wrong passwords count as errors of the connection. The client is slowed down
// and then disconnected, without affecting other clients.
func TestRefusedLoginsAreErrors(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) { c.Auth, c.CleartextLogin, c.MaxLogins, c.MaxErrors = "optional", true, 100, 3 })
	other := d.hello(t)
	c := d.hello(t)
	for range 3 {
		c.say("AUTH PLAIN AGFubkBleGFtcGxlLm9yZwB3cm9uZw==", "535 5.7.8")
	}
	c.want("421 4.7.0 mail.example.org too many errors")
	c.want("")
	other.say("NOOP", "250")
}
