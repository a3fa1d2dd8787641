package maildrop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// testStore returns a store in a temporary directory.
func testStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	cfg.Name = "boxes"
	s, err := Open(cfg, Env{Data: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// testFolder creates and opens a folder of ann's box.
func testFolder(t testing.TB, s *Store, name string) *Folder {
	t.Helper()
	b, err := s.Box("ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Create(name, ""); err != nil && !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	f, err := b.Folder(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); b.Close() })
	return f
}

// boxDir returns the path of ann's box.
func boxDir(s *Store) string { return filepath.Join(s.root.Name(), "example.org", "ann") }

func put(t testing.TB, f *Folder, text string, flags Flags, keywords ...string) *Message {
	t.Helper()
	n, err := f.NewMessage()
	if err != nil {
		t.Fatal(err)
	}
	n.Flags, n.Keywords = flags, keywords
	io.WriteString(n, text)
	msgs, _, err := f.Append(n)
	if err != nil {
		t.Fatal(err)
	}
	return msgs[0]
}

func syncNow(t testing.TB, f *Folder) *Snapshot {
	t.Helper()
	s, err := f.Sync()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func uids(s *Snapshot) (list []uint32) {
	for _, m := range s.Messages {
		list = append(list, m.UID)
	}
	return list
}

func TestAppendAndRead(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	const text = "Subject: hi\r\n\r\none\r\ntwo\r\n"
	m := put(t, f, text, Seen|Flagged, "$Label1", "later")
	if m.UID != 1 || m.Wire != int64(len(text)) || m.Size != m.Wire-4 {
		t.Errorf("got UID %d, %d octets, %d on the wire", m.UID, m.Size, m.Wire)
	}
	r, err := f.Read(m)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != text {
		t.Errorf("read %q, %v", got, err)
	}
	s := syncNow(t, f)
	if got := s.KeywordNames(s.Messages[0]); !slices.Equal(got, []string{"$Label1", "later"}) {
		t.Errorf("keywords %q", got)
	}
	stored, err := os.ReadFile(filepath.Join(boxDir(f.box.store), "cur", m.File))
	if err != nil || bytes.Contains(stored, []byte("\r")) {
		t.Errorf("stored %q, %v; want LF line ends", stored, err)
	}
	if !strings.HasSuffix(m.File, ":2,FSab") {
		t.Errorf("file name %s", m.File)
	}
}

func TestStateSurvivesReopen(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "Lists/Go")
	for i := range 5 {
		put(t, f, fmt.Sprintf("Subject: %d\n\nx\n", i), 0)
	}
	if _, _, err := f.Store([]uint32{2, 4}, FlagChange{Flags: Seen, Keywords: []string{"work"}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Expunge([]uint32{3}); err != nil {
		t.Fatal(err)
	}
	before := syncNow(t, f)

	again, err := Open(s.set.Load().Config, s.env)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	after := syncNow(t, testFolder(t, again, "Lists/Go"))
	if !slices.Equal(uids(before), uids(after)) || before.Validity != after.Validity || before.Next != after.Next || before.GUID != after.GUID {
		t.Errorf("before %v, after %v", before, after)
	}
	if after.ModSeq < before.ModSeq {
		t.Errorf("HIGHESTMODSEQ sank from %d to %d", before.ModSeq, after.ModSeq)
	}
	if m := after.Messages[1]; m.UID != 2 || m.Flags != Seen || !reflect.DeepEqual(after.KeywordNames(m), []string{"work"}) {
		t.Errorf("message 2 is now %+v", m)
	}
}

func TestOthersChangeTheFolder(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	dir := boxDir(f.box.store)
	var names []string
	for i := range 4 {
		names = append(names, put(t, f, fmt.Sprintf("Subject: %d\n\nx\n", i), 0).File)
	}
	old := syncNow(t, f)
	// Other programs rename, remove and add files.
	must(t, os.Rename(filepath.Join(dir, "cur", names[1]), filepath.Join(dir, "cur", names[1]+"RS")))
	must(t, os.Remove(filepath.Join(dir, "cur", names[2])))
	must(t, os.WriteFile(filepath.Join(dir, "new", "1700000000.M1P1.other"), []byte("Subject: new\n\nx\n"), 0o600))
	s := syncNow(t, f)
	if want := []uint32{1, 2, 4, 5}; !slices.Equal(uids(s), want) {
		t.Fatalf("UIDs %v, want %v", uids(s), want)
	}
	c := s.Since(old)
	if !slices.Equal(c.Expunged, []uint32{3}) || len(c.Flagged) != 1 || c.Flagged[0].Flags != Seen|Answered || len(c.Added) != 1 {
		t.Errorf("changes %+v", c)
	}
	if got := f.Vanished2(t, old.ModSeq); !slices.Equal(got, []uint32{3}) {
		t.Errorf("vanished %v", got)
	}
	if m := s.Messages[3]; m.Wire != m.Size+3 || m.New {
		t.Errorf("delivered by another: %+v", m)
	}
}

// Vanished2 calls Vanished with the current snapshot.
func (f *Folder) Vanished2(t *testing.T, modseq uint64) []uint32 {
	return f.Vanished(syncNow(t, f), modseq)
}

func TestCopyAndMove(t *testing.T) {
	s := testStore(t, Config{})
	in, out := testFolder(t, s, "INBOX"), testFolder(t, s, "Archive")
	a := put(t, in, "Subject: a\n\nx\n", Seen, "blue")
	put(t, in, "Subject: b\n\nx\n", 0)
	c, err := in.Copy([]uint32{1, 2, 9}, out)
	if err != nil || !slices.Equal(c.From, []uint32{1, 2}) || !slices.Equal(c.To, []uint32{1, 2}) {
		t.Fatalf("copied %+v, %v", c, err)
	}
	copied := syncNow(t, out)
	if m := copied.Messages[0]; m.GUID() != a.GUID() || m.Flags != Seen || !slices.Equal(copied.KeywordNames(m), []string{"blue"}) {
		t.Errorf("copy is %+v", m)
	}
	if c, err = in.Move([]uint32{2}, out); err != nil || !slices.Equal(c.To, []uint32{3}) {
		t.Fatalf("moved %+v, %v", c, err)
	}
	if got := uids(syncNow(t, in)); !slices.Equal(got, []uint32{1}) {
		t.Errorf("left behind %v", got)
	}
	if got := uids(syncNow(t, out)); !slices.Equal(got, []uint32{1, 2, 3}) {
		t.Errorf("arrived %v", got)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTree(t *testing.T) {
	s := testStore(t, Config{})
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	for _, name := range []string{"Lists/Go/dev", "Prüfung", "Sent", "inbox/deep"} {
		must(t, b.Create(name, ""))
	}
	must(t, b.Create("Notes", `\Drafts`))
	if err := b.Create("sent/../x", ""); !errors.Is(err, ErrFolderName) {
		t.Errorf("a name with dots: %v", err)
	}
	must(t, b.Rename("Lists", "Old/Lists"))
	list, err := b.List()
	must(t, err)
	var got []string
	for _, f := range list {
		got = append(got, fmt.Sprintf("%s %v %v %s", f.Name, f.Exists, f.HasChildren, f.SpecialUse))
	}
	want := []string{
		"INBOX true true ", "INBOX/deep true false ", `Notes true false \Drafts`,
		"Old false true ", "Old/Lists false true ", "Old/Lists/Go false true ", "Old/Lists/Go/dev true false ",
		"Prüfung true false ", `Sent true false \Sent`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(boxDir(s), ".Pr&APw-fung", "maildirfolder")); err != nil {
		t.Error(err)
	}
	must(t, b.Delete("Prüfung"))
	if _, err := b.Folder("Prüfung"); !errors.Is(err, ErrNoFolder) {
		t.Errorf("a deleted folder: %v", err)
	}
	must(t, b.Subscribe("Sent", true))
	must(t, b.Subscribe("Gone/Away", true))
	must(t, b.Subscribe("Sent", false))
	if subs, err := b.Subscriptions(); err != nil || !slices.Equal(subs, []string{"Gone/Away"}) {
		t.Errorf("subscriptions %q, %v", subs, err)
	}
}

// Watch reports deliveries by other programs.
func TestWatchOthers(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	syncNow(t, f)
	changed, stop := f.Watch()
	defer stop()
	must(t, os.WriteFile(filepath.Join(boxDir(s), "new", "1700000000.M1P1.other"), []byte("Subject: new\n\nx\n"), 0o600))
	select {
	case <-changed:
	case <-time.After(30 * time.Second):
		t.Fatal("nothing heard of new mail")
	}
	if snap, err := f.Snapshot(); err != nil || len(snap.Messages) != 1 {
		t.Errorf("%d messages, %v", len(snap.Messages), err)
	}
}

// A second file with a message's base name becomes a separate message; the
// first keeps its UID.
func TestDoubledBaseName(t *testing.T) {
	for _, where := range []string{"new/", "cur/"} {
		t.Run(where, func(t *testing.T) {
			f := testFolder(t, testStore(t, Config{}), "INBOX")
			m := put(t, f, "Subject: a\n\nx\n", 0)
			put(t, f, "Subject: b\n\nx\n", 0)
			name := boxDir(f.box.store) + "/" + where + m.Base()
			if where == "cur/" {
				name += ":2,F"
			}
			must(t, os.WriteFile(name, []byte("Subject: other\n\nlonger\n"), 0o600))
			f.fresh.Store(true)
			s := syncNow(t, f)
			if !slices.Equal(uids(s), []uint32{1, 2, 3}) || s.Messages[0].Size != m.Size || s.Messages[2].Size != 23 {
				t.Errorf("UIDs %v, first has %d octets, third %d", uids(s), s.Messages[0].Size, s.Messages[2].Size)
			}
			if s.Messages[0].File != m.File {
				t.Errorf("the first is now %s", s.Messages[0].File)
			}
		})
	}
}

// A wrong size in a file name is detected before the first octet is sent. From
// then on, the correct size is used, even after a restart.
func TestLyingSize(t *testing.T) {
	s, err := Open(Config{Name: "boxes"}, testStore(t, Config{}).env)
	must(t, err)
	f := inboxOf(t, s)
	const text, onWire = "Subject: a\n\nx\n", "Subject: a\r\n\r\nx\r\n"
	for i, wire := range []int{15, 18} {
		name := fmt.Sprintf("%s/cur/170000000%d.M1P1.h,S=%d,W=%d:2,", boxDir(s), i, len(text), wire)
		must(t, os.WriteFile(name, []byte(text), 0o600))
	}
	for _, m := range syncNow(t, f).Messages {
		readsAs(t, f, m, onWire)
	}
	f.Close()
	f.box.Close()
	again := syncNow(t, inboxOf(t, reopen(t, s)))
	for _, m := range again.Messages {
		if m.Wire != 17 {
			t.Errorf("message %d has %d octets on the wire", m.UID, m.Wire)
		}
	}
}

// readsAs checks that a message has the announced size and contains text, both
// as stored and with CRLF line endings.
func readsAs(t *testing.T, f *Folder, m *Message, text string) {
	t.Helper()
	for _, copyTo := range []func(io.Writer, *Reader) (int64, error){
		func(w io.Writer, r *Reader) (int64, error) { return r.WriteTo(w) },
		func(w io.Writer, r *Reader) (int64, error) { return io.Copy(w, struct{ io.Reader }{r}) },
	} {
		r, err := f.Read(m)
		must(t, err)
		var b strings.Builder
		if n, err := copyTo(&b, r); err != nil || n != r.Size() || b.String() != text {
			t.Errorf("message %d: announced %d octets, read %d, %v: %.80q", m.UID, r.Size(), n, err, b.String())
		}
		must(t, r.Close())
	}
}

// A virus scanner or an editor may replace a message's file in place. The new
// text is read, and the message then has the new size.
func TestFileReplacedInPlace(t *testing.T) {
	small := "Subject: a\r\n\r\nx\r\n"
	large := "Subject: b\r\n\r\n" + strings.Repeat("a long line of text\r\n", 10_000)
	for _, tc := range []struct{ name, was, now string }{
		{"longer", small, small + "and more\r\n"},
		{"shorter", small + "and more\r\n", small},
		{"small to large", small, large},
		{"large to small", large, small},
		{"large, longer", large, large + "and more\r\n"},
		{"same size, other lines", small + "ab\r\n", small + "\r\n\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := testFolder(t, testStore(t, Config{}), "INBOX")
			m := put(t, f, tc.was, 0)
			readsAs(t, f, m, tc.was)
			f.Keep(m, []byte("structure"))
			path := filepath.Join(boxDir(f.box.store), "cur", m.File)
			must(t, os.WriteFile(path, []byte(strings.ReplaceAll(tc.now, "\r\n", "\n")), 0o600))
			must(t, os.Chtimes(path, time.Time{}, time.Now().Add(time.Minute)))
			readsAs(t, f, m, tc.now)
			s := f.snap.Load()
			if now := s.Messages[0]; now.Wire != int64(len(tc.now)) || now.UID != m.UID {
				t.Errorf("now %+v", now)
			}
			if len(tc.was) != len(tc.now) && f.Cached(m) != nil {
				t.Error("what was kept of the old text is still there")
			}
		})
	}
}

// If a file is truncated while it is being read, the announced number of octets
// is still returned, and the message is measured again.
func TestFileCutWhileRead(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	m := put(t, f, "Subject: b\r\n\r\n"+strings.Repeat("a long line of text\r\n", 20_000), 0)
	for _, size := range []int64{m.Size / 2, m.Size / 4} {
		r, err := f.Read(f.snap.Load().Messages[0])
		must(t, err)
		must(t, os.Truncate(filepath.Join(boxDir(f.box.store), "cur", m.File), size))
		if n, err := io.Copy(io.Discard, r); err != nil || n != r.Size() {
			t.Errorf("announced %d octets, got %d, %v", r.Size(), n, err)
		}
		must(t, r.Close())
		if now := f.snap.Load().Messages[0]; now.Size != size {
			t.Errorf("now %d octets, want %d", now.Size, size)
		}
	}
}

// A large file with sizes in its name is counted only once.
func TestLargeFileIsCountedOnce(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	text := "Subject: b\n\n" + strings.Repeat("a long line of text\n", 10_000)
	name := fmt.Sprintf("%s/new/1700000000.M1P1.h,S=%d,W=%d", boxDir(s), len(text), len(text)+10_002)
	must(t, os.WriteFile(name, []byte(text), 0o600))
	m := syncNow(t, f).Messages[0]
	if m.Exact {
		t.Fatal("the sizes in a file name were taken for counted ones")
	}
	readsAs(t, f, m, strings.ReplaceAll(text, "\n", "\r\n"))
	if !f.snap.Load().Messages[0].Exact {
		t.Error("the sizes are not known to be exact after they were counted")
	}
}

// A message with an old date can be appended to a folder that is not open: the
// clean-up of tmp during the first Sync does not remove it.
func TestAppendOldDateToUnopenedFolder(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	var news []*NewMessage
	for i := range 2 {
		n, err := f.NewMessage()
		must(t, err)
		n.Date = time.Unix(1_000_000_000+int64(i), 0)
		io.WriteString(n, "Subject: old\n\nx\n")
		news = append(news, n)
	}
	msgs, _, err := f.Append(news...)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range msgs {
		if m.InternalDate().Unix() != 1_000_000_000+int64(i) {
			t.Errorf("message %d has date %s", m.UID, m.InternalDate())
		}
	}
}

func TestLeftover(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	old, fresh := now.Add(-37*time.Hour), now.Add(-time.Hour)
	for _, tc := range []struct {
		name         string
		mtime, ctime time.Time
		want         bool
	}{
		{"given up", old, old, true},
		{"being written", fresh, fresh, false},
		{"appended with an old date", time.Unix(0, 0), fresh, false},
		{"dated in the future", now.Add(time.Hour), old, false},
	} {
		if got := leftover(maildir.Stat{MTime: tc.mtime, CTime: tc.ctime}, now); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// A box that is removed while open but unused is created again.
func TestRemovedBox(t *testing.T) {
	s := hopStore(t, Config{})
	for range 2 {
		tx := mail.NewTransaction(mail.Client{}, "")
		if out := send(t, s, tx, hello, mail.Rcpt{To: "ann@example.org"}); out[0].Reply.Code != 250 {
			t.Fatalf("outcome %+v", out)
		}
		must(t, os.RemoveAll(boxDir(s)))
	}
}

// Links in a box cannot be used to leave it.
func TestLinksInTheBox(t *testing.T) {
	for _, name := range []string{"cur", "new", "tmp", "dovecot-uidlist", "dovecot-keywords", ".Sent"} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t, Config{})
			outside := t.TempDir()
			must(t, os.WriteFile(outside+"/secret", []byte("secret\n"), 0o600))
			must(t, os.MkdirAll(boxDir(s), 0o700))
			target := outside
			if strings.HasPrefix(name, "dovecot") {
				target += "/secret"
			}
			must(t, os.Symlink(target, boxDir(s)+"/"+name))
			b, err := s.Box("ann@example.org")
			must(t, err)
			defer b.Close()
			folder := "INBOX"
			if name == ".Sent" {
				folder = "Sent"
			}
			f, err := b.Folder(folder)
			if err == nil {
				defer f.Close()
				_, err = f.Sync()
			}
			if err == nil {
				t.Error("the link was followed")
			}
			if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
				t.Errorf("outside there is now %v, %v", list, err)
			}
			if text, err := os.ReadFile(outside + "/secret"); err != nil || string(text) != "secret\n" {
				t.Errorf("outside changed to %q, %v", text, err)
			}
		})
	}
}

// A large folder opened for the first time is shown before its files are
// examined. Dates, wrong sizes in names and missing files are determined when
// needed.
func TestFirstLook(t *testing.T) {
	s := testStore(t, Config{})
	cur := filepath.Join(boxDir(s), "cur")
	must(t, os.MkdirAll(cur, 0o700))
	date := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	const text, n = "Subject: x\n\ntext\n", 500
	for i := range n {
		size := len(text)
		if i == 7 {
			size--
		}
		name := fmt.Sprintf("%s/17000%05d.M1P1.host,S=%d,W=%d:2,S", cur, i, size, size+3)
		if i == 9 {
			name = fmt.Sprintf("%s/17000%05d.M1P1.host:2,S", cur, i)
		}
		must(t, os.WriteFile(name, []byte(text), 0o600))
		must(t, os.Chtimes(name, date, date))
	}
	f := inboxOf(t, s)
	defer f.box.Close()
	defer f.Close()
	snap := syncNow(t, f)
	if len(snap.Messages) != n {
		t.Fatalf("%d messages", len(snap.Messages))
	}
	for i, m := range snap.Messages {
		if m.UID != uint32(i+1) || !m.InternalDate().Equal(date) || m.SaveDate().Before(date) {
			t.Fatalf("message %d: UID %d, internal date %s, save date %s", i, m.UID, m.InternalDate(), m.SaveDate())
		}
	}
	must(t, os.Remove(filepath.Join(cur, snap.Messages[3].File)))
	snap = syncNow(t, f)
	if _, there := snap.Find(4); there || len(snap.Messages) != n-1 {
		t.Errorf("%d messages after one was removed", len(snap.Messages))
	}
	for _, m := range snap.Messages {
		if m.Size != int64(len(text)) || m.Wire != m.Size+3 {
			t.Errorf("UID %d has sizes %d and %d", m.UID, m.Size, m.Wire)
		}
	}
}
