package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/mail"
)

// store holds the messages that the server has received.
type store struct {
	mu   sync.Mutex
	mail []string
	body []Body
	errs []error
}

func (s *store) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mail...)
}

// session is a minimal session on a Conn.
type session struct {
	conn  *Conn
	store *store
	log   strings.Builder
	rcpts int
	max   int64
}

func (s *session) Reset() {
	s.rcpts = 0
	s.log.Reset()
}

func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	fmt.Fprintf(&s.log, "from %s size %d", Path(from), s.conn.Mail().Size)
	if o.DeliverBy != nil {
		fmt.Fprintf(&s.log, " by %s %s %v", o.DeliverBy.Time, o.DeliverBy.Mode, o.DeliverBy.Trace)
	}
	if o.MTPriority != nil {
		fmt.Fprintf(&s.log, " priority %d", *o.MTPriority)
	}
	s.log.WriteString(";")
	s.conn.Answer(mail.Reply{Code: 250, Enhanced: "2.1.0", Text: "ok"})
	return nil
}

func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "no") {
		s.conn.Answer(mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such mailbox"})
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	s.rcpts++
	fmt.Fprintf(&s.log, "to %s;", Path(to))
	s.conn.Answer(mail.Reply{Code: 250, Enhanced: "2.1.5", Text: "ok"})
	return nil
}

func (s *session) Data(io.Reader) error {
	var b bytes.Buffer
	log, n := s.log.String(), s.rcpts
	body, err := s.conn.ReadBody(&b, s.max)
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if err != nil {
		s.store.errs = append(s.store.errs, err)
		s.conn.Answer(refusal(554, "5.6.0", err.Error()))
		return &smtp.SMTPError{Code: 554, Message: err.Error()}
	}
	s.store.mail = append(s.store.mail, log+b.String())
	s.store.body = append(s.store.body, body)
	replies := []mail.Reply{{Code: 250, Enhanced: "2.0.0", Text: "kept"}}
	for i := 1; i < n; i++ {
		replies = append(replies, replies[0])
	}
	s.conn.Answer(replies...)
	s.conn.Accepted()
	return nil
}

func (s *session) AuthMechanisms() []string { return []string{"PLAIN"} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password == "panic" {
			panic("a bug")
		}
		if password != "right" {
			s.conn.Answer(refusal(535, "5.7.8", "wrong"))
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "wrong"}
		}
		s.conn.SetLogin(user)
		return nil
	}), nil
}

// server is a listener that serves Conns with go-smtp.
type server struct {
	l     *listen.Listener
	store *store
	lib   *smtp.Server
	mu    sync.Mutex
	conns []*Conn
}

// wait waits until the library no longer serves any connection.
func (s *server) wait(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.lib.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		t.Error("a session does not end")
	}
}

func everything(*Conn) Offer {
	return Offer{EightBit: true, UTF8: true, DSN: true, Chunking: true, Binary: true, RequireTLS: true, DeliverBy: true, Priority: true, Auth: []string{"PLAIN"}}
}

// goSMTP returns a go-smtp server for o.
func goSMTP(o Options, st *store, max int64) *smtp.Server {
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		conn := ConnOf(c.Conn())
		if s, ok := conn.State.(*session); ok {
			return s, nil
		}
		s := &session{conn: conn, store: st, max: max}
		conn.State = s
		return s, nil
	}))
	srv.LMTP, srv.Domain, srv.MaxLineLength = o.LMTP, o.Hostname, 0
	srv.AllowInsecureAuth, srv.EnableSMTPUTF8, srv.EnableDSN, srv.EnableREQUIRETLS = true, true, true, true
	srv.EnableDELIVERBY, srv.EnableMTPRIORITY = true, true
	srv.ErrorLog = quiet{}
	return srv
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func start(t testing.TB, o Options, lo listen.Options) *server {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, socket, o, lo, 0)
}

func serve(t testing.TB, socket net.Listener, o Options, lo listen.Options, max int64) *server {
	t.Helper()
	if o.Hostname == "" {
		o.Hostname = "mail.example.org"
	}
	if o.Limits.Delay == 0 {
		o.Limits.Delay = -1
	}
	if o.Offer == nil {
		o.Offer = everything
	}
	lo.Log = zerolog.Nop()
	s := &server{l: listen.New(socket, lo), store: &store{}}
	feed := NewFeed()
	srv := goSMTP(o, s.store, max)
	s.lib = srv
	o.Library = feed.Push
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(feed) })
	wg.Go(func() {
		s.l.Run(ctx, func(lc *listen.Conn) {
			c := New(lc, &o)
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			c.Serve()
		})
	})
	t.Cleanup(func() {
		cancel()
		feed.Close()
		now, stop := context.WithCancel(context.Background())
		stop()
		s.l.Drain(now)
		wg.Wait()
		s.wait(t)
	})
	return s
}

// client is a client that sends raw lines.
type client struct {
	net.Conn
	t   testing.TB
	buf []byte
}

func (s *server) dial(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &client{Conn: c, t: t}
}

// reply reads one reply and joins its lines with |. It returns "" if the
// connection is closed.
func (c *client) reply() string {
	c.t.Helper()
	var all []string
	for {
		i := bytes.IndexByte(c.buf, '\n')
		if i < 0 {
			b := make([]byte, 4096)
			n, err := c.Read(b)
			c.buf = append(c.buf, b[:n]...)
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				c.t.Fatalf("no reply, only %q", c.buf)
			}
			if err != nil && n == 0 {
				return strings.Join(all, "|")
			}
			continue
		}
		line := string(c.buf[:i+1])
		c.buf = c.buf[i+1:]
		if !strings.HasSuffix(line, "\r\n") {
			c.t.Errorf("reply line %q has no CRLF", line)
		}
		all = append(all, strings.TrimSpace(line))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(all, "|")
		}
	}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Logf("send: %v", err)
	}
}

// want reads one reply, which must begin with prefix.
func (c *client) want(prefix string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, prefix) || prefix == "" && got != "" {
		c.t.Errorf("got %q, want %q", got, prefix)
	}
	return got
}

// say sends a line and checks the reply.
func (c *client) say(line, prefix string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	got := c.reply()
	if !strings.HasPrefix(got, prefix) || prefix == "" && got != "" {
		c.t.Errorf("%.60q: got %q, want %q", line, got, prefix)
	}
	return got
}

// hello reads the greeting and sends EHLO.
func (c *client) hello() {
	c.t.Helper()
	c.want("220 mail.example.org ESMTP")
	c.say("EHLO client.example.org", "250-mail.example.org|250-PIPELINING")
}

// closed checks that the connection has been closed.
func (c *client) closed() {
	c.t.Helper()
	if got := c.reply(); got != "" {
		c.t.Errorf("got %q, want the connection closed", got)
	}
}
