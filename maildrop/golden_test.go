package maildrop

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// useGolden copies a file written by the first version to ann's box.
func useGolden(t *testing.T, s *Store, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	must(t, err)
	must(t, os.MkdirAll(boxDir(s), 0o700))
	must(t, os.WriteFile(filepath.Join(boxDir(s), name), text, 0o600))
}

func TestGoldenMaildirsize(t *testing.T) {
	s := testStore(t, Config{})
	useGolden(t, s, "maildirsize")
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	want := Quota{Size: 84, Messages: 6, SizeLimit: 1 << 20, MessagesLimit: 100}
	if q, err := b.Quota(); err != nil || q != want {
		t.Errorf("got %+v, %v, want %+v", q, err, want)
	}
}

func TestGoldenSpecialUse(t *testing.T) {
	s := testStore(t, Config{})
	useGolden(t, s, "hoplite-special-use")
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	if got, want := b.uses.read(), map[string]string{"Entwürfe": `\Drafts`, "Mülleimer": `\Trash`}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGoldenMetadata(t *testing.T) {
	s := testStore(t, Config{})
	useGolden(t, s, "hoplite-metadata")
	b, err := s.Box("ann@example.org")
	must(t, err)
	defer b.Close()
	must(t, b.Create("Entwürfe", ""))
	for name, want := range map[string]Annotations{
		"": {"/private/comment": []byte("server")}, "INBOX": {"/private/comment": []byte("inbox")},
		"Entwürfe": {"/private/comment": {0, 1}, "/shared/vendor/x/y": {}},
	} {
		if got, err := b.Annotations(name); err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%q: %q, %v, want %q", name, got, err, want)
		}
	}
}
