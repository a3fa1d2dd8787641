package disk

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"hoplite/relay/queue/journal"
)

// segmentOf adds an empty segment to c.
func segmentOf(c *catalog, born time.Time) *segment {
	s := &segment{num: uint64(len(c.segs) + 1), size: segmentHead, born: born}
	c.append(s)
	return s
}

// change is an operation with a record of 100 octets.
func change(k kind, id string) op {
	o := op{kind: k, id: id, rec: make([]byte, 100), buf: new([]byte)}
	if k == kindPut {
		o.entry = &entry{rec: 100}
	}
	return o
}

// write passes operations through the catalog as one batch, which succeeds
// unless failed is set.
func write(c *catalog, failed bool, dones []string, ops ...op) (*batch, error) {
	b := &batch{}
	m := &commit{ops: ops}
	c.admit(b, []*commit{m}, dones, 0)
	if failed {
		c.undo(b)
		return b, m.err
	}
	h := b.head(1)
	b.size = firstSize + h.octets
	c.settle(b)
	return b, m.err
}

// keep returns the keep record for a message in the state it had when v was
// looked up.
func keep(v survivor) op {
	o := change(kindKeep, v.id)
	e := v.e
	e.place = deferred
	o.entry, o.version = &e, e.version
	return o
}

func TestCatalogChecksCommits(t *testing.T) {
	for _, tc := range []struct {
		name string
		ops  []op
		want error
	}{
		{"put", []op{change(kindPut, "new")}, nil},
		{"put of a live id", []op{change(kindPut, "live")}, journal.ErrExists},
		{"set", []op{change(kindSet, "live")}, nil},
		{"set of an unknown id", []op{change(kindSet, "unknown")}, journal.ErrUnknown},
		{"set of a finished id", []op{change(kindSet, "dead")}, journal.ErrUnknown},
		{"done", []op{change(kindDone, "live")}, nil},
		{"done of an unknown id", []op{change(kindDone, "unknown")}, nil},
		{"all or nothing", []op{change(kindPut, "new"), change(kindSet, "unknown")}, journal.ErrUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCatalog()
			segmentOf(c, time.Now())
			write(c, false, nil, change(kindPut, "live"))
			write(c, false, nil, change(kindPut, "dead"))
			c.index["dead"].dead = true // its done mark is pending
			if _, err := write(c, false, nil, tc.ops...); !errors.Is(err, tc.want) {
				t.Errorf("got %v", err)
			}
			if tc.want != nil && c.knows("new") {
				t.Error("a refused commit left something behind")
			}
		})
	}
}

func TestCatalogAccounts(t *testing.T) {
	c := newCatalog()
	first := segmentOf(c, time.Now())
	check := func(what string, s *segment, live int64, count, mails int) {
		t.Helper()
		if s.live != live || s.count != count || s.mails != mails {
			t.Errorf("%s: %d octets, %d records, %d messages; want %d, %d, %d", what, s.live, s.count, s.mails, live, count, mails)
		}
	}
	write(c, false, nil, change(kindPut, "a"), change(kindPut, "b"))
	check("two messages", first, 200, 2, 2)
	write(c, false, nil, change(kindSet, "a"))
	write(c, false, nil, change(kindSet, "a"))
	check("only the latest state counts", first, 300, 3, 2)
	second := segmentOf(c, time.Now())
	write(c, false, nil, change(kindSet, "b"))
	check("a state in another segment", second, 100, 1, 0)
	write(c, true, nil, change(kindSet, "b"), change(kindPut, "c"))
	check("a failed batch changes nothing", second, 100, 1, 0)
	if c.knows("c") {
		t.Error("the failed put is known")
	}
	write(c, false, []string{"b", "b", "unknown"})
	check("done, in the first segment", first, 200, 2, 1)
	check("done, in the second", second, 0, 0, 0)
	v, err := c.openRecords("a")
	if err != nil {
		t.Fatal(err)
	}
	write(c, false, nil, keep(v))
	check("moved away", first, 0, 0, 0)
	check("moved here", second, 100, 1, 0)
	if !c.isDeferred("a") || c.isDeferred("b") {
		t.Error("isDeferred is wrong")
	}
	if u := c.usage(); u.Messages != 1 || u.Live != 100 {
		t.Errorf("usage %+v", u)
	}
	write(c, false, []string{"a"})
	if drop := c.takeDropped(); !slices.Equal(drop, []finished{{"a", deferred}}) || c.takeDropped() != nil {
		t.Errorf("files to remove: %v", drop)
	}
}

// A keep record that was encoded before another change to the message must not
// restore the earlier state.
func TestKeepIsOvertaken(t *testing.T) {
	for name, other := range map[string]op{"set": change(kindSet, "a"), "done": change(kindDone, "a")} {
		t.Run(name, func(t *testing.T) {
			c := newCatalog()
			s := segmentOf(c, time.Now())
			write(c, false, nil, change(kindPut, "a"))
			v := c.survivors(s)
			if len(v) != 1 {
				t.Fatalf("%d survivors", len(v))
			}
			write(c, false, nil, other)
			b, _ := write(c, false, nil, keep(v[0]))
			if n := len(slices.Collect(b.ops())); n != 0 {
				t.Errorf("%d records are written", n)
			}
		})
	}
	c := newCatalog()
	s := segmentOf(c, time.Now())
	write(c, false, nil, change(kindPut, "a"))
	c.index["a"].dead = true
	if v := c.survivors(s); len(v) != 0 {
		t.Error("a finished message survives")
	}
}

// The done marks of a failed batch are written again; those of other batches
// are not repeated.
func TestUndoReturnsDoneMarks(t *testing.T) {
	c := newCatalog()
	segmentOf(c, time.Now())
	write(c, false, nil, change(kindPut, "a"), change(kindPut, "b"), change(kindPut, "c"))
	b := &batch{}
	c.admit(b, []*commit{{ops: []op{change(kindDone, "a")}}}, []string{"b", "a"}, 0)
	if len(b.marks) != 1 || b.marks[0].id != "b" {
		t.Errorf("marks %v", b.marks)
	}
	if again := c.undo(b); !slices.Equal(again, []string{"a", "b"}) {
		t.Errorf("to write again: %q", again)
	}
	if c.index["a"].dead || c.index["b"].dead || !c.knows("c") {
		t.Error("the failed marks count")
	}
}

func TestNextTask(t *testing.T) {
	const full = 1000
	now := time.Now()
	old := now.Add(-2 * time.Hour)
	for _, tc := range []struct {
		name   string
		segs   []segment
		want   string // expected action on the first segment: remove, move, rotate or none
		reuse  bool
		number uint64
	}{
		{name: "no segment"},
		{name: "one young segment", segs: []segment{{size: 500, count: 1, live: 500, mails: 1, born: now}}},
		{name: "one old segment with mail", segs: []segment{{size: 500, count: 1, live: 500, mails: 1, born: old}}, want: "rotate"},
		{name: "one old segment without mail", segs: []segment{{size: 500, born: old}}},
		{name: "a dead segment", segs: []segment{{size: 500, born: now}, {size: 52, born: now}}, want: "remove", reuse: true, number: 1},
		{name: "a dead damaged segment", segs: []segment{{size: 500, born: now, damaged: true}, {size: 52, born: now}}, want: "remove", number: 1},
		{name: "a dead failed segment", segs: []segment{{size: 500, born: now, failed: true}, {size: 52, born: now}}, want: "remove", number: 1},
		{name: "a dead segment that is being read", segs: []segment{{size: 500, born: now, refs: 1}, {size: 52, born: now}}, want: "remove", number: 1},
		{
			name: "a dead segment after a live one stays", // its done marks may be needed
			segs: []segment{{size: 500, count: 1, live: 500, mails: 1, born: now}, {size: 500, born: now}, {size: 52, born: now}},
		},
		{
			name: "an old segment with mail", want: "move", number: 1,
			segs: []segment{{size: 500, count: 1, live: 500, mails: 1, born: old}, {size: 52, born: now}},
		},
		{
			name: "an old segment without mail", // states may remain
			segs: []segment{{size: 500, count: 1, live: 500, born: old}, {size: 52, born: now}},
		},
		{
			name: "an old segment after one without mail", want: "move", number: 2,
			segs: []segment{{size: 500, count: 1, live: 500, born: old}, {size: 500, count: 1, live: 500, mails: 1, born: old}, {size: 52, born: now}},
		},
		{
			name: "too much dead weight", want: "move", number: 1,
			segs: []segment{{size: 900, count: 1, live: 50, born: now}, {size: 900, born: now}, {size: 900, born: now}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCatalog()
			for i := range tc.segs {
				s := tc.segs[i]
				s.num = uint64(i + 1)
				c.segs = append(c.segs, &s)
			}
			got := c.nextTask(full, time.Hour)
			action, number := "", uint64(0)
			switch {
			case got.remove:
				action, number = "remove", got.seg.num
			case got.seg != nil:
				action, number = "move", got.seg.num
			case got.rotate:
				action = "rotate"
			}
			if action != tc.want || number != tc.number || got.reuse != tc.reuse {
				t.Errorf("%s of %d, reuse %v", action, number, got.reuse)
			}
			if got.remove && slices.ContainsFunc(c.segs, func(s *segment) bool { return s.num == number }) {
				t.Error("the removed segment is still in the catalog")
			}
		})
	}
}

func TestTarget(t *testing.T) {
	for _, tc := range []struct {
		name string
		last *segment
		edit func(c *catalog)
		size int64
		next uint64 // 0 means that the last one is used
		end  int64
	}{
		{name: "no segment", next: 1},
		{name: "room", last: &segment{num: 7, size: 500}, size: 500},
		{name: "no room", last: &segment{num: 7, size: 500}, size: 501, next: 8, end: 500},
		{name: "an empty segment takes anything", last: &segment{num: 7, size: segmentHead}, size: 5000},
		{name: "sealed", last: &segment{num: 7, size: 500, sealed: true}, size: 1, next: 8, end: 500},
		{name: "to be rotated", last: &segment{num: 7, size: 500}, edit: func(c *catalog) { c.rotate = true }, size: 1, next: 8, end: 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCatalog()
			if tc.last != nil {
				c.segs = append(c.segs, tc.last)
			}
			if tc.edit != nil {
				tc.edit(c)
			}
			s, next, end := c.target(tc.size, 1000)
			if (s != nil) != (tc.next == 0) || next != tc.next || end != tc.end {
				t.Errorf("segment %v, next %d after %d", s, next, end)
			}
		})
	}
}

func TestValidRecordKinds(t *testing.T) {
	for k, want := range map[kind]bool{0: false, kindPut: true, kindSet: true, kindDone: true, kindKeep: true, kindFirst: true, kindFirst + 1: false} {
		b := endRecord(beginRecord(nil, k, "id"), 0, 2, 1)
		if _, err := parseRecord(b, 1); (err == nil) != want {
			t.Errorf("kind %d: %v", k, err)
		}
		for n := range b {
			if _, err := parseRecord(b[:n], 1); want && err != errShort {
				t.Errorf("kind %d, %d octets: %v", k, n, err)
			}
		}
		if _, err := parseRecord(b, 2); err == nil {
			t.Error(fmt.Sprint("taken with another salt: ", k))
		}
	}
}
