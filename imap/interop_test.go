//go:build interop

package imap

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"hoplite/maildrop"
)

// needs skips the test if a program is not installed.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (make interop installs it)", program)
	}
}

// run runs a program and fails the test if the program fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TERM=xterm")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (d *testServer) port() string {
	_, port, _ := net.SplitHostPort(d.addr)
	return port
}

// filled returns a server with n messages in INBOX and an additional folder.
func filled(t *testing.T, n int) *testServer {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for i := range n {
		c.put("INBOX", []string{"", `\Seen`, `\Flagged \Answered`}[i%3],
			fmt.Sprintf("From: ann@example.org\nTo: bob@example.org\nSubject: m%d\nMessage-ID: <%d@example.org>\n\nbody %d\n.\nä\n", i, i, i))
	}
	c.ok("CREATE Lists.Go")
	return d
}

// files lists the messages in a client's Maildir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for _, sub := range []string{"cur", "new"} {
		names, err := os.ReadDir(filepath.Join(dir, sub))
		must(t, err)
		for _, n := range names {
			out = append(out, filepath.Join(dir, sub, n.Name()))
		}
	}
	return out
}

// mbsync downloads all mail, synchronizes changes in both directions, and
// resolves a conflict.
func TestInteropMbsync(t *testing.T) {
	needs(t, "mbsync")
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for i := range 40 {
		c.put("INBOX", `\Seen`, fmt.Sprintf("Subject: m%d\nMessage-ID: <%d@x>\n\nbody %d\n", i, i, i))
	}
	c.ok("CREATE Archive")
	dir := t.TempDir()
	inbox := filepath.Join(dir, "INBOX")
	rc := write(t, filepath.Join(dir, "rc"), fmt.Sprintf(`IMAPAccount a
Host 127.0.0.1
Port %s
User ann
Pass "secret word"
SSLType None
AuthMechs LOGIN

IMAPStore far
Account a

MaildirStore near
Path %s/
Inbox %s
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`, d.port(), dir, inbox))
	run(t, "mbsync", "-q", "-c", rc, "-a")
	got := files(t, inbox)
	if len(got) != 40 {
		t.Fatalf("%d messages came down", len(got))
	}
	// Locally, one message is flagged, one deleted and one added. On the
	// server, one is deleted, one flagged, and the locally flagged message gets
	// another flag.
	flagged, base := got[0], strings.TrimSuffix(got[0], "S")
	must(t, os.Rename(flagged, base+"FS"))
	must(t, os.Rename(got[1], got[1]+"T"))
	write(t, filepath.Join(inbox, "new", "1.1.here"), "Subject: from here\n\nx\n")
	uid := regexp.MustCompile(`U=(\d+)`).FindStringSubmatch(flagged)[1]
	c.ok("SELECT INBOX")
	c.ok(`UID STORE %s +FLAGS (\Answered)`, uid)
	c.ok(`STORE 40 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	// mbsync skips a directory that changed within the current second.
	run(t, "mbsync", "-q", "-c", rc, "-a")
	c.ok("NOOP")
	both := strings.Join(c.ok("UID FETCH %s (FLAGS)", uid), "")
	if !strings.Contains(both, `\Answered`) || !strings.Contains(both, `\Flagged`) {
		t.Errorf("flags of both sides: %s", both)
	}
	if n := len(c.ok("FETCH 1:* (UID)")); n != 39 {
		t.Errorf("%d messages here, want 39", n)
	}
	if found := c.ok("SEARCH SUBJECT {9+}\nfrom here"); found[0] == "* SEARCH" {
		t.Error("the new message did not come up")
	}
	if n := len(files(t, inbox)); n != 39 {
		t.Errorf("%d messages there, want 39", n)
	}
}

func TestInteropOfflineIMAP(t *testing.T) {
	needs(t, "offlineimap")
	d := filled(t, 20)
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
`, dir, d.port()))
	run(t, "offlineimap", "-c", rc, "-o", "-u", "quiet")
	if n := len(files(t, filepath.Join(dir, "mail", "INBOX"))); n != 20 {
		t.Errorf("%d messages came down, want 20", n)
	}
}

func TestInteropCurl(t *testing.T) {
	needs(t, "curl")
	d := filled(t, 3)
	base := "imap://" + d.addr
	login := []string{"-sS", "--user", "ann:secret word"}
	if out := run(t, "curl", append(login, base+"/INBOX;UID=2")...); !strings.Contains(out, "Subject: m1\r\n") || !strings.HasSuffix(out, "ä\r\n") {
		t.Errorf("fetched %q", out)
	}
	if out := run(t, "curl", append(login, base+"/INBOX;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)")...); strings.TrimSpace(out) != "Subject: m0" {
		t.Errorf("header %q", out)
	}
	up := write(t, filepath.Join(t.TempDir(), "mail"), "Subject: up\r\n\r\nx\r\n")
	run(t, "curl", append(login, "-T", up, base+"/Lists.Go")...)
	if out := run(t, "curl", append(login, base+"/Lists.Go", "-X", "SEARCH ALL")...); !strings.Contains(out, "* SEARCH 1") {
		t.Errorf("search %q", out)
	}
	if out := run(t, "curl", append(login, "-k", "--ssl-reqd", base)...); !strings.Contains(out, "Lists.Go") {
		t.Errorf("list over STARTTLS %q", out)
	}
}

func TestInteropImaplib(t *testing.T) {
	needs(t, "python3")
	d := filled(t, 5)
	script := write(t, filepath.Join(t.TempDir(), "x.py"), `
import imaplib, ssl, sys, time
m = imaplib.IMAP4("127.0.0.1", int(sys.argv[1]))
ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = ssl.CERT_NONE
m.starttls(ctx)
m.authenticate("PLAIN", lambda c: b"\0ann\0secret word")
assert m.select("INBOX")[1] == [b"5"]
assert m.append("INBOX", "(\\Flagged kw)", imaplib.Time2Internaldate(0), "Subject: \u00e4\r\n\r\n\u00f6\r\n".encode())[0] == "OK"
assert m.noop()[0] == "OK"
assert m.search(None, "FLAGGED", "KEYWORD", "kw")[1] == [b"6"]
typ, data = m.fetch("6", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
assert b"1970" in data[0][0] and data[0][1].decode() == "Subject: \u00e4\r\n\r\n\u00f6\r\n", data
assert m.sort("(REVERSE SUBJECT)", "UTF-8", "ALL")[0] == "OK"
assert m.thread("REFERENCES", "UTF-8", "ALL")[0] == "OK"
assert m.uid("COPY", "1:3", "Lists.Go")[0] == "OK"
assert m.uid("MOVE", "6", "Lists.Go")[0] == "OK"
assert m.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
assert m.expunge()[1][-1] == b"1"
assert m.getquotaroot("INBOX")[0] == "OK"
assert m.status("Lists.Go", "(MESSAGES UNSEEN)")[1] == [b"Lists.Go (MESSAGES 4 UNSEEN 3)"], m.status("Lists.Go", "(MESSAGES UNSEEN)")
assert m.list()[0] == m.lsub()[0] == m.namespace()[0] == "OK"
assert m.unselect()[0] == m.logout()[0].replace("BYE", "OK") == "OK"
print("fine")
`)
	if out := run(t, "python3", script, d.port()); !strings.Contains(out, "fine") {
		t.Error(out)
	}
}

// go-imap's client parses every response, so it detects malformed ones.
func TestInteropGoIMAP(t *testing.T) {
	d := filled(t, 5)
	c, err := imapclient.DialInsecure(d.addr, nil)
	must(t, err)
	defer c.Close()
	must(t, c.Login("ann", "secret word").Wait())
	list, err := c.List("", "*", &goimap.ListOptions{ReturnStatus: &goimap.StatusOptions{NumMessages: true}}).Collect()
	must(t, err)
	if len(list) < 2 || list[0].Status == nil || *list[0].Status.NumMessages != 5 {
		t.Errorf("list %+v", list)
	}
	sel, err := c.Select("INBOX", nil).Wait()
	must(t, err)
	if sel.NumMessages != 5 || sel.UIDNext != 6 {
		t.Errorf("select %+v", sel)
	}
	text := "Content-Type: multipart/mixed; boundary=b\r\nSubject: parts\r\nFrom: g: a@b, c@d;\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ntwo\r\n--b--\r\n"
	app := c.Append("INBOX", int64(len(text)), nil)
	app.Write([]byte(text))
	must(t, app.Close())
	put, err := app.Wait()
	must(t, err)
	msgs, err := c.Fetch(goimap.UIDSetNum(put.UID), &goimap.FetchOptions{
		Envelope: true, Flags: true, InternalDate: true, RFC822Size: true, UID: true, BodyStructure: &goimap.FetchItemBodyStructure{Extended: true},
		BodySection:       []*goimap.FetchItemBodySection{{Peek: true}, {Part: []int{2}, Specifier: goimap.PartSpecifierHeader, Peek: true}},
		BinarySection:     []*goimap.FetchItemBinarySection{{Part: []int{1}, Peek: true}},
		BinarySectionSize: []*goimap.FetchItemBinarySectionSize{{Part: []int{1}}},
	}).Collect()
	must(t, err)
	if len(msgs) != 1 || msgs[0].Envelope.Subject != "parts" || msgs[0].RFC822Size != int64(len(text)) || msgs[0].BodyStructure.MediaType() != "multipart/mixed" ||
		string(msgs[0].BodySection[0].Bytes) != text || string(msgs[0].BinarySection[0].Bytes) != "one" {
		t.Errorf("fetched %+v", msgs)
	}
	found, err := c.Search(&goimap.SearchCriteria{Text: []string{"two"}}, &goimap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	must(t, err)
	if found.Count != 1 {
		t.Errorf("search %+v", found)
	}
	moved, err := c.Move(goimap.SeqSetNum(1, 2), "Lists.Go").Wait()
	must(t, err)
	if set := moved.DestUIDs.(goimap.UIDSet); !set.Contains(1) || !set.Contains(2) {
		t.Errorf("moved %+v", moved)
	}
	sorted, err := c.Sort(&imapclient.SortOptions{SearchCriteria: &goimap.SearchCriteria{}, SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeyArrival}}}).Wait()
	must(t, err)
	if len(sorted) != 4 {
		t.Errorf("sorted %v", sorted)
	}
	must(t, c.Logout().Wait())
}

// mutt, running in a terminal, reads a message, flags it and saves another one
// to a folder.
func TestInteropMutt(t *testing.T) {
	needs(t, "mutt")
	needs(t, "script")
	d := filled(t, 4)
	dir := t.TempDir()
	rc := write(t, filepath.Join(dir, "rc"), fmt.Sprintf(`set folder="imap://ann@%[1]s/"
set spoolfile="imap://ann@%[1]s/INBOX"
set imap_pass="secret word"
set ssl_starttls=no
set ssl_force_tls=no
set imap_authenticators="login"
set confirmappend=no
set confirmcreate=no
set delete=yes
set quit=yes
set wait_key=no
push "<first-entry><flag-message><next-entry><save-message>=Lists.Go<enter><first-entry><display-message><exit><sync-mailbox><quit>"
`, d.addr))
	run(t, "script", "-qec", "mutt -n -F "+rc, filepath.Join(dir, "typescript"))
	c := d.login(t)
	if got := strings.Join(c.ok("STATUS INBOX (MESSAGES)"), ""); got != "* STATUS INBOX (MESSAGES 3)" {
		t.Errorf("%s", got)
	}
	if got := strings.Join(c.ok("STATUS Lists.Go (MESSAGES)"), ""); got != "* STATUS Lists.Go (MESSAGES 1)" {
		t.Errorf("%s", got)
	}
	c.ok("SELECT INBOX")
	if got := c.ok("SEARCH FLAGGED SEEN"); !strings.HasPrefix(got[0], "* SEARCH 1") {
		t.Errorf("%q", got)
	}
}

// TestInteropDovecot runs the same session with Dovecot and with Hoplite, and
// compares the responses. The script marks intended differences with "~".
func TestInteropDovecot(t *testing.T) {
	needs(t, "dovecot")
	if os.Getuid() != 0 {
		t.Skip("Dovecot wants to be started by root")
	}
	other := dovecot(t)
	d := open(t, Config{}, maildrop.Config{})
	script, err := os.ReadFile("testdata/dovecot.txt")
	must(t, err)
	ours, theirs := d.dial(t), &client{t: t}
	theirs.dialTo(other)
	ours.ok(`LOGIN ann "secret word"`)
	theirs.ok("LOGIN ann secret")
	n := 0
	for line := range strings.Lines(string(script)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		cmd, differs := strings.CutPrefix(line, "~ ")
		cmd = sized(strings.ReplaceAll(cmd, `\n`, "\n"))
		n++
		a, b := answer(ours, cmd), answer(theirs, cmd)
		if same := slices.Equal(a, b); same == differs {
			t.Errorf("%s\nours:\n%s\nDovecot's:\n%s", line, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	}
	t.Logf("%d commands", n)
}

// answer returns the response to a command, normalised for comparison.
func answer(c *client, cmd string) []string {
	untagged, status := c.do("%s", cmd)
	var out []string
	for _, l := range untagged {
		if l = normalised(l); l != "" {
			out = append(out, l)
		}
	}
	// Servers may choose the order of list entries and message updates.
	if verb, _, _ := strings.Cut(cmd, " "); verb == "LIST" || verb == "LSUB" {
		slices.Sort(out)
	}
	word, rest, _ := strings.Cut(status, " ")
	if code := regexp.MustCompile(`^\[(READ-ONLY|READ-WRITE|TRYCREATE|APPENDUID|COPYUID|MODIFIED)[^]]*\]`).FindString(rest); code != "" {
		word += " " + normalised(code)
	}
	return append(out, word)
}

var unlike = []struct{ re, with string }{
	{`^\* (OK|NO) (\[[A-Z-]+( [^]]*)?\])?.*`, "* $1 $2"},
	{`(UIDVALIDITY|APPENDUID|COPYUID) \d+`, "$1 N"},
	{`HIGHESTMODSEQ \d+`, "HIGHESTMODSEQ N"},
	{`MODSEQ \(\d+\)`, "MODSEQ (N)"},
	{`^\* OK \[MAILBOXID.*`, ""},
	{`^\* OK \[CAPABILITY.*`, ""},
}

func normalised(l string) string {
	for _, u := range unlike {
		l = regexp.MustCompile(u.re).ReplaceAllString(l, u.with)
	}
	return strings.ToLower(l)
}

func (c *client) dialTo(addr string) {
	nc, err := net.Dial("tcp", addr)
	must(c.t, err)
	c.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	c.Conn = nc
	c.r = newReader(nc)
	c.line()
}

// dovecot starts a private Dovecot instance and returns its address.
func dovecot(t *testing.T) string {
	dir, err := os.MkdirTemp("", "hoplite-dovecot-")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	const uid = 20001
	for _, sub := range []string{"mail", "home", "run"} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	must(t, os.Chown(filepath.Join(dir, "mail"), uid, uid))
	must(t, os.Chown(filepath.Join(dir, "home"), uid, uid))
	conf := write(t, filepath.Join(dir, "dovecot.conf"), fmt.Sprintf(`base_dir = %[1]s/run
log_path = %[1]s/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=%[2]d gid=%[2]d home=%[1]s/home/%%u mail=maildir:%[1]s/mail/%%u
}
mail_attribute_dict = file:%[1]s/home/attributes
protocol imap {
  imap_metadata = yes
}
service imap-login {
  inet_listener imap {
    port = %[3]s
  }
  inet_listener imaps {
    port = 0
  }
}
`, dir, uid, port))
	cmd := exec.Command("dovecot", "-F", "-c", conf)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		os.RemoveAll(dir)
	})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr
		}
	}
	t.Fatalf("Dovecot does not start: %s", out.String())
	return ""
}
