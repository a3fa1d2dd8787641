package imap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/internal/users/userstest"
	"hoplite/maildrop"
)

// patience is the time that tests wait before they fail.
const patience = 60 * time.Second

// testServer is a running server with a box for ann.
type testServer struct {
	addr  string
	store *maildrop.Store
	dir   string
	log   *logBook
	works *Works

	accounts *users.Store
	ann      users.Account
}

// logBook collects the log lines of a server.
type logBook struct {
	mu   sync.Mutex
	text []byte
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// box adds an account with ann's password and returns a client that has logged
// in to its empty box.
func (d *testServer) box(t testing.TB, name string) *client {
	t.Helper()
	must(t, d.accounts.Update(func(b *users.Book) error {
		a := d.ann
		a.Name = name + "@localhost"
		return b.Add(&a)
	}))
	c := d.dial(t)
	c.ok(`LOGIN %s "secret word"`, name)
	return c
}

func open(t testing.TB, cfg Config, box maildrop.Config, options ...func(*listen.Options)) *testServer {
	t.Helper()
	return openWith(t, cfg, box, func(a users.Authenticator) users.Authenticator { return a }, options...)
}

// impatient reports a wrong password as another error, whose reply is not
// delayed.
type impatient struct{ users.Authenticator }

func (i impatient) Verify(ctx context.Context, name, password string) (*users.Account, error) {
	a, err := i.Authenticator.Verify(ctx, name, password)
	if errors.Is(err, users.ErrBadLogin) {
		return nil, errors.New("wrong password")
	}
	return a, err
}

// openWith is like open, with a different check of passwords.
func openWith(t testing.TB, cfg Config, box maildrop.Config, auth func(users.Authenticator) users.Authenticator, options ...func(*listen.Options)) *testServer {
	t.Helper()
	dir := t.TempDir()
	accounts, err := users.Open(filepath.Join(dir, "users"), []string{"localhost"}, zerolog.Nop())
	must(t, err)
	ann := *userstest.Account("ann@localhost", "secret word")
	must(t, accounts.Update(func(b *users.Book) error { a := ann; return b.Add(&a) }))
	box.Name = "boxes"
	log := &logBook{}
	logger := zerolog.New(log).Level(zerolog.WarnLevel)
	store, err := maildrop.Open(box, maildrop.Env{Data: dir, Log: logger})
	must(t, err)
	pair, err := listen.SelfSigned(filepath.Join(dir, "tls"), zerolog.Nop(), "localhost")
	must(t, err)
	certs, err := listen.LoadCerts([]listen.Pair{pair}, zerolog.Nop())
	must(t, err)
	works := &Works{}
	srv := New(cfg, Env{Box: store.Box, Works: works, Gate: login.NewGate(auth(accounts), users.NewThrottle()), Log: logger, Hostname: "mail.example.org"})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	opts := listen.Options{Name: "imap", Log: zerolog.Nop(), TLS: listen.NewTLS(certs, listen.Profile{}), Refuse: Refuse}
	for _, set := range options {
		set(&opts)
	}
	l := listen.New(socket, opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, func(c *listen.Conn) { srv.Handle(ctx, c) }) }()
	t.Cleanup(func() {
		cancel()
		<-done
		srv.Shutdown()
		wait, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if n := l.Drain(wait); n > 0 {
			t.Errorf("%d sessions did not end", n)
		}
		store.Close()
	})
	return &testServer{l.Addr().String(), store, dir, log, works, accounts, ann}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is a connection to the server.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
	n int
}

func (d *testServer) dial(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial("tcp", d.addr)
	must(t, err)
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	c := &client{t: t, Conn: nc, r: newReader(nc)}
	if g := c.line(); !strings.HasPrefix(g, "* OK [CAPABILITY ") {
		t.Fatalf("greeting %q", g)
	}
	return c
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 64<<10) }

// login returns a connection on which ann has logged in.
func (d *testServer) login(t testing.TB) *client {
	t.Helper()
	c := d.dial(t)
	c.ok(`LOGIN ann "secret word"`)
	return c
}

// line reads a response with its literals, without the final line ending.
func (c *client) line() string {
	c.t.Helper()
	s, err := c.readLine()
	if err != nil {
		c.t.Fatalf("read: %v after %q", err, s)
	}
	return s
}

func (c *client) readLine() (string, error) {
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String(), err
		}
		text := strings.TrimSuffix(line, "\r\n")
		i := strings.LastIndexByte(text, '{')
		if i < 0 || !strings.HasSuffix(text, "}") {
			return strings.TrimSuffix(b.String(), "\r\n"), nil
		}
		n, err := strconv.Atoi(text[i+1 : len(text)-1])
		if err != nil {
			return b.String(), err
		}
		if _, err := io.CopyN(&b, c.r, int64(n)); err != nil {
			return b.String(), err
		}
	}
}

// send sends text with each "\n" replaced by CRLF.
func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		c.t.Fatal(err)
	}
}

// do runs a command and returns the untagged responses and the tagged one
// without its tag.
func (c *client) do(format string, args ...any) (untagged []string, status string) {
	c.t.Helper()
	c.n++
	tag := "t" + strconv.Itoa(c.n)
	c.send(tag + " " + fmt.Sprintf(format, args...) + "\n")
	for {
		l := c.line()
		if rest, ok := strings.CutPrefix(l, tag+" "); ok {
			return untagged, rest
		}
		untagged = append(untagged, l)
	}
}

// ok runs a command and fails the test unless it succeeds.
func (c *client) ok(format string, args ...any) []string {
	c.t.Helper()
	untagged, status := c.do(format, args...)
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), status)
	}
	return untagged
}

// put appends a message to a mailbox.
func (c *client) put(mailbox, flags, message string) {
	c.t.Helper()
	message = strings.ReplaceAll(message, "\n", "\r\n")
	c.n++
	tag := "t" + strconv.Itoa(c.n)
	fmt.Fprintf(c, "%s APPEND %s (%s) {%d+}\r\n%s\r\n", tag, mailbox, flags, len(message), message)
	for {
		if l := c.line(); strings.HasPrefix(l, tag) {
			if !strings.HasPrefix(l, tag+" OK") {
				c.t.Fatalf("APPEND: %s", l)
			}
			return
		}
	}
}
