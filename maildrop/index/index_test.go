package index

import (
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"hoplite/internal/handles"
	"hoplite/maildrop/maildir"
)

func openDir(t testing.TB) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// in returns the Place of an index in root.
func in(root *os.Root) Place {
	return Place{Root: root, Pool: handles.Share(), Owner: &handles.Owner{}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var sample = []*Message{
	{UID: 1, Flags: maildir.Seen, Keywords: 1 << 40, Size: 100, Wire: 110, Date: 1700000000, Saved: 1700000001, ModSeq: 3, File: "1.M1P1.h,S=100,W=110:2,S"},
	{UID: 4, New: true, Pending: true, Size: 5, Wire: 5, Date: -1, ModSeq: 1 << 50, File: "x", Ext: "S5 Pold"},
}

func TestLogRoundTrip(t *testing.T) {
	root := openDir(t)
	l, s, err := OpenLog(in(root))
	must(t, err)
	if len(s.Messages) != 0 {
		t.Fatalf("a new log has %v", s.Messages)
	}
	at := time.Unix(1700000000, 123456789)
	head := Head{Validity: 7, Next: 9, ModSeq: 12, Recent: 2, GoneFloor: 1, Lines: 3, CeilingAt: -1, Ceiling: 1000, Settle: true,
		Stamp: Stamp{List: FileStamp{1, 2, at}, New: at, Cur: at.Add(1)}}
	must(t, l.Write(Batch{Head: Head{Validity: 7}, Keywords: []string{"a", "", "b"}, Added: sample}))
	flagged := *sample[0]
	flagged.Flags, flagged.File, flagged.ModSeq = maildir.Deleted, flagged.Base()+":2,T", 20
	must(t, l.Write(Batch{Head: head, Flagged: []*Message{&flagged}, Gone: []Gone{{UID: 4, ModSeq: 21}}, Other: []string{"Pxyz"}}))
	if _, _, err := OpenLog(in(root)); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	want := &State{Head: head, Other: []string{"Pxyz"}, Keywords: []string{"a", "", "b"}, Messages: []*Message{&flagged}, Gone: []Gone{{4, 21}}}
	for _, how := range []string{"as written", "rewritten"} {
		must(t, l.Close())
		if l, s, err = OpenLog(in(root)); err != nil {
			t.Fatal(err)
		}
		if !s.Head.Stamp.Equal(want.Head.Stamp) {
			t.Errorf("%s: stamp %v, want %v", how, s.Head.Stamp, want.Head.Stamp)
		}
		s.Head.Stamp = want.Head.Stamp
		if !reflect.DeepEqual(s, want) {
			t.Errorf("%s: got  %+v\nwant %+v", how, s, want)
		}
		must(t, l.Rewrite(want))
	}
	must(t, l.Close())
}

// Wherever a crash truncates the log, all complete batches before that point
// are kept.
func TestTornLog(t *testing.T) {
	root := openDir(t)
	l, _, err := OpenLog(in(root))
	must(t, err)
	must(t, l.Write(Batch{Head: Head{Validity: 7, ModSeq: 1}, Added: sample[:1]}))
	first := l.size
	must(t, l.Write(Batch{Head: Head{Validity: 7, ModSeq: 2}, Added: sample[1:]}))
	must(t, l.Close())
	whole, err := root.ReadFile("log")
	must(t, err)
	for cut := range len(whole) {
		must(t, root.WriteFile("log", whole[:cut], 0o600))
		l, s, err := OpenLog(in(root))
		must(t, err)
		want := 0
		if int64(cut) >= first {
			want = 1
		}
		if len(s.Messages) != want {
			t.Errorf("cut at %d: %d messages, want %d", cut, len(s.Messages), want)
		}
		must(t, l.Write(Batch{Head: Head{Validity: 7}}))
		must(t, l.Close())
	}
}

func TestCache(t *testing.T) {
	root := openDir(t)
	all := func(uint32) bool { return true }
	c, err := OpenCache(in(root), 7, all)
	must(t, err)
	must(t, c.Put(1, []byte("one")))
	must(t, c.Put(2, []byte("two")))
	must(t, c.Put(1, []byte("uno")))
	c.Drop(2)
	must(t, c.Put(3, nil))
	must(t, c.Close())
	for _, tc := range []struct {
		name     string
		validity uint32
		want     string
	}{{"again", 7, "uno"}, {"other validity", 8, ""}, {"emptied", 8, ""}} {
		c, err := OpenCache(in(root), tc.validity, func(uid uint32) bool { return uid != 2 })
		must(t, err)
		if got := string(c.Get(1)); got != tc.want || c.Get(2) != nil {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		must(t, c.Close())
	}
}

func TestCacheIsCompacted(t *testing.T) {
	root := openDir(t)
	all := func(uint32) bool { return true }
	c, err := OpenCache(in(root), 7, all)
	must(t, err)
	for range 4 {
		for uid := range uint32(100) {
			must(t, c.Put(uid+1, make([]byte, 1000)))
		}
	}
	must(t, c.Close())
	if c, err = OpenCache(in(root), 7, all); err != nil {
		t.Fatal(err)
	}
	must(t, c.Close())
	if st, err := root.Stat("cache"); err != nil || st.Size() > 110_000 {
		t.Errorf("%d octets, %v", st.Size(), err)
	}
	if c, err = OpenCache(in(root), 7, all); err != nil || len(c.Get(100)) != 1000 {
		t.Errorf("lost an item, %v", err)
	}
	must(t, c.Close())
}

func FuzzLog(f *testing.F) {
	var e encoder
	e.message(sample[0])
	e.flags(sample[0])
	e.texts(kindKeywords, []string{"a", "b"})
	e.head(&Head{Validity: 1})
	f.Add(e.b)
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := &State{}
		if s.apply(string(payload)) != nil {
			return
		}
		s.finish()
		for i, m := range s.Messages {
			if i > 0 && m.UID <= s.Messages[i-1].UID {
				t.Errorf("UIDs not ascending: %v", s.Messages)
			}
		}
	})
}
