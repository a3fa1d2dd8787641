package hold

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"hoplite/internal/memory"
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

// If the budget has no memory for a stream, it is written to a file, and the
// memory it already has is returned.
func TestBudget(t *testing.T) {
	before := memory.Content.Used()
	all := memory.Content.Share(memory.Total)
	if !all.TryTake(memory.Total - before - 100<<10) {
		t.Fatal("the budget is in use")
	}
	dir := t.TempDir()
	h := New(dir)
	want := bytes.Repeat([]byte("0123456789"), 20_000)
	for p := want; len(p) > 0; p = p[10_000:] {
		if _, err := h.Write(p[:10_000]); err != nil {
			t.Fatal(err)
		}
	}
	if h.f == nil {
		t.Error("200 KB are in memory, of which 100 KiB are available")
	}
	got, err := io.ReadAll(io.NewSectionReader(h, 0, h.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d octets read, %v", len(got), err)
	}
	small := New(dir)
	if _, err := small.Write(want[:100]); err != nil || small.f != nil {
		t.Errorf("100 octets are in a file: %v", err)
	}
	small.Close()
	h.Close()
	all.Close()
	if used := memory.Content.Used(); used != before {
		t.Errorf("%d octets in use, %d before", used, before)
	}
}
