package maildrop

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"hoplite/internal/handles"
)

// descriptors returns the number of descriptors open in this process.
func descriptors(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("/proc is needed")
	}
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// Folders that clients have open but are not using hold no descriptor, and
// changes to them are still detected.
func TestIdleFoldersHoldNoDescriptor(t *testing.T) {
	s := testStore(t, Config{})
	base := descriptors(t)
	var folders []*Folder
	for i := range 40 {
		f := testFolder(t, s, fmt.Sprintf("f%d", i))
		put(t, f, "Subject: first\n\nx\n", 0)
		_, stop := f.Watch()
		defer stop()
		folders = append(folders, f)
	}
	s.env.Handles.Relieve()
	// The watches share one descriptor, and the poller may need two.
	if n := descriptors(t); n > base+3 {
		t.Errorf("%d descriptors for %d folders", n-base, len(folders))
	}
	for _, f := range folders {
		put(t, f, "Subject: second\n\nx\n", Seen)
		if n := len(syncNow(t, f).Messages); n != 2 {
			t.Errorf("%d messages", n)
		}
	}
}

// An account with many open folders stays within its share of the descriptors,
// regardless of how they are used.
func TestDescriptorsOfOneAccount(t *testing.T) {
	s := testStore(t, Config{})
	s.env.Handles = handles.NewPool(40, 10)
	base := descriptors(t)
	for range 2 {
		for i := range 30 {
			f := testFolder(t, s, fmt.Sprintf("f%d", i))
			put(t, f, "Subject: first\n\nx\n", 0)
			if n := s.env.Handles.Open(); n > 12 {
				t.Fatalf("%d directories and indexes are open", n)
			}
		}
	}
	if n := descriptors(t); n > base+15 {
		t.Errorf("%d descriptors", n-base)
	}
}

// A folder whose directory was replaced while no descriptor was open no longer
// exists; the new directory is a different folder.
func TestReplacedFolderIsGone(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "work")
	put(t, f, "Subject: first\n\nx\n", 0)
	s.env.Handles.Relieve()
	dir := boxDir(s) + "/.work"
	must(t, os.Rename(dir, dir+".old"))
	if _, err := f.Sync(); err != ErrGone {
		t.Errorf("sync of a folder that was renamed elsewhere: %v", err)
	}
	must(t, os.MkdirAll(dir+"/cur", 0o700))
	again, err := f.box.Folder("work")
	must(t, err)
	defer again.Close()
	if n := len(syncNow(t, again).Messages); again == f || n != 0 {
		t.Errorf("the new folder has %d messages", n)
	}
}
