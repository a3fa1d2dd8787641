package ole_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"hoplite/internal/memory"
	"hoplite/mail/ole"
	"hoplite/mail/ole/oletest"
)

func names(t *testing.T, b []byte) (list []string) {
	t.Helper()
	doc, err := ole.Open(context.Background(), bytes.NewReader(b), int64(len(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := doc.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		if e.Size > 0 {
			all, err := io.ReadAll(e)
			if err != nil {
				t.Fatal(err)
			}
			text = "=" + string(bytes.TrimRight(all, "\x00"))
		}
		list = append(list, e.Name+text)
	}
}

func TestOpen(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 100_000)
	b := oletest.File(oletest.Entry{Name: "a", Data: []byte("one"), Next: 2}, oletest.Entry{Name: "dir", Child: 3},
		oletest.Entry{Name: "b", Data: long, Next: 4}, oletest.Entry{Name: "c", Data: []byte("two")})
	want := []string{"a=one", "dir", "b=" + string(long), "c=two"}
	got := names(t, b)
	if len(got) == len(want)+1 {
		got = got[1:] // the root
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("%d entries: %.80q", len(got), got)
		}
	}
}

// nested returns nested folders. The library would store the full path of each.
func nested(n int) []byte {
	list := make([]oletest.Entry, n)
	for i := range list {
		list[i] = oletest.Entry{Name: "d", Child: (i + 2) % (n + 1)}
	}
	return oletest.File(list...)
}

func TestHostile(t *testing.T) {
	many := make([]oletest.Entry, 51_000)
	for i := range many {
		many[i] = oletest.Entry{Name: "d", Next: (i + 2) % (len(many) + 1)}
	}
	loop := nested(3)
	binary.LittleEndian.PutUint32(loop[2*512+3*128+76:], 1)
	cut := nested(30)
	for name, b := range map[string][]byte{
		"deep": nested(40_000), "many": oletest.File(many...), "loop": loop, "cut": cut[:len(cut)-600], "magic alone": []byte(ole.Magic), "empty": nil,
	} {
		if _, err := ole.Open(context.Background(), bytes.NewReader(b), int64(len(b)), nil); !errors.Is(err, ole.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := names(t, nested(60)); len(list) < 60 {
		t.Errorf("60 folders deep: %d entries", len(list))
	}
}

// difat returns a document of size octets whose allocation table continues in n
// sectors, starting with next.
func difat(size int, next, n uint32) []byte {
	b := make([]byte, size)
	copy(b, oletest.File(oletest.Entry{Name: "a", Data: []byte("x")}))
	binary.LittleEndian.PutUint32(b[44:], 1<<20) // number of sectors of the table
	binary.LittleEndian.PutUint32(b[68:], next)
	binary.LittleEndian.PutUint32(b[72:], n)
	return b
}

// TestAllocationTable checks that a loop in the list of allocation table
// sectors is rejected. It once used as much memory as the document, and as much
// again in the library.
func TestAllocationTable(t *testing.T) {
	loop := difat(16<<20, 100, 2)
	binary.LittleEndian.PutUint32(loop[101*512+508:], 100)
	for name, b := range map[string][]byte{
		"loop": loop, "longer than the file could need": difat(16<<20, 100, 30_000), "in a small file": difat(64<<10, 100, 1),
		"most it can say": difat(1<<20, 100, 0xffffffff),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := ole.Open(context.Background(), bytes.NewReader(b), int64(len(b)), nil); !errors.Is(err, ole.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d octets allocated", name, n)
		}
	}
}

// TestSmallSectors checks that a small-sector table larger than the file is
// rejected. The library would allocate memory for all of it.
func TestSmallSectors(t *testing.T) {
	b := oletest.File(oletest.Entry{Name: "a", Data: []byte("one")})
	binary.LittleEndian.PutUint32(b[64:], 900_000)
	if _, err := ole.Open(context.Background(), bytes.NewReader(b), int64(len(b)), nil); !errors.Is(err, ole.ErrDamaged) {
		t.Error(err)
	}
}

// TestMemory checks that a document that needs more memory than is available is
// not opened, and that the memory it reserved is returned.
func TestMemory(t *testing.T) {
	many := make([]oletest.Entry, 2000)
	for i := range many {
		many[i] = oletest.Entry{Name: "d", Next: (i + 2) % (len(many) + 1)}
	}
	b := oletest.File(many...)
	for _, c := range []struct {
		most int64
		want error
	}{{1 << 10, memory.ErrFull}, {1 << 20, memory.ErrFull}, {2 << 20, nil}} {
		budget := memory.New(c.most)
		share := budget.Share(0)
		if _, err := ole.Open(context.Background(), bytes.NewReader(b), int64(len(b)), share); !errors.Is(err, c.want) {
			t.Errorf("%d octets: %v, want %v", c.most, err, c.want)
		}
		if share.Close(); budget.Used() != 0 {
			t.Errorf("%d octets: %d in use", c.most, budget.Used())
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(nested(3))
	f.Add(oletest.File(oletest.Entry{Name: "a", Data: []byte("one"), Next: 2}, oletest.Entry{Name: "b", Data: []byte("two")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := ole.Open(context.Background(), bytes.NewReader(b), int64(len(b)), nil)
		if err != nil {
			return
		}
		for _, e := range doc.File {
			if len(e.Path) > 64 {
				t.Fatalf("%d deep", len(e.Path))
			}
		}
	})
}
