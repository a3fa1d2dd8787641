package imap

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/maildrop"
)

func (c *client) startTLS() {
	c.t.Helper()
	c.ok("STARTTLS")
	secure := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	must(c.t, secure.Handshake())
	c.Conn, c.r = secure, newReader(secure)
}

// A remote client must not send a password before STARTTLS.
func TestClearText(t *testing.T) {
	for _, addr := range []string{"192.0.2.7", "127.0.0.1"} {
		t.Run(addr, func(t *testing.T) { testClearText(t, addr) })
	}
}

// testClearText connects through a proxy that names addr as the client's
// address.
func testClearText(t *testing.T, addr string) {
	d := open(t, Config{}, maildrop.Config{}, func(o *listen.Options) { o.Proxy = true })
	nc, err := net.Dial("tcp", d.addr)
	must(t, err)
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(nc, "PROXY TCP4 %s 192.0.2.1 40000 143\r\n", addr)
	c := &client{t: t, Conn: nc, r: newReader(nc)}
	if g := c.line(); !strings.Contains(g, "STARTTLS LOGINDISABLED") || strings.Contains(g, "AUTH=PLAIN") {
		t.Errorf("greeting %q", g)
	}
	for _, cmd := range []string{`LOGIN ann "secret word"`, "AUTHENTICATE PLAIN AGFubgBzZWNyZXQgd29yZA==", "AUTHENTICATE LOGIN"} {
		if _, status := c.do("%s", cmd); !strings.HasPrefix(status, "NO [PRIVACYREQUIRED]") {
			t.Errorf("%s: %s", cmd, status)
		}
	}
	c.startTLS()
	if caps := c.ok("CAPABILITY")[0]; strings.Contains(caps, "STARTTLS") || strings.Contains(caps, "LOGINDISABLED") || !strings.Contains(caps, "AUTH=PLAIN") {
		t.Errorf("capabilities in TLS: %s", caps)
	}
	if _, status := c.do("STARTTLS"); !strings.HasPrefix(status, "BAD") {
		t.Errorf("STARTTLS twice: %s", status)
	}
	c.ok(`LOGIN ann "secret word"`)
}

// Plaintext commands after STARTTLS must not be executed as if TLS had
// protected them.
func TestStartTLSInjection(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.dial(t)
	c.send("a STARTTLS\nb NOOP\n")
	if l := c.line(); !strings.HasPrefix(l, "* BYE") {
		t.Errorf("got %q", l)
	}
	if l, err := c.readLine(); err == nil {
		t.Errorf("continues with %q", l)
	}
}

func TestSCRAM(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.dial(t)
	c.startTLS()
	user, err := scram.SHA256.NewClient("ann", "secret word", "")
	must(t, err)
	conv := user.NewConversation()
	first, err := conv.Step("")
	must(t, err)
	c.send("a AUTHENTICATE SCRAM-SHA-256 " + base64.StdEncoding.EncodeToString([]byte(first)) + "\n")
	for !conv.Done() {
		challenge, ok := strings.CutPrefix(c.line(), "+ ")
		if !ok {
			t.Fatalf("challenge %q", challenge)
		}
		text, err := base64.StdEncoding.DecodeString(challenge)
		must(t, err)
		answer, err := conv.Step(string(text))
		must(t, err)
		c.send(base64.StdEncoding.EncodeToString([]byte(answer)) + "\n")
	}
	if l := c.line(); !strings.HasPrefix(l, "a OK") || !conv.Valid() {
		t.Errorf("%s, server proven %v", l, conv.Valid())
	}
}

// The memory that a client can consume before login is bounded, regardless of
// what it sends.
func TestMemoryBeforeLogin(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	tests := map[string]string{
		"parentheses":          "a LOGIN " + strings.Repeat("(", 1<<20),
		"a literal of 4 GiB":   "a LOGIN {4294967295+}\r\n" + strings.Repeat("x", 100_000),
		"literals of an octet": "a LOGIN " + strings.Repeat("{1+}\r\nx", 1_000_000),
		"a line without end":   strings.Repeat("x", 1<<20),
		"wrong commands":       "a NOOP\r\n" + strings.Repeat("x y\r\n", 100_000),
		"an endless tag":       strings.Repeat("a", 10_000) + " NOOP\r\n",
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			c := d.dial(t)
			go io.WriteString(c, input)
			out, _ := io.ReadAll(c.r) // a reset also ends the connection
			if len(out) > 8<<10 {
				t.Errorf("%d octets of answers", len(out))
			}
		})
	}
	d.login(t)
}

// Connections over an account's limit are refused until another one ends.
func TestAccountConnections(t *testing.T) {
	d := open(t, Config{AccountConnections: 2}, maildrop.Config{})
	first := d.login(t)
	d.login(t)
	c := d.dial(t)
	if _, status := c.do(`LOGIN ann "secret word"`); !strings.HasPrefix(status, "NO [LIMIT]") || !strings.Contains(status, "account_connections") {
		t.Errorf("third: %s", status)
	}
	first.ok("LOGOUT")
	io.ReadAll(first.r)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, status := c.do(`LOGIN ann "secret word"`); strings.HasPrefix(status, "OK") {
			break
		} else if time.Now().After(end) {
			t.Fatalf("after a logout: %s", status)
		}
	}
}

// With the default limits, three devices that share one address can watch 20
// folders each.
func TestThreeDevicesWatchTwentyFolders(t *testing.T) {
	var cfg Config
	conf.Defaults(&cfg)
	cfg.CleartextLogin = true
	limit := func(o *listen.Options) {
		o.Limits = listen.Limits{Address: cfg.MaxPerAddress, Network: cfg.MaxPerNetwork}
		o.Proxy = true
	}
	d := open(t, cfg, maildrop.Config{}, limit)
	var watching []*client
	for range 3 {
		for i := range 20 {
			c := d.proxied(t, "192.0.2.1")
			c.ok(`LOGIN ann "secret word"`)
			if len(watching) < 20 {
				c.ok("CREATE f%d", i)
			}
			c.ok("SELECT f%d", i)
			c.send("i IDLE\n")
			if l := c.line(); !strings.HasPrefix(l, "+ ") {
				t.Fatalf("device %d, folder %d: %s", len(watching)/20, i, l)
			}
			watching = append(watching, c)
		}
	}
	other := d.proxied(t, "192.0.2.1")
	other.ok(`LOGIN ann "secret word"`)
	other.put("f7", "", "Subject: new\n\nx\n")
	for _, i := range []int{7, 27, 47} {
		if l := watching[i].line(); l != "* 1 EXISTS" {
			t.Errorf("watcher %d: %s", i, l)
		}
	}
}

// proxied connects through a proxy as a client with the given address.
func (d *testServer) proxied(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", d.addr)
	must(t, err)
	t.Cleanup(func() { nc.Close() })
	must(t, nc.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(nc, "PROXY TCP4 %s 192.0.2.9 5000 143\r\n", addr)
	c := &client{t: t, Conn: nc, r: newReader(nc)}
	if l := c.line(); !strings.HasPrefix(l, "* OK") {
		t.Fatal(l)
	}
	return c
}

// Symbolic links are not followed, and they do not end the session.
func TestLinksAreNotFollowed(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", "", "Subject: good\n\nx\n")
	secret := filepath.Join(d.dir, "secret")
	must(t, os.WriteFile(secret, []byte("Subject: secret\n\nsecret\n"), 0o600))
	cur := filepath.Join(d.dir, "mail/localhost/ann/cur")
	must(t, os.Symlink(secret, filepath.Join(cur, "1.link:2,")))
	names, err := os.ReadDir(cur)
	must(t, err)
	for _, n := range names {
		if strings.Contains(n.Name(), ",S=") {
			must(t, os.Remove(filepath.Join(cur, n.Name())))
			must(t, os.Symlink(secret, filepath.Join(cur, n.Name())))
		}
	}
	c.do("SELECT INBOX")
	untagged, _ := c.do("FETCH 1:* BODY[]")
	if strings.Contains(strings.Join(untagged, ""), "secret") {
		t.Errorf("a link was followed: %q", untagged)
	}
	c.ok("NOOP")
}

// A DONE that arrives in two packets ends IDLE, even if the folder changes
// between them.
func TestDoneInTwoPackets(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c, other := d.login(t), d.login(t)
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	for i := range 20 {
		c.send(fmt.Sprintf("i%d IDLE\n", i))
		for !strings.HasPrefix(c.line(), "+") {
		}
		if _, err := c.Write([]byte("DO")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // DO has been read
		other.ok("APPEND INBOX {5+}\nSubje")
		time.Sleep(5 * time.Millisecond)
		if _, err := c.Write([]byte("NE\r\n")); err != nil {
			t.Fatal(err)
		}
		for l := c.line(); !strings.HasPrefix(l, fmt.Sprintf("i%d ", i)); l = c.line() {
			if strings.HasPrefix(l, "* BYE") {
				t.Fatal(l)
			}
		}
	}
}

// IDLE ends only with DONE, and thousands of consecutive IDLE commands are
// answered in order.
func TestIdleFlood(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.send("a IDLE\n")
	c.line()
	c.send("x NOOP\n")
	if l := c.line(); !strings.HasPrefix(l, "a BAD") {
		t.Errorf("got %q", l)
	}
	c.ok("NOOP")
	go func() {
		w := bufio.NewWriter(c)
		for i := range 10_000 {
			fmt.Fprintf(w, "i%d IDLE\r\nDONE\r\n", i)
		}
		w.Flush()
	}()
	for range 10_000 {
		c.line()
		if l := c.line(); !strings.Contains(l, "OK IDLE") {
			t.Fatalf("got %q", l)
		}
	}
}
