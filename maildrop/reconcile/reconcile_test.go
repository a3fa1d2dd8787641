package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// known returns a State with messages given as "uid name". Their files are in
// cur, or in new if the name starts with new/.
func known(validity, next uint32, msgs ...string) *State {
	s := &State{Known: true, Validity: validity, Next: next, GUID: guid, ModSeq: 10, Ceiling: 1000, Recent: 1, Lines: len(msgs)}
	for _, line := range msgs {
		var m Message
		var name string
		if _, err := fmt.Sscanf(line, "%d %s", &m.UID, &name); err != nil {
			panic(err)
		}
		f := file(name)
		m.File, m.New = f.Name, f.New
		setFlags(&m)
		m.ModSeq, m.Size, m.Wire = 5, 100, 110
		s.Messages = append(s.Messages, &m)
	}
	return s
}

func file(name string) File {
	base, fresh := strings.CutPrefix(name, "new/")
	return File{Name: base, New: fresh}
}

// reading returns a Reading of the given files, including cur.
func reading(locked bool, names ...string) *Reading {
	r := NewReading(0)
	r.CurRead, r.Locked = true, locked
	for _, n := range names {
		r.Add(file(n))
	}
	return r
}

// list adds a uidlist to a Reading.
func (r *Reading) list(s *State, text string) *Reading {
	_ = r.SetList(s, text, false)
	return r
}

// show formats messages as "uid name modseq".
func show(msgs []*Message) string {
	var b strings.Builder
	for _, m := range msgs {
		dir := ""
		if m.New {
			dir = "new/"
		}
		fmt.Fprintf(&b, "%d %s%s @%d\n", m.UID, dir, m.File, m.ModSeq)
	}
	return b.String()
}

const (
	guid = "0123456789abcdef0123456789abcdef"
	head = "3 V7 N3 G" + guid + " H0000000000000001000\n"
)

func TestReconcile(t *testing.T) {
	two := func() *State { return known(7, 3, "1 a:2,", "2 b:2,S") }
	for _, tc := range []struct {
		name string
		s    *State
		r    func(s *State) *Reading
		// The expected results. lock means a plan that only requests the lock.
		lock     bool
		rename   string
		msgs     string
		modseq   uint64
		expunged []uint32
		appended string
		rewrite  bool
		quiet    bool
	}{
		{
			name: "nothing changed", s: two(),
			r:    func(*State) *Reading { return reading(false, "a:2,", "b:2,S") },
			msgs: "1 a:2, @5\n2 b:2,S @5\n", modseq: 10, quiet: true,
		},
		{
			name: "a reader changed flags", s: two(),
			r:    func(*State) *Reading { return reading(false, "a:2,FS", "b:2,S") },
			msgs: "1 a:2,FS @11\n2 b:2,S @5\n", modseq: 11,
		},
		{
			name: "flags that mean nothing to us", s: two(),
			r:    func(*State) *Reading { return reading(false, "a:2,P", "b:2,S") },
			msgs: "1 a:2,P @5\n2 b:2,S @5\n", modseq: 10,
		},
		{
			name: "a delivery without the lock", s: two(),
			r:    func(*State) *Reading { return reading(false, "a:2,", "b:2,S", "new/c") },
			lock: true,
		},
		{
			name: "deliveries get UIDs in order of arrival", s: two(),
			r: func(*State) *Reading {
				return reading(true, "a:2,", "b:2,S", "new/1700000002.M1P1.h", "new/1700000001.M2P1.h", "new/1700000001.M1P1.h:2,F")
			},
			msgs:   "1 a:2, @5\n2 b:2,S @5\n3 new/1700000001.M1P1.h:2,F @11\n4 new/1700000001.M2P1.h @11\n5 new/1700000002.M1P1.h @11\n",
			modseq: 11, appended: "3 :1700000001.M1P1.h\n4 :1700000001.M2P1.h\n5 :1700000002.M1P1.h\n",
		},
		{
			name: "a message is missing without the lock", s: two(),
			r:    func(*State) *Reading { return reading(false, "b:2,S") },
			lock: true,
		},
		{
			name: "a message is gone", s: two(),
			r:    func(*State) *Reading { return reading(true, "b:2,S") },
			msgs: "2 b:2,S @5\n", modseq: 11, expunged: []uint32{1},
		},
		{
			name: "cur was not read", s: two(),
			r: func(*State) *Reading {
				r := reading(true, "new/c")
				r.CurRead = false
				return r
			},
			msgs: "1 a:2, @5\n2 b:2,S @5\n3 new/c @11\n", modseq: 11, appended: "3 :c\n",
		},
		{
			name: "a message moved from new to cur", s: known(7, 2, "1 new/a"),
			r:    func(*State) *Reading { return reading(false, "a:2,") },
			msgs: "1 a:2, @5\n", modseq: 10,
		},
		{
			name: "Dovecot appended lines", s: two(),
			r: func(s *State) *Reading {
				return reading(false, "a:2,", "b:2,S", "c:2,", "d:2,").list(s, head+"1 :a\n2 :b\n3 :c\n5 W120 :d\n")
			},
			msgs: "1 a:2, @5\n2 b:2,S @5\n3 c:2, @11\n5 d:2, @11\n", modseq: 11,
		},
		{
			name: "Dovecot appended a line whose file was not seen", s: two(),
			r: func(s *State) *Reading {
				return reading(false, "a:2,", "b:2,S").list(s, head+"1 :a\n2 :b\n3 :c\n")
			},
			lock: true,
		},
		{
			name: "Dovecot wrote the list again", s: two(),
			r: func(s *State) *Reading {
				return reading(false, "b:2,S").list(s, "3 V7 N9 G"+guid+" H0000000000000001000\n2 :b\n")
			},
			lock: true,
		},
		{
			name: "the list has the line of a message that is gone", s: two(),
			r: func(s *State) *Reading {
				return reading(true, "b:2,S").list(s, head+"1 :a\n2 :b\n")
			},
			msgs: "2 b:2,S @5\n", modseq: 11, expunged: []uint32{1},
		},
		{
			name: "an expunged message is there again", s: known(7, 4, "1 a:2,"),
			r: func(s *State) *Reading {
				return reading(true, "a:2,", "c:2,").list(s, head+"1 :a\n3 :c\n")
			},
			rename: "c:2,",
		},
		{
			name: "an expunged message is there again, on a full disk", s: known(7, 4, "1 a:2,"),
			r: func(s *State) *Reading {
				r := reading(true, "a:2,", "c:2,").list(s, head+"1 :a\n3 :c\n")
				r.KeepNew = true
				return r
			},
			msgs: "1 a:2, @5\n", modseq: 10, quiet: true,
		},
		{
			name: "an unknown file in cur, and the list was not read", s: two(),
			r:    func(*State) *Reading { return reading(true, "a:2,", "b:2,S", "c:2,") },
			lock: true,
		},
		{
			name: "an unknown file in new, and the list was not read", s: two(),
			r:    func(*State) *Reading { return reading(true, "a:2,", "b:2,S", "new/c") },
			msgs: "1 a:2, @5\n2 b:2,S @5\n3 new/c @11\n", modseq: 11, appended: "3 :c\n",
		},
		{
			name: "two lines for one file", s: two(),
			r: func(s *State) *Reading {
				return reading(true, "a:2,", "b:2,S").list(s, head+"1 :a\n2 :b\n4 :a\n")
			},
			msgs: "2 b:2,S @5\n4 a:2, @11\n", modseq: 11, expunged: []uint32{1}, rewrite: true,
		},
		{
			name: "another UIDVALIDITY", s: two(),
			r: func(s *State) *Reading {
				return reading(false, "a:2,", "b:2,S").list(s, "3 V8 N5 G"+guid+" H0000000000000001000\n3 :b\n4 :a\n")
			},
			msgs: "3 b:2,S @1001\n4 a:2, @1001\n", modseq: 1001,
		},
		{
			name: "another UIDVALIDITY, and Dovecot's own sequence", s: two(),
			r: func(s *State) *Reading {
				r := reading(false, "a:2,").list(s, "3 V8 N5 G"+guid+" H0000000000000000001\n3 :a\n")
				r.ForeignModSeq = 5000
				return r
			},
			msgs: "3 a:2, @5001\n", modseq: 5001,
		},
		{
			name: "the list is gone", s: two(),
			r: func(s *State) *Reading {
				r := reading(true, "a:2,", "b:2,S", "new/c")
				r.NoList(s)
				return r
			},
			msgs: "1 a:2, @5\n2 b:2,S @5\n3 new/c @11\n", modseq: 11, appended: "3 :c\n", rewrite: true,
		},
		{
			name: "the list is damaged", s: two(),
			r: func(s *State) *Reading {
				return reading(true, "a:2,", "b:2,S").list(s, head+"1 :a\nrubbish\n2 :b\n")
			},
			msgs: "1 a:2, @5\n2 b:2,S @5\n", modseq: 10, rewrite: true, quiet: true,
		},
		{
			name: "the list is damaged, and nothing is known", s: &State{},
			r: func(s *State) *Reading {
				return reading(true, "a:2,", "b:2,S").list(s, head+"1 :a\nrubbish\n2 :b\n")
			},
			msgs: "1 a:2, @1001\n1003 b:2,S @1001\n", modseq: 1001, appended: "1003 :b\n", rewrite: true,
		},
		{
			name: "Courier's list", s: &State{},
			r: func(s *State) *Reading {
				r := reading(true, "a:2,", "b:2,S")
				_ = r.SetList(s, "1 99 6\n3 a\n5 b\n", true)
				r.List.GUID = "made"
				r.CourierUIDLs(map[string]string{"a": "UID3-99", "b": "with space"})
				return r
			},
			msgs: "3 a:2, @2\n5 b:2,S @2\n", modseq: 2, rewrite: true,
		},
		{
			name: "the disk is full", s: two(),
			r: func(*State) *Reading {
				r := reading(true, "a:2,F", "b:2,S", "new/c")
				r.KeepNew = true
				return r
			},
			msgs: "1 a:2,F @11\n2 b:2,S @5\n", modseq: 11,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := tc.r(tc.s)
			before := show(tc.s.Messages)
			next, c, plan := Reconcile(tc.s, r)
			if after := show(tc.s.Messages); after != before {
				t.Errorf("the old state changed from\n%s to\n%s", before, after)
			}
			if plan.Lock != tc.lock {
				t.Fatalf("lock %v, want %v", plan.Lock, tc.lock)
			}
			if len(plan.Rename) > 0 != (tc.rename != "") || tc.rename != "" && plan.Rename[0].Name != tc.rename {
				t.Fatalf("rename %v, want %q", plan.Rename, tc.rename)
			}
			if tc.lock || tc.rename != "" {
				return
			}
			if got := show(next.Messages); got != tc.msgs {
				t.Errorf("messages\n%swant\n%s", got, tc.msgs)
			}
			if next.ModSeq != tc.modseq || !slices.Equal(c.Expunged, tc.expunged) || c.Quiet != tc.quiet || plan.Rewrite != tc.rewrite {
				t.Errorf("modseq %d, expunged %v, quiet %v, rewrite %v; want %d %v %v %v",
					next.ModSeq, c.Expunged, c.Quiet, plan.Rewrite, tc.modseq, tc.expunged, tc.quiet, tc.rewrite)
			}
			var lines []byte
			for _, e := range Lines(plan.Assigned) {
				lines = maildir.AppendEntry(lines, e)
			}
			if string(lines) != tc.appended {
				t.Errorf("appended %q, want %q", lines, tc.appended)
			}
			if v := next.Vanished(next.Messages, next.Next, tc.s.ModSeq, next.ModSeq); next.Validity == tc.s.Validity && !slices.Equal(v, tc.expunged) {
				t.Errorf("vanished %v, want %v", v, tc.expunged)
			}
		})
	}
}

// A rename does not change sizes, dates or keywords without a letter.
func TestRenamedKeepsTheRest(t *testing.T) {
	s := known(7, 2, "1 a:2,a")
	s.Messages[0].Keywords |= 1 << 40
	s.Messages[0].Date, s.Messages[0].Exact = 99, true
	next, c, _ := Reconcile(s, reading(false, "a:2,Sb"))
	m := next.Messages[0]
	if m.Flags != maildir.Seen || m.Keywords != 1<<40|1<<1 || m.Date != 99 || m.Size != 100 || m.Wire != 110 || !m.Exact {
		t.Errorf("now %+v", m)
	}
	if len(c.Flagged) != 1 || c.Flagged[0] != m || len(c.Added) > 0 {
		t.Errorf("changes %+v", c)
	}
}

func TestPendingFlagsAreTriedAgain(t *testing.T) {
	s := known(7, 2, "1 a:2,")
	s.Messages[0].Pending = true
	_, c, plan := Reconcile(s, reading(false, "a:2,"))
	if len(plan.Pending) != 1 || c.Quiet {
		t.Errorf("pending %v, quiet %v", plan.Pending, c.Quiet)
	}
}

func TestKeywordsFromTheFile(t *testing.T) {
	s := known(7, 2, "1 a:2,")
	s.Keywords = make([]string, 28)
	s.Keywords[0], s.Keywords[27] = "old", "ours"
	r := reading(false, "a:2,")
	r.Letters = &maildir.Keywords{"new", "second"}
	next, c, _ := Reconcile(s, r)
	if next.Keywords[0] != "new" || next.Keywords[1] != "second" || next.Keywords[27] != "ours" || s.Keywords[0] != "old" || c.Quiet {
		t.Errorf("keywords %q, quiet %v", next.Keywords, c.Quiet)
	}
}

func TestNoUIDsLeft(t *testing.T) {
	s := known(7, 1<<32-2, "1 a:2,")
	if _, _, plan := Reconcile(s, reading(true, "a:2,", "new/b", "new/c")); !errors.Is(plan.Err, ErrFull) {
		t.Errorf("got %v", plan.Err)
	}
	if _, err := s.Assign(make([]*Message, 2)); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
}

// A list that consists mostly of lines for expunged messages is rewritten
// without them.
func TestWastefulList(t *testing.T) {
	s := known(7, 300)
	for i := range 150 {
		m := &Message{UID: uint32(i + 1), File: fmt.Sprintf("m%d:2,", i)}
		s.Messages = append(s.Messages, m)
	}
	s.Lines = 201
	r := reading(true)
	for _, m := range s.Messages {
		r.Add(File{Name: m.File})
	}
	next, _, plan := Reconcile(s, r)
	if !plan.Rewrite {
		t.Error("51 dead lines of 201 stay")
	}
	if l := next.List([]maildir.Entry{{UID: 300, Base: "x"}}); len(l.Entries) != 151 || l.ModSeq != next.ModSeq+ModSeqStep || l.Next != 300 {
		t.Errorf("list has %d entries, bound %d, next %d", len(l.Entries), l.ModSeq, l.Next)
	}
	s.Lines = 200
	if _, _, plan := Reconcile(s, r); plan.Rewrite {
		t.Error("50 dead lines of 200 are enough to write the list again")
	}
}

func TestTwin(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	old, young := now.Add(-time.Minute), now.Add(-time.Second)
	st := func(ino, links uint64, ctime time.Time) *maildir.Stat {
		return &maildir.Stat{Ino: ino, Links: links, CTime: ctime}
	}
	s := known(7, 2, "1 a:2,S")
	a, other, fresh := file("a:2,S"), file("a:2,F"), file("new/a")
	for _, tc := range []struct {
		name      string
		a, b      File
		as, bs    *maildir.Stat
		keep      File
		wantOther File
		verdict   Verdict
	}{
		{"a rename from the known name", a, other, nil, st(1, 1, young), other, a, Leave},
		{"a rename back", a, other, st(1, 1, young), nil, a, other, Leave},
		{"two messages, the known one first", a, other, st(1, 1, old), st(2, 1, old), a, other, NewName},
		{"two messages, the known one second", other, a, st(2, 1, old), st(1, 1, old), a, other, NewName},
		{"a second one in new", fresh, a, st(2, 1, old), st(1, 1, old), a, fresh, NewName},
		{"a link that is being made", a, other, st(1, 2, young), st(1, 2, young), a, other, Leave},
		{"an old link", a, other, st(1, 2, old), st(1, 2, old), a, other, Unlink},
	} {
		keep, o, v := Twin(s, tc.a, tc.b, tc.as, tc.bs, now)
		if keep != tc.keep || o != tc.wantOther || v != tc.verdict {
			t.Errorf("%s: keep %v, other %v, verdict %d", tc.name, keep, o, v)
		}
	}
}

func TestAddSkipsForeignFiles(t *testing.T) {
	r := NewReading(0)
	for _, n := range []string{".hidden", "with\nline end", ":2,S"} {
		r.Add(File{Name: n})
	}
	if len(r.Files) > 0 {
		t.Errorf("took %v", r.Files)
	}
	r.Add(File{Name: "a:2,"})
	if twin, twice := r.Add(File{Name: "a:2,S"}); !twice || twin.Name != "a:2," {
		t.Errorf("twin %v, %v", twin, twice)
	}
}

func TestMovedBack(t *testing.T) {
	s := known(7, 3, "1 a:2,", "2 new/b")
	for name, want := range map[string]bool{"new/a": true, "new/b": false, "new/c": false} {
		if got := reading(false, name).MovedBack(s); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMeasure(t *testing.T) {
	at := time.Unix(1_600_000_000, 0)
	for _, tc := range []struct {
		name, file, ext string
		wire            int64
		count, believed bool
	}{
		{"both sizes", "a,S=100,W=110:2,", "", 110, false, true},
		{"no sizes", "a:2,", "", 0, true, false},
		{"another size", "a,S=99,W=110:2,", "", 0, true, true},
		{"too few for CRLF", "a,S=100,W=99:2,", "", 0, true, false},
		{"too many for CRLF", "a,S=100,W=201:2,", "", 0, true, false},
		{"sizes of the uidlist", "a:2,", "S100 W110", 110, false, false},
		{"the name wins", "a,S=100,W=105:2,", "S100 W110", 105, false, true},
	} {
		m := &Message{File: tc.file, Ext: tc.ext}
		if got := AssumeSizes(m); got != tc.believed {
			t.Errorf("%s: believed %v", tc.name, got)
		}
		m.Wire = 0
		count := Measure(m, maildir.Stat{Size: 100, MTime: at, CTime: at.Add(time.Hour)})
		if count != tc.count || m.Wire != tc.wire || m.Size != 100 || m.Date != at.Unix() || m.Saved != at.Unix()+3600 {
			t.Errorf("%s: count %v, %+v", tc.name, count, m)
		}
	}
}

func TestOwnChanges(t *testing.T) {
	s := known(7, 3, "1 a:2,", "2 b:2,")
	shown := s.Messages
	s.Named("a") // builds the map of names
	n := &Message{File: "c:2,", Ext: "Gx"}
	entries, err := s.Assign([]*Message{n})
	if err != nil || len(entries) != 1 || entries[0] != (maildir.Entry{UID: 3, Ext: "Gx", Base: "c"}) {
		t.Fatalf("assigned %v, %v", entries, err)
	}
	if c := s.Add([]*Message{n}); len(c.Added) != 1 || n.ModSeq != 11 || s.Named("c") != n || !s.Has(File{Name: "c:2,"}) {
		t.Errorf("added %+v, modseq %d", c, n.ModSeq)
	}
	flagged := *shown[0]
	flagged.Flags = maildir.Seen
	s.SetFlags([]*Message{&flagged})
	if s.ModSeq != 12 || flagged.ModSeq != 12 || s.Messages[0] != &flagged || shown[0].Flags != 0 {
		t.Errorf("flagged: %s, shown %s", show(s.Messages), show(shown))
	}
	if c := s.Expunge([]uint32{2, 9}); s.ModSeq != 13 || s.Named("b") != nil || len(s.Messages) != 2 || !slices.Contains(c.Expunged, 2) {
		t.Errorf("expunged %+v: %s", c, show(s.Messages))
	}
	if v := s.Vanished(s.Messages, s.Next, 12, 13); !slices.Equal(v, []uint32{2, 9}) {
		t.Errorf("vanished %v", v)
	}
	measured := *s.Messages[0]
	measured.Wire = 999
	s.Describe(0, &measured)
	if s.ModSeq != 13 || s.Messages[0].Wire != 999 {
		t.Errorf("described: %+v", s.Messages[0])
	}
}

// For changes older than the record, every unused UID is reported as vanished.
func TestVanishedBeforeTheFloor(t *testing.T) {
	s := known(7, 6, "2 a:2,", "4 b:2,")
	s.GoneFloor = 8
	s.Gone = []index.Gone{{UID: 3, ModSeq: 9}}
	if v := s.Vanished(s.Messages, s.Next, 7, 10); !slices.Equal(v, []uint32{1, 3, 5}) {
		t.Errorf("from before the floor: %v", v)
	}
	if v := s.Vanished(s.Messages, s.Next, 8, 10); !slices.Equal(v, []uint32{3}) {
		t.Errorf("from the floor: %v", v)
	}
	if v := s.Vanished(s.Messages, s.Next, 8, 8); len(v) > 0 {
		t.Errorf("up to an older snapshot: %v", v)
	}
	for uid := range uint32(maxGone) {
		s.recordExpunged([]uint32{uid + 10})
	}
	if len(s.Gone) != maxGone || s.GoneFloor != 9 {
		t.Errorf("%d remembered, floor %d", len(s.Gone), s.GoneFloor)
	}
}

func TestKeywordBits(t *testing.T) {
	s := &State{}
	for i := range MaxKeywords {
		names, bit, ok := s.NewKeyword(fmt.Sprint("k", i))
		if !ok || bit != i {
			t.Fatalf("keyword %d got bit %d, %v", i, bit, ok)
		}
		s.Keywords = names
	}
	if _, _, ok := s.NewKeyword("one more"); ok {
		t.Error("there is room for another keyword")
	}
	if bit, ok := s.Keyword("K5"); !ok || bit != 5 {
		t.Errorf("K5 has bit %d, %v", bit, ok)
	}
	s.Keywords[3] = ""
	if _, bit, ok := s.NewKeyword("again"); !ok || bit != 3 {
		t.Errorf("a free bit is not used: %d, %v", bit, ok)
	}
}

func TestFileName(t *testing.T) {
	m := &Message{File: "a,S=1:2,PSb,x", Flags: maildir.Flagged, Keywords: 1<<0 | 1<<30}
	if got := FileName(m); got != "a,S=1:2,FPa,x" {
		t.Errorf("got %s", got)
	}
}

func TestDrop(t *testing.T) {
	s := known(7, 3, "1 a:2,")
	next, c, plan := Reconcile(s, reading(true, "a:2,", "new/b", "new/c"))
	next.Drop(&c, plan.Measure[:1])
	if got := show(next.Messages); got != "1 a:2, @5\n4 new/c @11\n" || len(c.Added) != 1 {
		t.Errorf("left\n%s, added %v", got, c.Added)
	}
}

// A large folder is read for the first time.
func TestFirstReading(t *testing.T) {
	r := reading(true)
	for i := range 1000 {
		r.Add(File{Name: fmt.Sprintf("%d.M1P1.h,S=10,W=11:2,S", 1_700_000_000+i), New: i%7 == 0})
	}
	s := &State{}
	r.NoList(s)
	r.List.Validity, r.List.GUID = 7, "made"
	next, c, plan := Reconcile(s, r)
	if len(next.Messages) != 1000 || len(c.Added) != 1000 || len(plan.Measure) != 1000 || len(plan.Assigned) != 1000 || next.Next != 1001 {
		t.Fatalf("%d messages, next %d", len(next.Messages), next.Next)
	}
	for i, m := range next.Messages {
		if m.UID != uint32(i+1) || m.Flags != maildir.Seen || m.New != (i%7 == 0) || maildir.ArrivalTime(m.File) != int64(1_700_000_000+i) {
			t.Fatalf("message %d is %+v", i, m)
		}
	}
}
