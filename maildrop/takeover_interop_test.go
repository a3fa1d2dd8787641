//go:build interop

package maildrop

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

// dovecot runs Debian's Dovecot on one Maildir without a server process,
// because its imap and pop3 programs can use standard input and output.
type dovecot struct {
	t         *testing.T
	dir, mail string
}

// nobody is the user that runs Dovecot's programs if the tests run as root,
// because Dovecot refuses to run as root.
const nobody = 65534

func newDovecot(t *testing.T) *dovecot {
	if _, err := os.Stat("/usr/lib/dovecot/pop3"); err != nil {
		t.Skip("Dovecot is not installed: make interop installs dovecot-imapd and dovecot-pop3d")
	}
	dir := t.TempDir()
	d := &dovecot{t, dir, filepath.Join(dir, "mail", "example.org", "ann")}
	must(t, os.MkdirAll(d.mail, 0o755))
	conf := fmt.Sprintf("base_dir = %s/run\nlog_path = %[1]s/log\nmail_location = maildir:%s\nssl = no\nfirst_valid_uid = 1\n", dir, d.mail)
	must(t, os.WriteFile(dir+"/dovecot.conf", []byte(conf), 0o644))
	return d
}

// run runs a session and returns Dovecot's output.
func (d *dovecot) run(program, script string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/lib/dovecot/"+program, "-c", d.dir+"/dovecot.conf")
	cmd.Env = append(os.Environ(), "USER=ann", "HOME="+d.dir)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(script, "\n", "\r\n"))
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		d.giveAway()
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("dovecot %s: %v\n%s", program, err, out)
	}
	if log, err := os.ReadFile(d.dir + "/log"); err == nil && regexp.MustCompile(`Warning|Error|Panic|Fatal`).Match(log) {
		d.t.Fatalf("Dovecot complains:\n%s", log)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// giveAway changes the owner of all files to nobody and makes them accessible.
func (d *dovecot) giveAway() {
	for p := d.dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		must(d.t, os.Chmod(p, 0o755))
	}
	must(d.t, filepath.WalkDir(d.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	}))
}

// picture is the state of a folder as seen by a client.
type picture struct {
	Validity, Next uint32
	Messages       map[uint32]string // sorted flags and keywords by UID
	UIDLs          []string          // UIDLs of INBOX
}

var (
	validityRE = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
	nextRE     = regexp.MustCompile(`\[UIDNEXT (\d+)\]`)
	fetchRE    = regexp.MustCompile(`\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\)`)
	uidlRE     = regexp.MustCompile(`(?m)^\d+ ([0-9a-f]{16})$`)
)

// see returns a folder's state as shown by Dovecot.
func (d *dovecot) see(folder string) picture {
	d.t.Helper()
	out := d.run("imap", fmt.Sprintf("1 SELECT %q\n2 UID FETCH 1:* (UID FLAGS)\n3 LOGOUT\n", folder))
	p := picture{Messages: map[uint32]string{}}
	p.Validity, p.Next = number(d.t, validityRE, out), number(d.t, nextRE, out)
	for _, m := range fetchRE.FindAllStringSubmatch(out, -1) {
		uid, _ := strconv.Atoi(m[1])
		p.Messages[uint32(uid)] = flagText(strings.Fields(m[2]))
	}
	if folder == "INBOX" {
		for _, m := range uidlRE.FindAllStringSubmatch(d.run("pop3", "UIDL\nQUIT\n"), -1) {
			p.UIDLs = append(p.UIDLs, m[1])
		}
	}
	return p
}

func number(t *testing.T, re *regexp.Regexp, text string) uint32 {
	t.Helper()
	m := re.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in\n%s", re, text)
	}
	n, err := strconv.ParseUint(m[1], 10, 32)
	must(t, err)
	return uint32(n)
}

func flagText(flags []string) string {
	flags = slices.DeleteFunc(flags, func(f string) bool { return f == `\Recent` })
	slices.Sort(flags)
	return strings.Join(flags, " ")
}

// ours returns a folder's state as shown by Hoplite.
func ours(t *testing.T, s *Store, folder string) picture {
	t.Helper()
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	snap, err := b.Status(folder)
	must(t, err)
	p := picture{Validity: snap.Validity, Next: snap.Next, Messages: map[uint32]string{}}
	for _, m := range snap.Messages {
		flags := snap.KeywordNames(m)
		for name, f := range map[string]Flags{`\Seen`: Seen, `\Answered`: Answered, `\Flagged`: Flagged, `\Deleted`: Deleted, `\Draft`: Draft} {
			if m.Flags&f != 0 {
				flags = append(flags, name)
			}
		}
		p.Messages[m.UID] = flagText(flags)
		if folder == "INBOX" {
			p.UIDLs = append(p.UIDLs, fmt.Sprintf("%08x%08x", m.UID, snap.Validity))
		}
	}
	return p
}

func samePicture(t *testing.T, when string, got, want picture) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", when, got, want)
	}
}

func (d *dovecot) open() *Store {
	d.t.Helper()
	s, err := Open(Config{Name: "boxes"}, Env{Data: d.dir, Log: zerolog.Nop()})
	must(d.t, err)
	return s
}

const firstSession = `1 SELECT INBOX
2 APPEND INBOX (\Seen $Label1 work) {20+}
Subject: a

body

3 APPEND INBOX {18+}
Subject: b

body
4 APPEND INBOX (\Flagged) {20+}
Subject: c

body

5 APPEND INBOX {20+}
Subject: d

body

6 CREATE Lists.Go
7 SUBSCRIBE Lists.Go
8 CREATE "Pr&APw-fung"
9 SUBSCRIBE "Pr&APw-fung"
a APPEND Lists.Go (\Answered later) {20+}
Subject: e

body

b STORE 1 +FLAGS (\Answered)
c STORE 2 +FLAGS (\Deleted)
d EXPUNGE
e COPY 1 "Pr&APw-fung"
f LOGOUT
`

// Dovecot writes a mailbox, Hoplite serves and changes it, and Dovecot serves
// it again, with and without its own indexes.
func TestInteropTakeoverAndWayBack(t *testing.T) {
	for _, drop := range []bool{false, true} {
		t.Run(fmt.Sprintf("indexes deleted %v", drop), func(t *testing.T) {
			d := newDovecot(t)
			if out := d.run("imap", firstSession); strings.Contains(out, " BAD ") || strings.Contains(out, " NO ") {
				t.Fatalf("Dovecot refused:\n%s", out)
			}
			must(t, os.WriteFile(filepath.Join(d.mail, "new", "1700000000.M1P1.mda"), []byte("Subject: mda\n\nx\n"), 0o644))
			folders := []string{"INBOX", "Lists/Go", "Prüfung"}
			disk := map[string]string{"INBOX": "INBOX", "Lists/Go": "Lists.Go", "Prüfung": "Pr&APw-fung", "Neu/Tief": "Neu.Tief"}
			before := map[string]picture{}
			for _, f := range folders {
				before[f] = d.see(disk[f])
			}
			modseq := number(t, regexp.MustCompile(`HIGHESTMODSEQ (\d+)`), d.run("imap", "1 STATUS INBOX (HIGHESTMODSEQ)\n2 LOGOUT\n"))

			s := d.open()
			for _, f := range folders {
				samePicture(t, "taken over, "+f, ours(t, s, f), before[f])
			}
			d.change(s, modseq)
			after := map[string]picture{}
			for _, f := range append(folders, "Neu/Tief") {
				after[f] = ours(t, s, f)
			}
			s.Close()

			if drop {
				must(t, filepath.WalkDir(d.mail, func(path string, e fs.DirEntry, err error) error {
					if err == nil && strings.HasPrefix(e.Name(), "dovecot.index") {
						err = os.Remove(path)
					}
					return err
				}))
			}
			for f, want := range after {
				samePicture(t, "given back, "+f, d.see(disk[f]), want)
			}
			subs := d.run("imap", "1 LSUB \"\" \"*\"\n2 LOGOUT\n")
			for _, name := range []string{"Lists.Go", "Pr&APw-fung", "Neu.Tief"} {
				if !strings.Contains(subs, name) {
					t.Errorf("subscription of %s is lost:\n%s", name, subs)
				}
			}
			s = d.open()
			defer s.Close()
			for f, want := range after {
				samePicture(t, "and once more, "+f, ours(t, s, f), want)
			}
		})
	}
}

// change changes the box in ways that are typical for clients and senders.
func (d *dovecot) change(s *Store, modseq uint32) {
	t := d.t
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	subs, err := b.Subscriptions()
	if err != nil || !slices.Equal(subs, []string{"Lists/Go", "Prüfung"}) {
		t.Errorf("subscriptions %q, %v", subs, err)
	}
	in, err := b.Folder("INBOX")
	must(t, err)
	defer in.Close()
	snap := syncNow(t, in)
	if snap.ModSeq < uint64(modseq) {
		t.Errorf("HIGHESTMODSEQ sank from %d to %d", modseq, snap.ModSeq)
	}
	_, _, err = in.Store(uids(snap)[1:2], FlagChange{Flags: Seen, Keywords: []string{"hoplite", "work"}})
	must(t, err)
	_, _, err = in.Expunge(uids(snap)[2:3])
	must(t, err)
	n, err := in.NewMessage()
	must(t, err)
	n.Flags, n.Keywords = Draft, []string{"$Label1"}
	io.WriteString(n, "Subject: ours\r\n\r\nbody\r\n")
	_, _, err = in.Append(n)
	must(t, err)
	must(t, b.Create("Neu/Tief", ""))
	must(t, b.Subscribe("Neu/Tief", true))
	deep, err := b.Folder("Neu/Tief")
	must(t, err)
	defer deep.Close()
	_, err = in.Copy(uids(snap)[:1], deep)
	must(t, err)
	tx := mail.NewTransaction(mail.Client{}, "bob@example.net")
	h, err := s.Open(context.Background(), tx)
	must(t, err)
	defer h.Close()
	must(t, h.Rcpt(context.Background(), mail.Rcpt{To: "ann@example.org"}))
	m, err := mail.NewMessage(mail.Bytes(hello))
	must(t, err)
	if o := h.Send(context.Background(), m)[0]; !o.Reply.Positive() {
		t.Errorf("delivery: %v", o.Reply)
	}
}

// Dovecot and Hoplite use one mailbox at the same time. Each sees the changes
// made by the other, and nothing is lost or duplicated.
func TestInteropBesideDovecot(t *testing.T) {
	d := newDovecot(t)
	d.run("imap", firstSession)
	s := d.open()
	defer s.Close()
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	in, err := b.Folder("INBOX")
	must(t, err)
	defer in.Close()
	for range 5 {
		d.run("imap", "1 SELECT INBOX\n2 APPEND INBOX {20+}\nSubject: d\n\nbody\n\n3 STORE 1 +FLAGS (both)\n4 LOGOUT\n")
		snap := syncNow(t, in)
		put(t, in, "Subject: h\n\nx\n", 0, "both")
		_, _, err := in.Store(uids(snap)[len(snap.Messages)-1:], FlagChange{Flags: Seen})
		must(t, err)
		samePicture(t, "both", d.see("INBOX"), ours(t, s, "INBOX"))
	}
}
