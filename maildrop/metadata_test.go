package maildrop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
)

func TestAnnotationLimits(t *testing.T) {
	b := testFolder(t, testStore(t, Config{}), "INBOX").Box()
	value := bytes.Repeat([]byte{'x'}, 30_000)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = b.Annotate("INBOX", Annotations{fmt.Sprintf("/private/%d", n): value})
	}
	if !errors.Is(err, ErrAnnotations) || n < 20 {
		t.Errorf("after %d large values: %v", n, err)
	}
	many := Annotations{}
	for i := range maxAnnotations + 1 {
		many[fmt.Sprintf("/private/many/%d", i)] = []byte("x")
	}
	if err := b.Annotate("", many); !errors.Is(err, ErrAnnotations) {
		t.Errorf("many values: %v", err)
	}
	// Removing values is always possible.
	gone := Annotations{}
	for i := range n {
		gone[fmt.Sprintf("/private/%d", i)] = nil
	}
	if err := b.Annotate("INBOX", gone); err != nil {
		t.Error(err)
	}
	if got, err := b.Annotations("INBOX"); len(got) > 0 || err != nil {
		t.Errorf("%d values are left, %v", len(got), err)
	}
}

// Annotations follow a folder that is renamed, and its subfolders, and are
// removed with it.
func TestAnnotationsFollowFolders(t *testing.T) {
	b := testFolder(t, testStore(t, Config{}), "INBOX").Box()
	must(t, b.Create("a", ""))
	must(t, b.Create("a/b", ""))
	for _, name := range []string{"", "INBOX", "a", "a/b"} {
		must(t, b.Annotate(name, Annotations{"/private/comment": []byte("of " + name)}))
	}
	must(t, b.Rename("a", "c"))
	for name, want := range map[string]string{"": "of ", "inbox": "of INBOX", "c": "of a", "c/b": "of a/b"} {
		if got, err := b.Annotations(name); string(got["/private/comment"]) != want || err != nil {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	must(t, b.Delete("c"))
	must(t, b.Create("c", ""))
	if got, err := b.Annotations("c"); len(got) > 0 || err != nil {
		t.Errorf("a new folder has %q, %v", got, err)
	}
	for _, name := range []string{"a", "..", "x/y"} {
		if _, err := b.Annotations(name); err == nil {
			t.Errorf("%q has annotations", name)
		}
		if err := b.Annotate(name, Annotations{"/private/x": nil}); err == nil {
			t.Errorf("%q can be annotated", name)
		}
	}
}

// A damaged file does not prevent the use of the box.
func TestDamagedAnnotations(t *testing.T) {
	s := testStore(t, Config{})
	b := testFolder(t, s, "INBOX").Box()
	for _, text := range []string{"", "null", "{", `{"INBOX":{"/private/x":"!"}}`, `["x"]`} {
		must(t, os.WriteFile(boxDir(s)+"/"+metadataFile, []byte(text), 0o600))
		if got, err := b.Annotations("INBOX"); len(got) > 0 || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		must(t, b.Annotate("INBOX", Annotations{"/private/x": []byte("y")}))
		if got, err := b.Annotations("INBOX"); string(got["/private/x"]) != "y" || err != nil {
			t.Errorf("%q: then %q, %v", text, got, err)
		}
	}
}

// Values count when the box is full, and can then only shrink.
func TestAnnotationsAndQuota(t *testing.T) {
	f := testFolder(t, testStore(t, Config{Quota: 100}), "INBOX")
	put(t, f, "Subject: a\n\nx\n", 0)
	b := f.Box()
	must(t, b.Annotate("", Annotations{"/private/x": []byte("small")}))
	if err := b.Annotate("", Annotations{"/private/x": make([]byte, 200)}); !errors.Is(err, ErrQuota) {
		t.Errorf("over the limit: %v", err)
	}
	must(t, b.Annotate("", Annotations{"/private/x": nil}))
}
