package disk

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const testSalt = 42

// rec is a record with a payload.
func rec(k kind, id, payload string) []byte {
	return endRecord(append(beginRecord(nil, k, id), payload...), 0, len(id), testSalt)
}

// batchOf is a batch of segment num with the given records.
func batchOf(num uint64, records ...[]byte) []byte {
	h := batchHead{num: num}
	for _, r := range records {
		h.add(r)
	}
	return append(h.append(nil, testSalt), bytes.Join(records, nil)...)
}

// windowOn returns a window on a file with the given content.
func windowOn(t *testing.T, content ...[]byte) *window {
	t.Helper()
	b := bytes.Join(content, nil)
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &window{file: f, salt: testSalt, end: int64(len(b))}
}

// next finds every complete record, regardless of what is between them.
func TestWindowNext(t *testing.T) {
	a, b := rec(kindSet, "a", "state of a"), rec(kindDone, "b", "")
	damaged := bytes.Clone(a)
	damaged[len(damaged)-1] ^= 1
	huge := bytes.Clone(a)
	huge[15] = 0xff // a length far beyond the end of the file
	for _, tc := range []struct {
		name    string
		content [][]byte
		want    []string
	}{
		{"nothing", nil, nil},
		{"records", [][]byte{a, b}, []string{"a", "b"}},
		{"zeros around them", [][]byte{make([]byte, 100), a, make([]byte, 33), b, make([]byte, 100)}, []string{"a", "b"}},
		{"damage before", [][]byte{damaged, b}, []string{"b"}},
		{"damage after", [][]byte{a, damaged}, []string{"a"}},
		{"a damaged length", [][]byte{huge, b}, []string{"b"}},
		{"half a record at the end", [][]byte{a, b[:len(b)-1]}, []string{"a"}},
		{"only the magic at the end", [][]byte{a, []byte(recordMagic)}, []string{"a"}},
		{"half the magic at the end", [][]byte{a, []byte("hq")}, []string{"a"}},
		// The first version stopped at such input and lost the records that
		// followed.
		{"magics without records", [][]byte{[]byte(strings.Repeat(recordMagic, 50)), a}, []string{"a"}},
		{"a record of more than one read", [][]byte{rec(kindSet, "big", strings.Repeat("x", 3<<20)), a}, []string{"big", "a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := windowOn(t, tc.content...)
			whole := bytes.Join(tc.content, nil)
			var got []string
			for {
				r, off, err := w.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.HasPrefix(whole[off:], []byte(recordMagic)) {
					t.Errorf("%s is not at %d", r.id, off)
				}
				got = append(got, r.id)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("found %q, want %q", got, tc.want)
			}
		})
	}
}

// A batch is read completely or not at all.
func TestWindowBatch(t *testing.T) {
	a, b := rec(kindSet, "a", "state of a"), rec(kindDone, "b", "")
	whole := batchOf(7, a, b)
	edited := func(edit func(b []byte)) []byte {
		c := bytes.Clone(whole)
		edit(c)
		return c
	}
	for _, tc := range []struct {
		name    string
		content []byte
		want    []string // nil if there is no complete batch
		begun   bool     // a batch of the segment begins at the position
	}{
		{"whole", whole, []string{"a", "b"}, true},
		{"whole, with another one after it", append(bytes.Clone(whole), whole...), []string{"a", "b"}, true},
		{"empty", batchOf(7), []string{}, true},
		{"of an earlier segment", batchOf(6, a, b), nil, false},
		{"nothing", nil, nil, false},
		{"zeros", make([]byte, 200), nil, false},
		{"half of its first record", whole[:firstSize/2], nil, false},
		{"its first record only", whole[:firstSize], nil, true},
		{"without its last octet", whole[:len(whole)-1], nil, true},
		{"a damaged record", edited(func(b []byte) { b[firstSize+recordHead+1] ^= 1 }), nil, true},
		{"a record of another batch in its place", append(bytes.Clone(whole[:firstSize]), append(rec(kindSet, "a", "State of a"), b...)...), nil, true},
		{"a record without a first record", append(bytes.Clone(a), whole...), nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := windowOn(t, tc.content)
			records, size, err := w.batch(7)
			if err != nil {
				t.Fatal(err)
			}
			if (records == nil) != (tc.want == nil) || (size > 0) != tc.begun {
				t.Fatalf("%d records, size %d", len(records), size)
			}
			got := []string{}
			for _, r := range records {
				got = append(got, r.id)
			}
			if tc.want != nil && (!slices.Equal(got, tc.want) || size != int64(len(batchOf(7, a, b))) && tc.name != "empty") {
				t.Errorf("records %q, size %d", got, size)
			}
		})
	}
}

func TestListSegments(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"000000000010.log", "000000000002.log", "spare", "000000000003.damaged", "x.log", "000000000004.log.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := listSegments(dir); err != nil || !slices.Equal(got, []uint64{2, 10}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := listSegments(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing folder is no error")
	}
}

func TestSlab(t *testing.T) {
	var s slab
	if s.clone(nil) != nil || s.clone([]byte{}) != nil {
		t.Error("an empty string is not nil")
	}
	var all [][]byte
	for i := range 1000 {
		all = append(all, s.clone(bytes.Repeat([]byte{byte(i)}, 1+i)))
	}
	all = append(all, s.clone(make([]byte, 1<<20)))
	for i, b := range all[:1000] {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 1+i)) {
			t.Fatalf("string %d was overwritten", i)
		}
		if _ = append(b, 'x'); i < 999 && all[i+1][0] != byte(i+1) {
			t.Fatalf("appending to string %d overwrites the next", i)
		}
	}
}
