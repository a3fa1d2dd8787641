package files

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	for _, text := range []string{"first", "second, longer"} {
		if err := Write(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("read %q, %v", got, err)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("third"), 0o600); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v: want the old file's", fi.Mode(), err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("left behind: %v, %v", all, err)
	}
	if err := Write(filepath.Join(dir, "no", "key"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing folder: %v", err)
	}
	if err := Write(dir, nil, 0o600); err == nil {
		t.Error("a folder was replaced")
	}
}

// A power cut shortly after the first start can leave an empty file. That must
// not prevent the next start.
func TestMake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "deep", "key")
	valid := func(b []byte) bool { return len(b) == 4 }
	n := 0
	fresh := func() []byte { n++; return bytes.Repeat([]byte{byte('0' + n)}, 4) }
	for _, c := range []struct {
		name, before string
		want         string
		damaged      bool
	}{
		{"missing", "", "1111", false},
		{"there", "keep", "keep", false},
		{"half", "ke", "2222", true},
		{"empty", "\x00", "3333", true},
	} {
		if c.before != "" {
			if err := os.WriteFile(path, []byte(strings.Trim(c.before, "\x00")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, damaged, err := Make(path, 0o600, valid, fresh)
		if string(got) != c.want || damaged != c.damaged || err != nil {
			t.Errorf("%s: %q, %v, %v", c.name, got, damaged, err)
		}
		if disk, _ := os.ReadFile(path); string(disk) != c.want {
			t.Errorf("%s: on disk %q", c.name, disk)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan struct{})
	go func() {
		defer close(second)
		if unlock, err := Lock(path); err == nil {
			unlock()
		}
	}()
	select {
	case <-second:
		t.Error("two holders")
	case <-time.After(50 * time.Millisecond):
	}
	unlock()
	<-second
}

func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	parse := func(r io.Reader, name string) (string, error) {
		b, err := io.ReadAll(r)
		if strings.Contains(string(b), "bad") {
			return "half", errors.New(name + ": bad")
		}
		return string(b), err
	}
	w, err := Watch(path, parse, zerolog.Nop())
	if err != nil || w.Get() != "" {
		t.Fatalf("missing file: %q, %v", w.Get(), err)
	}
	write := func(s string) {
		t.Helper()
		if err := Write(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	if got := w.Get(); got != "" {
		t.Errorf("asked the disk again at once: %q", got)
	}
	if err := w.Reload(); err != nil || w.Get() != "one" {
		t.Errorf("after a change: %q, %v", w.Get(), err)
	}
	write("bad")
	if err := w.Reload(); err == nil || w.Get() != "one" {
		t.Errorf("with a mistake: %q, %v", w.Get(), err)
	}
	if err := w.Reload(); err != nil || w.Err() == nil {
		t.Errorf("the mistake is forgotten: %v, %v", err, w.Err())
	}
	write("two")
	w.changes.next.Store(0)
	if got := w.Get(); got != "two" || w.Err() != nil {
		t.Errorf("when due: %q, %v", got, w.Err())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := w.Reload(); err != nil || w.Get() != "" {
		t.Errorf("removed: %q, %v", w.Get(), err)
	}
	write("bad")
	if w, err := Watch(path, parse, zerolog.Nop()); err == nil || w.Err() != err || w.Get() != "half" {
		t.Errorf("first read with a mistake: %q, %v", w.Get(), err)
	}
	unreadable(t, path, parse)
	if w, err := Watch("", parse, zerolog.Nop()); err != nil || w.Get() != "" || w.Reload() != nil {
		t.Errorf("no path: %v", err)
	}
}

// A file that cannot be read is tried again although it does not change, and only
// changes are logged. The content can be kept in the meantime.
func unreadable(t *testing.T, path string, parse func(io.Reader, string) (string, error)) {
	var log strings.Builder
	path += ".d" // a directory can be opened, but not read
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := Watch(path, parse, zerolog.New(&log))
	if err == nil || w.Get() != "" {
		t.Fatalf("a directory: %q, %v", w.Get(), err)
	}
	w.Keep("known")
	for range 3 {
		w.changes.next.Store(0)
		if got := w.Get(); got != "known" {
			t.Errorf("while it can't be read: %q", got)
		}
	}
	if err := w.Reload(); err == nil {
		t.Error("a reload succeeds")
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("read"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Reload(); err != nil || w.Get() != "read" {
		t.Errorf("when it can be read: %q, %v", w.Get(), err)
	}
}

// A step of the wall clock does not postpone the next check of a file, because
// checks depend on the time since the process started.
func TestChangesIgnoreTheWallClock(t *testing.T) {
	c := NewChanges(filepath.Join(t.TempDir(), "list"))
	if c.Due() {
		t.Error("due at once")
	}
	if next := time.Duration(c.next.Load()); next <= 0 || next > 365*24*time.Hour {
		t.Errorf("the next look is at %s, a reading of the wall clock", next)
	}
}

func TestRoots(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty.pem": "", "key.pem": "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Roots(dir, name); !errors.Is(err, errNoCertificate) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if pool, err := Roots(dir, ""); pool != nil || err != nil {
		t.Errorf("no file: %v %v", pool, err)
	}
	if _, err := Roots(dir, "missing.pem"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}
