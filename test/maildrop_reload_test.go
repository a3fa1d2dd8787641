package test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reader is the connection of a mail reader, which stays open while the server
// is reloaded.
type reader struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func (s *server) reader(t *testing.T, listener string) *reader {
	t.Helper()
	r, _ := s.greeted(t, listener)
	return r
}

// greeted connects a mail reader and also returns the greeting.
func (s *server) greeted(t *testing.T, listener string) (*reader, string) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr[listener])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	r := &reader{t: t, Conn: c, lines: bufio.NewReader(c)}
	return r, r.line()
}

func (r *reader) line() string {
	r.t.Helper()
	l, err := r.lines.ReadString('\n')
	if err != nil {
		r.t.Fatalf("read: %v after %q", err, l)
	}
	return strings.TrimSpace(l)
}

// ask sends an IMAP command and returns the status line and the untagged
// responses.
func (r *reader) ask(command string) (status, untagged string) {
	r.t.Helper()
	fmt.Fprintf(r, "t %s\r\n", command)
	for {
		l := r.line()
		if rest, ok := strings.CutPrefix(l, "t "); ok {
			return rest, untagged
		}
		untagged += l + "\n"
	}
}

func (r *reader) want(command, part string) {
	r.t.Helper()
	if status, untagged := r.ask(command); !strings.Contains(status+"\n"+untagged, part) {
		r.t.Errorf("%s: %s\n%swithout %q", command, status, untagged, part)
	}
}

// Maildrops with the same location share one store, regardless of what a reload
// changes: sessions from before and after the reload use the same folders and
// are counted together. A store whose location is no longer configured is
// closed when its last session ends.
func TestReloadMaildrop(t *testing.T) {
	t.Parallel()
	with := func(box string) string {
		return `
hostname = "mail.example.org"
imap "imap" {
  listen              = ["127.0.0.1:0"]
  account_connections = 2
}
imap "other" {
  listen              = ["127.0.0.1:0"]
  account_connections = 2
}
pop3 "pop3" {
  listen = ["127.0.0.1:0"]
}
maildrop "boxes" {
` + box + "\n}\n"
	}
	s := prepare(t, with(`path = "first/{user}"`))
	s.must("secret\n", "user", "add", "ann@localhost")
	s.start()
	old := s.reader(t, "imap")
	old.want("LOGIN ann secret", "OK")
	old.want("CREATE a.b", "OK")
	old.want("SELECT INBOX", "0 EXISTS")
	pop := s.reader(t, "pop3")
	fmt.Fprint(pop, "USER ann\r\nPASS secret\r\n")
	pop.line()
	pop.line()

	s.reload(with("path = \"first/{user}\"\nseparator = \"/\""))
	fresh := s.reader(t, "other")
	fresh.want("LOGIN ann secret", "OK")
	fresh.want(`LIST "" a*`, `"/" a/b`)
	old.want(`LIST "" a*`, `"." a.b`)
	fresh.want("SELECT INBOX", "0 EXISTS")
	third := s.reader(t, "imap")
	third.want("LOGIN ann secret", "NO [LIMIT]")
	third.Close()
	second := s.reader(t, "pop3")
	fmt.Fprint(second, "USER ann\r\nPASS secret\r\n")
	second.line()
	if l := second.line(); !strings.HasPrefix(l, "-ERR [IN-USE]") {
		t.Errorf("POP3 beside a session of before the reload: %s", l)
	}
	second.Close()
	fmt.Fprint(fresh, "t APPEND INBOX {14+}\r\nSubject: one\r\n\r\n")
	for !strings.HasPrefix(fresh.line(), "t OK") {
	}
	old.want("NOOP", "1 EXISTS")
	old.want(`STORE 1 +FLAGS (\Flagged)`, `\Flagged`)
	fresh.want("NOOP", `\Flagged`)
	fresh.want("LOGOUT", "OK")

	s.reload(with(`path = "second/{user}"`))
	moved := s.reader(t, "imap")
	moved.want("LOGIN ann secret", "OK")
	moved.want("SELECT INBOX", "0 EXISTS")
	old.want("FETCH 1 FLAGS", `\Flagged`)
	s.wantOpen(t, "first", true)
	old.want("LOGOUT", "OK")
	pop.Close()
	s.wantOpen(t, "first", false)

	// Sessions from before a reload do not delay the shutdown.
	s.reload(with("path = \"second/{user}\"\njunk = \"Spam\""))
	s.cmd.Process.Signal(syscall.SIGTERM)
	for !strings.HasPrefix(moved.line(), "* BYE") {
	}
}

// wantOpen waits until the server has, or does not have, files open below a
// folder in its data folder. This can be observed only on Linux.
func (s *server) wantOpen(t *testing.T, folder string, want bool) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(s.dir, "var", folder))
	if err != nil {
		t.Fatal(err)
	}
	s.waitFor(fmt.Sprintf("files in %s open: %v", folder, want), func() bool {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.cmd.Process.Pid))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir) {
				return want
			}
		}
		return !want
	})
}
