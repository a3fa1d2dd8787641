package spool

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Regardless of the sizes of writes and of the budget, readers see the written
// data, from any offset and concurrently.
func TestRandomWrites(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		d, err := Open(t.TempDir(), r.Int64N(4<<20)+1)
		if err != nil {
			t.Fatal(err)
		}
		s := d.New(r.Int64N(2) * r.Int64N(3<<20))
		var want []byte
		for range r.IntN(12) {
			p := make([]byte, r.IntN(1<<uint(r.IntN(21))))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			if n, err := s.Write(p); n != len(p) || err != nil {
				t.Fatalf("seed %d: %d of %d octets written, %v", seed, n, len(p), err)
			}
			want = append(want, p...)
		}
		if err := s.Done(); err != nil {
			t.Fatal(err)
		}
		if s.Size() != int64(len(want)) {
			t.Errorf("seed %d: %d octets, want %d", seed, s.Size(), len(want))
		}
		var readers sync.WaitGroup
		for range 4 {
			off := r.IntN(len(want) + 2)
			part := make([]byte, r.IntN(300_000))
			readers.Go(func() {
				n, err := s.ReadAt(part, int64(off))
				expected := want[min(off, len(want)):]
				expected = expected[:min(len(expected), len(part))]
				if !bytes.Equal(part[:n], expected) || err != nil && err != io.EOF || err == nil && n < len(part) {
					t.Errorf("seed %d: ReadAt %d: %d octets of %d, %v", seed, off, n, len(expected), err)
				}
				var all bytes.Buffer
				if n, err := s.CopyTo(&all, int64(min(off, len(want)))); err != nil || n != int64(all.Len()) || !bytes.Equal(all.Bytes(), want[min(off, len(want)):]) {
					t.Errorf("seed %d: CopyTo from %d: %d octets, %v", seed, off, n, err)
				}
			})
		}
		readers.Wait()
		if b, ok := s.Bytes(); ok && !bytes.Equal(b, want) {
			t.Errorf("seed %d: Bytes differ", seed)
		}
		s.Close()
		if d.Used() != 0 {
			t.Errorf("seed %d: %d octets not given back", seed, d.Used())
		}
	}
}

// Spools share the budget: memory held by one spool is unavailable to another
// until the first is closed.
func TestSharedBudget(t *testing.T) {
	d, err := Open(t.TempDir(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	inMemory := func(s *Spool) bool {
		if _, err := s.Write(make([]byte, 30<<10)); err != nil {
			t.Fatal(err)
		}
		_, ok := s.Bytes()
		return ok
	}
	a, b, c := d.New(0), d.New(0), d.New(0)
	if !inMemory(a) || !inMemory(b) || inMemory(c) {
		t.Error("two of three spools fit into the budget")
	}
	a.Close()
	e := d.New(0)
	if !inMemory(e) {
		t.Error("the memory of a closed spool is not available")
	}
	for _, s := range []*Spool{b, c, e} {
		s.Close()
	}
	if d.Used() != 0 {
		t.Errorf("%d octets not given back", d.Used())
	}
}

// Disk and writer failures are returned, and nothing is left behind.
func TestFailures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	d, err := Open(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s := d.New(0)
	if _, err := s.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(make([]byte, 2<<20)); err == nil {
		t.Error("written to a folder that does not exist")
	}
	s.Close()
	if d.Used() != 0 {
		t.Errorf("%d octets not given back", d.Used())
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, 0); err == nil {
		t.Error("a file was opened as a folder")
	}
	d, err = Open(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"one piece": 1000, "pieces": 3 << 20, "file": inMemory + 1} {
		s := d.New(0)
		s.Write(make([]byte, size))
		if err := s.Done(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CopyTo(failing{}, 0); !errors.Is(err, errFailing) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}

var errFailing = errors.New("connection lost")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFailing }

// Room accepts what fits on the disk, and checks the disk once a second.
func TestRoomIsCheckedSeldom(t *testing.T) {
	d, err := Open(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Room(0); err != nil {
		t.Skip("this disk is nearly full")
	}
	for name, tt := range map[string]struct {
		low  bool
		free uint64
		ask  int64
		want error
	}{
		"enough":               {false, 1000, 1000, nil},
		"too much":             {false, 1000, 1001, ErrFull},
		"size unknown":         {false, 0, 0, nil},
		"the reserve is used":  {true, 1000, 0, ErrFull},
		"and asked for little": {true, 1000, 1, ErrFull},
	} {
		d.at, d.low, d.free = time.Now(), tt.low, tt.free // as just checked
		if got := d.Room(tt.ask); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
