//go:build interop

package imap

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// wiretap forwards connections to a server and records what clients send.
type wiretap struct {
	net.Listener
	mu   sync.Mutex
	sent bytes.Buffer
}

func tap(t *testing.T, addr string) *wiretap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wiretap{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.forward(c, addr)
		}
	}()
	return w
}

func (w *wiretap) forward(c net.Conn, addr string) {
	defer c.Close()
	s, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		io.Copy(s, io.TeeReader(c, w))
		s.Close()
	}()
	io.Copy(c, s)
}

// Write records data from a client.
func (w *wiretap) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent.Write(b)
}

// requested fails the test unless a client has sent the text.
func (w *wiretap) requested(t *testing.T, text string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.Contains(strings.ToUpper(w.sent.String()), text) {
		t.Errorf("the client did not send %s:\n%q", text, w.sent.String())
	}
}

func TestInteropCompressOfflineIMAP(t *testing.T) {
	needs(t, "offlineimap")
	d := filled(t, 20)
	w := tap(t, d.addr)
	_, port, _ := net.SplitHostPort(w.Addr().String())
	dir := t.TempDir()
	rc := write(t, filepath.Join(dir, "rc"), fmt.Sprintf(`[general]
accounts = a
metadata = %[1]s/meta
[Account a]
localrepository = l
remoterepository = r
[Repository l]
type = Maildir
localfolders = %[1]s/mail
[Repository r]
type = IMAP
remotehost = 127.0.0.1
remoteport = %[2]s
remoteuser = ann
remotepass = secret word
ssl = no
starttls = no
auth_mechanisms = LOGIN
usecompression = yes
`, dir, port))
	run(t, "offlineimap", "-c", rc, "-o", "-u", "quiet")
	w.requested(t, "COMPRESS DEFLATE")
	if n := len(files(t, filepath.Join(dir, "mail", "INBOX"))); n != 20 {
		t.Errorf("%d messages came down, want 20", n)
	}
}

func TestInteropCompressMutt(t *testing.T) {
	needs(t, "mutt")
	needs(t, "script")
	d := filled(t, 4)
	w := tap(t, d.addr)
	dir := t.TempDir()
	rc := write(t, filepath.Join(dir, "rc"), fmt.Sprintf(`set folder="imap://ann@%[1]s/"
set spoolfile="imap://ann@%[1]s/INBOX"
set imap_pass="secret word"
set ssl_starttls=no
set ssl_force_tls=no
set imap_authenticators="login"
set imap_deflate=yes
set confirmappend=no
set confirmcreate=no
set delete=yes
set quit=yes
set wait_key=no
push "<first-entry><flag-message><next-entry><save-message>=Lists.Go<enter><sync-mailbox><quit>"
`, w.Addr().String()))
	run(t, "script", "-qec", "mutt -n -F "+rc, filepath.Join(dir, "typescript"))
	w.requested(t, "COMPRESS DEFLATE")
	c := d.login(t)
	if got := strings.Join(c.ok("STATUS INBOX (MESSAGES)"), ""); got != "* STATUS INBOX (MESSAGES 3)" {
		t.Errorf("%s", got)
	}
	if got := strings.Join(c.ok("STATUS Lists.Go (MESSAGES)"), ""); got != "* STATUS Lists.Go (MESSAGES 1)" {
		t.Errorf("%s", got)
	}
}
