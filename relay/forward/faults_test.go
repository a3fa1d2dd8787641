package forward

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/mail"
)

// Upstream faults result in a refusal with the upstream's text, or in 4xx for
// replies that are not understood. None of them may look like success.
func TestFaults(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	tests := map[string]struct {
		greeting string
		replies  map[string]string
		want     string // prefix of the reply
		text     string // contained in the reply
	}{
		"refused at the greeting":     {greeting: "554 5.3.2 no service", want: "451 4.3.2", text: "no service"},
		"busy at the greeting":        {greeting: "421 4.3.2 too busy", want: "451 4.3.2", text: "too busy"},
		"dropped at the greeting":     {greeting: "drop", want: "451 4.4.1", text: "closed"},
		"silent at the greeting":      {greeting: "silent", want: "451 4.4.1", text: "in time"},
		"garbage greeting":            {greeting: "SSH-2.0-OpenSSH_9.2", want: "451 4.4.1", text: "not SMTP"},
		"endless greeting":            {greeting: "endless", want: "451 4.4.1", text: "not SMTP"},
		"huge greeting":               {greeting: "220 " + huge, want: "451 4.4.1", text: "not SMTP"},
		"NUL in the greeting":         {greeting: "220 \x00\x1b[2J", want: "250"},
		"dropped at EHLO":             {replies: map[string]string{"EHLO": "drop", "HELO": "drop"}, want: "451 4.4.1", text: "closed"},
		"EHLO and HELO refused":       {replies: map[string]string{"EHLO": "500 what", "HELO": "550 go away"}, want: "451 4.3.2", text: "go away"},
		"4xx at MAIL":                 {replies: map[string]string{"MAIL": "451 4.7.1 greylisted"}, want: "451 4.7.1 greylisted"},
		"5xx at MAIL":                 {replies: map[string]string{"MAIL": "553 5.1.8 bad sender"}, want: "553 5.1.8 bad sender"},
		"5xx at MAIL, then dropped":   {replies: map[string]string{"MAIL": "553 5.1.8 bad sender", "RCPT": "drop"}, want: "553 5.1.8 bad sender"},
		"dropped at MAIL":             {replies: map[string]string{"MAIL": "drop"}, want: "451 4.4.1", text: "closed"},
		"closing at MAIL":             {replies: map[string]string{"MAIL": "421 4.3.2 shutting down"}, want: "451 4.3.2", text: "does not accept mail now: 421 4.3.2 shutting down"},
		"4xx at RCPT":                 {replies: map[string]string{"RCPT": "452 4.2.2 box full"}, want: "452 4.2.2 box full"},
		"5xx at RCPT":                 {replies: map[string]string{"RCPT": "550 5.1.1 no such user"}, want: "550 5.1.1 no such user"},
		"dropped at RCPT":             {replies: map[string]string{"RCPT": "drop"}, want: "451 4.4.2", text: "during RCPT"},
		"closing at RCPT":             {replies: map[string]string{"RCPT": "421 4.3.2 shutting down"}, want: "421 4.3.2 shutting down"},
		"closing at DATA":             {replies: map[string]string{"DATA": "421 4.3.2 shutting down"}, want: "421 4.3.2 shutting down"},
		"code only at RCPT":           {replies: map[string]string{"RCPT": "550"}, want: "550"},
		"3xx at RCPT":                 {replies: map[string]string{"RCPT": "354 what"}, want: "451 4.5.0", text: "unexpected"},
		"4xx at DATA":                 {replies: map[string]string{"DATA": "451 4.3.1 disk full"}, want: "451 4.3.1 disk full"},
		"5xx at DATA":                 {replies: map[string]string{"DATA": "554 5.5.1 no"}, want: "554 5.5.1 no"},
		"2xx at DATA":                 {replies: map[string]string{"DATA": "250 thanks"}, want: "451 4.5.0", text: "unexpected"},
		"dropped at DATA":             {replies: map[string]string{"DATA": "drop"}, want: "451 4.4.2", text: "during DATA"},
		"dropped within the message":  {replies: map[string]string{"body": "drop"}, want: "451 4.4.2", text: "closed"},
		"refused within the message":  {replies: map[string]string{"body": "552 5.3.4 too much"}, want: "552 5.3.4 too much"},
		"4xx after the dot":           {replies: map[string]string{".": "451 4.3.0 try later"}, want: "451 4.3.0 try later"},
		"5xx after the dot":           {replies: map[string]string{".": "554 5.6.0 spam"}, want: "554 5.6.0 spam"},
		"closing after the dot":       {replies: map[string]string{".": "421 4.3.2 sorry"}, want: "421 4.3.2 sorry"},
		"dropped after the dot":       {replies: map[string]string{".": "drop"}, want: "451 4.4.2", text: "end of data"},
		"silent after the dot":        {replies: map[string]string{".": "silent"}, want: "451 4.4.2", text: "in time"},
		"garbage after the dot":       {replies: map[string]string{".": "ok!"}, want: "451 4.4.2", text: "not SMTP"},
		"endless reply":               {replies: map[string]string{".": "endless"}, want: "451 4.4.2", text: "not SMTP"},
		"huge reply":                  {replies: map[string]string{".": "250 " + huge}, want: "451 4.4.2", text: "not SMTP"},
		"reply of many codes":         {replies: map[string]string{".": "250-a\r\n550 b"}, want: "451 4.4.2", text: "not SMTP"},
		"control characters in reply": {replies: map[string]string{".": "554 \x1b[2Jgone\x07"}, want: "554 ?[2Jgone?"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, tt.replies)
			if tt.greeting != "" {
				p.set(func() { p.greeting = tt.greeting })
			}
			u := upstream(t, []string{p.url()}, func(c *Config) {
				c.ConnectTimeout, c.CommandTimeout, c.DataTimeout = 20*time.Second, 20*time.Second, 20*time.Second
				// The other timeouts are long, because the machine may be slow.
				switch name {
				case "silent at the greeting":
					c.CommandTimeout = 300 * time.Millisecond
				case "silent after the dot":
					c.DataTimeout = 300 * time.Millisecond
				}
			})
			out := handOver(t, u, "Subject: x\r\n\r\nhello\r\n", "ann@example.org")
			if len(out) != 1 {
				t.Fatalf("%d outcomes", len(out))
			}
			got := out[0].Reply.String()
			if !strings.HasPrefix(got, tt.want) || !strings.Contains(got, tt.text) || len(got) > 1000 {
				t.Errorf("got %.300q, want %q with %q in it", got, tt.want, tt.text)
			}
		})
	}
}

// In auto mode a message for a slow server is queued, but not once the server
// has received the whole message and only its reply is missing, because it
// would then receive a second copy.
func TestPatience(t *testing.T) {
	const slow = "after 3m 250 2.0.0 ok"
	for name, tt := range map[string]struct {
		mode, ehlo string
		replies    map[string]string
		want       string
		took       time.Duration // upper bound
	}{
		"auto, slow at RCPT":         {mode: "auto", replies: map[string]string{"RCPT": slow}, want: "451 4.4.2", took: patience},
		"auto, slow at MAIL":         {mode: "auto", replies: map[string]string{"MAIL": slow}, want: "451 4.4.1", took: patience},
		"auto, slow after the dot":   {mode: "auto", replies: map[string]string{".": slow}, want: "250", took: 3 * time.Minute},
		"auto, slow after BDAT":      {mode: "auto", ehlo: "250-x\r\n250 CHUNKING", replies: map[string]string{".": slow}, want: "250", took: 3 * time.Minute},
		"inline, slow at RCPT":       {mode: "inline", replies: map[string]string{"RCPT": slow}, want: "250", took: 3 * time.Minute},
		"inline, slow after the dot": {mode: "inline", replies: map[string]string{".": slow}, want: "250", took: 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.ehlo != "" {
					tt.replies["EHLO"] = tt.ehlo
				}
				p := &peer{t: t, replies: tt.replies, greeting: "220 old.example.org ready"}
				u := upstream(t, []string{"smtp://192.0.2.1"}, func(c *Config) {
					c.Mode, c.Recipients, c.CommandTimeout = tt.mode, "any", 5*time.Minute
				})
				u.net.dialer.dial = func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go p.serve(theirs)
					return ours, nil
				}
				start := time.Now()
				out := handOver(t, u.Inline(), "Subject: x\r\n\r\nhello\r\n", "ann@example.org")
				if got := out[0].Reply.String(); !strings.HasPrefix(got, tt.want) || time.Since(start) > tt.took {
					t.Errorf("after %s: %s", time.Since(start), got)
				}
				u.Close()
				time.Sleep(time.Hour) // let remaining goroutines finish
			})
		})
	}
}

// When the connection is refused, the reply names the upstream.
func TestConnectionRefused(t *testing.T) {
	p := newPeer(t, nil)
	p.l.Close()
	u := upstream(t, []string{p.url()}, nil)
	out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
	if r := out[0].Reply; !strings.HasPrefix(r.String(), "451 4.4.1 upstream old can't be reached") || r.Host != "" {
		t.Errorf("got %s", r.String())
	}
}

// While call-ahead is not possible, an unknown recipient is deferred rather
// than refused or accepted.
func TestCallAheadWhileDown(t *testing.T) {
	p := newPeer(t, nil)
	p.l.Close()
	u := upstream(t, []string{p.url()}, nil)
	out := handOver(t, u.Inline(), "Subject: x\r\n\r\n", "ann@example.org")
	if got := replies(out); !strings.HasPrefix(got, "ann@example.org: 450 4.4.1") {
		t.Errorf("got %s", got)
	}
}

// The second server is used when the first one is down, and a reserve (weight 0)
// only when both are.
func TestFailover(t *testing.T) {
	good, reserve := newPeer(t, nil), newPeer(t, nil)
	dead := newPeer(t, nil)
	dead.l.Close()
	u := upstream(t, []string{dead.url(), good.url(), reserve.url() + "?weight=0"}, nil)
	for range 10 {
		if out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org"); !out[0].Reply.Positive() {
			t.Fatal(replies(out))
		}
	}
	if len(reserve.said()) > 0 {
		t.Error("the reserve was used although the other server answered")
	}
	good.l.Close()
	u = upstream(t, []string{dead.url(), good.url(), reserve.url() + "?weight=0"}, nil)
	if out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org"); !out[0].Reply.Positive() || reserve.said() == "" {
		t.Errorf("the reserve was not used: %s", replies(out))
	}
}

// If the server has closed an idle connection, a new one is opened, and the
// message is sent only once.
func TestIdleConnectionDropped(t *testing.T) {
	for name, last := range map[string]string{"closed": "drop", "421": "421 4.4.2 idle too long"} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, nil)
			u := upstream(t, []string{p.url()}, nil)
			handOver(t, u, "Subject: one\r\n\r\n", "ann@example.org")
			p.failOnce("MAIL", last)
			out := handOver(t, u, "Subject: two\r\n\r\n", "ann@example.org")
			if !out[0].Reply.Positive() {
				t.Error(replies(out))
			}
			if got := strings.Join(p.mail(), ""); got != "Subject: one\r\n\r\nSubject: two\r\n\r\n" {
				t.Errorf("messages: %q", got)
			}
		})
	}
}

// Between RCPT and Send a handoff does not hold a connection, however slow the
// client is.
func TestSlowClientHoldsNoSession(t *testing.T) {
	p := newPeer(t, nil)
	u := upstream(t, []string{p.url()}, func(c *Config) { c.Connections = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 5 { // each would wait for the first if it held its connection
		tx := mail.NewTransaction(mail.Client{}, "bob@example.com")
		h, err := u.Inline().Open(ctx, tx)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if err := h.Rcpt(ctx, mail.Rcpt{To: "ann@example.org", Orig: "ann@example.org"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(u.servers.list[0].pools[0].places); n != 0 {
		t.Errorf("%d connections are taken", n)
	}
}

// If more recipients are sent than fit into the network buffers, replies are
// read in between.
func TestManyRecipients(t *testing.T) {
	p := newPeer(t, map[string]string{"RCPT": "250 2.1.5 " + strings.Repeat("long ", 200),
		"RCPT TO:<r150@example.org>": "550 5.1.1 not this one"})
	u := upstream(t, []string{p.url()}, nil)
	var to []mail.Address
	for i := range 1000 {
		to = append(to, mail.Address("r"+itoa(i)+"@example.org"))
	}
	out := handOver(t, u, "Subject: x\r\n\r\nhello\r\n", to...)
	for i, o := range out {
		if want := i != 150; o.Reply.Positive() != want || o.Rcpt != to[i] {
			t.Fatalf("recipient %d: %s %s", i, o.Rcpt, o.Reply.String())
		}
	}
}

// Recipients beyond the server's limit are sent in further transactions,
// because the client received 250 at RCPT for all of them.
func TestTooManyForOneTransaction(t *testing.T) {
	p := newPeer(t, nil)
	n := 0
	p.set(func() {
		p.say = func(line string) (string, bool) {
			switch {
			case strings.HasPrefix(line, "MAIL "):
				n = 0
			case strings.HasPrefix(line, "RCPT "):
				if n++; n > 3 {
					return "452 4.5.3 too many recipients", true
				}
			}
			return "", false
		}
	})
	u := upstream(t, []string{p.url()}, nil)
	var to []mail.Address
	for i := range 8 {
		to = append(to, mail.Address("r"+itoa(i)+"@example.org"))
	}
	out := handOver(t, u, "Subject: x\r\n\r\n", to...)
	for i, o := range out {
		if !o.Reply.Positive() || o.Rcpt != to[i] {
			t.Errorf("%s: %s", o.Rcpt, o.Reply.String())
		}
	}
	if got := p.mail(); len(got) != 3 {
		t.Errorf("%d transactions", len(got))
	}
}

// The limits that a server announces (RFC 9422) are respected; invalid ones are
// ignored.
func TestLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		limits       string
		messages     int
		transactions int // total
		conns        int
	}{
		"none":                {limits: "", messages: 2, transactions: 2, conns: 1},
		"recipients":          {limits: "LIMITS RCPTMAX=3", messages: 2, transactions: 6, conns: 1},
		"one recipient":       {limits: "limits rcptmax=1", messages: 1, transactions: 8, conns: 1},
		"messages":            {limits: "LIMITS MAILMAX=2", messages: 5, transactions: 5, conns: 3},
		"both":                {limits: "LIMITS MAILMAX=2 RCPTMAX=3", messages: 2, transactions: 6, conns: 3},
		"one of each":         {limits: "LIMITS RCPTMAX=1 MAILMAX=1", messages: 1, transactions: 8, conns: 8},
		"more than there are": {limits: "LIMITS MAILMAX=1000 RCPTMAX=999999", messages: 2, transactions: 2, conns: 1},
		"nonsense": {limits: "LIMITS MAILMAX=0 RCPTMAX=-1 MAILMAX RCPTMAX= RCPTMAX=x MAILMAX=99999999999999999999 =1 RCPTMAX=1000000 RCPTDOMAINMAX=1",
			messages: 2, transactions: 2, conns: 1},
	} {
		for _, mode := range []string{"queue", "in-line"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				p := newPeer(t, nil)
				if tt.limits != "" {
					p.replies = map[string]string{"EHLO": "250-old\r\n250-PIPELINING\r\n250 " + tt.limits}
				}
				u := upstream(t, []string{p.url()}, func(c *Config) { c.Recipients = "any" })
				hop := mail.Hop(u)
				if mode == "in-line" {
					hop = u.Inline()
				}
				var to []mail.Address
				for i := range 8 {
					to = append(to, mail.Address("r"+itoa(i)+"@example.org"))
				}
				for range tt.messages {
					for i, o := range handOver(t, hop, "Subject: x\r\n\r\n", to...) {
						if !o.Reply.Positive() || o.Rcpt != to[i] {
							t.Errorf("%s: %s", o.Rcpt, o.Reply.String())
						}
					}
				}
				if n := strings.Count(p.said(), "MAIL FROM"); n != tt.transactions || p.conns != tt.conns {
					t.Errorf("%d transactions on %d connections", n, p.conns)
				}
				if n := strings.Count(p.said(), "RCPT TO"); n != 8*tt.messages {
					t.Errorf("%d recipients", n)
				}
			})
		}
	}
}

// If the server hangs up between two transactions of one message, the rest is
// sent on another connection.
func TestHangsUpBetween(t *testing.T) {
	p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2"})
	n := 0
	p.set(func() {
		p.say = func(line string) (string, bool) {
			if strings.HasPrefix(line, "MAIL ") {
				n++
			}
			return "421 4.3.2 enough", n%2 == 0 && strings.HasPrefix(line, "MAIL ")
		}
	})
	u := upstream(t, []string{p.url()}, nil)
	for _, o := range handOver(t, u, "Subject: x\r\n\r\n", "a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org") {
		if !o.Reply.Positive() {
			t.Errorf("%s: %s", o.Rcpt, o.Reply.String())
		}
	}
	if len(p.mail()) != 3 || p.conns != 3 {
		t.Errorf("%d messages on %d connections", len(p.mail()), p.conns)
	}
}

// Ping finds a server that answers with a greeting, and leaves its connection
// open for subsequent mail.
func TestPing(t *testing.T) {
	busy, dead, good := newPeer(t, nil), newPeer(t, nil), newPeer(t, nil)
	busy.set(func() { busy.greeting = "421 4.3.2 too busy" })
	dead.l.Close()
	u := upstream(t, []string{busy.url(), dead.url()}, nil)
	if err := u.Ping(t.Context(), ""); err == nil {
		t.Error("no server accepts mail")
	}
	u = upstream(t, []string{busy.url(), dead.url(), good.url()}, nil)
	if err := u.Ping(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
	if !out[0].Reply.Positive() || good.conns != 1 {
		t.Errorf("%s on %d connections", replies(out), good.conns)
	}
}
