package maildir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hoplite/internal/handles"
)

// A directory whose descriptor was closed is reopened at its current location,
// even after MoveTo, and so are its subdirectories.
func TestDirIsOpenedAgain(t *testing.T) {
	box, path := testDir(t)
	must(t, os.MkdirAll(filepath.Join(path, ".a", "cur"), 0o700))
	must(t, os.WriteFile(filepath.Join(path, ".a", "cur", "x"), nil, 0o600))
	folder, err := box.Sub(".a")
	must(t, err)
	defer folder.Close()
	cur, err := folder.Sub("cur")
	must(t, err)
	defer cur.Close()
	pool, _ := cur.Pool()
	check := func(when, name string) {
		t.Helper()
		pool.Relieve()
		if n := pool.Open(); n != 0 {
			t.Fatalf("%s: %d descriptors are open", when, n)
		}
		if names, err := cur.Files(); err != nil || !slices.Equal(names, []string{"x"}) {
			t.Errorf("%s: %q, %v", when, names, err)
		}
		if want := filepath.Join(path, name, "cur"); filepath.Clean(cur.Path()) != want {
			t.Errorf("%s: path %s, want %s", when, cur.Path(), want)
		}
		if st, err := cur.Glance("x"); err != nil || !st.Mode.IsRegular() {
			t.Errorf("%s: glance %v, %v", when, st, err)
		}
	}
	check("unused", ".a")
	must(t, folder.MoveTo(".b"))
	check("renamed", ".b")
	if _, err := os.Stat(filepath.Join(path, ".b")); err != nil {
		t.Error(err)
	}
}

// A directory that was removed, or replaced by another directory or a link, no
// longer exists.
func TestDirIsGone(t *testing.T) {
	changes := map[string]func(path string) error{
		"removed": os.Remove,
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.Mkdir(path, 0o700))
		},
		"link": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.Symlink(path+".old", path))
		},
		"file": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) },
	}
	for name, change := range changes {
		box, path := testDir(t)
		must(t, os.Mkdir(filepath.Join(path, "cur"), 0o700))
		cur, err := box.Sub("cur")
		must(t, err)
		pool, _ := cur.Pool()
		pool.Relieve()
		must(t, change(filepath.Join(path, "cur")))
		if st, err := cur.StatSelf(); err != nil || st.Links != 0 {
			t.Errorf("%s: %d links, %v", name, st.Links, err)
		}
		if _, err := cur.Create("x", 0o600); err == nil {
			t.Errorf("%s: a file was created", name)
		}
		cur.Close()
	}
}

// While in use, a Dir refers to the same directory, even if the directory is
// renamed or replaced.
func TestDirInUse(t *testing.T) {
	box, path := testDir(t)
	must(t, os.Mkdir(filepath.Join(path, "cur"), 0o700))
	cur, err := box.Sub("cur")
	must(t, err)
	defer cur.Close()
	pool, _ := cur.Pool()
	must(t, cur.run("test", ".", func(int) error {
		pool.Relieve()
		must(t, os.Rename(filepath.Join(path, "cur"), filepath.Join(path, "old")))
		f, err := cur.Create("x", 0o600)
		must(t, err)
		return f.Close()
	}))
	if _, err := os.Stat(filepath.Join(path, "old", "x")); err != nil {
		t.Error(err)
	}
}

// All operations refuse names that refer to files outside the directory.
func TestNamesAreComponents(t *testing.T) {
	box, path := testDir(t)
	must(t, os.WriteFile(filepath.Join(path, "ok"), []byte("x"), 0o600))
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc/passwd", "a\x00b"} {
		_, openErr := box.Open(name)
		_, subErr := box.Sub(name)
		_, statErr := box.Stat(name)
		for op, err := range map[string]error{
			"open": openErr, "sub": subErr, "stat": statErr, "remove": box.Remove(name), "mkdir": box.Mkdir(name),
			"rename": box.Rename(name, box, "ok"), "rename to": box.Rename("ok", box, name), "link": box.Link("ok", box, name),
		} {
			if !errors.Is(err, errName) {
				t.Errorf("%s %q: %v", op, name, err)
			}
		}
	}
}

// OpenDir opens neither links nor files, and nothing outside the root.
func TestOpenDir(t *testing.T) {
	path := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(path, "in", "sub"), 0o700))
	must(t, os.WriteFile(filepath.Join(path, "in", "file"), nil, 0o600))
	must(t, os.Symlink("sub", filepath.Join(path, "in", "link")))
	root, err := os.OpenRoot(filepath.Join(path, "in"))
	must(t, err)
	defer root.Close()
	for name, ok := range map[string]bool{"sub": true, ".": true, "file": false, "link": false, "none": false, "..": false, "sub/../..": false} {
		d, err := OpenDir(handles.Share(), root, name)
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			d.Close()
		}
		if name == "none" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
