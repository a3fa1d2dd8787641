package imap

import (
	"slices"
	"sort"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// view is the selected mailbox as the client knows it. Its message numbers are
// those of Messages. The snapshot is one from the store, or one that also
// contains expunged messages whose EXPUNGE could not be sent yet.
//
// A view does no I/O: update compares it with a new snapshot and returns the
// changes to send to the client.
type view struct {
	*maildrop.Snapshot
	// held is set while the snapshot contains expunged messages.
	held bool
	// recent holds the UIDs that are \Recent in this session, as [from, to).
	recent [][2]uint32
	// saved holds the UIDs that SEARCH saved (RFC 5182), in ascending order, or
	// nil if there was no such SEARCH.
	saved []uint32
}

// maxRecent is the maximum number of \Recent ranges that are kept.
const maxRecent = 100

// update holds the changes to send to a client after its view has changed.
type update struct {
	expunged []uint32 // UIDs, ascending
	numbers  []int    // message numbers of the EXPUNGE responses, in order
	keywords bool     // the keywords have changed
	added    []*maildrop.Message
	flagged  []*maildrop.Message
}

// update moves the view to a newer snapshot of the same mailbox. Unless expunge
// is set, expunged messages keep their numbers.
func (v *view) update(snap *maildrop.Snapshot, expunge bool) update {
	old := v.Snapshot
	changes := snap.Since(old)
	u := update{keywords: !slices.Equal(snap.Keywords, old.Keywords), added: changes.Added, flagged: changes.Flagged}
	if len(changes.Expunged) > 0 && !expunge {
		v.Snapshot, v.held = hold(old, snap), true
		return u
	}
	v.Snapshot, v.held = snap, false
	u.expunged = changes.Expunged
	for n, uid := range changes.Expunged {
		if i, ok := old.Find(uid); ok {
			u.numbers = append(u.numbers, i-n+1) // n before it are removed
		}
	}
	if v.saved != nil && len(u.expunged) > 0 {
		v.saved = slices.DeleteFunc(v.saved, func(uid uint32) bool { return contains(u.expunged, uid) })
	}
	return u
}

// hold returns snap together with the messages of old that it no longer
// contains.
func hold(old, snap *maildrop.Snapshot) *maildrop.Snapshot {
	held := *snap
	held.Messages = make([]*maildrop.Message, 0, max(len(old.Messages), len(snap.Messages)))
	a, b := old.Messages, snap.Messages
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].UID < b[0].UID:
			held.Messages = append(held.Messages, a[0])
			a = a[1:]
		default:
			if len(a) > 0 && a[0].UID == b[0].UID {
				a = a[1:]
			}
			held.Messages = append(held.Messages, b[0])
			b = b[1:]
		}
	}
	return &held
}

// resolve returns the view indices of the messages in a set, in ascending
// order. A nonexistent message number is an error; a nonexistent UID is ignored
// (RFC 9051, 6.4.9).
func (v *view) resolve(set wire.Set, uid bool) ([]int, error) {
	switch {
	case set.Saved:
		return v.places(v.saved), nil
	case uid:
		return v.resolveUIDs(set), nil
	}
	last := uint32(len(v.Messages))
	var out []int
	for _, r := range set.Resolve(last) {
		if r.Hi > last {
			return nil, badf("No such message")
		}
		for n := r.Lo; n <= r.Hi; n++ {
			out = append(out, int(n-1))
		}
	}
	if last == 0 && slices.ContainsFunc(set.Ranges, func(r wire.Range) bool { return r.Lo == wire.Star || r.Hi == wire.Star }) {
		return nil, badf("The mailbox is empty")
	}
	return out, nil
}

func (v *view) resolveUIDs(set wire.Set) []int {
	var out []int
	for _, r := range set.Resolve(v.lastUID()) {
		for i := v.From(r.Lo); i < len(v.Messages) && v.Messages[i].UID <= r.Hi; i++ {
			out = append(out, i)
		}
	}
	return out
}

// lastUID returns the UID that "*" refers to, or 0 in an empty mailbox.
func (v *view) lastUID() uint32 {
	if len(v.Messages) == 0 {
		return 0
	}
	return v.Messages[len(v.Messages)-1].UID
}

// places returns the view indices of the messages with the given UIDs. It omits
// UIDs that are not in the view.
func (v *view) places(uids []uint32) []int {
	out := make([]int, 0, len(uids))
	for _, uid := range uids {
		if i, ok := v.Find(uid); ok {
			out = append(out, i)
		}
	}
	return out
}

// uids returns the UIDs of the messages with the given indices.
func (v *view) uids(idx []int) []uint32 {
	uids := make([]uint32, len(idx))
	for i, n := range idx {
		uids[i] = v.Messages[n].UID
	}
	return uids
}

// number returns the number that a response uses for the message with the given
// index.
func (v *view) number(i int, uid bool) uint32 {
	if uid {
		return v.Messages[i].UID
	}
	return uint32(i + 1)
}

// deleted returns the UIDs of the messages among the given indices that have
// \Deleted.
func (v *view) deleted(idx []int) []uint32 {
	var uids []uint32
	for _, i := range idx {
		if m := v.Messages[i]; m.Flags&maildrop.Deleted != 0 {
			uids = append(uids, m.UID)
		}
	}
	return uids
}

// all returns the indices of all messages.
func (v *view) all() []int {
	idx := make([]int, len(v.Messages))
	for i := range idx {
		idx[i] = i
	}
	return idx
}

// claim marks messages with UIDs of at least from as \Recent, except those
// already claimed.
func (v *view) claim(from uint32) {
	if n := len(v.recent); n > 0 {
		from = max(from, v.recent[n-1][1])
	}
	if from < v.Next {
		v.recent = append(v.recent, [2]uint32{from, v.Next})
		if len(v.recent) > maxRecent {
			v.recent = slices.Delete(v.recent, 0, maxRecent/2)
		}
	}
}

// isRecent reports whether a message is \Recent in this session.
func (v *view) isRecent(uid uint32) bool {
	for _, r := range v.recent {
		if uid >= r[0] && uid < r[1] {
			return true
		}
	}
	return false
}

func (v *view) countRecent() int {
	n := 0
	for _, r := range v.recent {
		n += v.From(r[1]) - v.From(r[0])
	}
	return n
}

// highestModSeq returns HIGHESTMODSEQ, which is never 0 (RFC 7162, 7).
func (v *view) highestModSeq() uint64 { return max(v.ModSeq, 1) }

// within reports whether n is in set, which holds ascending, disjoint ranges.
func within(set []wire.Range, n uint32) bool {
	i := sort.Search(len(set), func(i int) bool { return set[i].Hi >= n })
	return i < len(set) && set[i].Lo <= n
}

// contains reports whether uids, which is ascending, contains uid.
func contains(uids []uint32, uid uint32) bool {
	_, ok := slices.BinarySearch(uids, uid)
	return ok
}
