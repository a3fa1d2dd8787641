//go:build interop

package test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stressTime is how long the clients run, unless HOPLITE_STRESS sets another
// time.
const stressTime = 60 * time.Second

// mailOwner owns the mailbox. Both servers run as this user, which need not
// exist.
const mailOwner = 20001

var stressFolders = []string{"INBOX", "one", "two"}

// TestInteropMailboxStress runs ten clients that send random commands to two
// servers, Hoplite and Dovecot, sharing one mailbox, and repeatedly kills both
// servers. No acknowledged message is lost, no message changes, no UID belongs
// to two messages, and the servers report no errors.
func TestInteropMailboxStress(t *testing.T) {
	needDovecot(t)
	length := stressTime
	if v := os.Getenv("HOPLITE_STRESS"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	s := newStress(t)
	for _, folder := range stressFolders[1:] {
		s.must(t, s.ours, "CREATE "+folder)
	}
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	for i := range 10 {
		rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(i)))
		wg.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				s.session(t, rnd, end)
			}
		})
	}
	for time.Now().Before(end.Add(-8*time.Second)) && !t.Failed() {
		time.Sleep(5 * time.Second)
		s.killOurs(t)
		s.killTheirs(t)
	}
	wg.Wait()
	s.compare(t)
	t.Logf("%s; %s", &s.counts, &s.ledger)
}

// counts holds the numbers of events during the test.
type counts struct{ commands, kills, theirKills, refused atomic.Int64 }

func (c *counts) String() string {
	return fmt.Sprintf("%d commands, %d kills of Hoplite, %d of Dovecot's processes, %d commands refused by Dovecot",
		c.commands.Load(), c.kills.Load(), c.theirKills.Load(), c.refused.Load())
}

// stress holds the mailbox and its servers.
type stress struct {
	counts counts
	ledger ledger
	dir    string

	ours, theirs endpoint
	process      *exec.Cmd // Hoplite
	dovecot      *exec.Cmd
}

// needDovecot skips the test if Dovecot cannot be started.
func needDovecot(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("dovecot"); err != nil || os.Getuid() != 0 {
		t.Skip("needs Dovecot, which has to be started by root")
	}
}

// endpoint is the address of a server, with the name to log in with.
type endpoint struct{ name, addr, user string }

func newStress(t *testing.T) *stress {
	dir, err := os.MkdirTemp("", "hoplite-stress-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &stress{dir: dir, ours: endpoint{"Hoplite", freeAddr(t), "ann@localhost"}, theirs: endpoint{"Dovecot", freeAddr(t), "ann"}}
	s.write(t, "relay.hcl", fmt.Sprintf(`hostname = "mail.example.org"
data = "%[1]s/var"
imap "imap" {
  listen = ["%[2]s"]
}
maildrop "boxes" {
  path = "%[1]s/mail/{user}"
}
log {
  level = "debug"
}
`, dir, s.ours.addr))
	_, port, _ := net.SplitHostPort(s.theirs.addr)
	s.write(t, "dovecot.conf", fmt.Sprintf(`base_dir = %[1]s/run
log_path = %[1]s/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_max_userip_connections = 100
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=%[2]d gid=%[2]d home=%[1]s/home mail=maildir:%[1]s/mail/%%u
}
service imap-login {
  inet_listener imap {
    port = %[3]s
  }
  inet_listener imaps {
    port = 0
  }
}
`, dir, mailOwner, port))
	for _, sub := range []string{"", "mail", "home", "run", "var"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, sub), mailOwner, mailOwner); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "hoplite") // a path from which the owner of the mail can run it
	if text, err := os.ReadFile(program(t)); err != nil || os.WriteFile(bin, text, 0o755) != nil {
		t.Fatal(err)
	}
	add := s.asOwner(bin, "user", "add", "-c", filepath.Join(dir, "relay.hcl"), "ann@localhost")
	add.Stdin = strings.NewReader("secret\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("user add: %v\n%s", err, out)
	}
	s.startOurs(t)
	s.dovecot = exec.Command("dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if err := s.dovecot.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.dovecot.Process.Signal(os.Interrupt)
		s.dovecot.Wait()
		s.process.Process.Signal(syscall.SIGTERM)
		s.process.Wait()
	})
	return s
}

func (s *stress) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *stress) asOwner(bin string, args ...string) *exec.Cmd {
	cmd := exec.Command(bin, args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: mailOwner, Gid: mailOwner}}
	return cmd
}

func (s *stress) startOurs(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "hoplite.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.process = s.asOwner(filepath.Join(s.dir, "hoplite"), "serve", "-c", filepath.Join(s.dir, "relay.hcl"))
	s.process.Stderr = log
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *stress) killOurs(t *testing.T) {
	s.process.Process.Kill()
	s.process.Wait()
	s.counts.kills.Add(1)
	s.startOurs(t)
}

// killTheirs kills the processes that serve Dovecot's clients. They are
// children of its main process.
func (s *stress) killTheirs(t *testing.T) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		// pid (comm) state ppid
		f := strings.Fields(string(text))
		if len(f) < 4 || f[1] != "(imap)" || f[3] != strconv.Itoa(s.dovecot.Process.Pid) {
			continue
		}
		if pid, err := strconv.Atoi(f[0]); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			s.counts.theirKills.Add(1)
		}
	}
}

// ledger records the actions of the clients, and the results that they have
// received from the servers.
type ledger struct {
	mu       sync.Mutex
	messages map[string]*entry
	uids     map[string]string // "folder validity uid" -> id
}

// entry is the record of a message, which is identified by the id in its
// header.
type entry struct {
	sum      [sha256.Size]byte
	stored   bool // the server has acknowledged it
	expunged bool // a client tried to expunge a copy of it
}

func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	stored, expunged := 0, 0
	for _, m := range l.messages {
		if m.stored {
			stored++
		}
		if m.expunged {
			expunged++
		}
	}
	return fmt.Sprintf("%d messages sent, %d acknowledged, %d expunged, %d UIDs seen", len(l.messages), stored, expunged, len(l.uids))
}

// add records a message that is about to be stored.
func (l *ledger) add(id, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.messages == nil {
		l.messages, l.uids = map[string]*entry{}, map[string]string{}
	}
	l.messages[id] = &entry{sum: sha256.Sum256([]byte(text))}
}

func (l *ledger) change(id string, do func(*entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.messages[id]; m != nil {
		do(m)
	}
}

var idRE = regexp.MustCompile(`X-Id: (\S+)`)

// check compares a message that a server returned with what was sent, and
// returns its id.
func (l *ledger) check(folder, validity, uid string, text []byte) (id string, err error) {
	m := idRE.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("message %s of %s has no id: %.100q", uid, folder, text)
	}
	id = string(m[1])
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.messages[id]
	if e == nil {
		return "", fmt.Errorf("message %s of %s was never sent", id, folder)
	}
	if sha256.Sum256(text) != e.sum {
		return "", fmt.Errorf("message %s, UID %s of %s, has changed", id, uid, folder)
	}
	key := folder + " " + validity + " " + uid
	if was, ok := l.uids[key]; ok && was != id {
		return "", fmt.Errorf("UID %s of %s belongs to %s and to %s", uid, folder, was, id)
	}
	l.uids[key] = id
	return id, nil
}

// connection is a client's connection.
type connection struct {
	net.Conn
	r    *bufio.Reader
	tags int
}

// run runs a command. Everything after the first line is sent after a
// continuation request.
func (c *connection) run(command string) (untagged []string, status string, err error) {
	c.tags++
	tag := fmt.Sprintf("t%d ", c.tags)
	c.SetDeadline(time.Now().Add(2 * patience))
	first, rest, more := strings.Cut(command, "\n")
	if _, err := fmt.Fprintf(c, "%s%s\r\n", tag, first); err != nil {
		return nil, "", err
	}
	for {
		line, err := c.response()
		switch {
		case err != nil:
			return nil, "", err
		case strings.HasPrefix(line, tag):
			return untagged, strings.TrimPrefix(line, tag), nil
		case line[0] == '+' && more:
			if _, err := io.WriteString(c, rest+"\r\n"); err != nil {
				return nil, "", err
			}
		default:
			untagged = append(untagged, line)
		}
	}
}

var literalRE = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// response reads a response including its literals.
func (c *connection) response() (string, error) {
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		all.WriteString(line)
		m := literalRE.FindStringSubmatch(line)
		if m == nil {
			return strings.TrimSuffix(all.String(), "\r\n"), nil
		}
		n, _ := strconv.Atoi(m[1])
		if _, err := io.CopyN(&all, c.r, int64(n)); err != nil {
			return "", err
		}
	}
}

// open connects and logs in. It retries while the server is starting.
func (s *stress) open(at endpoint, until time.Time) (*connection, error) {
	for {
		nc, err := net.Dial("tcp", at.addr)
		if err == nil {
			c := &connection{Conn: nc, r: bufio.NewReader(nc)}
			var status string
			if _, err = c.response(); err == nil {
				if _, status, err = c.run("LOGIN " + at.user + " secret"); err == nil && strings.HasPrefix(status, "OK") {
					return c, nil
				}
			}
			nc.Close()
			err = fmt.Errorf("login to %s: %q, %v", at.name, status, err)
		}
		if time.Now().After(until) {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// must connects and runs one command that must succeed.
func (s *stress) must(t *testing.T, at endpoint, command string) []string {
	t.Helper()
	c, err := s.open(at, time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.must(t, command)
}

// must runs one command that must succeed.
func (c *connection) must(t *testing.T, command string) []string {
	t.Helper()
	untagged, status, err := c.run(command)
	if err != nil || !strings.HasPrefix(status, "OK") {
		t.Fatalf("%s at %s: %s, %v", command, c.RemoteAddr(), status, err)
	}
	return untagged
}

// session is a client that connects to one of the servers and runs commands for a
// while, or until the server is killed.
func (s *stress) session(t *testing.T, rnd *rand.Rand, end time.Time) {
	at := s.ours
	if rnd.IntN(2) == 0 {
		at = s.theirs
	}
	c, err := s.open(at, time.Now().Add(patience))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	a := &actor{stress: s, connection: c, at: at, rnd: rnd}
	for range 20 + rnd.IntN(100) {
		if time.Now().After(end) {
			return
		}
		switch err := a.step(); {
		case err == nil:
		case err == errLost:
			return
		default:
			t.Errorf("%s: %v", at.name, err)
			return
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// badLog matches lines that neither server may log.
var badLog = regexp.MustCompile(`(?m)^.*(UIDs not ordered|Panic|"level":"(error|panic|fatal)").*$`)

// Dovecot warns about a second UID for the same file. Dovecot itself assigns
// most of them, also without another server, because a reading of a directory
// misses files that are being renamed.
var (
	secondUID = regexp.MustCompile(`(\S+)/dovecot-uidlist: Duplicate file entry at line \d+: (\S+) \(uid \d+ -> (\d+)\)`)
	newUID    = regexp.MustCompile(`"folder":"([^"]+)","uid":(\d+),"file":"([^"]+)"`)
)

// secondUIDs returns the number of second UIDs in Dovecot's log and those that
// Hoplite assigned according to its log.
func secondUIDs(ours, theirs string) (all int, wrong []string) {
	assigned := map[string]bool{}
	for _, m := range newUID.FindAllStringSubmatch(ours, -1) {
		assigned[m[1]+" "+m[3]+" "+m[2]] = true
	}
	for _, m := range secondUID.FindAllStringSubmatch(theirs, -1) {
		if all++; assigned[m[1]+" "+m[2]+" "+m[3]] {
			wrong = append(wrong, m[0])
		}
	}
	return all, wrong
}

// compare checks at the end that both servers return the same messages, and
// that none is missing.
func (s *stress) compare(t *testing.T) {
	found := map[string]bool{}
	for _, folder := range stressFolders {
		ours, theirs := s.see(t, s.ours, folder, found), s.see(t, s.theirs, folder, found)
		if ours != theirs {
			t.Errorf("%s differs:\nHoplite:\n%s\nDovecot:\n%s", folder, ours, theirs)
		}
	}
	for id, m := range s.ledger.messages {
		if m.stored && !m.expunged && !found[id] {
			t.Errorf("message %s is lost; its text is in %q", id, s.files(id))
		}
	}
	logs := map[string]string{}
	for _, name := range []string{"hoplite.log", "dovecot.log"} {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		logs[name] = string(text)
		if bad := badLog.FindAll(text, 10); len(bad) > 0 {
			t.Errorf("%s:\n%s", name, bytes.Join(bad, []byte("\n")))
		}
	}
	all, wrong := secondUIDs(logs["hoplite.log"], logs["dovecot.log"])
	for _, line := range wrong {
		t.Errorf("Hoplite assigned the second UID: %s", line)
	}
	t.Logf("%d second UIDs, %d of them assigned by Hoplite", all, len(wrong))
}

// files returns the files that contain a message, wherever they are.
func (s *stress) files(id string) (found []string) {
	filepath.WalkDir(filepath.Join(s.dir, "mail"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		text, err := os.ReadFile(path)
		if m := idRE.FindSubmatch(text); err == nil && m != nil && string(m[1]) == id {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// see returns the UIDs, flags and ids in a folder, and checks the messages.
func (s *stress) see(t *testing.T, at endpoint, folder string, found map[string]bool) string {
	t.Helper()
	c, err := s.open(at, time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := &actor{stress: s, connection: c, at: at}
	if err := a.use(folder); err != nil {
		t.Fatal(err)
	}
	untagged, status, err := c.run("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
	if err != nil || !strings.HasPrefix(status, "OK") {
		t.Fatalf("%s: %s, %v", at.name, status, err)
	}
	var all strings.Builder
	for _, line := range untagged {
		m, ok := parseFetched(line)
		if !ok {
			continue
		}
		id, err := s.ledger.check(folder, a.validity, m.uid, []byte(m.text))
		if err != nil {
			t.Errorf("%s: %v", at.name, err)
			continue
		}
		found[id] = true
		fmt.Fprintln(&all, m.uid, id, m.flags)
	}
	return all.String()
}
