package history

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestReadsFirstVersion reads a day written by the first version. The file must
// never be regenerated, because existing histories have this format.
func TestReadsFirstVersion(t *testing.T) {
	r := NewReader("testdata/v1")
	for _, c := range []struct {
		name string
		q    Query
		want string
	}{
		{"all", Query{}, "full-transaction full-attempt 01m8p4w5sd1aawgp 01m8p4w5skz4dp89 01m8p4w5wrnaxssd 01m8p4w60c6vzf0r 01m8p4w60c6vzf0r 01m8p4w60c6vzf0r-f1"},
		{"id", Query{ID: "01m8p4w60c6vzf0r"}, "01m8p4w60c6vzf0r 01m8p4w60c6vzf0r"},
		{"message id", Query{MessageID: "to-a-box@client.example"}, "01m8p4w5sd1aawgp"},
		{"sender", Query{From: "ANN@a.example"}, "full-transaction full-attempt"},
		{"recipient", Query{To: "carl@b.example"}, "full-transaction"},
		{"reports", Query{From: "", To: "ann@example.org", Limit: 1}, "01m8p4w60c6vzf0r-f1"},
	} {
		if got := find(t, r, c.q); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestContinuesFirstVersion appends to such a day, whose index must stay valid.
func TestContinuesFirstVersion(t *testing.T) {
	dir := t.TempDir()
	const name = "2026-11-30"
	sizes := map[string]int64{}
	for _, ext := range []string{".jsonl", ".idx"} {
		b, err := os.ReadFile(filepath.Join("testdata/v1", name+ext))
		if err != nil {
			t.Fatal(err)
		}
		sizes[ext] = int64(len(b))
		if err := os.WriteFile(filepath.Join(dir, name+ext), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at, _ := time.Parse(dayForm, name)
	d, _, err := openDay(dir, at)
	if err != nil {
		t.Fatal(err)
	}
	if d.end != sizes[".jsonl"] {
		t.Errorf("the next line goes to %d, want %d", d.end, sizes[".jsonl"])
	}
	d.close()
	if info, err := os.Stat(filepath.Join(dir, name+".idx")); err != nil || info.Size() != sizes[".idx"] {
		t.Errorf("index: %v, %v, want %d octets", info.Size(), err, sizes[".idx"])
	}
}
