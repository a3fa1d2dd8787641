package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestUIDValidityAfterAccidents assigns a UIDVALIDITY in boxes that crashes,
// copies and other programs leave behind. A value used twice makes a client show
// the wrong messages.
func TestUIDValidityAfterAccidents(t *testing.T) {
	const value, marker = uidValidityFile, uidValidityFile + "."
	for _, c := range []struct {
		name  string
		files map[string]string
		want  uint32 // 0 means the time
	}{
		{"a new box", nil, 0},
		{"as Dovecot leaves it", map[string]string{value: "70000000", marker + "70000000": ""}, 0x70000001},
		{"a crash before the value was written", map[string]string{value: "70000000", marker + "70000001": ""}, 0x70000002},
		{"a marker restored from an older copy", map[string]string{value: "70000009", marker + "70000005": ""}, 0x7000000a},
		{"two markers, merged from two copies", map[string]string{marker + "70000001": "", marker + "70000003": ""}, 0x70000004},
		{"a marker that a backup skipped, because it is empty", map[string]string{value: "70000000"}, 0x70000001},
		{"a value with a line ending", map[string]string{value: "70000000\n"}, 0x70000001},
		{"a value lost in a power failure", map[string]string{value: "", marker + "70000001": ""}, 0x70000002},
		{"a value of zeros after a power failure", map[string]string{value: strings.Repeat("\x00", 8), marker + "70000001": ""}, 0x70000002},
		{"a value below the clock", map[string]string{value: "00000005"}, 0},
		{"a marker below the clock keeps counting", map[string]string{marker + "00000005": ""}, 6},
		{"a marker with a digit too many", map[string]string{value: "70000000", marker + "7fffffff0": ""}, 0x70000001},
		{"a marker with a digit too few", map[string]string{value: "70000000", marker + "7ffffff": ""}, 0x70000001},
		{"a marker that is not a number", map[string]string{value: "70000000", marker + "7000000g": ""}, 0x70000001},
		{"the temporary file of a crash", map[string]string{value: "70000000", value + ".tmp": "7fff"}, 0x70000001},
		{"after the largest value", map[string]string{marker + "ffffffff": ""}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, path := testDir(t)
			for name, text := range c.files {
				must(t, os.WriteFile(filepath.Join(path, name), []byte(text), 0o644))
			}
			before := uint32(time.Now().Unix())
			got, err := NextUIDValidity(d)
			if err != nil || c.want != 0 && got != c.want || c.want == 0 && got < before {
				t.Fatalf("%08x, %v, want %08x", got, err, c.want)
			}
			if text, err := d.ReadFile(value, 64); err != nil || string(text) != fmt.Sprintf("%08x", got) {
				t.Errorf("stored %q, %v", text, err)
			}
			if next, err := NextUIDValidity(d); err != nil || next != got+1 {
				t.Errorf("the next one is %08x, %v", next, err)
			}
		})
	}
}

// fullDisk accepts some octets and then fails.
type fullDisk struct{ left int }

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errRead
	}
	return len(p), nil
}

// TestFullDisk checks that no octet is lost without an error, wherever in a
// message the disk becomes full.
func TestFullDisk(t *testing.T) {
	const binary = "Content-Transfer-Encoding: binary\r\n\r\n"
	for name, text := range map[string]string{
		"one octet":            "x",
		"short lines":          strings.Repeat("a line of text\r\n", 3*block/16),
		"a line of many KiB":   strings.Repeat("x", 3*block) + "\r\n",
		"no line ending":       strings.Repeat("x", 3*block),
		"many CRs":             strings.Repeat("\rx", 2*block),
		"CRs at the end":       strings.Repeat("\r", 2*block),
		"empty lines":          strings.Repeat("\n", 3*block),
		"binary data":          binary + strings.Repeat("\x00\n", 2*block),
		"binary data in bulk":  binary + strings.Repeat("\x00", 3*block),
		"text longer by an LF": strings.Repeat("x", block) + "\n",
	} {
		for _, piece := range []int{1000, block, len(text)} {
			write := func(w io.Writer) (*LFWriter, error) {
				l := NewLFWriter(w)
				for chunk := range slices.Chunk([]byte(text), min(piece, len(text))) {
					if _, err := l.Write(chunk); err != nil {
						return l, err
					}
				}
				return l, l.Flush()
			}
			var all bytes.Buffer
			l, err := write(&all)
			if err != nil || l.Size != int64(all.Len()) || l.Wire != WireLen(all.Bytes()) {
				t.Fatalf("%s: %d octets, counted %d, %d on the wire, %v", name, all.Len(), l.Size, l.Wire, err)
			}
			for _, left := range []int{0, 1, block - 1, block, all.Len() - 1} {
				if left >= all.Len() {
					continue
				}
				if _, err := write(&fullDisk{left}); !errors.Is(err, errRead) {
					t.Errorf("%s in pieces of %d, with space for %d of %d octets: %v", name, piece, left, all.Len(), err)
				}
			}
			if _, err := write(&fullDisk{all.Len()}); err != nil {
				t.Errorf("%s in pieces of %d, with just enough space: %v", name, piece, err)
			}
		}
	}
}

// TestUnreadableFile checks that a message that cannot be read to its end is
// never taken for a shorter one.
func TestUnreadableFile(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"at the beginning", "", ""},
		{"within a line", "a\nb", "a\r\nb"},
		{"after a line", "a\n", "a\r\n"},
		{"after CR", "a\r", "a\r"},
	} {
		source := func() io.Reader { return io.MultiReader(strings.NewReader(c.text), iotest.ErrReader(errRead)) }
		if got, err := io.ReadAll(NewCRLFReader(source())); !errors.Is(err, errRead) || string(got) != c.want {
			t.Errorf("%s: read %q, %v", c.name, got, err)
		}
		var out bytes.Buffer
		if n, err := NewCRLFReader(source()).WriteTo(&out); !errors.Is(err, errRead) || out.String() != c.want || n != int64(out.Len()) {
			t.Errorf("%s: sent %q, counted %d, %v", c.name, out.String(), n, err)
		}
		if size, wire, err := WireSize(source()); !errors.Is(err, errRead) || size != int64(len(c.text)) || wire != int64(len(c.want)) {
			t.Errorf("%s: measured %d and %d, %v", c.name, size, wire, err)
		}
	}
	long := strings.Repeat("a line of text\n", block)
	if n, err := NewCRLFReader(strings.NewReader(long)).WriteTo(&fullDisk{2 * block}); !errors.Is(err, errRead) || n == 0 || n > 2*block {
		t.Errorf("a client that disappears: %d octets, %v", n, err)
	}
}

// TestFoldersOfOthers checks the directories that are folders, and the names
// that clients give to INBOX.
func TestFoldersOfOthers(t *testing.T) {
	for dir, want := range map[string]string{
		".": "INBOX", ".Sent": "Sent", ".Sent Items": "Sent Items", ".INBOX.Archive": "INBOX/Archive", ".Archive.2024.05": "Archive/2024/05",
		".Entw&APw-rfe": "Entw\u00fcrfe", ".[Gmail].All Mail": "[Gmail]/All Mail", ".-": "-", ".a+b": "a+b",
		"cur": "", "new": "", "tmp": "", "courierimapkeywords": "", "": "", "..": "", ".Sent.": "", "..Sent": "", ".Entw\u00fcrfe": "", ".&AOQ": "", ".&Jjo!-": "",
		".inbox": "", // Its name would be INBOX, which is another directory.
	} {
		if name, ok := FolderName(dir); name != want || ok != (want != "") {
			t.Errorf("directory %q is folder %q, %v, want %q", dir, name, ok, want)
		}
	}
	for name, want := range map[string]string{
		"inbox": "INBOX", "Inbox/Archive": "INBOX/Archive", "iNBOX/inbox": "INBOX/inbox",
		"INBOXES": "INBOXES", "Archive/inbox": "Archive/inbox", "inbox.a": "inbox.a", "": "",
	} {
		if got := CanonicalFolder(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// TestLockOfAnother checks that the text of a lock file is trusted only if it
// names a dead process of this host.
func TestLockOfAnother(t *testing.T) {
	host, err := os.Hostname()
	must(t, err)
	for name, text := range map[string]string{
		"without a host":              "999999999",
		"with an empty host":          "999999999:",
		"with a process of no number": "x:" + host,
		"with process 0":              "0:" + host,
		"with a process group":        "-999999999:" + host,
		"with a number too large":     "99999999999999999999:" + host,
		"of a longer host name":       "999999999:" + host + ".example",
	} {
		d, path := testDir(t)
		must(t, os.WriteFile(filepath.Join(path, "list.lock"), []byte(text), 0o600))
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Millisecond)
		if l, err := d.Acquire(ctx, "list"); !errors.Is(err, ErrLocked) {
			t.Errorf("a lock %s: %v, %v", name, l, err)
		}
		cancel()
	}
}

// TestLockIsKept checks that a long operation keeps its lock fresh, and that an
// attempt that gave up leaves the holder undisturbed.
func TestLockIsKept(t *testing.T) {
	d, path := testDir(t)
	file := filepath.Join(path, "list.lock")
	l, err := d.Acquire(context.Background(), "list")
	must(t, err)
	old := time.Now().Add(-time.Minute).Truncate(time.Second)
	must(t, os.Chtimes(file, old, old))
	l.Touch() // acquired just now
	if st, err := os.Stat(file); err != nil || !st.ModTime().Equal(old) {
		t.Errorf("touched early: %v", err)
	}
	l.held = old
	l.Touch()
	if st, err := os.Stat(file); err != nil || time.Since(st.ModTime()) > 30*time.Second {
		t.Errorf("not touched after a minute: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Acquire(ctx, "list"); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("after an attempt that gave up: %v", err)
	}
	l.Release()
	again, err := d.Acquire(ctx, "list") // free, so no wait is necessary
	must(t, err)
	again.Release()
}

// TestReplaceAfterAccidents checks that a file is either the old or the new one.
func TestReplaceAfterAccidents(t *testing.T) {
	d, path := testDir(t)
	must(t, os.WriteFile(filepath.Join(path, "list"), []byte("old"), 0o600))
	must(t, os.WriteFile(filepath.Join(path, "list.tmp"), []byte("half of a longer file that a crash left"), 0o400))
	must(t, d.Replace("list", []byte("new")))
	if text, err := os.ReadFile(filepath.Join(path, "list")); err != nil || string(text) != "new" {
		t.Errorf("%q, %v", text, err)
	}
	must(t, os.MkdirAll(filepath.Join(path, "list.tmp", "x"), 0o700))
	if err := d.Replace("list", []byte("newer")); err == nil || !strings.Contains(err.Error(), "replace list") {
		t.Errorf("with a directory in the way: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(path, "list")); err != nil || string(text) != "new" {
		t.Errorf("after the error: %q, %v", text, err)
	}
	for _, name := range []string{"", ".", "..", "../list", "sub/list"} {
		if err := d.Replace(name, nil); err == nil {
			t.Errorf("replaced %q", name)
		}
	}
}
