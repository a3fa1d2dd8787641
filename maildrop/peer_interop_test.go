//go:build interop

package maildrop

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"hoplite/maildrop/maildir"
)

// besideDir names the environment variable that makes the test binary run as
// the server that shares the Maildir with Dovecot.
const besideDir = "HOPLITE_BESIDE_DIR"

// besideTime is the time for which both servers use the folder.
const besideTime = 8 * time.Second

// TestBesideChild appends, moves, flags and expunges messages in a folder that
// Dovecot uses at the same time, and checks that no UID is reassigned to
// another message.
func TestBesideChild(t *testing.T) {
	dir := os.Getenv(besideDir)
	if dir == "" {
		t.Skip("only run by TestInteropTwoServers")
	}
	s := (&dovecot{t: t, dir: dir}).open()
	defer s.Close()
	f := inboxOf(t, s)
	shown := map[uint32]string{}
	for end, i := time.Now().Add(besideTime), 0; time.Now().Before(end); i++ {
		n, err := f.NewMessage()
		must(t, err)
		io.WriteString(n, "Subject: ours\n\nx\n")
		_, snap, err := f.Append(n)
		must(t, err)
		noteUIDs(t, shown, snap)
		uid := []uint32{snap.Messages[rand.IntN(len(snap.Messages))].UID}
		switch i % 4 {
		case 0:
			_, snap, err = f.Expunge(uid)
		case 1:
			var c Copied
			c, err = f.Move(uid, f)
			snap = c.Source
		default:
			_, snap, err = f.Store(uid, FlagChange{Mode: Mode(i % 2), Flags: Flagged})
		}
		must(t, err)
		noteUIDs(t, shown, snap)
	}
	f.Close()
	f.box.Close()
}

// Dovecot's IMAP server and delivery agent use a folder at the same time as
// Hoplite. No UID is assigned twice or reassigned to another message, and
// Dovecot does not complain.
func TestInteropTwoServers(t *testing.T) {
	d := newDovecot(t)
	d.run("imap", firstSession)
	exe := filepath.Join(d.dir, "beside.test")
	text, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(exe, text, 0o755))
	if os.Geteuid() == 0 {
		d.giveAway()
	}
	child := d.command(exe, "-test.run=^TestBesideChild$")
	child.Env = append(child.Env, besideDir+"="+d.dir)
	ended := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = child.CombinedOutput()
		ended <- err
	}()
	appends := strings.Repeat("2 APPEND INBOX {20+}\nSubject: d\n\nbody\n\n3 STORE 1:3 +FLAGS (\\Seen)\n4 STORE 1:3 -FLAGS (\\Seen)\n", 20)
	for n := 0; ; n++ {
		d.play(d.command("/usr/lib/dovecot/dovecot-lda", "-c", d.dir+"/dovecot.conf"), "Subject: lda\n\nx\n")
		d.play(d.command("/usr/lib/dovecot/imap", "-c", d.dir+"/dovecot.conf"), "1 SELECT INBOX\n"+appends+"5 LOGOUT\n")
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("our server: %v\n%s", err, out)
			}
			t.Logf("%d rounds of Dovecot", n)
			d.compareAfterwards()
			return
		default:
		}
	}
}

// command prepares a program to run as the owner of the mail.
func (d *dovecot) command(path string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	d.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "USER=ann", "HOME="+d.dir)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// play runs a program with the given input and fails the test if Dovecot
// complains.
func (d *dovecot) play(cmd *exec.Cmd, input string) {
	d.t.Helper()
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(input, "\n", "\r\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", cmd.Path, err, out)
	}
	if log, err := os.ReadFile(d.dir + "/log"); err == nil && regexp.MustCompile(`Warning|Error|Panic|Fatal`).Match(log) {
		d.t.Fatalf("Dovecot complains:\n%s", log)
	}
}

// compareAfterwards checks the uidlist and that both servers see the same
// state.
func (d *dovecot) compareAfterwards() {
	d.t.Helper()
	theirs := d.see("INBOX")
	s := d.open()
	defer s.Close()
	samePicture(d.t, "afterwards", theirs, ours(d.t, s, "INBOX"))
	text := read(d.t, filepath.Join(d.mail, maildir.UIDListFile))
	list, err := maildir.ParseUIDList(string(text))
	if err != nil {
		d.t.Fatalf("the uidlist: %v", err)
	}
	bases := map[string]bool{}
	for _, e := range list.Entries {
		if bases[e.Base] {
			d.t.Errorf("%s has two UIDs", e.Base)
		}
		bases[e.Base] = true
	}
	d.t.Log(fmt.Sprintf("%d messages, %d lines", len(theirs.Messages), len(list.Entries)))
}
