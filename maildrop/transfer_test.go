package maildrop

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const twoMails = `From bob@example.net Mon Nov 16 10:00:00 2020
Subject: one
Status: RO
X-Status: AF
X-Keywords: work bad(word later

Body one.
From here it goes on.
>From the start.
>>From quoted.

From eve@example.net Tue Nov 17 11:00:00 2020
Subject: two
Content-Length: 40

From me to you

From a line without meaning

From eve@example.net  Wed Nov 18 12:00:00 +0100 2020
Subject: three

`

func TestMboxRead(t *testing.T) {
	r := newMboxReader(strings.NewReader(twoMails))
	var got []string
	for {
		m, err := r.next()
		if err != nil {
			break
		}
		_, body, _ := strings.Cut(string(m.text), "\n\n")
		got = append(got, fmt.Sprintf("%s %v %v %s|%s", m.field("subject"), m.flags, m.keywords, m.date.UTC().Format(time.DateTime), body))
	}
	want := []string{
		"one 7 [work bad(word later] 2020-11-16 10:00:00|Body one.\nFrom here it goes on.\nFrom the start.\n>From quoted.\n",
		"two 0 [] 2020-11-17 11:00:00|From me to you\n\nFrom a line without meaning\n",
		"three 0 [] 2020-11-18 11:00:00|",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	long := "From x\nSubject: length\nContent-Length: 29\n\nFrom me to you\n\nFrom a line.\n\nFrom y\nSubject: next\n\nx\n"
	r = newMboxReader(strings.NewReader(long))
	if m, err := r.next(); err != nil || !strings.HasSuffix(string(m.text), "From a line.\n") {
		t.Errorf("by length: %v, %v", m, err)
	}
	if _, err := newMboxReader(strings.NewReader("Subject: x\n\n")).next(); err != ErrNotMbox {
		t.Errorf("no mbox: %v", err)
	}
}

func TestMboxImportTwiceAndExport(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "Old/2020")
	for round, want := range []Transferred{{Folders: 1, Messages: 3}, {Folders: 1, Known: 3}} {
		done, err := ImportMbox(context.Background(), f.box, "Old/2020", strings.NewReader(twoMails), func(int64) {})
		if err != nil || done != want {
			t.Errorf("round %d: %+v, %v", round+1, done, err)
		}
	}
	snap := syncNow(t, f)
	m := snap.Messages[0]
	if m.Flags != Seen|Answered|Flagged || !slices.Equal(snap.KeywordNames(m), []string{"work", "later"}) || m.Date != 1605520800 {
		t.Errorf("first message %+v with %q", m, snap.KeywordNames(m))
	}
	var out bytes.Buffer
	view := &View{s.root, s.path}
	n, err := view.ExportMbox(t.Context(), f.box.Account(), "Old/2020", &out, func() {})
	if err != nil || n != 3 {
		t.Fatalf("%d messages, %v", n, err)
	}
	again := testFolder(t, s, "Again")
	if _, err := ImportMbox(context.Background(), again.box, "Again", bytes.NewReader(out.Bytes()), func(int64) {}); err != nil {
		t.Fatal(err)
	}
	twice := syncNow(t, again)
	for i, m := range snap.Messages {
		o := twice.Messages[i]
		if o.Flags != m.Flags || o.Keywords != m.Keywords || o.Date != m.Date {
			t.Errorf("message %d became %+v, was %+v", i, o, m)
		}
	}
}

func FuzzMbox(f *testing.F) {
	f.Add([]byte(twoMails))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := newMboxReader(bytes.NewReader(text))
		total := 0
		for {
			m, err := r.next()
			if err != nil {
				break
			}
			if total += len(m.text); total > len(text) {
				t.Fatalf("%d octets out of %d", total, len(text))
			}
		}
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		if err := writeMbox(w, &outgoing{date: time.Unix(0, 0)}, bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		again := newMboxReader(&b)
		if _, err := again.next(); err != nil {
			t.Fatalf("the written message can't be read: %v", err)
		}
		if m, err := again.next(); err != io.EOF {
			t.Fatalf("a second message: %v, %v", m, err)
		}
	})
}

// courier returns a box as written by Courier.
func courier(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"cur/1500000000.M1P1.h,S=14:2,S":   "Subject: a\n\nx\n",
		"cur/1500000001.M1P1.h:2,":         "Subject: b\n\nx\n",
		"new/1500000002.M1P1.h":            "Subject: c\n\nx\n",
		"courierimapuiddb":                 "1 1256463523 8\n3 1500000000.M1P1.h,S=14\n5 1500000001.M1P1.h\n",
		"courierpop3dsizelist":             "/2 7 1256463523\n1500000000.M1P1.h,S=14:2,S 17 3:1256463523\n1500000001.M1P1.h:2, 17 0:0\n",
		"courierimapsubscribed":            "INBOX.Sent\nINBOX.Lists.Go\n",
		"courierimapkeywords/:list":        "$Label1\nwork\n\n1500000001.M1P1.h:1\n",
		".Sent/cur/1500000003.M1P1.h:2,RS": "Subject: d\n\nx\n",
		".Sent/courierimapuiddb":           "1 99 2\n1 1500000003.M1P1.h\n",
		".Sent/maildirfolder":              "",
		"tmp/leftover":                     "half",
	}
	for _, sub := range []string{"new", "cur", "tmp", ".Sent/new", ".Sent/tmp", ".Sent/cur", "courierimapkeywords"} {
		must(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func TestCourierImport(t *testing.T) {
	s := testStore(t, Config{})
	src := courier(t)
	for round, want := range []Transferred{{Folders: 2, Messages: 4}, {Folders: 2, Known: 4}} {
		done, err := CopyMaildir(context.Background(), src, s.Path("ann@example.org"), func() {})
		if err != nil || done != want {
			t.Errorf("round %d: %+v, %v", round+1, done, err)
		}
	}
	f := inboxOf(t, s)
	defer f.box.Close()
	defer f.Close()
	snap := syncNow(t, f)
	if snap.Validity != 1256463523 || !slices.Equal(uids(snap), []uint32{3, 5, 8}) || snap.Next != 9 {
		t.Errorf("validity %d, UIDs %v, next %d", snap.Validity, uids(snap), snap.Next)
	}
	if a, b := snap.Messages[0], snap.Messages[1]; a.Ext != "PUID3-1256463523" || b.Ext != "P1500000001.M1P1.h" || a.Flags != Seen {
		t.Errorf("%+v\n%+v", a, b)
	}
	if k := snap.KeywordNames(snap.Messages[1]); !slices.Equal(k, []string{"work"}) {
		t.Errorf("keywords %q", k)
	}
	subs, err := f.box.Subscriptions()
	if err != nil || !slices.Equal(subs, []string{"Sent", "Lists/Go"}) {
		t.Errorf("subscriptions %q, %v", subs, err)
	}
	sent, err := f.box.Status("Sent")
	if err != nil || sent.Validity != 99 || sent.Messages[0].Flags != Seen|Answered {
		t.Errorf("Sent: %+v, %v", sent, err)
	}
}

func TestCheckAndMend(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	put(t, f, "Subject: a\n\nx\n", 0)
	put(t, f, "Subject: b\n\nx\n", 0)
	if found, err := f.box.Check(context.Background()); err != nil || len(found) != 0 {
		t.Fatalf("a good box: %+v, %v", found, err)
	}
	dir := boxDir(s)
	base := syncNow(t, f).Messages[0].Base()
	old := time.Now().Add(-48 * time.Hour)
	for name, spoil := range map[string]func() error{
		"uidlist": func() error {
			return os.WriteFile(dir+"/dovecot-uidlist", append(read(t, dir+"/dovecot-uidlist"), "rubbish\n"...), 0o600)
		},
		"twice": func() error { return os.WriteFile(dir+"/new/"+base, []byte("other\n"), 0o600) },
		"tmp":   func() error { return os.WriteFile(dir+"/tmp/x", nil, 0o600) },
		"lock": func() error {
			must(t, os.WriteFile(dir+"/dovecot-uidlist.lock", []byte("1:elsewhere"), 0o600))
			return os.Chtimes(dir+"/dovecot-uidlist.lock", old, old)
		},
	} {
		must(t, spoil())
		// A file's ctime cannot be set to an earlier time.
		later := time.Now().Add(48 * time.Hour)
		found, err := check(context.Background(), f.box, later)
		if err != nil || len(found) == 0 {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
		for i := range found {
			if found[i].Plan != "" {
				must(t, found[i].Repair())
			}
		}
		if found, err = check(context.Background(), f.box, later); name != "twice" && (err != nil || len(found) != 0) {
			t.Errorf("%s, after mending: %+v, %v", name, found, err)
		}
	}
	must(t, os.Symlink("/etc/passwd", dir+"/cur/1.link:2,"))
	found, err := f.box.Check(context.Background())
	if err != nil || !slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.Text, "symbolic link") }) {
		t.Errorf("a link: %+v, %v", found, err)
	}
	for _, m := range syncNow(t, f).Messages {
		if strings.Contains(m.File, "link") {
			t.Error("a link is shown as a message")
		}
	}
}

// A file with a wrong size in its name is renamed. The message keeps its UID,
// flags and GUID, and another server finds it under the same UID.
func TestCheckRepairsSizes(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	put(t, f, "Subject: a\n\nx\n", 0)
	m := put(t, f, "Subject: b\n\nx\n", Flagged, "work")
	put(t, f, "Subject: c\n\nx\n", 0)
	must(t, os.WriteFile(filepath.Join(boxDir(s), "cur", m.File), []byte("Subject: b\n\nscanned\n"), 0o600))
	found, err := f.box.Check(context.Background())
	if err != nil || len(found) != 1 || found[0].Plan == "" {
		t.Fatalf("found %+v, %v", found, err)
	}
	must(t, found[0].Repair())
	if found, err = f.box.Check(context.Background()); err != nil || len(found) != 0 {
		t.Errorf("after the repair: %+v, %v", found, err)
	}
	check := func(when string, snap *Snapshot) {
		t.Helper()
		if !slices.Equal(uids(snap), []uint32{1, 2, 3}) {
			t.Fatalf("%s: UIDs %v", when, uids(snap))
		}
		if now := snap.Messages[1]; now.Size != 20 || now.Wire != 23 || now.Flags != Flagged || now.GUID() != m.GUID() || !slices.Equal(snap.KeywordNames(now), []string{"work"}) {
			t.Errorf("%s: %+v", when, now)
		}
	}
	check("after the repair", syncNow(t, f))
	readsAs(t, f, f.snap.Load().Messages[1], "Subject: b\r\n\r\nscanned\r\n")
	again, err := Open(s.set.Load().Config, Env{Data: s.env.Data, NoIndex: true, Log: s.env.Log})
	must(t, err)
	defer again.Close()
	check("without the index", syncNow(t, testFolder(t, again, "INBOX")))
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}
