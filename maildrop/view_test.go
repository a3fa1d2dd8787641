package maildrop

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"hoplite/internal/conf"
)

// A view counts the existing messages and changes nothing: new messages stay
// new, and no uidlist is created.
func TestView(t *testing.T) {
	data := t.TempDir()
	var cfg Config
	conf.Defaults(&cfg)
	if _, err := OpenView(cfg, data); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without a maildrop: %v", err)
	}
	box := filepath.Join(data, "mail/example.org/ann")
	for _, dir := range []string{"cur", "new", "tmp", ".Old.2020/cur", ".Old.2020/new", ".Old/cur", ".notes", ".Odd..name/cur"} {
		if err := os.MkdirAll(filepath.Join(box, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"new/1.a.host,S=4,W=5":           "x\ny\n",
		"cur/2.b.host,S=4,W=6:2,S":       "x\ny\n",
		"cur/3.c.host:2,F":               "x\ny\n", // counted
		"cur/3.c.host:2,FR":              "x\ny\n", // being renamed
		"cur/.hidden":                    "x",
		".Old.2020/cur/4.d.host,W=7:2,S": "x\n",
		".file":                          "no folder",
	} {
		if err := os.WriteFile(filepath.Join(box, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		filepath.WalkDir(data, func(string, fs.DirEntry, error) error { n++; return nil })
		return n
	}
	before := count()
	v, err := OpenView(cfg, data)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if !v.Exists("Ann@Example.org") || v.Exists("bob@example.org") {
		t.Error("Exists is wrong")
	}
	got, err := v.Folders("ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	want := []FolderSize{{"INBOX", 3, 2, 17}, {"Old", 0, 0, 0}, {"Old/2020", 1, 0, 7}}
	if len(got) != len(want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	if _, err := v.Folders("bob@example.org"); err == nil {
		t.Error("a box that does not exist has folders")
	}
	if after := count(); after != before {
		t.Errorf("%d files and folders, %d before", after, before)
	}
}

// A folder may be imported before the first message creates INBOX.
func TestViewWithoutInbox(t *testing.T) {
	data := t.TempDir()
	var cfg Config
	conf.Defaults(&cfg)
	if err := os.MkdirAll(filepath.Join(data, "mail/example.org/ann/.Old/cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	v, err := OpenView(cfg, data)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	got, err := v.Folders("ann@example.org")
	if err != nil || len(got) != 2 || got[0].Name != "INBOX" || got[1].Name != "Old" {
		t.Errorf("%+v, %v", got, err)
	}
}
