package forward

import (
	"strings"
	"testing"

	"hoplite/mail"
)

// The prompts of LOGIN are unreliable: they may be in other languages, be
// empty, contain NUL or arrive in the wrong order. Some servers refuse an
// initial response.
func TestLoginPrompts(t *testing.T) {
	const user, password = "cmVsYXk=", "c2VjcmV0"
	tests := map[string][2]string{
		"usual":          {"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"},
		"lower case":     {"334 dXNlcm5hbWU6", "334 cGFzc3dvcmQ6"},
		"German":         {"334 QmVudXR6ZXI6", "334 UGFzc3dvcnQ6"},
		"NUL":            {"334 VXNlcm5hbWU6AA==", "334 UGFzc3dvcmQ6AA=="},
		"empty":          {"334 ", "334"},
		"Username twice": {"334 VXNlcm5hbWU6", "334 VXNlcm5hbWU6"},
		"not base64":     {"334 Username:", "334 Password:"},
	}
	for name, prompts := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, map[string]string{
				"EHLO": "250-old\r\n250 AUTH LOGIN", "AUTH": "501 5.5.4 no initial response", "AUTH LOGIN": prompts[0],
				user: prompts[1], password: "235 2.7.0 welcome",
			})
			u := upstream(t, []string{p.url()}, func(c *Config) { c.Auth = &AuthConfig{User: "relay", Password: "secret"} })
			if out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org"); !out[0].Reply.Positive() {
				t.Errorf("%s after\n%s", out[0].Reply.String(), p.said())
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250 AUTH LOGIN", "AUTH LOGIN": "334 ", user: "334 ", password: "334 "})
		u := upstream(t, []string{p.url()}, func(c *Config) { c.Auth = &AuthConfig{User: "relay", Password: "secret"} })
		got := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")[0].Reply.String()
		if !strings.HasPrefix(got, "451 ") || !strings.Contains(got, "AUTH: ") || strings.Contains(got, "secret") {
			t.Errorf("got %s", got)
		}
	})
}

// A server that offers CHUNKING but does not support BDAT gets the message with
// DATA, and BDAT is not tried again.
func TestBrokenChunking(t *testing.T) {
	for _, code := range []string{"500 5.5.2 what?", "502 5.5.1 not implemented"} {
		p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250-PIPELINING\r\n250 CHUNKING"})
		p.set(func() { p.bdat = code })
		u := upstream(t, []string{p.url()}, nil)
		for range 2 {
			if out := handOver(t, u, "Subject: x\r\n\r\nhi\r\n", "ann@example.org"); !out[0].Reply.Positive() {
				t.Fatalf("%s after\n%s", out[0].Reply.String(), p.said())
			}
		}
		if n := strings.Count(p.said(), "BDAT"); n != 1 {
			t.Errorf("%s: BDAT was tried %d times\n%s", code, n, p.said())
		}
		if n := len(p.mail()); n != 2 {
			t.Errorf("%s: %d messages arrived", code, n)
		}
	}
}

// A server that offers 8BITMIME but refuses its parameter gets 7-bit text if
// the configuration allows it.
func TestBrokenEightBit(t *testing.T) {
	const text = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nJosé\r\n"
	say := func(line string) (string, bool) {
		return "554 syntax error", strings.Contains(line, "BODY=8BITMIME")
	}
	for _, downgrade := range []bool{true, false} {
		p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250-PIPELINING\r\n250 8BITMIME"})
		p.set(func() { p.say = say })
		u := upstream(t, []string{p.url()}, func(c *Config) { c.Downgrade = downgrade })
		for range 2 {
			out := handOver(t, u, text, "ann@example.org")
			if got := out[0].Reply.String(); downgrade != out[0].Reply.Positive() || !downgrade && got != "554 syntax error" {
				t.Fatalf("downgrade %v: %s after\n%s", downgrade, got, p.said())
			}
		}
		if n := strings.Count(p.said(), "BODY=8BITMIME"); downgrade && n != 1 {
			t.Errorf("BODY=8BITMIME was tried %d times", n)
		}
		for _, m := range p.mail() {
			if strings.Contains(m, "é") {
				t.Errorf("8-bit text arrived:\n%s", m)
			}
		}
	}
}

// A 552 reply for too many recipients means the same as 452 (RFC 5321,
// 4.5.3.1.10).
func TestTooManyIsTemporary(t *testing.T) {
	tests := map[string]string{
		"552 too many recipients":     "452 4.5.3 too many recipients",
		"552 5.5.3 no more":           "452 4.5.3 no more",
		"552 5.2.2 mailbox full":      "552 5.2.2 mailbox full",
		"552 mailbox full":            "552 mailbox full",
		"550 5.5.3 too many somehow":  "550 5.5.3 too many somehow",
		"452 4.5.3 too many for once": "452 4.5.3 too many for once",
	}
	for reply, want := range tests {
		p := newPeer(t, map[string]string{"RCPT TO:<b@example.org>": reply})
		u := upstream(t, []string{p.url()}, nil)
		out := handOver(t, u, "Subject: x\r\n\r\n", "b@example.org")
		if got := out[0].Reply.String(); got != want {
			t.Errorf("%s became %s, want %s", reply, got, want)
		}
	}
	p := newPeer(t, nil)
	p.set(func() { p.most, p.tooMany = 2, "552 too many recipients" })
	u := upstream(t, []string{p.url()}, nil)
	out := handOver(t, u, "Subject: x\r\n\r\n", "a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org")
	for _, o := range out {
		if !o.Reply.Positive() {
			t.Errorf("%s: %s", o.Rcpt, o.Reply.String())
		}
	}
	if n := len(p.mail()); n != 3 {
		t.Errorf("%d transactions for five recipients, two at a time", n)
	}
}

// A reply about a sender must not mark a recipient as unknown.
func TestCallAheadRemembersRecipientsOnly(t *testing.T) {
	tests := map[string]struct {
		verb, reply string
		remembered  bool
	}{
		"unknown, by code":        {"RCPT", "550 5.1.1 unknown", true},
		"unknown, by words":       {"RCPT", "550 User unknown in virtual mailbox table", true},
		"Exim":                    {"RCPT", "550 Unrouteable address", true},
		"Domino":                  {"RCPT", "550 ann@example.org... No such user", true},
		"disabled":                {"RCPT", "550 5.2.1 mailbox disabled", true},
		"null MX":                 {"RCPT", "556 5.1.10 no", true},
		"sender verify":           {"RCPT", "550 Sender verify failed", false},
		"sender verify with code": {"RCPT", "550 5.1.1 sender verify failed", false},
		"relay":                   {"RCPT", "550 relay not permitted", false},
		"relay with code":         {"RCPT", "550 5.7.1 Unable to relay", false},
		"list":                    {"RCPT", "550 5.1.1 blocked: your ip is listed", false},
		"without words":           {"RCPT", "550 no", false},
		"too large":               {"RCPT", "552 5.2.3 message too large", false},
		"full":                    {"RCPT", "552 5.2.2 mailbox full", false},
		"sender rejected":         {"MAIL", "550 5.1.1 user unknown", false},
		"sender rejected, 5.1.0":  {"MAIL", "553 5.1.0 bad sender", false},
		"temporary":               {"RCPT", "450 4.2.0 user unknown for now", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, nil)
			u := upstream(t, []string{p.url()}, nil)
			p.failOnce(tt.verb, tt.reply)
			tx := mail.NewTransaction(mail.Client{}, "bob@example.com")
			if err := u.Check(t.Context(), tx, mail.Rcpt{To: "ann@example.org"}); err == nil {
				t.Fatal("the refusal is not passed on")
			}
			err := u.Check(t.Context(), tx, mail.Rcpt{To: "ann@example.org"})
			if (err != nil) != tt.remembered {
				t.Errorf("the next sender gets %v", err)
			}
		})
	}
}

// Some servers do not understand RSET, but they do understand the query that
// follows.
func TestCallAheadAfterRefusedReset(t *testing.T) {
	for _, reply := range []string{"500 5.5.1 what?", "502 no", "503 5.5.1 nothing to reset"} {
		p := newPeer(t, map[string]string{"RSET": reply, "RCPT": "550 5.1.1 no such user",
			"RCPT TO:<a@example.org>": "250 ok", "RCPT TO:<b@example.org>": "250 ok", "RCPT TO:<c@example.org>": "250 ok"})
		u := upstream(t, []string{p.url()}, nil)
		tx := mail.NewTransaction(mail.Client{}, "bob@example.com")
		for _, to := range []mail.Address{"a@example.org", "b@example.org", "c@example.org"} {
			if err := u.Check(t.Context(), tx, mail.Rcpt{To: to}); err != nil {
				t.Errorf("RSET answered %q: %s: %v", reply, to, err)
			}
		}
		if err := u.Check(t.Context(), tx, mail.Rcpt{To: "no@example.org"}); err == nil || !strings.HasPrefix(err.Error(), "550 5.1.1") {
			t.Errorf("RSET answered %q: an unknown recipient: %v", reply, err)
		}
	}
}
