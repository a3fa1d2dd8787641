//go:build interop && linux

package chaos

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A read error in a file that the server can regenerate does not prevent the
// start, and mail and accounts are unchanged. The self-signed certificate is
// covered only by a unit test, because strace cannot distinguish its
// replacement from the unreadable file.
func TestInteropUnreadableFiles(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	l := newLife(t, filepath.Join(t.TempDir(), "data"))
	l.server.must()
	l.act()
	time.Sleep(time.Second) // wait until the history is written
	l.server.kill()
	if !l.account || len(l.mail) != 2 || l.appended == "" {
		t.Fatalf("the first life did not get far: %+v", l)
	}
	var paths []string
	err := filepath.WalkDir(l.data, func(path string, d fs.DirEntry, err error) error {
		for _, part := range []string{"/history/", "/index/", "/state/"} {
			if err == nil && !d.IsDir() && strings.Contains(path, part) {
				paths = append(paths, path)
			}
		}
		return err
	})
	if err != nil || len(paths) < 4 {
		t.Fatalf("%q, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimPrefix(path, l.data+"/"), func(t *testing.T) {
			l.t, l.server.t = t, t
			out := filepath.Join(t.TempDir(), "strace")
			if err := l.server.start("strace", "-f", "-qq", "-o", out, "-P", path,
				"-e", "inject=read,pread64:error=EIO"); err != nil {
				t.Fatalf("%v\n%s", err, l.server.tail())
			}
			l.verify()
			l.server.kill()
			if text, err := os.ReadFile(out); err != nil || !strings.HasSuffix(path, ".tmp") && !strings.Contains(string(text), "(INJECTED)") {
				t.Errorf("the file was not read: %v", err)
			}
		})
	}
}
