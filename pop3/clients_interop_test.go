//go:build interop

package pop3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is the uid used for clients that refuse to run as root.
const nobody = 65534

// mails returns the messages that clients download: with dots, 8-bit text, long
// lines, no final line ending, and a size of 25 MiB.
func mails() []string {
	list := []string{
		"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\n",
		"Subject: 8-bit\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\u00fc\u00dfe aus K\u00f6ln\r\n",
		"Subject: long\r\n\r\n" + strings.Repeat("x", 990) + "\r\n",
		"Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("A", 74)+"\r\n", 25<<20/76),
	}
	for i := range 210 {
		list = append(list, fmt.Sprintf("From: bob@example.net\r\nTo: ann@localhost\r\nSubject: %d\r\nMessage-ID: <%d@example.net>\r\n\r\nNumber %d.\r\n.\r\nEnd.\r\n", i, i, i))
	}
	return list
}

// bodySums returns checksums of the bodies only, because clients add header
// fields.
func bodySums(texts []string) map[[32]byte]int {
	sums := map[[32]byte]int{}
	for _, t := range texts {
		t = strings.ReplaceAll(t, "\r\n", "\n")
		_, body, _ := strings.Cut(t, "\n\n")
		sums[sha256.Sum256([]byte(strings.TrimRight(body, "\n")))]++
	}
	return sums
}

// filesIn reads all files below dir.
func filesIn(t *testing.T, dir string) (texts []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		texts = append(texts, string(text))
		return err
	}))
	return texts
}

func sameMails(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
	g, w := bodySums(got), bodySums(want)
	for sum, n := range w {
		if g[sum] != n {
			t.Errorf("a message came %d times, want %d", g[sum], n)
		}
	}
}

// tool runs a client in dir, as the user nobody if necessary.
func tool(t *testing.T, dir string, unprivileged bool, name string, args ...string) (string, error) {
	t.Helper()
	return toolUntil(t, context.Background(), dir, unprivileged, name, args...)
}

// toolUntil is like tool but kills the client when ctx is done.
func toolUntil(t *testing.T, ctx context.Context, dir string, unprivileged bool, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: make interop installs it", name)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if unprivileged && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, nobody, nobody))
		}))
		for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
			must(t, os.Chmod(p, 0o755))
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Each client downloads all messages and leaves them on the server; a second
// run downloads nothing, and a third run a single new message.
func TestInteropClients(t *testing.T) {
	for _, client := range []struct {
		name  string
		setup func(dir, host, port string) (unprivileged bool, cmd []string)
	}{
		{"mpop", func(dir, host, port string) (bool, []string) {
			return false, []string{"mpop", "--host=" + host, "--port=" + port, "--tls=off", "--auth=user", "--user=ann", "--passwordeval=echo secret word",
				"--pipelining=on", "--keep=on", "--uidls-file=" + dir + "/uidls", "--delivery=maildir," + dir + "/mail", "--received-header=off"}
		}},
		{"mpop with SCRAM", func(dir, host, port string) (bool, []string) {
			return false, []string{"mpop", "--host=" + host, "--port=" + port, "--tls=off", "--auth=scram-sha-256", "--user=ann", "--passwordeval=echo secret word",
				"--pipelining=off", "--keep=on", "--uidls-file=" + dir + "/uidls", "--delivery=maildir," + dir + "/mail", "--received-header=off"}
		}},
		{"fetchmail", func(dir, host, port string) (bool, []string) {
			rc := fmt.Sprintf("poll %s port %s protocol pop3 uidl auth password user ann password \"secret word\" sslproto \"\" keep mda \"%s/mda\"\n", host, port, dir)
			os.WriteFile(dir+"/rc", []byte(rc), 0o600)
			os.WriteFile(dir+"/mda", []byte("#!/bin/sh\nexec cat > \"$(mktemp "+dir+"/mail/new/XXXXXXXXXX)\"\n"), 0o700)
			return true, []string{"fetchmail", "-f", dir + "/rc", "-i", dir + "/ids", "--pidfile", dir + "/pid", "--nodetach", "--nosyslog"}
		}},
		{"getmail", func(dir, host, port string) (bool, []string) {
			os.Mkdir(dir+"/getmail", 0o700)
			rc := fmt.Sprintf("[retriever]\ntype = SimplePOP3Retriever\nserver = %s\nport = %s\nusername = ann\npassword = secret word\n"+
				"[destination]\ntype = Maildir\npath = %s/mail/\n[options]\ndelete = false\nread_all = false\ndelivered_to = false\nreceived = false\n", host, port, dir)
			os.WriteFile(dir+"/getmail/getmailrc", []byte(rc), 0o600)
			return true, []string{"getmail", "--getmaildir", dir + "/getmail", "-q"}
		}},
	} {
		t.Run(client.name, func(t *testing.T) {
			d := open(t, Config{})
			want := mails()
			d.put(t, want...)
			host, port, err := net.SplitHostPort(d.addr)
			must(t, err)
			dir := t.TempDir()
			for _, sub := range []string{"", "/cur", "/new", "/tmp"} {
				must(t, os.Mkdir(dir+"/mail"+sub, 0o700))
			}
			unprivileged, cmd := client.setup(dir, host, port)
			for round := range 3 {
				if round == 2 {
					extra := "Subject: extra\r\n\r\nOne more.\r\n"
					d.put(t, extra)
					want = append(want, extra)
				}
				out, err := tool(t, dir, unprivileged, cmd[0], cmd[1:]...)
				// fetchmail exits with status 1 if there is no new mail.
				if e := (*exec.ExitError)(nil); err != nil && !(round == 1 && errors.As(err, &e) && e.ExitCode() == 1) {
					t.Fatalf("round %d: %v\n%s", round+1, err, out)
				}
				sameMails(t, filesIn(t, dir+"/mail"), want)
			}
		})
	}
}

const poplibScript = `
import poplib, ssl, sys, hashlib
host, port = sys.argv[1], int(sys.argv[2])
p = poplib.POP3(host, port, timeout=60)
ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = ssl.CERT_NONE
assert 'STLS' in p.capa()
p.stls(ctx)
assert 'STLS' not in p.capa()
p.utf8()
p.user('ann'); p.pass_('secret word')
n, size = p.stat()
uidls = [l.split()[1] for l in p.uidl()[1]]
assert len(set(uidls)) == n
total = 0
for i in range(1, n + 1):
    assert p.top(i, 0)[1][0].startswith((b'Subject', b'From'))
    resp, lines, octets = p.retr(i)
    got = sum(len(l) + 2 for l in lines)
    assert int(resp.split()[1]) == got, (i, resp, got)
    total += got
assert total == size, (total, size)
for i in range(1, 11):
    p.dele(i)
p.rset()
p.dele(1)
p.quit()
print(n)
`

func TestInteropPoplib(t *testing.T) {
	d := open(t, Config{})
	d.put(t, mails()...)
	host, port, err := net.SplitHostPort(d.addr)
	must(t, err)
	out, err := tool(t, t.TempDir(), false, "python3", "-c", poplibScript, host, port)
	if err != nil || strings.TrimSpace(out) != "214" {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := d.inbox.Sync()
	must(t, err)
	if len(s.Messages) != 213 {
		t.Errorf("%d messages left", len(s.Messages))
	}
}

func TestInteropCurl(t *testing.T) {
	d := open(t, Config{})
	want := mails()[:3]
	d.put(t, want...)
	for i, text := range want {
		for _, tls := range [][]string{nil, {"--ssl-reqd", "-k"}} {
			args := append(tls, "-sS", "-u", "ann:secret word", fmt.Sprintf("pop3://%s/%d", d.addr, i+1))
			out, err := tool(t, t.TempDir(), false, "curl", args...)
			if err != nil || out != text {
				t.Errorf("message %d with %v: %v\n%q", i+1, tls, err, out)
			}
		}
	}
}

// No mail is lost if the connection is interrupted, and the next run downloads
// the rest.
func TestInteropInterrupted(t *testing.T) {
	d := open(t, Config{})
	want := mails()
	d.put(t, want...)
	dir := t.TempDir()
	for _, sub := range []string{"", "/cur", "/new", "/tmp"} {
		must(t, os.Mkdir(dir+"/mail"+sub, 0o700))
	}
	breaker, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer breaker.Close()
	// Debian's mpop loops forever when the connection is lost, so it is killed.
	lost, kill := context.WithCancel(context.Background())
	go func() {
		cutAfter(breaker, d.addr, 10<<20)
		kill()
	}()
	run := func(ctx context.Context, addr string) (string, error) {
		host, port, err := net.SplitHostPort(addr)
		must(t, err)
		return toolUntil(t, ctx, dir, false, "mpop", "--host="+host, "--port="+port, "--tls=off", "--auth=user", "--user=ann", "--passwordeval=echo secret word",
			"--keep=off", "--uidls-file="+dir+"/uidls", "--delivery=maildir,"+dir+"/mail", "--received-header=off")
	}
	if out, err := run(lost, breaker.Addr().String()); err == nil {
		t.Fatalf("the broken connection was not noticed:\n%s", out)
	}
	if s, err := d.inbox.Sync(); err != nil || len(s.Messages) != len(want) {
		t.Errorf("%d messages left after a lost connection, %v", len(s.Messages), err)
	}
	for tries := 0; ; tries++ {
		out, err := run(context.Background(), d.addr)
		if err == nil {
			break
		}
		if tries == 20 || !strings.Contains(out, "IN-USE") {
			t.Fatalf("%v\n%s", err, out)
		}
		time.Sleep(200 * time.Millisecond)
	}
	sums := bodySums(filesIn(t, dir+"/mail"))
	for sum := range bodySums(want) {
		if sums[sum] == 0 {
			t.Error("a message was lost")
		}
	}
	if s, err := d.inbox.Sync(); err != nil || len(s.Messages) != 0 {
		t.Errorf("%d messages left at the end, %v", len(s.Messages), err)
	}
}

// cutAfter forwards one connection and closes it after n octets.
func cutAfter(l net.Listener, to string, n int) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		var b bytes.Buffer
		buf := make([]byte, 4096)
		for {
			k, err := c.Read(buf)
			if err != nil {
				return
			}
			b.Write(buf[:k])
			if _, err := b.WriteTo(up); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 32<<10)
	for n > 0 {
		k, err := up.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:k]); err != nil {
			return
		}
		n -= k
	}
}
