package index

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"hoplite/maildrop/maildir"
)

// useGolden copies a file written by the first version to root.
func useGolden(t *testing.T, root *os.Root, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	must(t, err)
	must(t, root.WriteFile(name, text, 0o600))
}

func TestGoldenLog(t *testing.T) {
	root := openDir(t)
	useGolden(t, root, "log")
	l, s, err := OpenLog(in(root))
	must(t, err)
	defer l.Close()
	at := time.Unix(1700000000, 123456789)
	want := &State{
		Head: Head{
			Validity: 1700000000, Next: 9, ModSeq: 1 << 40, Recent: 2, GoneFloor: 1, Lines: 3, CeilingAt: 57, Ceiling: 1<<40 + 1000, Settle: true,
			Stamp: Stamp{List: FileStamp{1234567, 345, at}, Keywords: FileStamp{7654321, 20, at.Add(2)}, New: at, Cur: at.Add(1)},
		},
		Other:    []string{"Pxyz"},
		Keywords: []string{"a", "", "b"},
		Messages: []*Message{
			{UID: 1, Flags: maildir.Deleted, Keywords: 1 << 40, Size: 100, Wire: 110, Date: 1700000000, Saved: 1700000001, ModSeq: 20, File: "1.M1P1.h,S=100,W=110:2,T"},
			{UID: 8, Size: 1 << 33, Wire: 1<<33 + 7, Date: 1600000000, Saved: 1600000001, ModSeq: 19, File: "1600000000.M1P1.h", Ext: "Pold G0123"},
		},
		Gone: []Gone{{UID: 4, ModSeq: 21}},
	}
	if !s.Head.Stamp.Equal(want.Head.Stamp) {
		t.Errorf("stamp %+v", s.Head.Stamp)
	}
	s.Head.Stamp = want.Head.Stamp
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestGoldenCache(t *testing.T) {
	root := openDir(t)
	useGolden(t, root, "cache")
	c, err := OpenCache(in(root), 1700000000, func(uid uint32) bool { return uid != 4 })
	must(t, err)
	defer c.Close()
	for uid, want := range map[uint32]string{1: "uno", 4: "", 8: "\x00\x01\x02\xff"} {
		if got := string(c.Get(uid)); got != want {
			t.Errorf("item %d is %q, want %q", uid, got, want)
		}
	}
}
