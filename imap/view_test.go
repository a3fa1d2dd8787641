package imap

import (
	"reflect"
	"slices"
	"testing"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// snapshot returns a snapshot of messages with the given UIDs. Each message's
// MODSEQ is its UID, and its size is ten times the UID.
func snapshot(uids ...uint32) *maildrop.Snapshot {
	s := &maildrop.Snapshot{Validity: 7, Next: 1, ModSeq: 1}
	for _, uid := range uids {
		s.Messages = append(s.Messages, &maildrop.Message{UID: uid, ModSeq: uint64(uid), Wire: int64(uid) * 10, File: "f"})
		s.Next, s.ModSeq = uid+1, uint64(uid)
	}
	return s
}

// change returns a copy of a snapshot in which some messages are removed,
// others are flagged, and new ones are appended.
func change(old *maildrop.Snapshot, gone []uint32, flagged []uint32, added ...uint32) *maildrop.Snapshot {
	s := *old
	s.Messages = nil
	for _, m := range old.Messages {
		if contains(gone, m.UID) {
			continue
		}
		if contains(flagged, m.UID) {
			c := *m
			c.Flags |= maildrop.Flagged
			m = &c
		}
		s.Messages = append(s.Messages, m)
	}
	for _, uid := range added {
		s.Messages = append(s.Messages, &maildrop.Message{UID: uid, File: "f"})
		s.Next = uid + 1
	}
	return &s
}

func uidsIn(s *maildrop.Snapshot) []uint32 {
	uids := []uint32{}
	for _, m := range s.Messages {
		uids = append(uids, m.UID)
	}
	return uids
}

func TestUpdate(t *testing.T) {
	tests := []struct {
		name          string
		gone, flagged []uint32
		added         []uint32
		expunge       bool
		want          update // excluding flagged and added
		wantFlagged   []uint32
		wantView      []uint32
		wantHeld      bool
	}{
		{name: "nothing", expunge: true, wantView: []uint32{1, 2, 3, 5}},
		{name: "one expunged", gone: []uint32{2}, expunge: true, want: update{expunged: []uint32{2}, numbers: []int{2}}, wantView: []uint32{1, 3, 5}},
		{name: "numbers move", gone: []uint32{1, 2, 5}, expunge: true, want: update{expunged: []uint32{1, 2, 5}, numbers: []int{1, 1, 2}}, wantView: []uint32{3}},
		{name: "all expunged", gone: []uint32{1, 2, 3, 5}, expunge: true, want: update{expunged: []uint32{1, 2, 3, 5}, numbers: []int{1, 1, 1, 1}}, wantView: []uint32{}},
		{name: "expunged and added", gone: []uint32{3}, added: []uint32{9}, expunge: true, want: update{expunged: []uint32{3}, numbers: []int{3}}, wantView: []uint32{1, 2, 5, 9}},
		{name: "held back", gone: []uint32{2}, wantView: []uint32{1, 2, 3, 5}, wantHeld: true},
		{name: "held back while others come", gone: []uint32{1, 5}, added: []uint32{8}, wantView: []uint32{1, 2, 3, 5, 8}, wantHeld: true},
		{name: "flags", flagged: []uint32{3}, wantFlagged: []uint32{3}, wantView: []uint32{1, 2, 3, 5}},
		{name: "flags and held back", gone: []uint32{1}, flagged: []uint32{3}, wantFlagged: []uint32{3}, wantView: []uint32{1, 2, 3, 5}, wantHeld: true},
		{name: "added", added: []uint32{6, 7}, wantView: []uint32{1, 2, 3, 5, 6, 7}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			old := snapshot(1, 2, 3, 5)
			v := view{Snapshot: old}
			got := v.update(change(old, tc.gone, tc.flagged, tc.added...), tc.expunge)
			var flagged []uint32
			for _, m := range got.flagged {
				flagged = append(flagged, m.UID)
			}
			var added []uint32
			for _, m := range got.added {
				added = append(added, m.UID)
			}
			if !slices.Equal(added, tc.added) {
				t.Errorf("added %v, want %v", added, tc.added)
			}
			got.flagged, got.added = nil, nil
			if !reflect.DeepEqual(got, tc.want) || !reflect.DeepEqual(flagged, tc.wantFlagged) {
				t.Errorf("got %+v, flagged %v\nwant %+v, flagged %v", got, flagged, tc.want, tc.wantFlagged)
			}
			if uids := uidsIn(v.Snapshot); !reflect.DeepEqual(uids, tc.wantView) || v.held != tc.wantHeld {
				t.Errorf("view %v, held %v; want %v, %v", uids, v.held, tc.wantView, tc.wantHeld)
			}
		})
	}
}

// Expunged messages that were held back are reported when EXPUNGE is permitted,
// with the message numbers known to the client.
func TestUpdateAfterHold(t *testing.T) {
	first := snapshot(1, 2, 3, 5)
	v := view{Snapshot: first}
	second := change(first, []uint32{2}, nil, 6)
	v.update(second, false)
	third := change(second, []uint32{3}, nil, 7)
	v.update(third, false)
	if got, want := uidsIn(v.Snapshot), []uint32{1, 2, 3, 5, 6, 7}; !reflect.DeepEqual(got, want) {
		t.Fatalf("held view %v, want %v", got, want)
	}
	u := v.update(third, true)
	if want := []int{2, 2}; !reflect.DeepEqual(u.numbers, want) || v.held {
		t.Errorf("EXPUNGE %v, held %v; want %v", u.numbers, v.held, want)
	}
	if got, want := uidsIn(v.Snapshot), []uint32{1, 5, 6, 7}; !reflect.DeepEqual(got, want) {
		t.Errorf("view %v, want %v", got, want)
	}
}

func TestUpdateKeywords(t *testing.T) {
	old := snapshot(1)
	v := view{Snapshot: old}
	next := change(old, nil, nil)
	next.Keywords = []string{"$Work"}
	if !v.update(next, true).keywords {
		t.Error("a new keyword is not reported")
	}
	again := change(next, nil, []uint32{1})
	if v.update(again, true).keywords {
		t.Error("the same keywords are reported again")
	}
}

// Expunged messages are removed from the result saved by SEARCH (RFC 5182,
// 2.1), but not before their expunge has been reported to the client.
func TestSavedResult(t *testing.T) {
	old := snapshot(1, 2, 3)
	v := view{Snapshot: old, saved: []uint32{1, 2}}
	next := change(old, []uint32{2}, nil)
	v.update(next, false)
	if want := []uint32{1, 2}; !reflect.DeepEqual(v.saved, want) {
		t.Errorf("while held: %v, want %v", v.saved, want)
	}
	v.update(next, true)
	if want := []uint32{1}; !reflect.DeepEqual(v.saved, want) {
		t.Errorf("afterwards: %v, want %v", v.saved, want)
	}
}

func TestResolveSet(t *testing.T) {
	full := []uint32{2, 4, 6, 8}
	tests := []struct {
		set  string
		uids []uint32
		uid  bool
		want []int
		bad  string
	}{
		{set: "1", uids: full, want: []int{0}},
		{set: "2:3", uids: full, want: []int{1, 2}},
		{set: "3:2,1", uids: full, want: []int{0, 1, 2}},
		{set: "*", uids: full, want: []int{3}},
		{set: "3:*", uids: full, want: []int{2, 3}},
		{set: "1:*", uids: full, want: []int{0, 1, 2, 3}},
		{set: "5", uids: full, bad: "No such message"},
		{set: "4:5", uids: full, bad: "No such message"},
		{set: "5:*", uids: full, bad: "No such message"},
		{set: "1", bad: "No such message"},
		{set: "*", bad: "The mailbox is empty"},
		{set: "2", uids: full, uid: true, want: []int{0}},
		{set: "1", uids: full, uid: true},
		{set: "3:6", uids: full, uid: true, want: []int{1, 2}},
		{set: "1:3,5:7", uids: full, uid: true, want: []int{0, 2}},
		{set: "*", uids: full, uid: true, want: []int{3}},
		{set: "100:*", uids: full, uid: true, want: []int{3}},
		{set: "1:4294967295", uids: full, uid: true, want: []int{0, 1, 2, 3}},
		{set: "*", uid: true},
		{set: "1:*", uid: true},
		{set: "$", uids: full, want: []int{0, 2}},
		{set: "$", uids: full, uid: true, want: []int{0, 2}},
	}
	for _, tc := range tests {
		p := wire.NewParser([]byte(tc.set), wire.AllForms)
		v := view{Snapshot: snapshot(tc.uids...), saved: []uint32{2, 5, 6}}
		got, err := v.resolve(p.Set(), tc.uid)
		if p.End() != nil {
			t.Fatalf("%s: %v", tc.set, p.Err())
		}
		if tc.bad != "" {
			if err == nil || err.Error() != tc.bad {
				t.Errorf("%s of %v: error %v, want %q", tc.set, tc.uids, err, tc.bad)
			}
			continue
		}
		if err != nil || len(got)+len(tc.want) > 0 && !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s of %v, uid %v: got %v %v, want %v", tc.set, tc.uids, tc.uid, got, err, tc.want)
		}
	}
}

func TestRecent(t *testing.T) {
	v := view{Snapshot: snapshot(1, 2, 3, 4)}
	v.claim(3)
	if v.isRecent(2) || !v.isRecent(3) || !v.isRecent(4) || v.isRecent(5) || v.countRecent() != 2 {
		t.Errorf("recent %v, %d", v.recent, v.countRecent())
	}
	v.claim(3) // no other session has seen them, and they are already claimed
	if v.countRecent() != 2 {
		t.Errorf("claimed twice: %v", v.recent)
	}
	v.update(change(v.Snapshot, []uint32{3}, nil, 7, 8), true)
	v.claim(8) // 7 was claimed by another session
	if v.isRecent(7) || !v.isRecent(8) || v.countRecent() != 2 {
		t.Errorf("recent %v, %d", v.recent, v.countRecent())
	}
	for uid := uint32(10); uid < 1000; uid += 2 {
		v.update(change(v.Snapshot, nil, nil, uid), true)
		v.claim(uid)
	}
	if len(v.recent) > maxRecent || !v.isRecent(998) {
		t.Errorf("%d ranges kept", len(v.recent))
	}
}

func TestViewNumbers(t *testing.T) {
	v := view{Snapshot: snapshot(2, 4, 6)}
	v.Messages[1].Flags = maildrop.Deleted | maildrop.Seen
	if got := v.uids([]int{0, 2}); !reflect.DeepEqual(got, []uint32{2, 6}) {
		t.Errorf("uids %v", got)
	}
	if got := v.places([]uint32{1, 2, 5, 6, 9}); !reflect.DeepEqual(got, []int{0, 2}) {
		t.Errorf("places %v", got)
	}
	if v.number(1, false) != 2 || v.number(1, true) != 4 {
		t.Errorf("number %d, UID %d", v.number(1, false), v.number(1, true))
	}
	if got := v.deleted(v.all()); !reflect.DeepEqual(got, []uint32{4}) {
		t.Errorf("deleted %v", got)
	}
	if got := v.deleted([]int{0, 2}); got != nil {
		t.Errorf("deleted %v", got)
	}
	if v.lastUID() != 6 || (&view{Snapshot: snapshot()}).lastUID() != 0 {
		t.Error("lastUID")
	}
	if (&view{Snapshot: &maildrop.Snapshot{}}).highestModSeq() != 1 {
		t.Error("HIGHESTMODSEQ must not be 0")
	}
}

func TestWithin(t *testing.T) {
	set := []wire.Range{{Lo: 2, Hi: 4}, {Lo: 7, Hi: 7}, {Lo: 10, Hi: 20}}
	for n, want := range map[uint32]bool{0: false, 1: false, 2: true, 4: true, 5: false, 7: true, 8: false, 15: true, 20: true, 21: false} {
		if within(set, n) != want {
			t.Errorf("%d: %v", n, !want)
		}
	}
}

func TestUnchangedBelow(t *testing.T) {
	tests := []struct {
		name, args string
		want       uint32
	}{
		{"no match given", "(7 1)", 0},
		{"all match", "(7 1 1:9 (1:3 2,4,6))", 6},
		{"the first only", "(7 1 1:9 (1,3 2,8))", 2},
		{"none", "(7 1 1:9 (1 1))", 0},
		{"beyond the end", "(7 1 1:9 (1,9 2,8))", 2},
	}
	for _, tc := range tests {
		p := wire.NewParser([]byte("x (QRESYNC "+tc.args+")"), wire.AllForms)
		s := p.Select()
		if p.End() != nil {
			t.Fatalf("%s: %v", tc.name, p.Err())
		}
		v := view{Snapshot: snapshot(2, 4, 6)}
		if got := unchangedBelow(&v, s.QResync); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestExpandIsBounded(t *testing.T) {
	if got := expand([]wire.Range{{Lo: 3, Hi: 5}, {Lo: 9, Hi: 9}}); !reflect.DeepEqual(got, []uint32{3, 4, 5, 9}) {
		t.Errorf("got %v", got)
	}
	if got := expand([]wire.Range{{Lo: 1, Hi: 1<<32 - 1}}); len(got) != maxMatched {
		t.Errorf("%d numbers", len(got))
	}
}
