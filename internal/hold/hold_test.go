package hold

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestHold(t *testing.T) {
	for _, size := range []int{0, 10, InMemory, InMemory + 1, 3 * InMemory} {
		dir := filepath.Join(t.TempDir(), "new")
		h := New(dir)
		want := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		for p := want; len(p) > 0; {
			n := min(len(p), 70_000)
			if _, err := h.Write(p[:n]); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		got, err := io.ReadAll(io.NewSectionReader(h, 0, h.Size()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets: %d read, %v", size, len(got), err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%d octets: %v has a name", size, left)
		}
		h.Close()
	}
}
