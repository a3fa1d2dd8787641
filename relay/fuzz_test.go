package relay

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/relay/wire"
)

// script is a connection whose client sends everything at once.
type script struct {
	net.Conn
	in   *bytes.Reader
	once sync.Once
	over chan struct{}
}

func (s *script) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error) { return len(p), nil }
func (s *script) Close() error {
	s.once.Do(func() { close(s.over) })
	return nil
}

// Whatever a client sends, the server does not panic, no open handoffs or
// spooled messages remain, and no bare CR, LF or NUL reaches a hop.
func FuzzSession(f *testing.F) {
	begin := "EHLO x\r\nMAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<list@example.org>\r\n"
	for _, s := range []string{
		begin + "DATA\r\n" + hi + ".\r\nQUIT\r\n",
		begin + "BDAT 5\r\nX: y\rBDAT 4 LAST\r\n\n\r\n\r\nRSET\r\n",
		begin + "BDAT 3\r\nX: RSET\r\n" + begin + "DATA\r\n\r\n.\r\n",
		begin + "RCPT TO:<full@example.org> NOTIFY=NEVER\r\nRCPT TO:<away@example.org>\r\nDATA\r\nReceived: x\r\n y\r\n\r\n..\r\n.\r\n",
		"EHLO x\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nVRFY ann\r\nEXPN list\r\nHELP\r\nETRN example.org\r\nXCLIENT ADDR=192.0.2.1\r\n",
		"LHLO x\r\nHELO x\r\nMAIL FROM:<>\r\nRCPT TO:<\"a b\"@example.org>\r\nDATA\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, lmtp bool) {
		if len(in) > 64<<10 {
			return
		}
		protocol := "smtp"
		if lmtp {
			protocol = "lmtp"
		}
		d := fuzzServer(t, protocol)
		near, far := net.Pipe()
		far.Close()
		s := &script{Conn: near, in: bytes.NewReader(in), over: make(chan struct{})}
		socket := wire.NewFeed()
		l := listen.New(socket, listen.Options{Log: zerolog.Nop()})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx, d.Handle) }()
		socket.Push(s)
		<-s.over
		cancel()
		<-done
		d.Close()
		over, stop := context.WithTimeout(context.Background(), 20*time.Second)
		defer stop()
		if err := d.lib.Shutdown(over); err == context.DeadlineExceeded {
			t.Error("the session does not end")
		}
		d.boxes.mu.Lock()
		defer d.boxes.mu.Unlock()
		if d.boxes.open != 0 || d.env.Spool.Used() != 0 {
			t.Errorf("%d handoffs and %d octets of the spool left", d.boxes.open, d.env.Spool.Used())
		}
		for _, m := range d.boxes.got {
			if bareOctets(m.data) {
				t.Errorf("bare octets in %q", m.data)
			}
		}
		if log := d.log(); strings.Contains(log, "panic") {
			t.Error(log)
		}
	})
}

// fuzzServer returns a server without a socket. It has no logins, because
// hashing passwords would dominate the running time.
func fuzzServer(t *testing.T, protocol string) *testServer {
	t.Helper()
	return parts(t, protocol, func(c *Config, e *Env) { e.Login, c.MaxSize = nil, 10000 })
}
