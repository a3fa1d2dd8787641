package maildrop

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoplite/internal/conf"
)

// tree returns the names and contents of all files below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			all[path] = ""
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An export to mbox is in the order of UIDs, and changes nothing: new messages
// stay new, and no uidlist is created or extended.
func TestExportMbox(t *testing.T) {
	data := t.TempDir()
	var cfg Config
	conf.Defaults(&cfg)
	box := filepath.Join(data, "mail/example.org/ann")
	for name, text := range map[string]string{
		"new/9.new.host":            "Subject: new\n\nx\n",
		"new/8.older.host":          "Subject: older\n\nx\n",
		"cur/3.c.host:2,Fb":         "Subject: three\n\nFrom here\n",
		"cur/2.b.host:2,S":          "Subject: two\n\nx\n",
		"cur/3.c.host:2,FR":         "Subject: three\n\nFrom here\n", // being renamed
		"cur/.hidden":               "x",
		"dovecot-uidlist":           "3 V1 N8\n5 :3.c.host\n7 :2.b.host\n",
		"dovecot-keywords":          "1 work\n",
		".Old.2020/cur/1.a.host:2,": "Subject: bare",
		".Bad/cur/1.a.host:2,S":     "Subject: a\n\n",
		".Bad/dovecot-uidlist":      "rubbish\n",
	} {
		path := filepath.Join(box, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, data)
	v, err := OpenView(cfg, data)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, c := range []struct {
		folder string
		count  int
		want   []string // in this order
	}{
		{"INBOX", 4, []string{"Subject: three\nStatus: O\nX-Status: ", "\n\n>From here\n\nFrom MAILER-DAEMON ", "Subject: two\nStatus: RO\n\n", "Subject: older\n\nx\n\nFrom ", "Subject: new\n\nx\n\n"}},
		{"Old/2020", 1, []string{"Subject: bare\nStatus: O\n\n"}},
		{"Bad", 1, []string{"Subject: a\nStatus: RO\n\n"}},
	} {
		var out bytes.Buffer
		n, err := v.ExportMbox(t.Context(), "ann@example.org", c.folder, &out, func() {})
		if err != nil || n != c.count {
			t.Fatalf("%s: %d messages, %v", c.folder, n, err)
		}
		rest := out.String()
		for _, want := range c.want {
			_, after, ok := strings.Cut(rest, want)
			if !ok {
				t.Fatalf("%s: no %q in %q", c.folder, want, rest)
			}
			rest = after
		}
	}
	if _, err := v.ExportMbox(t.Context(), "ann@example.org", "None", &bytes.Buffer{}, func() {}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that does not exist: %v", err)
	}
	if after := tree(t, data); !maps.Equal(before, after) {
		t.Errorf("the mailbox has changed:\n%q\n%q", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
}

// A message is exported even if a client changes its flags at that moment.
func TestExportRenamed(t *testing.T) {
	dir := t.TempDir()
	var cfg Config
	conf.Defaults(&cfg)
	box := filepath.Join(dir, "mail/example.org/ann")
	for _, sub := range []string{"cur", "new"} {
		if err := os.MkdirAll(filepath.Join(box, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(box, "new/1.a.host"), []byte("Subject: a\n\n"), 0o600)
	os.WriteFile(filepath.Join(box, "new/2.b.host"), []byte("Subject: b\n\n"), 0o600)
	v, err := OpenView(cfg, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	e := &export{}
	if err := e.open(v, "ann@example.org", "INBOX"); err != nil {
		t.Fatal(err)
	}
	defer e.close()
	list, err := e.list()
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	os.Rename(filepath.Join(box, "new/1.a.host"), filepath.Join(box, "cur/1.a.host:2,S"))
	os.Remove(filepath.Join(box, "new/2.b.host"))
	if f, _, err := e.reopen(&list[0]); err != nil || list[0].name != "1.a.host:2,S" || list[0].dir != e.cur {
		t.Errorf("renamed: %+v, %v", list[0], err)
	} else {
		f.Close()
	}
	if _, _, err := e.reopen(&list[1]); !isNot(err) {
		t.Errorf("removed: %v", err)
	}
}
