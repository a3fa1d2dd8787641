package maildrop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// A message whose file disappears and then exists again is a new message: it
// gets a new UID and a new base name, whether or not the uidlist is read again.
func TestFileExistsAgain(t *testing.T) {
	for name, prepare := range map[string]func(*Folder){
		"the uidlist is unchanged":  func(*Folder) {},
		"the uidlist is read again": func(f *Folder) { f.since.List.Size = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t, Config{})
			f := testFolder(t, s, "INBOX")
			put(t, f, hello, 0)
			m := put(t, f, hello, Flagged)
			at := filepath.Join(boxDir(s), "cur", m.File)
			away := filepath.Join(t.TempDir(), "away")
			must(t, os.Rename(at, away))
			f.since.Cur = time.Time{}
			if n := len(syncNow(t, f).Messages); n != 1 {
				t.Fatalf("%d messages while the file is missing", n)
			}
			must(t, os.Rename(away, at))
			f.since.Cur = time.Time{}
			prepare(f)
			snap := syncNow(t, f)
			if len(snap.Messages) != 2 {
				t.Fatalf("%d messages", len(snap.Messages))
			}
			now := snap.Messages[1]
			if now.UID != 3 || now.Base() == m.Base() || now.Flags != Flagged || now.Wire != m.Wire {
				t.Errorf("the message was %+v, now %+v", m, now)
			}
			readsAs(t, f, now, hello)
			bases := map[string]bool{}
			list, err := maildir.ParseUIDList(string(read(t, filepath.Join(boxDir(s), maildir.UIDListFile))))
			must(t, err)
			for _, e := range list.Entries {
				if bases[e.Base] {
					t.Errorf("%s has two UIDs", e.Base)
				}
				bases[e.Base] = true
			}
		})
	}
}

// UIDs assigned to files of other programs are logged at level debug.
func TestLogAssigned(t *testing.T) {
	var log lockedLog
	s, err := Open(Config{Name: "boxes"}, Env{Data: t.TempDir(), Log: zerolog.New(&log)})
	must(t, err)
	defer s.Close()
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	f, err := b.Folder("INBOX")
	must(t, err)
	defer f.Close()
	must(t, os.WriteFile(filepath.Join(f.dir.Path(), "new", "1700000000.M1P1.h"), []byte(hello), 0o600))
	syncNow(t, f)
	want := fmt.Sprintf(`"folder":%q,"uid":1,"file":"1700000000.M1P1.h","message":"UID assigned"`, f.dir.Path())
	if text := log.String(); !strings.Contains(text, want) {
		t.Errorf("the log has no %s:\n%s", want, text)
	}
}

// lockedLog is a log that can be read while it is being written.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A new message whose file is renamed after the directory was read keeps its
// UID.
func TestMeasureRenamedFile(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	was := put(t, f, hello, 0)
	cur := filepath.Join(boxDir(s), "cur")
	must(t, os.Rename(filepath.Join(cur, was.File), filepath.Join(cur, was.Base()+":2,FS")))
	renamed := &Message{UID: 1, File: was.File}
	removed := &Message{UID: 2, File: "1700000000.M1P1.h:2,"}
	r := round{Folder: f}
	vanished, err := r.measureAll([]*Message{renamed, removed})
	if err != nil || len(vanished) != 1 || vanished[0] != removed {
		t.Errorf("vanished %v, %v", vanished, err)
	}
	if fileOf(renamed) != (reconcile.File{Name: was.Base() + ":2,FS"}) || renamed.Flags != Flagged|Seen || renamed.Wire != was.Wire {
		t.Errorf("the renamed message is %+v", renamed)
	}
}

// After a new message has vanished, the uidlist, which contains its line, is
// read again.
func TestVanishedMessageIsReadAgain(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	put(t, f, hello, 0)
	r := round{Folder: f, now: f.since, missed: true}
	r.scan = &scan{files: f.files, r: reconcile.NewReading(0)}
	before := f.since.List
	must(t, r.carryOut(f.known, reconcile.Changes{Quiet: true}, reconcile.Plan{}))
	if f.since.List == before || !f.settle {
		t.Error("the uidlist would not be read again")
	}
}
