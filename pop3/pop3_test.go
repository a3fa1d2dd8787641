package pop3

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/internal/users/userstest"
	"hoplite/maildrop"
)

// testServer is a running POP3 server with a box for ann.
type testServer struct {
	addr  string
	store *maildrop.Store
	inbox *maildrop.Folder
	dir   string
}

func open(t testing.TB, cfg Config, options ...func(*listen.Options)) *testServer {
	t.Helper()
	return openWith(t, cfg, func(a users.Authenticator) users.Authenticator { return a }, options...)
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
func openWith(t testing.TB, cfg Config, auth func(users.Authenticator) users.Authenticator, options ...func(*listen.Options)) *testServer {
	t.Helper()
	dir := t.TempDir()
	accounts, err := users.Open(filepath.Join(dir, "users"), []string{"localhost"}, zerolog.Nop())
	must(t, err)
	must(t, accounts.Update(func(b *users.Book) error { return b.Add(userstest.Account("ann@localhost", "secret word")) }))
	store, err := maildrop.Open(maildrop.Config{Name: "boxes"}, maildrop.Env{Data: dir, Log: zerolog.Nop()})
	must(t, err)
	pair, err := listen.SelfSigned(filepath.Join(dir, "tls"), zerolog.Nop(), "localhost")
	must(t, err)
	certs, err := listen.LoadCerts([]listen.Pair{pair}, zerolog.Nop())
	must(t, err)
	srv, err := New(cfg, Env{Box: store.Box, Gate: login.NewGate(auth(accounts), users.NewThrottle()), Log: zerolog.New(bugs{t}), Hostname: "mail.example.org"})
	must(t, err)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	opts := listen.Options{Name: "pop3", Log: zerolog.Nop(), TLS: listen.NewTLS(certs, listen.Profile{}), Refuse: Refuse}
	for _, set := range options {
		set(&opts)
	}
	l := listen.New(socket, opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, func(c *listen.Conn) { srv.Handle(ctx, c) }) }()
	box, err := store.Box("ann@localhost")
	must(t, err)
	inbox, err := box.Folder("INBOX")
	must(t, err)
	t.Cleanup(func() {
		cancel()
		<-done
		srv.Shutdown()
		wait, stop := context.WithTimeout(context.Background(), 20*time.Second)
		defer stop()
		if n := l.Drain(wait); n > 0 {
			t.Errorf("%d sessions did not end", n)
		}
		inbox.Close()
		box.Close()
		store.Close()
	})
	return &testServer{l.Addr().String(), store, inbox, dir}
}

// bugs is a log that fails the test if a session ends because of a bug.
type bugs struct{ t testing.TB }

func (b bugs) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("ended by a bug")) {
		b.t.Errorf("%s", line)
	}
	return len(line), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *testServer) put(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		n, err := d.inbox.NewMessage()
		must(t, err)
		io.WriteString(n, text)
		_, _, err = d.inbox.Append(n)
		must(t, err)
	}
}

// client is a connection that is read and written line by line.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (d *testServer) dial(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", d.addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "closed"
	}
	return strings.TrimSuffix(line, "\r\n")
}

// talk runs a dialogue: lines starting with "C: " are sent, and lines starting
// with "S: " are the expected responses, in which a trailing * matches
// anything.
func (c *client) talk(script string) {
	c.t.Helper()
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if say, ok := strings.CutPrefix(line, "C: "); ok {
			fmt.Fprintf(c, "%s\r\n", strings.ReplaceAll(say, `\r\n`, "\r\n"))
		}
		if want, ok := strings.CutPrefix(line, "S: "); ok {
			got := c.line()
			if prefix, any := strings.CutSuffix(want, "*"); any && strings.HasPrefix(got, prefix) || got == want {
				continue
			}
			c.t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

const loginScript = `
S: +OK mail.example.org POP3 ready
C: USER ann
S: +OK Send password
C: PASS secret word
S: +OK *
`

func (d *testServer) login(t testing.TB) *client {
	t.Helper()
	c := d.dial(t)
	c.talk(loginScript)
	return c
}

var three = []string{
	"Subject: one\r\n\r\nbody\r\n",
	"Subject: two\r\n\r\n.\r\n..two\r\nthree\r\n",
	"Subject: last\r\n\r\nno line end",
}

// A loopback address that a proxy names does not permit passwords in clear text.
func TestClearTextThroughProxy(t *testing.T) {
	d := open(t, Config{}, func(o *listen.Options) { o.Proxy = true })
	for _, addr := range []string{"192.0.2.7", "127.0.0.1"} {
		c := d.dial(t)
		fmt.Fprintf(c, "PROXY TCP4 %s 192.0.2.1 40000 110\r\n", addr)
		c.talk(`
			S: +OK *
			C: USER ann
			S: -ERR Plaintext authentication disallowed on non-secure connections
			C: AUTH PLAIN AGFubgBzZWNyZXQgd29yZA==
			S: -ERR Plaintext authentication disallowed on non-secure connections
			C: AUTH
			S: +OK *
			S: SCRAM-SHA-256
			S: .
		`)
	}
}

func TestDialogues(t *testing.T) {
	for _, tc := range []struct{ name, talk string }{
		{"figures", `
			C: STAT
			S: +OK 3 83
			C: LIST
			S: +OK 3 messages (83 octets)
			S: 1 22
			S: 2 33
			S: 3 28
			S: .
			C: LIST 2
			S: +OK 2 33
			C: LIST 4
			S: -ERR No such message, there are 3
			C: LIST x
			S: -ERR Invalid message number`},
		{"retrieve", `
			C: RETR 2
			S: +OK 33 octets
			S: Subject: two
			S: *
			S: ..
			S: ...two
			S: three
			S: .
			C: RETR 3
			S: +OK 28 octets
			S: Subject: last
			S: *
			S: no line end
			S: .`},
		{"top", `
			C: TOP 2 1
			S: +OK Top of message 2 follows
			S: Subject: two
			S: *
			S: ..
			S: .
			C: TOP 1 0
			S: +OK Top of message 1 follows
			S: Subject: one
			S: *
			S: .
			C: TOP 1
			S: -ERR TOP needs a message number and a number of lines
			C: TOP 1 99
			S: +OK *
			S: Subject: one
			S: *
			S: body
			S: .`},
		{"delete and think again", `
			C: DELE 1
			S: +OK Message 1 marked for deletion
			C: RETR 1
			S: -ERR Message 1 is deleted
			C: STAT
			S: +OK 2 61
			C: RSET
			S: +OK 3 messages (83 octets)
			C: NOOP
			S: +OK NOOP completed
			C: QUIT
			S: +OK Logging out
			S: closed`},
		{"wrong order", `
			C: USER ann
			S: -ERR Already logged in
			C: XTND XMIT
			S: -ERR Unknown command
			C: UTF8
			S: -ERR Already logged in`},
		{"capabilities after login", `
			C: CAPA
			S: +OK *
			S: TOP
			S: UIDL
			S: PIPELINING
			S: RESP-CODES
			S: AUTH-RESP-CODE
			S: UTF8 USER
			S: LANG
			S: EXPIRE NEVER
			S: IMPLEMENTATION Hoplite
			S: .`},
		{"another session", `
			C: QUIT
			S: +OK Logging out`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := open(t, Config{})
			d.put(t, three...)
			d.login(t).talk(tc.talk)
		})
	}
}

func TestBeforeLogin(t *testing.T) {
	for _, tc := range []struct{ name, talk string }{
		{"capabilities", `
			C: CAPA
			S: +OK *
			S: TOP
			S: UIDL
			S: PIPELINING
			S: RESP-CODES
			S: AUTH-RESP-CODE
			S: UTF8 USER
			S: LANG
			S: EXPIRE NEVER
			S: USER
			S: SASL SCRAM-SHA-256 PLAIN LOGIN
			S: STLS
			S: IMPLEMENTATION Hoplite
			S: .`},
		{"not logged in", `
			C: STAT
			S: -ERR Log in first
			C: PASS x
			S: -ERR Send USER first
			C: UTF8
			S: +OK *
			C: LANG
			S: +OK *
			S: en English
			S: .
			C: LANG *
			S: +OK en English
			C: LANG fr
			S: -ERR *
			C: QUIT
			S: +OK Logging out
			S: closed`},
		{"plain, initial response", `
			C: AUTH PLAIN AGFubgBzZWNyZXQgd29yZA==
			S: +OK Logged in, 0 messages
			C: QUIT
			S: +OK Logging out`},
		{"plain, asked", `
			C: AUTH PLAIN
			S: + *
			C: AGFubgBzZWNyZXQgd29yZA==
			S: +OK Logged in, 0 messages`},
		{"login", `
			C: auth login
			S: + VXNlcm5hbWU6
			C: YW5u
			S: + UGFzc3dvcmQ6
			C: c2VjcmV0IHdvcmQ=
			S: +OK Logged in, 0 messages`},
		{"cancel and rubbish", `
			C: AUTH PLAIN
			S: + *
			C: *
			S: -ERR AUTH cancelled
			C: AUTH PLAIN
			S: + *
			C: !!!
			S: -ERR Invalid base64 data
			C: AUTH KERBEROS_V4
			S: -ERR Unsupported authentication mechanism
			C: AUTH
			S: +OK *
			S: SCRAM-SHA-256
			S: PLAIN
			S: LOGIN
			S: .`},
		{"wrong passwords", `
			C: USER ann
			S: +OK *
			C: PASS wrong
			S: -ERR [AUTH] Authentication failed
			C: USER nobody
			S: +OK *
			C: PASS wrong
			S: -ERR [AUTH] Authentication failed
			C: AUTH PLAIN AGFubgB3cm9uZw==
			S: -ERR [AUTH] Authentication failed
			S: closed`},
		{"a browser", `
			C: GET / HTTP/1.1
			S: -ERR Not a POP3 command
			S: closed`},
		{"NUL", "\nC: USER ann\x00\nS: -ERR Not a POP3 command\nS: closed"},
		{"too long", "\nC: USER " + strings.Repeat("x", 10000) + "\nS: -ERR Not a POP3 command\nS: closed"},
		{"commands after STLS", "\nC: STLS\\r\\nCAPA\nS: -ERR Commands after STLS\nS: closed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := open(t, Config{})
			c := d.dial(t)
			c.talk("S: +OK *\n" + tc.talk)
		})
	}
}

func TestDeleteOnlyAtQuit(t *testing.T) {
	d := open(t, Config{})
	d.put(t, three...)
	c := d.login(t)
	c.talk("C: DELE 2\nS: +OK *\nC: RETR 1\nS: +OK *\nS: Subject: one\nS: *\nS: body\nS: .")
	d.dial(t).talk("S: +OK *\nC: USER ann\nS: +OK *\nC: PASS secret word\nS: -ERR [IN-USE] *")
	c.Close()
	// The server soon notices that the connection is lost.
	c = d.retryLogin(t)
	c.talk("C: STAT\nS: +OK 3 83\nC: DELE 2\nS: +OK *\nC: RETR 1\nS: +OK *\nS: Subject: one\nS: *\nS: body\nS: .\nC: QUIT\nS: +OK Logging out\nS: closed")
	s, err := d.inbox.Sync()
	must(t, err)
	if len(s.Messages) != 2 || s.Messages[0].Flags != maildrop.Seen || s.Messages[1].UID != 3 || s.Messages[1].Flags != 0 {
		t.Errorf("left: %+v %+v", s.Messages[0], s.Messages[1])
	}
}

func (d *testServer) retryLogin(t testing.TB) *client {
	t.Helper()
	for range 200 {
		c := d.dial(t)
		fmt.Fprint(c, "USER ann\r\nPASS secret word\r\n")
		c.line()
		c.line()
		if strings.HasPrefix(c.line(), "+OK") {
			return c
		}
		c.Close()
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("mailbox stays locked")
	return nil
}

func TestUIDLs(t *testing.T) {
	for _, tc := range []struct{ name, format, want string }{
		{"Dovecot's", "", "000000024d2f0a10"},
		{"Courier's", "UID%u-%v", "UID2-1294928400"},
		{"Cyrus's", "%v.%u", "1294928400.2"},
		{"GUID", "%g", "1700000000.M1P1.host"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parseUIDL(map[bool]string{true: "%08Xu%08Xv", false: tc.format}[tc.format == ""])
			must(t, err)
			m := &maildrop.Message{UID: 2, File: "1700000000.M1P1.host:2,S"}
			if got := f.id(0x4d2f0a10, m); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			m.Ext = "S12 Pold-name"
			if got := f.id(1, m); got != "old-name" {
				t.Errorf("the kept id is %s", got)
			}
		})
	}
	for _, bad := range []string{"%v", "%", "%08", "%q%u", "%u %v", "%99999999999u"} {
		if _, err := parseUIDL(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestVanishedMessage(t *testing.T) {
	d := open(t, Config{})
	d.put(t, three...)
	c := d.login(t)
	if _, _, err := d.inbox.Expunge([]uint32{2}); err != nil {
		t.Fatal(err)
	}
	c.talk("C: RETR 2\nS: -ERR [SYS/TEMP] Message 2 no longer exists\nC: RETR 3\nS: +OK *\nS: Subject: last\nS: *\nS: no line end\nS: .\nC: DELE 2\nS: +OK *\nC: QUIT\nS: +OK Logging out")
}

func TestPipelining(t *testing.T) {
	d := open(t, Config{})
	d.put(t, three...)
	c := d.login(t)
	fmt.Fprint(c, "STAT\r\nUIDL 1\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
	rest, err := io.ReadAll(c.r)
	must(t, err)
	s, err := d.inbox.Sync()
	must(t, err)
	want := fmt.Sprintf("+OK 3 83\r\n+OK 1 00000001%08x\r\n+OK 22 octets\r\nSubject: one\r\n\r\nbody\r\n.\r\n+OK Message 1 marked for deletion\r\n+OK Logging out\r\n", s.Validity)
	if string(rest) != want {
		t.Errorf("got  %q\nwant %q", rest, want)
	}
}

func TestLoginDelay(t *testing.T) {
	d := open(t, Config{LoginDelay: time.Hour})
	d.login(t).talk("C: QUIT\nS: +OK Logging out\nS: closed")
	d.dial(t).talk("S: +OK *\nC: USER ann\nS: +OK *\nC: PASS secret word\nS: -ERR [LOGIN-DELAY] *\nC: CAPA\nS: +OK *\nS: TOP\nS: UIDL\nS: PIPELINING\nS: RESP-CODES\nS: AUTH-RESP-CODE\nS: UTF8 USER\nS: LANG\nS: EXPIRE NEVER\nS: LOGIN-DELAY 3600")
}

// Dots at the beginning of lines are doubled, wherever the text is split into
// writes.
func TestDotsAcrossBlocks(t *testing.T) {
	text := []byte(".a\r\n..\r\n.\r\nx.y\r\n.z\r\n")
	want := "..a\r\n...\r\n..\r\nx.y\r\n..z\r\n.\r\n"
	for cut := range len(text) {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		d := &dotWriter{w: w, start: true}
		d.Write(text[:cut])
		d.Write(text[cut:])
		must(t, d.end())
		w.Flush()
		if b.String() != want {
			t.Errorf("cut at %d: %q", cut, b.String())
		}
	}
}

// Whatever a client sends before and after login, the session ends with the
// connection, and no message is deleted.
func FuzzSession(f *testing.F) {
	f.Add([]byte("STAT\r\nLIST\r\nRETR 1\r\nTOP 2 1\r\nUIDL 3\r\nDELE 1\r\nRSET\r\n"))
	f.Add([]byte("AUTH PLAIN =\r\nAUTH SCRAM-SHA-256 biwsbj1hbm4scj1hYmM=\r\n*\r\nLANG\r\nCAPA\r\n"))
	f.Add([]byte("TOP 1 9999999999999999999\r\nRETR -1\r\nLIST 4294967297\r\nUSER \xff\r\nPASS\r\n"))
	d := openWith(f, Config{}, func(a users.Authenticator) users.Authenticator { return impatient{a} })
	d.put(f, three...)
	f.Fuzz(func(t *testing.T, input []byte) {
		for _, before := range []string{"", "USER ann\r\nPASS secret word\r\n"} {
			c, err := net.Dial("tcp", d.addr)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(30 * time.Second))
			// QUIT would delete messages, so the connection is closed without
			// it.
			io.WriteString(c, before)
			c.Write(bytes.ReplaceAll(bytes.ToUpper(input), []byte("QUIT"), nil))
			c.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("no end after %q", input)
			}
			c.Close()
		}
		if s, err := d.inbox.Sync(); err != nil || len(s.Messages) != 3 {
			t.Fatalf("%d messages left, %v", len(s.Messages), err)
		}
	})
}
