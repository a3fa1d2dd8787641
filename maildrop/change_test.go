package maildrop

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoplite/maildrop/maildir"
)

// All operations find a message by its base name after another program has
// renamed its file.
func TestRenamedByAnotherProgram(t *testing.T) {
	const text = "Subject: a\r\n\r\nx\r\n"
	for name, do := range map[string]func(t *testing.T, f, other *Folder, m *Message){
		"read": func(t *testing.T, f, _ *Folder, m *Message) { readsAs(t, f, m, text) },
		"head": func(t *testing.T, f, _ *Folder, m *Message) {
			var b [100]byte
			if n, err := f.Head(m, b[:]); err != nil || string(b[:n]) != "Subject: a\n\nx\n" {
				t.Errorf("head %q, %v", b[:n], err)
			}
		},
		"rename": func(t *testing.T, f, _ *Folder, m *Message) {
			next := *m
			next.Flags = Answered
			if err := f.renameFlags(&next, m); err != nil || next.File != m.Base()+":2,R" {
				t.Errorf("now %s, %v", next.File, err)
			}
		},
		"remove": func(t *testing.T, f, _ *Folder, m *Message) {
			must(t, f.remove(m))
			if _, err := f.Open(m); !errors.Is(err, ErrNoMessage) {
				t.Errorf("still there: %v", err)
			}
			next := *m
			next.Flags = Seen
			if err := f.renameFlags(&next, m); err != nil || next.File != "" {
				t.Errorf("a file that is gone became %q, %v", next.File, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t, Config{})
			f, other := testFolder(t, s, "INBOX"), testFolder(t, s, "Other")
			m := put(t, f, text, 0)
			cur := filepath.Join(boxDir(s), "cur")
			must(t, os.Rename(filepath.Join(cur, m.File), filepath.Join(cur, m.Base()+":2,FS")))
			do(t, f, other, m)
		})
	}
}

func TestStoreModes(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	put(t, f, "Subject: a\n\nx\n", Seen, "old")
	for _, tc := range []struct {
		change FlagChange
		flags  Flags
		names  []string
	}{
		{FlagChange{Mode: Add, Flags: Flagged, Keywords: []string{"new"}}, Seen | Flagged, []string{"old", "new"}},
		{FlagChange{Mode: Remove, Flags: Seen, Keywords: []string{"OLD", "unknown"}}, Flagged, []string{"new"}},
		{FlagChange{Mode: Replace, Flags: Draft, Keywords: []string{"old"}}, Draft, []string{"old"}},
	} {
		before := syncNow(t, f)
		_, s, err := f.Store([]uint32{1, 99}, tc.change)
		must(t, err)
		m := s.Messages[0]
		if m.Flags != tc.flags || !slices.Equal(s.KeywordNames(m), tc.names) || m.ModSeq != before.ModSeq+1 || s.ModSeq != m.ModSeq {
			t.Errorf("%+v: flags %d, keywords %q, modseq %d after %d", tc.change, m.Flags, s.KeywordNames(m), m.ModSeq, before.ModSeq)
		}
		left, again, err := f.Store([]uint32{1}, FlagChange{Mode: Add, Flags: Deleted, Conditional: true, Unchanged: before.ModSeq})
		if err != nil || !slices.Equal(left, []uint32{1}) || again.ModSeq != s.ModSeq {
			t.Errorf("a change under a condition: %v, %v", left, err)
		}
	}
	if _, _, err := f.Store([]uint32{1}, FlagChange{Keywords: []string{"two words"}}); !errors.Is(err, ErrKeywordName) {
		t.Errorf("an invalid keyword: %v", err)
	}
	if _, s, err := f.Store(nil, FlagChange{}); err != nil || len(s.Messages) != 1 {
		t.Errorf("no messages: %v", err)
	}
}

func TestReplaceWith(t *testing.T) {
	s := testStore(t, Config{})
	in, out := testFolder(t, s, "INBOX"), testFolder(t, s, "Drafts")
	put(t, in, "Subject: draft\n\nx\n", Draft)
	for _, tc := range []struct {
		uid  uint32
		want error
	}{{7, ErrNoMessage}, {1, nil}} {
		n, err := out.NewMessage()
		must(t, err)
		io.WriteString(n, "Subject: better\n\nx\n")
		if n.Size() != 22 {
			t.Errorf("%d octets so far", n.Size())
		}
		m, snap, err := in.ReplaceWith(tc.uid, out, n)
		if !errors.Is(err, tc.want) {
			t.Fatalf("replaced %d: %v", tc.uid, err)
		}
		if err != nil {
			n.Discard()
			continue
		}
		if m.UID != 1 || len(snap.Messages) != 0 || len(syncNow(t, out).Messages) != 1 {
			t.Errorf("new message %+v, %d left", m, len(snap.Messages))
		}
	}
	if names, err := os.ReadDir(filepath.Join(boxDir(s), ".Drafts", "tmp")); err != nil || len(names) > 0 {
		t.Errorf("left in tmp: %v, %v", names, err)
	}
}

func TestRenameInbox(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	put(t, f, "Subject: a\n\nx\n", Flagged)
	must(t, f.box.Rename("inbox", "Old"))
	old := testFolder(t, s, "Old")
	if got := syncNow(t, old); len(got.Messages) != 1 || got.Messages[0].Flags != Flagged || len(syncNow(t, f).Messages) != 0 {
		t.Errorf("moved %v", uids(got))
	}
	if err := f.box.Rename("Old", "Old/Deep"); !errors.Is(err, ErrFolderName) {
		t.Errorf("below itself: %v", err)
	}
	if err := f.box.Rename("Nothing", "New"); !errors.Is(err, ErrNoFolder) {
		t.Errorf("a missing folder: %v", err)
	}
	if err := f.box.Delete("INBOX"); !errors.Is(err, ErrInbox) {
		t.Errorf("INBOX deleted: %v", err)
	}
}

func TestReindex(t *testing.T) {
	s, want := filled(t)
	defer s.Close()
	f := inboxOf(t, s)
	defer f.box.Close()
	defer f.Close()
	for _, rebuild := range []bool{true, false} {
		n, err := f.box.Reindex(rebuild)
		if err != nil || rebuild && n != len(want.Messages) {
			t.Errorf("rebuild %v: %d messages, %v", rebuild, n, err)
		}
		sameSnapshot(t, syncNow(t, f), want)
	}
}

func TestRecentIsShownOnce(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	put(t, f, "Subject: a\n\nx\n", 0)
	s := syncNow(t, f)
	for i, tc := range []struct {
		claim bool
		want  uint32
	}{{false, 1}, {true, 1}, {false, 2}} {
		if got := f.Recent(s, tc.claim); got != tc.want {
			t.Errorf("%d: recent from %d, want %d", i, got, tc.want)
		}
	}
	put(t, f, "Subject: b\n\nx\n", 0)
	if got := f.Recent(syncNow(t, f), true); got != 2 {
		t.Errorf("recent from %d after another message", got)
	}
}

// MODSEQs continue above those assigned by Dovecot in the folder.
func TestModSeqAfterDovecot(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	log := make([]byte, 40+120)
	log[0] = 1
	binary.LittleEndian.PutUint64(log[24:], 5000)
	must(t, os.WriteFile(filepath.Join(boxDir(s), "dovecot.index.log"), log, 0o600))
	must(t, os.WriteFile(filepath.Join(boxDir(s), "dovecot-uidlist"), []byte("3 V99 N2 G0123456789abcdef0123456789abcdef\n1 :1700000000.M1P1.h\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(boxDir(s), "cur", "1700000000.M1P1.h:2,"), []byte("Subject: a\n\nx\n"), 0o600))
	if got := syncNow(t, f); got.ModSeq <= 5010 || got.Validity != 99 {
		t.Errorf("modseq %d, validity %d", got.ModSeq, got.Validity)
	}
}

func TestCheckFindsTreeProblems(t *testing.T) {
	s := testStore(t, Config{Quota: 1 << 20})
	f := testFolder(t, s, "INBOX")
	put(t, f, "Subject: a\n\nx\n", 0)
	for _, dir := range []string{"..left/cur", ".a..b/cur"} {
		must(t, os.MkdirAll(filepath.Join(boxDir(s), dir), 0o700))
	}
	must(t, os.Symlink("/var/mail/shared", filepath.Join(boxDir(s), ".shared.by link")))
	must(t, os.WriteFile(filepath.Join(boxDir(s), "maildirsize"), []byte("1048576S\n500 7\n"), 0o600))
	found, err := f.box.Check(context.Background())
	if err != nil || len(found) != 4 || !slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.Text, `folder "shared/by link" is a symbolic link`) }) {
		t.Fatalf("found %+v, %v", found, err)
	}
	for i := range found {
		if err := found[i].Repair(); (err == nil) != (found[i].Plan != "") {
			t.Errorf("%s: %v", found[i].Text, err)
		}
	}
	if found, err = f.box.Check(context.Background()); err != nil || len(found) != 2 || !strings.Contains(found[0].Text, ".a..b") {
		t.Errorf("left: %+v, %v", found, err)
	}
	if q, err := f.box.Quota(); err != nil || q.Messages != 1 || q.Size != 14 {
		t.Errorf("quota %+v, %v", q, err)
	}
}

func TestPOP3Lock(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	unlock, ok := f.Box().LockPOP3()
	if _, again := f.Box().LockPOP3(); !ok || again {
		t.Errorf("locked %v, and again %v", ok, again)
	}
	unlock()
	unlock()
	if unlock, ok = f.Box().LockPOP3(); !ok {
		t.Fatal("still locked")
	}
	unlock()
}

// A message that is moved away and back has only one line with its file's name
// in the uidlist, because Dovecot complains about two.
func TestMoveAwayAndBack(t *testing.T) {
	s := testStore(t, Config{})
	inbox, other := testFolder(t, s, "INBOX"), testFolder(t, s, "other")
	put(t, inbox, "Subject: a\n\nx\n", Seen)
	guid := syncNow(t, inbox).Messages[0].GUID()
	for range 3 {
		_, err := inbox.Move(uids(syncNow(t, inbox)), other)
		must(t, err)
		_, err = other.Move(uids(syncNow(t, other)), inbox)
		must(t, err)
	}
	for _, dir := range []string{boxDir(s), boxDir(s) + "/.other"} {
		list, err := maildir.ParseUIDList(string(read(t, dir+"/dovecot-uidlist")))
		must(t, err)
		seen := map[string]bool{}
		for _, e := range list.Entries {
			if seen[e.Base] {
				t.Errorf("%s: %s has two lines", dir, e.Base)
			}
			seen[e.Base] = true
		}
	}
	if m := syncNow(t, inbox).Messages; len(m) != 1 || m[0].GUID() != guid || m[0].Flags != Seen {
		t.Errorf("%+v, GUID was %s", m, guid)
	}
}

// If another server expunges one of several messages while they are moved or
// copied, that message is skipped. The others are not moved back, even for a
// moment.
func TestMoveBesideExpunge(t *testing.T) {
	for _, move := range []bool{true, false} {
		s := testStore(t, Config{})
		inbox, other := testFolder(t, s, "INBOX"), testFolder(t, s, "other")
		for range 3 {
			put(t, inbox, "Subject: a\n\nx\n", Seen)
		}
		snap := syncNow(t, inbox)
		unlock := lockBoth(inbox, other)
		must(t, other.sync())
		tr := transfer{from: inbox, to: other, move: move}
		must(t, tr.collect(uids(snap)))
		// From now on, the folder does not notice that the file is removed.
		must(t, os.Remove(filepath.Join(boxDir(s), "cur", snap.Messages[2].File)))
		msgs, err := other.place(tr.items)
		unlock()
		must(t, err)
		if len(msgs) != 3 || msgs[0] == nil || msgs[1] == nil || msgs[2] != nil {
			t.Fatalf("move %v: placed %v", move, msgs)
		}
		if n := len(syncNow(t, other).Messages); n != 2 {
			t.Errorf("move %v: %d messages in the destination", move, n)
		}
		want := 2
		if move {
			want = 0
		}
		if n := len(syncNow(t, inbox).Messages); n != want {
			t.Errorf("move %v: %d messages in the source, want %d", move, n, want)
		}
	}
}
