package maildrop

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hoplite/internal/handles"
	"hoplite/maildrop/maildir"
)

// peer simulates another server on the same Maildir that behaves like Dovecot.
type peer struct {
	t   *testing.T
	dir *maildir.Dir
	n   int
}

// store stores a message. Holding the lock, it moves the file into place and
// appends the line.
func (p *peer) store() {
	lock, err := p.dir.Acquire(context.Background(), maildir.UIDListFile)
	must(p.t, err)
	defer lock.Release()
	text, err := p.dir.ReadFile(maildir.UIDListFile, maildir.MaxUIDList)
	must(p.t, err)
	list, err := maildir.ParseUIDList(string(text))
	must(p.t, err)
	p.n++
	base := fmt.Sprintf("17%08d.M1P1.peer", p.n)
	must(p.t, os.WriteFile(filepath.Join(p.dir.Path(), "cur", base+":2,S"), []byte("Subject: peer\n\nx\n"), 0o600))
	w, err := p.dir.Append(maildir.UIDListFile, 0o600)
	must(p.t, err)
	_, err = w.Write(maildir.AppendEntry(nil, maildir.Entry{UID: list.Next, Base: base}))
	must(p.t, err)
	must(p.t, w.Close())
}

// rename changes a message's flags without holding the lock.
func (p *peer) rename() {
	cur, err := p.dir.Sub("cur")
	must(p.t, err)
	defer cur.Close()
	names, err := cur.Files()
	must(p.t, err)
	if len(names) == 0 {
		return
	}
	name := names[rand.IntN(len(names))]
	to := maildir.Base(name) + maildir.Info{Flags: maildir.Flags(rand.IntN(32))}.String()
	if err := cur.Rename(name, cur, to); err != nil && !isNot(err) {
		p.t.Error(err)
	}
}

// Two servers store messages and change flags in one folder at the same time.
// No UID is assigned twice or reassigned to another message.
func TestTwoServersOnOneFolder(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	put(t, f, "Subject: first\n\nx\n", 0)
	root, err := os.OpenRoot(boxDir(s))
	must(t, err)
	defer root.Close()
	dir, err := maildir.OpenDir(handles.Share(), root, ".")
	must(t, err)
	defer dir.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := (&peer{t: t, dir: dir}); ctx.Err() == nil; {
			p.store()
			p.rename()
		}
	}()
	shown := map[uint32]string{}
	for ctx.Err() == nil {
		n, err := f.NewMessage()
		must(t, err)
		io.WriteString(n, "Subject: ours\n\nx\n")
		_, snap, err := f.Append(n)
		must(t, err)
		noteUIDs(t, shown, snap)
		uid := snap.Messages[rand.IntN(len(snap.Messages))].UID
		_, snap, err = f.Store([]uint32{uid}, FlagChange{Mode: Mode(rand.IntN(2)), Flags: Flagged})
		must(t, err)
		noteUIDs(t, shown, snap)
	}
	<-done
	f.since = stamp{} // changes may share a timestamp; they are seen once it is old
	noteUIDs(t, shown, syncNow(t, f))
	text := read(t, filepath.Join(boxDir(s), maildir.UIDListFile))
	list, err := maildir.ParseUIDList(string(text))
	if err != nil {
		t.Fatalf("the uidlist afterwards: %v", err)
	}
	bases := map[string]bool{}
	for _, e := range list.Entries {
		if bases[e.Base] {
			t.Errorf("%s has two UIDs", e.Base)
		}
		bases[e.Base] = true
	}
	if entries, err := os.ReadDir(filepath.Join(boxDir(s), "cur")); err != nil || len(entries) != len(list.Entries) || len(f.snap.Load().Messages) != len(entries) {
		t.Errorf("%d files, %d lines, %d messages, %v", len(entries), len(list.Entries), len(f.snap.Load().Messages), err)
	}
	t.Logf("%d messages", len(list.Entries))
}

// noteUIDs compares a snapshot with all previous ones.
func noteUIDs(t *testing.T, shown map[uint32]string, s *Snapshot) {
	t.Helper()
	for _, m := range s.Messages {
		if base, ok := shown[m.UID]; ok && base != m.Base() {
			t.Fatalf("UID %d was %s and is now %s", m.UID, base, m.Base())
		}
		shown[m.UID] = m.Base()
	}
}

// The bound in the uidlist is raised at its current offset even if another
// server has rewritten the list with another header. Lines appended by that
// server are read afterwards.
func TestRaiseInAListOfAnotherServer(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	put(t, f, "Subject: first\n\nx\n", 0)
	path := filepath.Join(boxDir(s), maildir.UIDListFile)
	list, err := maildir.ParseUIDList(string(read(t, path)))
	must(t, err)
	list.Next, list.Other = 1_000_000, []string{"Pxyz"}
	list.Entries = append(list.Entries, maildir.Entry{UID: 77, Base: "1700000000.M1P1.peer"})
	must(t, os.WriteFile(filepath.Join(boxDir(s), "cur", "1700000000.M1P1.peer:2,"), []byte("Subject: peer\n\nx\n"), 0o600))
	// The other server rewrites the list between a Sync and the change that
	// raises the bound.
	f.mu.Lock()
	must(t, os.WriteFile(path+".new", list.Bytes(), 0o600))
	must(t, os.Rename(path+".new", path))
	f.known.ModSeq = f.known.Ceiling + 5
	bound := f.known.Bound()
	err = f.finish(nil, f.known.SetFlags(nil))
	f.mu.Unlock()
	must(t, err)
	after, err := maildir.ParseUIDList(string(read(t, path)))
	if err != nil || after.ModSeq < bound || len(after.Entries) != 2 || after.Next != 1_000_000 || !slices.Equal(after.Other, []string{"Pxyz"}) {
		t.Errorf("now %+v, %v", after, err)
	}
	if got := uids(syncNow(t, f)); !slices.Equal(got, []uint32{1, 77}) {
		t.Errorf("UIDs %v", got)
	}
	if m := put(t, f, "Subject: next\n\nx\n", 0); m.UID != 1_000_000 {
		t.Errorf("next message has UID %d", m.UID)
	}
}

// MOVE within a folder assigns new UIDs to messages and leaves no second copy.
func TestMoveWithinAFolder(t *testing.T) {
	f := testFolder(t, testStore(t, Config{}), "INBOX")
	put(t, f, "Subject: a\n\nx\n", Seen)
	put(t, f, "Subject: b\n\nx\n", 0)
	c, err := f.Move([]uint32{1}, f)
	if err != nil || !slices.Equal(c.From, []uint32{1}) || !slices.Equal(c.To, []uint32{3}) {
		t.Fatalf("moved %+v, %v", c, err)
	}
	f.fresh.Store(true)
	for range 2 {
		s := syncNow(t, f)
		if !slices.Equal(uids(s), []uint32{2, 3}) || s.Messages[1].Flags != Seen {
			t.Errorf("now %v", uids(s))
		}
		f.settle = true
		f.since = stamp{}
	}
	if entries, err := os.ReadDir(filepath.Join(boxDir(f.box.store), "cur")); err != nil || len(entries) != 2 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}
