package forward

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
)

// scripted is a connection to a server that sends all its replies at once and
// ignores the commands.
type scripted struct {
	in     *bytes.Reader
	sent   bytes.Buffer
	closed bool
}

func (s *scripted) Read(p []byte) (int, error) {
	if s.closed {
		return 0, net.ErrClosed
	}
	return s.in.Read(p)
}

func (s *scripted) Write(p []byte) (int, error) {
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	return s.sent.Write(p)
}

func (s *scripted) Close() error                     { s.closed = true; return nil }
func (s *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1} }
func (s *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// Whatever a server replies, the client does not panic, sends no line that the
// message or the envelope could have injected, and reports success only after
// the whole message was sent and a positive reply remained for it.
func FuzzUpstream(f *testing.F) {
	const ehlo = "220 mx.example.net ESMTP\r\n250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
	for _, s := range []string{
		ehlo + "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n550 5.1.1 no such user\r\n354 go\r\n250 2.0.0 Ok: queued as ABC123\r\n221 bye\r\n",
		ehlo + "250 ok\r\n452 4.5.3 too many\r\n250 ok\r\n354 go\r\n451-4.3.0 later\r\n451 4.3.0 please\r\n",
		"220 old\r\n502 what\r\n250 old\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n",
		"220-a\r\n220 b\r\n250-x\r\n250-CHUNKING\r\n250 DSN\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n250 e\r\n",
		"554 5.7.1 go away\r\n", "421 busy", "220\r\n250\r\n250\r\n250\r\n250\r\n354\r\n250\r\n",
		ehlo + "503 5.5.1 first\r\n530 5.7.0 auth\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	cfg := Config{}
	conf.Defaults(&cfg)
	cfg.Name, cfg.TLS, cfg.Recipients = "old", "off", "any"
	const text = "Subject: x\r\n\r\n.dot\r\nend\r\n"
	f.Fuzz(func(t *testing.T, in []byte, lmtp bool) {
		if len(in) > 64<<10 {
			return
		}
		cfg := cfg
		cfg.Servers = []string{"smtp://192.0.2.1"}
		if lmtp {
			cfg.Servers = []string{"lmtp://192.0.2.1:24"}
		}
		u, err := New(cfg, Env{Hostname: "relay.example.org", Data: "/nonexistent", Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		var conns []*scripted
		u.net.dialer.dial = func(context.Context, string, string) (net.Conn, error) {
			c := &scripted{in: bytes.NewReader(in)}
			conns = append(conns, c)
			return c, nil
		}
		out := handOver(t, u.Inline(), text, "ann@example.org", "bob@example.org")
		if len(out) != 2 {
			t.Fatalf("%d outcomes for 2 recipients", len(out))
		}
		whole := false
		for _, c := range conns {
			whole = whole || strings.HasSuffix(strings.TrimSuffix(c.sent.String(), "QUIT\r\n"), "\r\n.\r\n") || strings.Contains(c.sent.String(), " LAST\r\n")
			for line := range strings.Lines(c.sent.String()) {
				if len(line) > 1000 || !strings.HasSuffix(line, "\r\n") {
					t.Fatalf("sent %q", c.sent.String())
				}
			}
		}
		for _, o := range out {
			if o.Reply.Code/100 == 2 && !whole {
				t.Fatalf("%s, but the message was not sent:\n%q", o.Reply.String(), in)
			}
			if s := o.Reply.String(); o.Reply.Code < 200 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' }) {
				t.Fatalf("reply %q", s)
			}
		}
	})
}
