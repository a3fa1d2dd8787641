package index

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func TestGUID(t *testing.T) {
	for _, tc := range []struct{ file, ext, want string }{
		{"1.M1P1.h,S=1:2,S", "", "1.M1P1.h,S=1"},
		{"1.M1P1.h:2,S", "Pold Gabc", "abc"},
	} {
		if got := (&Message{File: tc.file, Ext: tc.ext}).GUID(); got != tc.want {
			t.Errorf("%s %s: %s", tc.file, tc.ext, got)
		}
	}
}

// Dates are looked up only once, by the first caller that needs one.
func TestDateLookup(t *testing.T) {
	m := &Message{}
	calls := 0
	m.Dates = NewDateLookup(func() { calls++; m.Date, m.Saved = 100, 200 })
	for range 2 {
		if !m.InternalDate().Equal(time.Unix(100, 0)) || !m.SaveDate().Equal(time.Unix(200, 0)) {
			t.Errorf("dates %s, %s", m.InternalDate(), m.SaveDate())
		}
	}
	if calls != 1 {
		t.Errorf("looked up %d times", calls)
	}
	if d := (&Message{Date: 5}).InternalDate(); !d.Equal(time.Unix(5, 0)) {
		t.Errorf("without a look-up: %s", d)
	}
}

func TestMemoryCache(t *testing.T) {
	c := NewCache()
	must(t, c.Put(1, []byte("one")))
	must(t, c.Put(2, make([]byte, maxItem+1)))
	if string(c.Get(1)) != "one" || c.Get(2) != nil {
		t.Errorf("got %q and %d octets", c.Get(1), len(c.Get(2)))
	}
	must(t, c.Close())
}

// A damaged cache loses only the items after the damage.
func TestDamagedCache(t *testing.T) {
	root := openDir(t)
	all := func(uint32) bool { return true }
	c, err := OpenCache(in(root), 7, all)
	must(t, err)
	for uid := range uint32(3) {
		must(t, c.Put(uid+1, fmt.Appendf(nil, "item %d", uid+1)))
	}
	must(t, c.Close())
	whole, err := root.ReadFile("cache")
	must(t, err)
	text := bytes.Clone(whole)
	text[bytes.Index(text, []byte("item 2"))] ^= 1
	must(t, root.WriteFile("cache", text, 0o600))
	if c, err = OpenCache(in(root), 7, all); err != nil {
		t.Fatal(err)
	}
	if string(c.Get(1)) != "item 1" || c.Get(2) != nil || c.Get(3) != nil {
		t.Errorf("got %q %q %q", c.Get(1), c.Get(2), c.Get(3))
	}
	must(t, c.Put(2, []byte("again")))
	must(t, c.Close())
	if c, err = OpenCache(in(root), 7, all); err != nil || string(c.Get(2)) != "again" {
		t.Errorf("after the repair: %q, %v", c.Get(2), err)
	}
	must(t, c.Close())
}

// A log of superseded records is wasteful; after a rewrite it has one entry.
func TestWastefulLog(t *testing.T) {
	root := openDir(t)
	l, _, err := OpenLog(in(root))
	must(t, err)
	m := *sample[0]
	must(t, l.Write(Batch{Head: Head{Validity: 7}, Added: []*Message{&m}}))
	if l.Wasteful() {
		t.Error("a new log is wasteful")
	}
	for i := range 2000 {
		next := m
		next.ModSeq = uint64(i)
		must(t, l.Write(Batch{Head: Head{Validity: 7}, Flagged: []*Message{&next}}))
	}
	if !l.Wasteful() {
		t.Errorf("a log of %d octets for one message is not wasteful", l.size)
	}
	must(t, l.Rewrite(&State{Head: Head{Validity: 7}, Messages: []*Message{&m}}))
	if l.Wasteful() || l.size > 1000 {
		t.Errorf("%d octets after the rewrite", l.size)
	}
	must(t, l.Close())
}

func TestNilLog(t *testing.T) {
	var l *Log
	if err := l.Write(Batch{}); err != nil {
		t.Error(err)
	}
	if err := l.Rewrite(&State{}); err != nil || l.Wasteful() || l.Close() != nil {
		t.Error("a nil log does something")
	}
}

// Records may be in any order; messages are kept in UID order.
func TestRecordsOutOfOrder(t *testing.T) {
	root := openDir(t)
	l, _, err := OpenLog(in(root))
	must(t, err)
	for _, uid := range []uint32{5, 2, 9, 2} {
		must(t, l.Write(Batch{Added: []*Message{{UID: uid, File: fmt.Sprintf("m%d", uid), Size: int64(uid), Exact: uid == 9}}}))
	}
	must(t, l.Write(Batch{Flagged: []*Message{{UID: 77, File: "unknown"}}, Gone: []Gone{{UID: 5, ModSeq: 3}, {UID: 78, ModSeq: 3}}}))
	must(t, l.Close())
	l, s, err := OpenLog(in(root))
	must(t, err)
	defer l.Close()
	if len(s.Messages) != 2 || s.Messages[0].UID != 2 || s.Messages[1].UID != 9 || !s.Messages[1].Exact || s.Messages[0].Exact || len(s.Gone) != 2 {
		t.Errorf("messages %+v, gone %v", s.Messages, s.Gone)
	}
}
