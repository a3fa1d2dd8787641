package wire

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/mail"
)

// Each line is sent alone after EHLO.
func TestCommands(t *testing.T) {
	s := start(t, Options{}, listen.Options{})
	for name, tt := range map[string]struct{ in, want string }{
		"noop with a blank":       {"NOOP ", "250 2.0.0"},
		"noop with a word":        {"NOOP hello", "250 2.0.0"},
		"rset with a blank":       {"RSET ", "250 2.0.0"},
		"lower case":              {"noop", "250 2.0.0"},
		"unknown verb":            {"HOWDY", "500 5.5.2"},
		"unknown long verb":       {"FOOBARBAZ x", "500 5.5.2"},
		"empty line":              {"", "500 5.5.2"},
		"vrfy":                    {"VRFY ann", "252 2.5.0"},
		"vrfy without an address": {"VRFY", "501 5.5.4"},
		"expn":                    {"EXPN list", "502 5.5.1"},
		"help":                    {"HELP", "214 2.0.0"},
		"etrn":                    {"ETRN example.org", "502 5.5.1"},
		"send":                    {"SEND FROM:<a@example.org>", "502 5.5.1"},
		"soml":                    {"SOML FROM:<a@example.org>", "502 5.5.1"},
		"saml":                    {"SAML FROM:<a@example.org>", "502 5.5.1"},
		"turn":                    {"TURN", "502 5.5.1"},
		"verb":                    {"VERB ON", "250 2.0.0"},
		"onex":                    {"ONEX", "250 2.0.0"},
		"xusr":                    {"XUSR", "250 2.0.0"},
		"xclient, not permitted":  {"XCLIENT ADDR=192.0.2.1", "550 5.7.1"},
		"starttls with an arg":    {"STARTTLS x", "501 5.5.4"},
		"starttlsfoo":             {"STARTTLSfoo", "500 5.5.2"},
		"starttls without":        {"STARTTLS", "502 5.5.1"},
		"rcpt before mail":        {"RCPT TO:<a@example.org>", "503 5.5.1"},
		"data before mail":        {"DATA", "503 5.5.1"},
		"data with an arg":        {"DATA now", "501"},
		"control character":       {"NOOP \x1b[31m", "501 5.5.2"},
		"nul":                     {"MAIL FROM:<a\x00b@example.org>", "501 5.5.2"},
		"del":                     {"MAIL FROM:<a\x7fb@example.org>", "501 5.5.2"},
		"bare cr":                 {"MAIL FROM:<a\rb@example.org>", "501 5.5.2"},
		"invalid utf-8":           {"MAIL FROM:<\xff@example.org>", "501 5.5.2"},
		"mail":                    {"MAIL FROM:<a@example.org>", "250 2.1.0"},
		"mail, null":              {"MAIL FROM:<>", "250 2.1.0"},
		"mail, blank":             {"MAIL FROM: <a@example.org>", "250 2.1.0"},
		"mail, route":             {"MAIL FROM:<@x,@y:a@example.org>", "250 2.1.0"},
		"mail, empty route":       {"MAIL FROM:<@x:>", "501 5.5.4"},
		"mail, no brackets":       {"MAIL FROM:a@example.org", "501 5.5.4"},
		"mail, nothing between":   {"MAIL FROM:<a@example.org>SIZE=5", "501 5.5.4"},
		"mail, two brackets":      {"MAIL FROM:<<a@example.org>>", "501 5.5.4"},
		"mail, half":              {"MAIL FROM:<a@example.org", "501 5.5.4"},
		"mail, no path":           {"MAIL FROM:", "501 5.5.4"},
		"mail, no colon":          {"MAIL FROM <a@example.org>", "501 5.5.4"},
		"mail, quoted":            {`MAIL FROM:<"a> b"@example.org> SIZE=5`, "250 2.1.0"},
		"mail, open quote":        {`MAIL FROM:<"a@example.org>`, "501 5.5.4"},
		"mail, unknown param":     {"MAIL FROM:<a@example.org> FOO=1", "555 5.5.4"},
		"mail, doubled param":     {"MAIL FROM:<a@example.org> SIZE=1 SIZE=2", "501 5.5.4"},
		"mail, size not number":   {"MAIL FROM:<a@example.org> SIZE=x", "501 5.5.4"},
		"mail, negative size":     {"MAIL FROM:<a@example.org> SIZE=-1", "501 5.5.4"},
		"mail, signed size":       {"MAIL FROM:<a@example.org> SIZE=+1", "501 5.5.4"},
		"mail, size over 32 bit":  {"MAIL FROM:<a@example.org> SIZE=5000000000", "250 2.1.0"},
		"mail, size over 64 bit":  {"MAIL FROM:<a@example.org> SIZE=99999999999999999999", "250 2.1.0"},
		"mail, size too long":     {"MAIL FROM:<a@example.org> SIZE=" + strings.Repeat("9", 30), "501 5.5.4"},
		"mail, bad body":          {"MAIL FROM:<a@example.org> BODY=9BIT", "501 5.5.4"},
		"mail, body":              {"MAIL FROM:<a@example.org> BODY=8BITMIME", "250 2.1.0"},
		"mail, utf8":              {"MAIL FROM:<ä@example.org> SMTPUTF8", "250 2.1.0"},
		"mail, utf8 with value":   {"MAIL FROM:<a@example.org> SMTPUTF8=1", "501 5.5.4"},
		"mail, dsn":               {"MAIL FROM:<a@example.org> RET=HDRS ENVID=abc", "250 2.1.0"},
		"mail, bad auth param":    {"MAIL FROM:<a@example.org> AUTH=a@", "501 5.5.4"},
		"mail, requiretls":        {"MAIL FROM:<a@example.org> REQUIRETLS", "530 5.7.4"},
		"mail, by":                {"MAIL FROM:<a@example.org> BY=120;R", "250 2.1.0"},
		"mail, by with trace":     {"MAIL FROM:<a@example.org> BY=-120;NT", "250 2.1.0"},
		"mail, by in the past":    {"MAIL FROM:<a@example.org> BY=-120;R", "501 5.5.4"},
		"mail, by without mode":   {"MAIL FROM:<a@example.org> BY=120", "501 5.5.4"},
		"mail, priority":          {"MAIL FROM:<a@example.org> MT-PRIORITY=-9", "250 2.1.0"},
		"mail, priority too far":  {"MAIL FROM:<a@example.org> MT-PRIORITY=10", "501 5.5.4"},
		"auth, nothing":           {"AUTH", "501 5.5.4"},
		"auth, bad base64":        {"AUTH PLAIN !!!", "501 5.5.2"},
		"bdat, no size":           {"BDAT", "501 5.5.4"},
		"bdat, before mail":       {"BDAT 0 LAST", "503 5.5.1"},
		"lhlo on smtp":            {"LHLO x", "500 5.5.1"},
		"ehlo without a name":     {"EHLO", "501 5.5.4"},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t)
			c.hello()
			c.say(tt.in, tt.want)
		})
	}
}

func TestBeforeHello(t *testing.T) {
	c := start(t, Options{}, listen.Options{}).dial(t)
	c.want("220 ")
	c.say("MAIL FROM:<a@example.org>", "503 5.5.1")
	c.say("AUTH PLAIN", "503 5.5.1")
	c.say("HELO client.example.org", "250 mail.example.org")
	c.say("MAIL FROM:<a@example.org>", "250 2.1.0")
	c.say("MAIL FROM:<a@example.org>", "503 5.5.1")
	c.say("RCPT TO:<no@example.org>", "550 5.1.1")
	c.say("DATA", "503 5.5.1")
	c.say("RCPT TO:<Postmaster>", "250 2.1.5")
	c.say("RCPT TO:<b@example.org> NOTIFY=NEVER,NEVER", "501 5.5.4")
	c.say("RCPT TO:<b@example.org> SIZE=5", "555 5.5.4")
	c.say("QUIT", "221 2.0.0")
	c.closed()
}

// Every line of a reply has the enhanced code; greetings and 3xx replies do
// not.
func TestEnhancedOnAllLines(t *testing.T) {
	s := start(t, Options{Answer: func(c *Conn, verb, arg string) (mail.Reply, bool) {
		return mail.Reply{Code: 214, Enhanced: "2.0.0", Text: "one\ntwo \x1b[0m\nthree"}, verb == "HELP"
	}}, listen.Options{})
	c := s.dial(t)
	c.hello()
	if got := c.say("HELP", "214-"); got != "214-2.0.0 one|214-2.0.0 two ?[0m|214 2.0.0 three" {
		t.Errorf("got %q", got)
	}
}

// The replies to pipelined commands are sent in a single write (RFC 2920, 3.2).
func TestOneWriteForABatch(t *testing.T) {
	c := start(t, Options{}, listen.Options{}).dial(t)
	c.hello()
	c.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n")
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(b[:n]), "\r\n"); got != 4 {
		t.Errorf("first read has %d replies: %q", got, b[:n])
	}
	c.say("x\r\n.", "250 2.0.0")
}

// Disabled extensions are not announced and not accepted.
func TestDisable(t *testing.T) {
	c := start(t, Options{Disable: []string{"chunking", "DSN", "PIPELINING", "AUTH"}}, listen.Options{}).dial(t)
	c.want("220")
	got := c.say("EHLO x", "250-mail.example.org|250-ENHANCEDSTATUSCODES")
	for _, word := range []string{"CHUNKING", "BINARYMIME", "DSN", "PIPELINING", "AUTH"} {
		if strings.Contains(got, word) {
			t.Errorf("%s in %s", word, got)
		}
	}
	c.say("MAIL FROM:<a@example.org> RET=HDRS", "555 5.5.4")
	c.say("AUTH PLAIN", "502 5.5.1")
	c.say("BDAT 0 LAST", "502 5.5.1")
	c.want("421")
	c.closed()
}

func TestLongLines(t *testing.T) {
	c := start(t, Options{}, listen.Options{}).dial(t)
	c.hello()
	// The valid command before the long line is answered, and the session
	// continues.
	c.send("NOOP\r\nNOOP " + strings.Repeat("x", 5000) + "\r\nNOOP\r\n")
	c.want("250 2.0.0")
	c.want("500 5.5.2")
	c.want("250 2.0.0")
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+strings.Repeat("u", 6000)+"\x00right")), "235 2.7.0")
	c.send(strings.Repeat("y", 200<<10))
	c.want("421 4.5.0")
	c.closed()
}

func TestPartOfALine(t *testing.T) {
	c := start(t, Options{}, listen.Options{}).dial(t)
	c.hello()
	for _, b := range []byte("NOOP\r\nMAIL FROM:<a@example.org>\r\n") {
		c.send(string(b))
	}
	c.want("250 2.0.0")
	c.want("250 2.1.0")
}

func TestErrorsEndTheSession(t *testing.T) {
	c := start(t, Options{Limits: Limits{Errors: 3}}, listen.Options{}).dial(t)
	c.hello()
	c.say("XUSR", "250")
	c.say("VERB", "250")
	c.say("SEND", "502")
	c.say("FOO", "500")
	c.say("FOO", "500")
	c.say("FOO", "500")
	c.want("421 4.7.0")
	c.closed()
}

func TestTooManyCommands(t *testing.T) {
	c := start(t, Options{Limits: Limits{Commands: 5, Idle: 100}}, listen.Options{}).dial(t)
	c.hello()
	for range 4 {
		c.say("NOOP", "250")
	}
	c.say("NOOP", "421 4.7.0")
	c.closed()
}

func TestIdleCommandsAreErrors(t *testing.T) {
	c := start(t, Options{Limits: Limits{Idle: 5, Errors: 4}}, listen.Options{}).dial(t)
	c.hello()
	for i := 0; ; i++ {
		c.send("NOOP\r\n")
		got := c.reply()
		if strings.HasPrefix(got, "421") {
			break
		}
		if i > 20 {
			t.Fatal("NOOP for ever")
		}
	}
}

func TestAuth(t *testing.T) {
	plain := func(s string) string { return base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + s)) }
	s := start(t, Options{}, listen.Options{})
	t.Run("three wrong passwords", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		c.say("AUTH PLAIN "+plain("wrong"), "535 5.7.8")
		c.say("AUTH PLAIN "+plain("wrong"), "535 5.7.8")
		c.say("AUTH PLAIN "+plain("wrong"), "535 5.7.8")
		c.want("421 4.7.0")
		c.closed()
	})
	t.Run("answer that spells a verb", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		c.say("AUTH PLAIN", "334")
		c.say("HELP", "454")
		c.say("HELP", "214")
	})
	t.Run("cancelled", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		c.say("AUTH PLAIN", "334")
		c.say("*", "501 5.7.0")
		c.say("AUTH PLAIN", "334")
		c.say("\x01\x02", "501 5.7.0")
		c.say("AUTH PLAIN", "334")
		c.say(strings.Repeat("A", 13000), "501 5.7.0")
		c.say("AUTH PLAIN "+plain("right"), "235 2.7.0")
		c.say("AUTH PLAIN "+plain("right"), "503")
	})
	t.Run("panic ends one session", func(t *testing.T) {
		other := s.dial(t)
		other.hello()
		c := s.dial(t)
		c.hello()
		c.say("AUTH PLAIN "+plain("panic"), "421")
		c.closed()
		other.say("NOOP", "250")
	})
}

// A panic while go-smtp reads ends one connection, not the process.
func TestPanicWhileAttached(t *testing.T) {
	panics := make(chan any, 1)
	s := start(t, Options{
		Answer: func(*Conn, string, string) (mail.Reply, bool) { panic("a bug") },
		Panic:  func(value any) { panics <- value },
	}, listen.Options{})
	other := s.dial(t)
	other.hello()
	for _, before := range []string{"NOOP", "MAIL FROM:<a@example.org>"} {
		c := s.dial(t)
		c.hello()
		c.say(before, "250")
		c.say("HELP", "")
		c.closed()
		if got := <-panics; got != "a bug" {
			t.Errorf("after %s: %v", before, got)
		}
	}
	other.say("NOOP", "250")
}

func TestLMTP(t *testing.T) {
	s := start(t, Options{LMTP: true}, listen.Options{})
	c := s.dial(t)
	c.want("220 mail.example.org LMTP")
	c.say("EHLO x", "500 5.5.1")
	c.say("LHLO x", "250-mail.example.org|250-PIPELINING")
	for _, how := range []string{"DATA\r\nhi\r\n.\r\n", "BDAT 4 LAST\r\nhi\r\n"} {
		c.say("MAIL FROM:<a@example.org>", "250")
		c.say("RCPT TO:<b@example.org>", "250")
		c.say("RCPT TO:<no@example.org>", "550")
		c.say("RCPT TO:<b@example.org>", "250")
		c.send(how)
		if strings.HasPrefix(how, "DATA") {
			c.want("354")
		}
		c.want("250 2.0.0 kept")
		c.want("250 2.0.0 kept")
	}
	c.say("NOOP", "250")
}

func withTLS(t *testing.T) listen.Options {
	t.Helper()
	p, err := listen.SelfSigned(t.TempDir(), zerolog.Nop(), "mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	certs, err := listen.LoadCerts([]listen.Pair{p}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return listen.Options{TLS: listen.NewTLS(certs, listen.Profile{})}
}

func TestStartTLS(t *testing.T) {
	s := start(t, Options{}, withTLS(t))
	upgrade := func(t *testing.T, c *client) {
		c.say("STARTTLS", "220 2.0.0")
		tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		c.Conn = tc
	}
	t.Run("begins a new session", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		c.say("MAIL FROM:<clear@example.org>", "250")
		upgrade(t, c)
		c.say("MAIL FROM:<a@example.org>", "503 5.5.1")
		c.say("RCPT TO:<a@example.org>", "503 5.5.1")
		if got := c.say("EHLO x", "250-"); strings.Contains(got, "STARTTLS") {
			t.Errorf("STARTTLS offered in TLS: %s", got)
		}
		c.say("STARTTLS", "503 5.5.1")
		c.say("MAIL FROM:<a@example.org>", "250 2.1.0")
	})
	t.Run("commands after it", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		c.send("STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
		c.want("554 5.5.1")
		c.closed()
	})
	t.Run("half a command after it", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		c.send("STARTTLS\r\nMA")
		c.want("554 5.5.1")
		c.closed()
	})
	t.Run("clear text instead of a handshake", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		c.say("STARTTLS", "220 2.0.0")
		c.send("MAIL FROM:<evil@example.org>\r\nNOOP\r\n")
		if got, _ := io.ReadAll(c); strings.Contains(string(got), "250") {
			t.Errorf("commands in clear text were executed: %q", got)
		}
	})
	t.Run("after a login", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ann\x00right")), "235")
		c.say("STARTTLS", "503 5.5.1")
	})
	if got := s.store.all(); len(got) != 0 {
		t.Errorf("mail came from somewhere: %q", got)
	}
}

func TestXClient(t *testing.T) {
	s := start(t, Options{XClient: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, listen.Options{})
	c := s.dial(t)
	c.want("220")
	if got := c.say("EHLO front", "250-"); !strings.Contains(got, "XCLIENT NAME ADDR") {
		t.Errorf("not offered: %s", got)
	}
	c.say("XCLIENT", "501")
	c.say("XCLIENT LOGIN=root", "501")
	c.say("XCLIENT ADDR=nowhere", "501")
	c.say("XCLIENT NAME=a+0Ab ADDR=192.0.2.1", "501")
	c.say("XCLIENT ADDR=192.0.2.7 PORT=4711 NAME=client.example.org", "220 mail.example.org")
	c.say("MAIL FROM:<a@example.org>", "503")
	c.say("EHLO client", "250-")
	c.say("MAIL FROM:<a@example.org>", "250")
	c.say("XCLIENT ADDR=192.0.2.8", "503")
	id := s.conns[0].Ident()
	if id.Client.String() != "192.0.2.7:4711" || id.Name != "client.example.org" {
		t.Errorf("ident %+v", id)
	}
	c.say("RSET", "250")
	c.say("XCLIENT ADDR=IPV6:2001:db8::1 NAME=[UNAVAILABLE]", "220")
	if id := s.conns[0].Ident(); id.Client.Addr().String() != "2001:db8::1" || id.Name != "" {
		t.Errorf("ident %+v", id)
	}
}

func TestDrain(t *testing.T) {
	s := start(t, Options{}, listen.Options{})
	idle, busy := s.dial(t), s.dial(t)
	idle.hello()
	busy.hello()
	busy.say("MAIL FROM:<a@example.org>", "250")
	busy.say("RCPT TO:<b@example.org>", "250")
	busy.say("DATA", "354")
	s.mu.Lock()
	for _, c := range s.conns {
		c.Drain()
	}
	s.mu.Unlock()
	idle.want("421 4.3.2")
	idle.closed()
	busy.send("hello\r\n.\r\n")
	busy.want("250 2.0.0 kept")
	busy.want("421 4.3.2")
	busy.closed()
}

// The library is detached between messages, which is invisible to the client.
func TestDetach(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", secure), func(t *testing.T) {
			s := start(t, Options{Limits: Limits{Park: 20 * time.Millisecond}}, withTLS(t))
			c := s.dial(t)
			c.hello()
			if secure {
				c.say("STARTTLS", "220 2.0.0")
				c.Conn = tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
				c.say("EHLO x", "250-")
			}
			talkWithPauses(t, s, c)
		})
	}
}

func talkWithPauses(t *testing.T, s *server, c *client) {
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ann\x00right")), "235")
	for i := range 3 {
		c.say("MAIL FROM:<a@example.org>", "250 2.1.0")
		time.Sleep(50 * time.Millisecond) // in a transaction, the library is not detached
		c.say("RCPT TO:<b@example.org>", "250 2.1.5")
		c.say("DATA", "354")
		c.say("x\r\n.", "250 2.0.0 kept")
		time.Sleep(50 * time.Millisecond)
		if i == 1 {
			c.say("NOOP", "250 2.0.0 Ok")
			c.say("EHLO other.example.org", "250-mail.example.org")
			time.Sleep(50 * time.Millisecond)
			c.send("MAIL FROM:<a@exa") // half a command before a pause
			time.Sleep(50 * time.Millisecond)
			c.say("mple.org>", "250 2.1.0")
			c.say("RSET", "250 2.0.0")
		}
	}
	if got := s.store.all(); len(got) != 3 {
		t.Errorf("%d messages", len(got))
	}
	s.mu.Lock()
	s.conns[0].Drain()
	s.mu.Unlock()
	c.want("421 4.3.2")
	c.closed()
}

func TestDeadlines(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		c := start(t, Options{Limits: Limits{IdleTime: 50 * time.Millisecond}}, listen.Options{}).dial(t)
		c.want("220")
		c.want("421 4.4.2")
		c.closed()
	})
	t.Run("half a line", func(t *testing.T) {
		c := start(t, Options{Limits: Limits{LineTime: 50 * time.Millisecond}}, listen.Options{}).dial(t)
		c.hello()
		c.send("NO")
		c.want("421 4.4.2")
		c.closed()
	})
	t.Run("message stops", func(t *testing.T) {
		s := start(t, Options{Limits: Limits{BodyTime: 50 * time.Millisecond}}, listen.Options{})
		c := s.dial(t)
		c.hello()
		c.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
		c.want("250")
		c.want("250")
		c.want("354")
		c.send("first\r\n")
		c.want("421 4.4.2")
		// Octets that arrive late are not treated as commands (go-smtp #196).
		c.send("NOOP\r\n.\r\nNOOP\r\n")
		c.closed()
		if got := s.store.all(); len(got) != 0 {
			t.Errorf("kept %q", got)
		}
	})
	t.Run("message drips", func(t *testing.T) {
		c := start(t, Options{Limits: Limits{Grace: 100 * time.Millisecond, MinRate: 1 << 20}}, listen.Options{}).dial(t)
		c.hello()
		c.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
		c.want("250")
		c.want("250")
		c.want("354")
		go func() {
			for {
				if _, err := fmt.Fprint(c.Conn, "x\r\n"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		c.want("421 4.4.2")
		c.closed()
	})
}
