package relay

import (
	"io"
	"strings"
	"testing"
	"time"
)

// The record of a transaction without a message contains the reason.
func TestAbortedSaysWhy(t *testing.T) {
	begin := []string{"MAIL FROM:<sender@example.net>", "RCPT TO:<ann@example.org>"}
	for name, tt := range map[string]struct {
		change func(*Config, *Env)
		end    string // sent after begin
		cut    bool   // the client then disconnects
		want   string
	}{
		"RSET":                {end: "RSET\r\n", want: "no message: the client sent RSET"},
		"EHLO":                {end: "EHLO again.example.net\r\n", want: "no message: the client sent EHLO"},
		"QUIT":                {end: "QUIT\r\n", want: "no message: the client sent QUIT"},
		"disconnected":        {cut: true, want: "no message: the client disconnected"},
		"cut in the message":  {end: "DATA\r\nSubject: half", cut: true, want: "no message: the client disconnected within the message"},
		"cut in a chunk":      {end: "BDAT 100 LAST\r\nhalf", cut: true, want: "no message: the client disconnected within the message"},
		"reset after a chunk": {end: "BDAT 4\r\nhalfRSET\r\n", want: "no message: the client sent RSET"},
		"silence":             {change: func(c *Config, _ *Env) { c.Idle = 50 * time.Millisecond }, want: "no message: timeout exceeded"},
		"silence in the message": {
			change: func(c *Config, _ *Env) { c.DataTimeout = 50 * time.Millisecond },
			end:    "DATA\r\nSubject: x\r\n", want: "no message: timeout while receiving the message",
		},
		"too many errors": {
			change: func(c *Config, _ *Env) { c.MaxErrors = 2 }, end: strings.Repeat("FOO\r\n", 2),
			want: "no message: mail.example.org too many errors",
		},
		"a message far too large": {
			change: func(c *Config, _ *Env) { c.MaxSize = 100 }, end: "DATA\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 40000),
			want: "no message: message is much larger than the limit",
		},
		"bare LF": {end: "NOOP\nNOOP\r\n", want: "no message: bare <LF> in a command"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, "smtp", tt.change)
			c := d.hello(t)
			for _, line := range begin {
				c.say(line, "250")
			}
			go func() { // a large message is not read to the end
				io.WriteString(c.Conn, tt.end)
				if tt.cut {
					c.Close()
				}
			}()
			for end := time.Now().Add(20 * time.Second); len(d.records()) == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("no record")
				}
			}
			rec := d.records()[0]
			if got := string(rec.Data); !strings.Contains(got, `"`+tt.want) || !strings.Contains(got, `"aborted"`) {
				t.Errorf("the record is %s, want %q", got, tt.want)
			}
		})
	}
}

// Mail for the postmaster is accepted under every name of the server: without a
// domain, at the server's name, and at the address literal that the client
// connects to (RFC 5321, 4.5.1).
func TestPostmaster(t *testing.T) {
	for name, tt := range map[string]struct{ to, want, box string }{
		"without a domain":    {"Postmaster", "250", "ann@example.org"},
		"in capitals":         {"POSTMASTER@MAIL.EXAMPLE.ORG", "250", "ann@example.org"},
		"at localhost":        {"postmaster@localhost", "250", "ann@example.org"},
		"at an address":       {"postmaster@[127.0.0.1]", "250", "ann@example.org"},
		"at another address":  {"postmaster@[192.0.2.1]", "550 5.7.1", ""},
		"others at addresses": {"ann@[127.0.0.1]", "550 5.7.1", ""},
		"of another domain":   {"postmaster@elsewhere.example", "550 5.7.1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, "smtp", nil)
			c := d.hello(t)
			c.say("MAIL FROM:<>", "250")
			if c.say("RCPT TO:<"+tt.to+">", tt.want); tt.box == "" {
				return
			}
			c.say("DATA", "354")
			c.say(hi+".", "250")
			if got := d.boxes.all(); len(got) != 1 || strings.Join(got[0].to, " ") != tt.box {
				t.Errorf("delivered to %+v", got)
			}
		})
	}
}
