package owner

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestBecome(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	theirs, ours := t.TempDir(), t.TempDir()
	if err := os.Chown(theirs, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir      string
		uid, gid int
	}{
		{theirs, 4711, 4712},
		{filepath.Join(theirs, "not", "there"), 4711, 4712},
		{ours, 0, 0},
	} {
		restore, err := Become(c.dir)
		if err != nil {
			t.Errorf("%s: %v", c.dir, err)
			continue
		}
		uid, gid := os.Geteuid(), os.Getegid()
		restore()
		if uid != c.uid || gid != c.gid {
			t.Errorf("%s: user %d, group %d, want %d, %d", c.dir, uid, gid, c.uid, c.gid)
		}
		if os.Geteuid() != 0 || os.Getegid() != 0 {
			t.Fatalf("restored to user %d, group %d", os.Geteuid(), os.Getegid())
		}
	}
	if syscall.Getuid() != 0 {
		t.Error("the real user changed")
	}
}
