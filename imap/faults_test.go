package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoplite/maildrop"
)

// subjects returns the subjects of all messages in the selected mailbox.
func (c *client) subjects() []string {
	c.t.Helper()
	var out []string
	for _, l := range c.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]") {
		if _, text, ok := strings.Cut(l, "Subject: "); ok {
			out = append(out, strings.TrimSuffix(text, "\r\n\r\n)"))
		}
	}
	return out
}

// A message moved within its mailbox is assigned a new UID and is not
// duplicated (RFC 6851, 3.3).
func TestMoveIntoTheSameMailbox(t *testing.T) {
	for _, command := range []string{"MOVE 1:2 INBOX", "UID MOVE 1:2 INBOX"} {
		d := open(t, Config{}, maildrop.Config{})
		c := d.login(t)
		for _, s := range []string{"one", "two", "three"} {
			c.put("INBOX", "", "Subject: "+s+"\n\nx\n")
		}
		c.ok("SELECT INBOX")
		c.ok("%s", command)
		if got, want := c.subjects(), []string{"three", "one", "two"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q in this session, want %q", command, got, want)
		}
		other := d.login(t)
		other.ok("SELECT INBOX")
		if got, want := other.subjects(), []string{"three", "one", "two"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q in another session, want %q", command, got, want)
		}
	}
}

// Using a UID that was expunged by another session is not an error, but using a
// message number is (RFC 9051, 6.4.9 and 7.1).
func TestFetchExpungedElsewhere(t *testing.T) {
	tests := []struct{ command, want string }{
		{"UID FETCH 1:3 BODY.PEEK[]", "OK [EXPUNGEISSUED]"},
		{"FETCH 1:3 BODY.PEEK[]", "NO [EXPUNGEISSUED]"},
		{"UID FETCH 1:3 FLAGS", "OK UID FETCH"},
	}
	for _, tc := range tests {
		d := open(t, Config{}, maildrop.Config{})
		c, other := d.login(t), d.login(t)
		for range 3 {
			c.put("INBOX", "", "Subject: x\n\ny\n")
		}
		c.ok("SELECT INBOX")
		other.ok("SELECT INBOX")
		other.ok(`STORE 2 +FLAGS.SILENT (\Deleted)`)
		other.ok("EXPUNGE")
		untagged, status := c.do("%s", tc.command)
		if !strings.HasPrefix(status, tc.want) {
			t.Errorf("%s: %s", tc.command, status)
		}
		if strings.Contains(tc.command, "BODY") {
			untagged = slices.DeleteFunc(untagged, func(l string) bool { return !strings.Contains(l, "BODY[]") })
			if len(untagged) != 2 {
				t.Errorf("%s: %d messages: %q", tc.command, len(untagged), untagged)
			}
		}
	}
}

// The largest ID command permitted by RFC 2971, about 31 KiB, is accepted
// before login, while other commands of that size end the connection.
func TestLargeID(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	var params []string
	for range 30 {
		params = append(params, `"`+strings.Repeat("n", 30)+`" "`+strings.Repeat("v", 1024)+`"`)
	}
	c := d.dial(t)
	if got := c.ok("ID (%s)", strings.Join(params, " ")); len(got) != 1 || !strings.HasPrefix(got[0], "* ID (") {
		t.Errorf("got %q", got)
	}
	c.ok("ID (%s)", strings.ReplaceAll(strings.Join(params[:4], " "), `"`+strings.Repeat("v", 1024)+`"`, "{1024+}\n"+strings.Repeat("v", 1024)))
	c.send("x LOGIN " + strings.Repeat("v", 8000) + " y\n")
	if l := c.line(); !strings.HasPrefix(l, "* BYE [TOOBIG]") {
		t.Errorf("a long LOGIN: %s", l)
	}
	c = d.dial(t)
	c.send("x ID (" + strings.Repeat(strings.Join(params, " ")+" ", 2) + ")\n")
	if l := c.line(); !strings.HasPrefix(l, "* BYE [TOOBIG]") {
		t.Errorf("twice the largest ID: %s", l)
	}
}

// A LIST pattern that cannot be a name matches nothing and is not an error.
func TestListImpossiblePattern(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for _, command := range []string{`LIST "" "&"`, `LIST "" "a&b*"`, `LIST "&x" *`, `LSUB "" "&"`, "LIST \"\" {2+}\n\xff*"} {
		if got := c.ok("%s", command); len(got) > 0 {
			t.Errorf("%s: %q", command, got)
		}
	}
	if got := c.ok(`LIST "" ("&" INBOX)`); len(got) != 1 {
		t.Errorf("the other pattern: %q", got)
	}
}

// SEARCH matches addresses with comments, quotes and spaces removed, as well as
// the fields as written.
func TestSearchNormalAddresses(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", "", "From: Ann <ann . lee (work) @ example.org>\nTo: \"bob\"@example.org,\n carol@(here)example.org\nSubject: x\n\ny\n")
	c.ok("SELECT INBOX")
	for key, want := range map[string]string{
		"FROM ann.lee@example.org": " 1", `FROM "ann . lee (work)"`: " 1", "FROM work": " 1", "TO bob@example.org": " 1", "TO carol@example.org": " 1",
		`TO "\"bob\"@example.org"`: " 1", "FROM bob": "", `FROM "lee@(work)example.org"`: "",
	} {
		if got := c.ok("SEARCH %s", key)[0]; got != "* SEARCH"+want {
			t.Errorf("%s: %s", key, got)
		}
	}
}

// A message whose file cannot be read is omitted; the other messages are
// returned, and the log names the file.
func TestUnreadableMessage(t *testing.T) {
	tests := []struct{ command, want, status string }{
		{"FETCH 1:3 BODY.PEEK[]", "BODY[]", "OK FETCH completed; 1 of the messages can't be read"},
		{"UID FETCH 1:3 (UID ENVELOPE)", "ENVELOPE", "OK UID FETCH completed; 1 of the messages can't be read"},
		{"FETCH 1:3 BODYSTRUCTURE", "BODYSTRUCTURE", "OK FETCH completed; 1 of the messages can't be read"},
		{"FETCH 1:3 BODY.PEEK[1]", "BODY[1]", "OK FETCH completed; 1 of the messages can't be read"},
		{"FETCH 2 BODY.PEEK[]", "", "NO [UNAVAILABLE] Message can't be read"},
		{"SEARCH TEXT needle", "SEARCH 1 3", "OK SEARCH completed"},
		{"SEARCH NOT TEXT other", "SEARCH 1 3", "OK SEARCH completed"},
		{"SEARCH FROM ann", "SEARCH 1 3", "OK SEARCH completed"},
		{"SORT (SUBJECT) UTF-8 ALL", "SORT 2 3 1", "OK SORT completed"},
		{"THREAD REFERENCES UTF-8 ALL", "THREAD (1)(2)(3)", "OK THREAD completed"},
	}
	for _, tc := range tests {
		d := open(t, Config{}, maildrop.Config{Path: "mail/{user}"})
		c := d.login(t)
		for _, subject := range []string{"c", "a", "b"} {
			c.put("INBOX", "", "From: ann@example.org\nSubject: "+subject+"\n\nneedle\n")
		}
		c.ok("SELECT INBOX")
		// Links are never followed, so opening one fails like a read from a
		// damaged disk.
		cur := filepath.Join(d.dir, "mail/ann/cur")
		files, err := os.ReadDir(cur)
		must(t, err)
		name := filepath.Join(cur, files[0].Name())
		for _, f := range files {
			if text, _ := os.ReadFile(filepath.Join(cur, f.Name())); strings.Contains(string(text), "Subject: a") {
				name = filepath.Join(cur, f.Name())
			}
		}
		must(t, os.Remove(name))
		must(t, os.Symlink("/etc/passwd", name))
		untagged, status := c.do("%s", tc.command)
		if !strings.HasPrefix(status, tc.status) {
			t.Errorf("%s: %s", tc.command, status)
		}
		if tc.want == "" {
			continue
		}
		untagged = slices.DeleteFunc(untagged, func(l string) bool { return !strings.Contains(l, tc.want) })
		want := 1
		if strings.Contains(tc.command, "FETCH") {
			want = 2
		}
		if len(untagged) != want {
			t.Errorf("%s: %q", tc.command, untagged)
		}
		if log := d.log.String(); !strings.Contains(log, filepath.Base(name)) {
			t.Errorf("%s: the log does not name the file:\n%s", tc.command, log)
		}
	}
}

// BINARY returns a part with transfer encoding "binary" as stored, because a
// bare LF in it is data. Messages without such a part have LF line endings on
// disk.
func TestBinaryPartKeepsItsOctets(t *testing.T) {
	const part = "--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	const text = "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n"
	tests := []struct{ name, data, body string }{
		{"bare LF", "\x00\x01\n\n\r\n\r\r\nend\n", "\x80\x01\r\n\r\n\r\n\r\r\nend\r\n"},
		{"no bare LF", "\x00a\r\nb\rc", "\x80a\r\nb\rc"},
	}
	for _, tc := range tests {
		d := open(t, Config{}, maildrop.Config{Path: "mail/{user}"})
		c := d.login(t)
		msg := text + part + tc.data + "\r\n--b--\r\n"
		fmt.Fprintf(c, "a APPEND INBOX ~{%d+}\r\n%s\r\n", len(msg), msg)
		for !strings.HasPrefix(c.line(), "a OK") {
		}
		c.ok("SELECT INBOX")
		for section, want := range map[string]string{"BINARY.PEEK[2]": tc.data, "BODY.PEEK[2]": tc.body, "BINARY.PEEK[1]": "text"} {
			if got := literalOf(t, c, section); got != want {
				t.Errorf("%s: %s is %q, want %q", tc.name, section, got, want)
			}
		}
		if got := literalOf(t, c, "BODY.PEEK[]"); len(got) != len(msg)+len(tc.body)-len(tc.data) {
			t.Errorf("%s: %d octets", tc.name, len(got))
		}
		files, err := filepath.Glob(filepath.Join(d.dir, "mail/ann/cur/*"))
		must(t, err)
		stored, err := os.ReadFile(files[0])
		must(t, err)
		if got, want := strings.Contains(string(stored), "\r\n"), tc.name == "bare LF"; got != want {
			t.Errorf("%s: CRLF on disk: %v", tc.name, got)
		}
		tmp, err := os.ReadDir(filepath.Join(d.dir, "mail/ann/tmp"))
		must(t, err)
		if len(tmp) > 0 {
			t.Errorf("%s: %v is left in tmp", tc.name, tmp)
		}
	}
}

// A file truncated on disk is served in its current form: the sizes and
// literals in a response agree, the connection remains usable, and the log
// names the file.
func TestTruncatedFile(t *testing.T) {
	for _, size := range []int64{0, 10, 30_000, 150_000} {
		d := open(t, Config{}, maildrop.Config{Path: "mail/{user}"})
		c := d.login(t)
		text := "Subject: x\n\n" + strings.Repeat("a line of text\n", 12_000)
		c.put("INBOX", "", text)
		c.ok("SELECT INBOX")
		c.ok("FETCH 1 (RFC822.SIZE BODYSTRUCTURE)")
		files, err := filepath.Glob(filepath.Join(d.dir, "mail/ann/cur/*"))
		must(t, err)
		must(t, os.Truncate(files[0], size))
		want := len(strings.ReplaceAll(text[:size], "\n", "\r\n"))
		answer := strings.Join(c.ok("FETCH 1 (RFC822.SIZE BODY.PEEK[])"), "\n")
		if !strings.Contains(answer, fmt.Sprintf("RFC822.SIZE %d BODY[] {%d}", want, want)) {
			t.Errorf("truncated to %d: %.80q, want %d", size, answer, want)
		}
		if log := d.log.String(); !strings.Contains(log, filepath.Base(files[0])) {
			t.Errorf("truncated to %d: the log does not name the file: %s", size, log)
		}
		c.ok("NOOP")
		if got := c.ok("FETCH 1 RFC822.SIZE"); got[0] != fmt.Sprintf("* 1 FETCH (RFC822.SIZE %d)", want) {
			t.Errorf("truncated to %d: later %q", size, got)
		}
	}
}
