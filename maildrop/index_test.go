package maildrop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// reopen closes a store and opens it again.
func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	s.Close()
	again, err := Open(s.set.Load().Config, s.env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	return again
}

// inboxOf opens ann's INBOX without registering a cleanup, for stores that the
// test closes itself.
func inboxOf(t testing.TB, s *Store) *Folder {
	t.Helper()
	b, err := s.Box("ann@example.org")
	must(t, err)
	f, err := b.Folder("INBOX")
	must(t, err)
	return f
}

// filled returns a store in whose INBOX some changes have been made.
func filled(t testing.TB) (*Store, *Snapshot) {
	t.Helper()
	s, err := Open(Config{Name: "boxes"}, testStore(t, Config{}).env)
	must(t, err)
	f := inboxOf(t, s)
	for i := range 8 {
		f.Keep(put(t, f, fmt.Sprintf("Subject: %d\n\nx\n", i), 0, "k"), fmt.Appendf(nil, "item %d", i+1))
	}
	for i := range 5 {
		_, _, err := f.Store([]uint32{uint32(i + 1)}, FlagChange{Flags: Seen})
		must(t, err)
	}
	_, snap, err := f.Expunge([]uint32{2, 7})
	must(t, err)
	return s, snap
}

func sameSnapshot(t *testing.T, got, want *Snapshot) {
	t.Helper()
	if got.Validity != want.Validity || got.Next != want.Next || got.ModSeq < want.ModSeq || got.GUID != want.GUID {
		t.Errorf("got %d %d %d %s, want %d %d %d %s", got.Validity, got.Next, got.ModSeq, got.GUID, want.Validity, want.Next, want.ModSeq, want.GUID)
	}
	if len(got.Messages) != len(want.Messages) {
		t.Fatalf("%d messages, want %d", len(got.Messages), len(want.Messages))
	}
	for i := range want.Messages {
		a, b := *got.Messages[i], *want.Messages[i]
		if a.UID != b.UID || a.Flags != b.Flags || a.File != b.File || a.Size != b.Size || a.Wire != b.Wire || a.Date != b.Date || a.ModSeq < b.ModSeq ||
			!slices.Equal(got.KeywordNames(&a), want.KeywordNames(&b)) {
			t.Errorf("message %d is %+v, want %+v", i, a, b)
		}
	}
}

func TestIndexRemembers(t *testing.T) {
	s, want := filled(t)
	f := inboxOf(t, reopen(t, s))
	got := syncNow(t, f)
	sameSnapshot(t, got, want)
	for i := range want.Messages {
		if got.Messages[i].ModSeq != want.Messages[i].ModSeq || got.Messages[i].Saved != want.Messages[i].Saved {
			t.Errorf("message %d is %+v, want %+v", i, got.Messages[i], want.Messages[i])
		}
	}
	if got.ModSeq != want.ModSeq {
		t.Errorf("HIGHESTMODSEQ %d, want %d", got.ModSeq, want.ModSeq)
	}
	if v := f.Vanished(got, want.ModSeq-1); !slices.Equal(v, []uint32{2, 7}) {
		t.Errorf("vanished %v", v)
	}
	if item := f.Cached(got.Messages[3]); string(item) != "item 5" {
		t.Errorf("cached %q", item)
	}
}

// The index may be deleted or damaged at any time. UIDs are not affected, and
// the modification sequence does not decrease.
func TestIndexLost(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, log string)
	}{
		{"deleted", func(t *testing.T, log string) { must(t, os.Remove(log)) }},
		{"emptied", func(t *testing.T, log string) { must(t, os.Truncate(log, 0)) }},
		{"torn", func(t *testing.T, log string) {
			st, err := os.Stat(log)
			must(t, err)
			must(t, os.Truncate(log, st.Size()-3))
		}},
		{"damaged", func(t *testing.T, log string) {
			text, err := os.ReadFile(log)
			must(t, err)
			text[len(text)/2] ^= 1
			must(t, os.WriteFile(log, text, 0o600))
		}},
		{"rubbish", func(t *testing.T, log string) { must(t, os.WriteFile(log, []byte("rubbish"), 0o600)) }},
		{"a link", func(t *testing.T, log string) {
			must(t, os.Remove(log))
			must(t, os.Symlink("/etc/passwd", log))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, want := filled(t)
			s.Close()
			logs, err := filepath.Glob(filepath.Join(s.env.Data, "index/boxes/*/*/log"))
			if err != nil || len(logs) != 1 {
				t.Fatalf("logs %v, %v", logs, err)
			}
			tc.spoil(t, logs[0])
			again, err := Open(s.set.Load().Config, s.env)
			must(t, err)
			defer again.Close()
			f := inboxOf(t, again)
			got := syncNow(t, f)
			sameSnapshot(t, got, want)
			if v := f.Vanished(got, 1); !slices.Contains(v, 2) || !slices.Contains(v, 7) {
				t.Errorf("vanished %v", v)
			}
		})
	}
}

// Changes made by other programs after the index was closed are adopted.
func TestChangesWhileAway(t *testing.T) {
	s, want := filled(t)
	s.Close()
	dir := boxDir(s)
	m := want.Messages[0]
	must(t, os.Rename(filepath.Join(dir, "cur", m.File), filepath.Join(dir, "cur", m.Base()+":2,Fa")))
	must(t, os.Remove(filepath.Join(dir, "cur", want.Messages[1].File)))
	must(t, os.WriteFile(filepath.Join(dir, "cur", "1600000000.M2P1.h:2,S"), []byte("Subject: in cur\r\n\r\nCRLF\r\n"), 0o600))
	again, err := Open(s.set.Load().Config, s.env)
	must(t, err)
	defer again.Close()
	f := inboxOf(t, again)
	got := syncNow(t, f)
	if c := got.Since(want); !slices.Equal(uids(got), []uint32{1, 4, 5, 6, 8, 9}) || len(c.Added) != 1 {
		t.Fatalf("UIDs %v, changes %+v", uids(got), c)
	}
	if got.Messages[0].Flags != Flagged || got.Messages[0].ModSeq <= want.ModSeq {
		t.Errorf("renamed: %+v", got.Messages[0])
	}
	if n := got.Messages[5]; n.Size != n.Wire || n.Flags != Seen {
		t.Errorf("CRLF message: %+v", n)
	}
	if v := f.Vanished(got, want.ModSeq); !slices.Equal(v, []uint32{3}) {
		t.Errorf("vanished %v", v)
	}
}

func TestLostUIDListIsRebuilt(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	for i := range 4 {
		put(t, f, fmt.Sprintf("Subject: %d\n\nx\n", i), 0)
	}
	_, want, err := f.Expunge([]uint32{2})
	must(t, err)
	must(t, os.Remove(filepath.Join(boxDir(f.box.store), "dovecot-uidlist")))
	got := syncNow(t, f)
	sameSnapshot(t, got, want)
	if m := put(t, f, "Subject: next\n\nx\n", 0); m.UID != 5 {
		t.Errorf("UID %d after the list was rebuilt, want 5", m.UID)
	}
}
