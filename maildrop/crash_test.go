package maildrop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

// crashDir names the environment variable that makes the test binary run as the
// process to be killed; crashUnsynced names the one that makes that process
// sync nothing.
const (
	crashDir      = "HOPLITE_CRASH_DIR"
	crashUnsynced = "HOPLITE_CRASH_UNSYNCED"
)

// TestCrashChild changes a mailbox until it is killed. It logs each change to
// standard output after making it; "x" logs an expunge before it is made.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("only run by TestKill")
	}
	if os.Getenv(crashUnsynced) != "" {
		deliverUnsynced(t, dir)
	}
	s, err := Open(Config{Name: "boxes"}, Env{Data: dir, Log: zerolog.Nop()})
	must(t, err)
	b, err := s.Box("ann@example.org")
	must(t, err)
	f, err := b.Folder("INBOX")
	must(t, err)
	for i := 0; ; i++ {
		snap := syncNow(t, f)
		for _, m := range snap.Messages[max(0, len(snap.Messages)-5):] {
			fmt.Printf("U %d %d %s\n", snap.Validity, m.UID, m.Base())
		}
		switch i % 4 {
		case 0, 1:
			tx := mail.NewTransaction(mail.Client{}, "")
			out := send(t, s, tx, hello, mail.Rcpt{To: "ann@example.org"})
			fmt.Printf("D %s\n", out[0].RemoteID)
		case 2:
			m := put(t, f, hello, Flagged, "kept")
			fmt.Printf("U %d %d %s\nK %s\n", snap.Validity, m.UID, m.Base(), m.Base())
		case 3:
			all := uids(snap)
			// The other changes sync the disk as well, so most power failures
			// must occur among changes of flags alone.
			for j := range 10 {
				flags := []Flags{Flagged, Flagged | Seen, Flagged | Answered, Flagged | Draft}[j%4]
				fmt.Printf("f %d\n", flags)
				_, stored, err := f.Store(all[max(0, len(all)-5):], FlagChange{Mode: Replace, Flags: flags, Keywords: []string{"kept"}})
				must(t, err)
				noteFlags(stored)
				time.Sleep(time.Millisecond)
			}
			// Most messages are expunged again, so that the uidlist is
			// rewritten occasionally.
			for len(all) > 10 {
				fmt.Printf("x %d\n", all[0])
				_, left, err := f.Expunge(all[:1])
				must(t, err)
				fmt.Printf("X %d %d\n", all[0], left.ModSeq)
				all = all[1:]
			}
		}
	}
}

// noteFlags logs the flags of the last messages, which must survive.
func noteFlags(s *Snapshot) {
	for _, m := range s.Messages[max(0, len(s.Messages)-5):] {
		fmt.Printf("F %d %d %d\n", m.UID, m.Flags, s.ModSeq)
	}
}

// deliverUnsynced stores messages like a server that never syncs.
func deliverUnsynced(t *testing.T, dir string) {
	sub := filepath.Join(dir, "mail/example.org/ann/new")
	must(t, os.MkdirAll(sub, 0o700))
	for i := 0; ; i++ {
		name := fmt.Sprintf("17000%05d.M1P1.host", i)
		must(t, os.WriteFile(filepath.Join(sub, name), []byte(hello), 0o600))
		fmt.Printf("D %s\n", name)
		time.Sleep(time.Millisecond)
	}
}

// ledger is the combined log of the killed processes.
type ledger struct {
	validity string
	stored   map[string]bool   // base names that must exist
	uid      map[string]uint32 // by base name
	base     map[uint32]string
	leaving  map[uint32]bool
	labelled map[string]bool  // base names with a flag and a keyword
	expunged map[uint32]bool  // UIDs that must no longer exist
	flags    map[uint32]Flags // of the messages changed last
	next     Flags            // those that were about to be stored
	modseq   uint64           // the highest one shown
}

func newLedger() *ledger {
	return &ledger{stored: map[string]bool{}, uid: map[string]uint32{}, base: map[uint32]string{}, leaving: map[uint32]bool{}, labelled: map[string]bool{},
		expunged: map[uint32]bool{}, flags: map[uint32]Flags{}}
}

// live runs a process in dir and kills it after a short time. It calls before
// immediately before killing the process.
func (l *ledger) live(t *testing.T, dir string, before func(), env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(append(os.Environ(), crashDir+"="+dir), env...)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		before()
		cmd.Process.Kill()
	}()
	l.read(t, out)
	cmd.Wait()
	<-killed
}

func (l *ledger) read(t *testing.T, r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) == 2 && f[0] == "D":
			l.stored[f[1]] = true
		case len(f) == 2 && f[0] == "x":
			l.leaving[uint32(logged(f[1]))] = true
		case len(f) == 2 && f[0] == "f":
			l.next = Flags(logged(f[1]))
		case len(f) == 3 && f[0] == "X":
			l.expunged[uint32(logged(f[1]))] = true
			l.modseq = max(l.modseq, logged(f[2]))
		case len(f) == 4 && f[0] == "F":
			if len(l.flags) == 5 {
				clear(l.flags)
			}
			l.flags[uint32(logged(f[1]))] = Flags(logged(f[2]))
			l.modseq = max(l.modseq, logged(f[3]))
		case len(f) == 2 && f[0] == "K":
			l.labelled[f[1]] = true
		case len(f) == 4 && f[0] == "U":
			l.seen(t, f[1], uint32(logged(f[2])), f[3])
			l.stored[f[3]] = true
		}
	}
}

// logged returns the value of a logged number.
func logged(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// seen records the UID of a message, which must never change.
func (l *ledger) seen(t *testing.T, validity string, uid uint32, base string) {
	if l.validity == "" {
		l.validity = validity
	}
	if l.validity != validity {
		t.Errorf("UIDVALIDITY changed from %s to %s", l.validity, validity)
	}
	if was, ok := l.uid[base]; ok && was != uid && !l.leaving[was] {
		t.Errorf("message %s had UID %d, now %d", base, was, uid)
	}
	if was, ok := l.base[uid]; ok && was != base {
		t.Errorf("UID %d was %s, now %s", uid, was, base)
	}
	l.uid[base], l.base[uid] = uid, base
}

// A process may be killed during a delivery, append, flag change, expunge or
// uidlist rewrite. Nothing that it acknowledged may be lost, and no UID may
// change or be reused.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes for some seconds")
	}
	dir := t.TempDir()
	l := newLedger()
	for range 8 {
		l.live(t, dir, func() {})
		if lost := l.verify(t, dir); lost > 0 {
			t.Errorf("%d messages are lost", lost)
		}
	}
	if len(l.uid) < 20 {
		t.Logf("only %d messages were stored on this machine", len(l.uid))
	}
}

// verify compares a mailbox with the ledger and returns the number of lost
// messages.
func (l *ledger) verify(t *testing.T, dir string) (lost int) {
	t.Helper()
	snap := reopened(t, Env{Data: dir, Log: zerolog.Nop()}, func(b *Box) {
		if found, err := b.Check(context.Background()); err != nil || len(found) > 0 {
			t.Errorf("after a crash: %+v, %v", found, err)
		}
	})
	there := map[string]bool{}
	for _, m := range snap.Messages {
		l.seen(t, fmt.Sprint(snap.Validity), m.UID, m.Base())
		there[m.Base()] = true
		if l.labelled[m.Base()] && (m.Flags&Flagged == 0 || !slices.Equal(snap.KeywordNames(m), []string{"kept"})) {
			t.Errorf("message %d has flags %v and keywords %q", m.UID, m.Flags, snap.KeywordNames(m))
		}
		if l.expunged[m.UID] {
			t.Errorf("message %d was expunged and exists again", m.UID)
		}
		if seen, ok := l.flags[m.UID]; ok && m.Flags != seen && m.Flags != l.next {
			t.Errorf("message %d has flags %v, want %v", m.UID, m.Flags, seen)
		}
		if size := int64(len(hello)); m.Wire < size-40 {
			t.Errorf("message %d has %d octets", m.UID, m.Wire)
		}
	}
	for base := range l.stored {
		if !there[base] && !l.leaving[l.uid[base]] {
			lost++
		}
	}
	if snap.ModSeq < l.modseq {
		t.Errorf("modification sequence %d, %d was shown before", snap.ModSeq, l.modseq)
	}
	clear(l.flags)
	// The index must agree with the Maildir.
	plain := reopened(t, Env{Data: dir, Log: zerolog.Nop(), NoIndex: true}, func(*Box) {})
	same := slices.EqualFunc(snap.Messages, plain.Messages, func(a, b *Message) bool {
		return a.UID == b.UID && a.File == b.File && a.Flags == b.Flags && a.Keywords == b.Keywords && a.Size == b.Size
	})
	if !same || plain.Validity != snap.Validity || plain.Next != snap.Next {
		t.Errorf("with the index %d messages, UIDNEXT %d; without it %d, %d", len(snap.Messages), snap.Next, len(plain.Messages), plain.Next)
	}
	return lost
}

// reopened opens the mailbox again.
func reopened(t *testing.T, env Env, look func(*Box)) *Snapshot {
	t.Helper()
	s, err := Open(Config{Name: "boxes"}, env)
	must(t, err)
	defer s.Close()
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	f, err := b.Folder("INBOX")
	must(t, err)
	defer f.Close()
	snap := syncNow(t, f)
	look(b)
	return snap
}
