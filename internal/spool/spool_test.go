package spool

import (
	"bytes"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestSpool(t *testing.T) {
	for name, tt := range map[string]struct {
		size   int
		hint   int64
		budget int64
		where  string
	}{
		"empty":                     {where: "one piece"},
		"small":                     {size: 100, where: "one piece"},
		"small, announced":          {size: 5000, hint: 5000, where: "one piece"},
		"a lie about the size":      {size: 200000, hint: 10, where: "one piece"},
		"as much as in one piece":   {size: inOnePiece, where: "one piece"},
		"one octet more":            {size: inOnePiece + 1, where: "pieces"},
		"large":                     {size: 5<<20 + 7, where: "pieces"},
		"large, announced":          {size: 5 << 20, hint: 5 << 20, where: "pieces"},
		"larger than memory":        {size: inMemory + 1, where: "file"},
		"larger, announced":         {size: 3 << 20, hint: inMemory + 1, where: "file"},
		"no budget left":            {size: 5000, budget: 4999, where: "file"},
		"no budget for more pieces": {size: 3 << 20, budget: 2 << 20, where: "file"},
		"within a small budget":     {size: 4096, budget: 4096, where: "one piece"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(t.TempDir(), tt.budget)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, tt.size)
			rand.New(rand.NewSource(1)).Read(want)
			s := d.New(tt.hint)
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1500)
				if _, err := s.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := s.Done(); err != nil {
				t.Fatal(err)
			}
			where := "pieces"
			if _, one := s.Bytes(); one {
				where = "one piece"
			} else if s.file != nil {
				where = "file"
			}
			if where != tt.where {
				t.Errorf("it is in %s, want %s", where, tt.where)
			}
			got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
			if err != nil || !bytes.Equal(got, want) || s.Size() != int64(tt.size) {
				t.Errorf("%d octets of %d, %v", len(got), len(want), err)
			}
			if used := d.Used(); used > max(tt.budget, inMemory) || where == "file" && used != 0 {
				t.Errorf("%d octets of the budget used", used)
			}
			for range 2 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if d.Used() != 0 {
				t.Errorf("%d octets not given back", d.Used())
			}
			if left, _ := filepath.Glob(filepath.Join(d.path, "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{prefix + "123", "mine"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir, 0); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "mine" {
		t.Errorf("left: %v", left)
	}
}

func TestRoom(t *testing.T) {
	d, err := Open(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Room(1 << 62); err != ErrFull {
		t.Errorf("room for 4 EiB: %v", err)
	}
}

// A large message uses no more memory than a spool may keep, and hardly any if
// its size was announced.
func TestMemory(t *testing.T) {
	for name, tt := range map[string]struct{ hint, most int64 }{
		"announced":     {64 << 20, 4 << 20},
		"not announced": {0, inMemory + 4<<20},
	} {
		t.Run(name, func(t *testing.T) { testMemory(t, tt.hint, tt.most) })
	}
}

func testMemory(t *testing.T, hint, most int64) {
	d, err := Open(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	s := d.New(hint)
	defer s.Close()
	block := make([]byte, 16<<10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 64 << 20 / len(block) {
		if _, err := s.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(most) {
		t.Errorf("%d octets allocated for 64 MiB", got)
	}
}

func TestCopyTo(t *testing.T) {
	d, err := Open(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"memory": 1000, "pieces": 3 << 20, "file": 9 << 20} {
		t.Run(name, func(t *testing.T) {
			want := make([]byte, size)
			rand.New(rand.NewSource(2)).Read(want)
			s := d.New(0)
			defer s.Close()
			s.Write(want)
			if err := s.Done(); err != nil {
				t.Fatal(err)
			}
			to, err := os.Create(filepath.Join(t.TempDir(), "copy"))
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			if n, err := s.CopyTo(to, 77); err != nil || n != int64(size-77) {
				t.Fatalf("CopyTo = %d, %v", n, err)
			}
			if got, err := os.ReadFile(to.Name()); err != nil || !bytes.Equal(got, want[77:]) {
				t.Errorf("%d octets, %v: not the same", len(got), err)
			}
		})
	}
}
