//go:build interop && linux

package chaos

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hoplite/internal/powercuttest"
)

// firstConfig has an upstream that does not exist, so that its mail stays in the
// queue.
const firstConfig = `
hostname = "mail.chaos.example"
data     = %q
queue { reserve = "8MiB" }
smtp "in" {
  listen     = [%q]
  relay_from = ["127.0.0.0/8"]
  chain      = "in"
}
imap "imap" {
  listen = [%q]
}
chain "in" {
  route "maildir" {
    to  = ["maildir.example"]
    hop = "boxes"
  }
  route "rest" {
    relay = true
    hop   = "queue"
  }
}
maildrop "boxes" {}
upstream "queue" {
  servers    = ["smtp://127.0.0.1:1"]
  mode       = "queue"
  recipients = "any"
}
`

// life is the first run of a server in a new data folder. It records the
// results that the server has acknowledged and must keep.
type life struct {
	t          *testing.T
	server     *server
	data       string
	smtp, imap string
	acted      chan struct{} // closed when act has ended
	off        atomic.Bool   // the power is off: later successes do not count

	account            bool
	mail               map[string]bool // Message-IDs in the Maildir
	queued             int
	folder, subscribed bool
	appended           string // UIDVALIDITY and UID
}

func newLife(t *testing.T, data string) *life {
	l := &life{t: t, data: data, smtp: freeAddr(t), imap: freeAddr(t), acted: make(chan struct{}), mail: map[string]bool{}}
	l.server = newServer(t, fmt.Sprintf(firstConfig, data, l.smtp, l.imap))
	return l
}

// act performs the actions of an administrator and the first user until the
// server has ended.
func (l *life) act() {
	defer close(l.acted)
	if l.server.command("secret-enough\n", "user", "add", "ann@maildir.example") != nil || l.off.Load() {
		return
	}
	l.account = true
	c := l.login()
	for c == nil && l.server.running() { // the server checks for changes once a second
		time.Sleep(20 * time.Millisecond)
		c = l.login()
	}
	if c == nil {
		return
	}
	defer c.conn.Close()
	for i := range 2 {
		if l.send(fmt.Sprintf("<maildir%d@chaos.example>", i), "ann@maildir.example") {
			l.mail[fmt.Sprintf("<maildir%d@chaos.example>", i)] = true
		}
		if l.send(fmt.Sprintf("<queue%d@chaos.example>", i), "bob@queue.example") {
			l.queued++
		}
	}
	_, l.folder = c.do("CREATE Plans")
	_, l.subscribed = c.do("SUBSCRIBE Plans")
	text := string(compose("<appended@chaos.example>"))
	reply, ok := c.do(fmt.Sprintf("APPEND Plans {%d+}\r\n%s", len(text), text))
	if _, code, found := strings.Cut(reply, "[APPENDUID "); ok && found {
		l.appended, _, _ = strings.Cut(code, "]")
	}
}

// send reports whether the server acknowledged a message.
func (l *life) send(id, to string) bool {
	c, _ := dial(l.smtp)
	if c == nil {
		return false
	}
	defer c.Close()
	if c.Mail("sender@sender.example") != nil || c.Rcpt(to) != nil {
		return false
	}
	w, err := c.Data()
	if err != nil {
		return false
	}
	w.Write(compose(id))
	return w.Close() == nil
}

// verify checks after a restart that everything acknowledged still exists.
func (l *life) verify() {
	l.t.Helper()
	found := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(l.data, "mail/maildir.example/ann/*/*"))
	for _, path := range files {
		if f, err := os.Open(path); err == nil {
			_, id, _ := Identify(f)
			f.Close()
			found[id] = true
		}
	}
	for id := range l.mail {
		if !found[id] {
			l.t.Errorf("message %s is lost", id)
		}
	}
	list, err := exec.Command(l.server.bin, "queue", "list", "--json", "-c", l.server.config).CombinedOutput()
	if n := strings.Count(string(list), `"id":`); err != nil || n < l.queued {
		l.t.Errorf("%d messages are in the queue, want %d (%v)\n%s", n, l.queued, err, list)
	}
	if !l.account {
		return
	}
	c := l.login()
	if c == nil {
		l.t.Errorf("the account cannot log in\n%s", l.server.tail())
		return
	}
	defer c.conn.Close()
	for _, want := range []struct {
		promised      bool
		command, text string
	}{
		{l.folder, `LIST "" *`, "Plans"},
		{l.subscribed, `LSUB "" *`, "Plans"},
		{l.appended != "", "STATUS Plans (UIDVALIDITY)", "UIDVALIDITY " + strings.Fields(l.appended + " -")[0]},
	} {
		if reply, ok := c.do(want.command); want.promised && (!ok || !strings.Contains(reply, want.text)) {
			l.t.Errorf("%s: %q, want %q", want.command, reply, want.text)
		}
	}
	if l.appended == "" {
		return
	}
	c.do("SELECT Plans")
	reply, _ := c.do("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
	if !strings.Contains(reply, "UID "+strings.Fields(l.appended)[1]+" ") || !strings.Contains(reply, "appended@chaos.example") {
		l.t.Errorf("the appended message, UID %s, is lost: %q", l.appended, reply)
	}
}

// imapClient sends one command at a time.
type imapClient struct {
	conn net.Conn
	in   *bufio.Reader
}

// login returns a client that has logged in, or nil.
func (l *life) login() *imapClient {
	conn, err := net.DialTimeout("tcp", l.imap, 5*time.Second)
	if err != nil {
		return nil
	}
	c := &imapClient{conn, bufio.NewReader(conn)}
	if _, err := c.in.ReadString('\n'); err == nil {
		if _, ok := c.do("LOGIN ann@maildir.example secret-enough"); ok {
			return c
		}
	}
	conn.Close()
	return nil
}

// do sends a command and returns the replies and whether it succeeded.
func (c *imapClient) do(command string) (replies string, ok bool) {
	c.conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c.conn, "a %s\r\n", command)
	for {
		line, err := c.in.ReadString('\n')
		replies += line
		if err != nil {
			return replies, false
		}
		if strings.HasPrefix(line, "a ") {
			return replies, strings.HasPrefix(line, "a OK")
		}
	}
}

// TestInteropPowerCutAtFirstStart cuts the power during the first run in a new
// data folder: at each system call that writes, and at times within the first
// 30 seconds. The server must start again and still have everything that it
// acknowledged. Without $CHAOSTIME, only some of these points are tested.
func TestInteropPowerCutAtFirstStart(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	disk := powercuttest.NewDisk(t)
	whole := os.Getenv("CHAOSTIME") != ""
	lives, early, mail, rebuilt := 0, 0, 0, 0
	// live runs the first server until end returns, cuts the power, and starts
	// the server again.
	live := func(t *testing.T, end func(l *life), wrap ...string) (killed bool) {
		lives++
		l := newLife(t, filepath.Join(disk.Mount, fmt.Sprint("life", lives)))
		if err := l.server.start(wrap...); err != nil {
			early++
			close(l.acted)
		} else {
			go l.act()
			end(l)
		}
		killed = !l.server.running()
		// The kernel reports success for syncs that are in progress when the
		// file system is shut down. A stopped server does not report that
		// success to clients.
		l.off.Store(true)
		l.server.signal(syscall.SIGSTOP)
		time.Sleep(time.Millisecond)
		disk.Cut()
		l.server.kill()
		<-l.acted
		disk.On()
		if err := l.server.start(); err != nil {
			t.Fatalf("after the power cut: %v\n%s", err, l.server.tail())
		}
		l.verify()
		l.server.kill()
		rebuilt += l.server.logged("damaged")
		if len(l.mail) > 0 && l.queued > 0 {
			mail++
		}
		if err := os.RemoveAll(l.data); err != nil { // the disk is small
			t.Fatal(err)
		}
		return killed
	}
	for _, call := range []string{"openat", "mkdirat", "write", "fsync", "fdatasync", "renameat", "pwrite64", "ftruncate", "fallocate"} {
		t.Run(call, func(t *testing.T) {
			n := 1
			for live(t, func(l *life) { <-l.acted }, "strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call,
				"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n)) {
				if n++; !whole {
					n = 4 * (n - 1)
				}
			}
			t.Logf("%d calls in one thread", n)
		})
	}
	times := []time.Duration{0, 100 * time.Millisecond, time.Second, 5 * time.Second}
	if whole {
		times = append(times, 300*time.Millisecond, 2*time.Second, 10*time.Second, 20*time.Second, 30*time.Second)
	}
	for _, after := range times {
		t.Run(after.String(), func(t *testing.T) {
			live(t, func(*life) { time.Sleep(after) })
		})
	}
	t.Logf("%d lives, of which %d ended before the server was ready and %d after mail; %d files were rebuilt", lives, early, mail, rebuilt)
	if early == 0 || mail == 0 {
		t.Error("the cuts missed the start or the mail")
	}
}
