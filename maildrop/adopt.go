package maildrop

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"hoplite/maildrop/maildir"
)

// adopt makes a reading the folder's state and publishes it. With lock, the
// uidlist is locked: unknown files get UIDs and move from new to cur, and the
// list is mended. Without it, r has nothing of that kind.
func (f *Folder) adopt(r *reading, lock *maildir.Lock) error {
	st := &f.state
	old := st.msgs
	if r.list != nil && r.list.Validity != st.validity {
		old = nil // other UIDs now: nothing of what we knew holds
	}
	if err := f.adoptHead(r); err != nil {
		return err
	}
	b := batch{folder: f, at: st.modseq + 1}
	msgs, err := b.messages(r, old)
	if err != nil {
		return err
	}
	if lock != nil {
		added, err := f.assign(r, &b, lock)
		if err != nil {
			return err
		}
		msgs = append(msgs, added...)
	}
	return f.settled(r, &b, old, msgs)
}

// settled publishes what adopt found.
func (f *Folder) settled(r *reading, b *batch, old, msgs []*Message) error {
	st := &f.state
	expunged := lost(old, msgs)
	if b.changed || len(expunged) > 0 {
		st.modseq = b.at
		st.forget(expunged)
	}
	quiet := st.loaded && len(b.pending) == 0 && r.list == nil && r.stamp.Keywords.Equal(st.stamp.Keywords) && slices.Equal(st.msgs, msgs)
	if !quiet {
		st.msgs, st.uids, st.loaded = msgs, nil, true
	}
	for _, p := range b.pending {
		f.retry(p)
	}
	now, _, err := f.look()
	if err != nil {
		return err
	}
	// What others did since the reading will be seen next time, as its stamps
	// differ from ours - unless we changed the directories ourselves.
	if b.moved {
		r.stamp.Cur, r.stamp.New = now.Cur, now.New
	}
	r.stamp.List, r.stamp.Keywords = now.List, now.Keywords
	if b.again {
		r.stamp.New = time.Time{}
	}
	st.stamp = r.stamp
	st.settle = young(now)
	if quiet && f.snap.Load() != nil {
		return nil
	}
	f.raise()
	if b.later != nil {
		st.dating = b.later
	}
	f.publish(change{all: true})
	return nil
}

// adoptHead takes over the uidlist's header, and fills in what it lacks.
func (f *Folder) adoptHead(r *reading) error {
	st, list := &f.state, r.list
	if list == nil {
		return nil
	}
	if list.Validity == 0 {
		v, err := maildir.NextUIDValidity(f.box.dir)
		if err != nil {
			return err
		}
		list.Validity = v
	}
	if list.GUID == "" {
		list.GUID = newGUID()
	}
	next := max(list.Next, 1)
	if list.Validity == st.validity {
		next = max(next, st.next)
	} else {
		st.recent, st.gone = 1, nil
		// An empty folder shows 1 (RFC 7162, 3.1.2.1), so its first change is 2.
		st.modseq = max(st.modseq, list.ModSeq, f.foreignModSeq(), 1)
		st.goneFloor = st.modseq
	}
	if list.GUID != st.guid || list.Validity != st.validity {
		f.closeIndex() // the files of another folder took this one's place
	}
	st.validity, st.guid, st.other = list.Validity, list.GUID, list.Other
	st.next = next
	st.ceiling = list.ModSeq
	st.lines = len(list.Entries)
	return nil
}

func newGUID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// entries is which UID belongs to which base name.
func (f *Folder) entries(r *reading, old []*Message) []maildir.Entry {
	if r.list != nil {
		return r.list.Entries
	}
	entries := make([]maildir.Entry, len(old))
	for i, m := range old {
		entries[i] = maildir.Entry{UID: m.UID, Ext: m.Ext, Base: m.Base()}
	}
	return entries
}

// batch is one set of changes that share a modification sequence.
type batch struct {
	folder  *Folder
	at      uint64
	changed bool
	moved   bool // files were renamed by us
	again   bool // new mail could not be given UIDs
	pending []*Message
	later   *dating // what is to be looked at when all is published
}

// messages are those of the uidlist whose files are there. What was known
// earlier stays the same Message; the others are described together.
func (b *batch) messages(r *reading, old []*Message) ([]*Message, error) {
	msgs := make([]*Message, 0, max(len(r.files), len(old)))
	var picks []pick
	for _, e := range b.folder.entries(r, old) {
		was := earlier(old, e)
		file, ok := r.files[e.Base]
		switch {
		case !ok && was != nil && !was.New && !r.curRead:
			msgs = append(msgs, was)
		case !ok:
		case was != nil && was.File == file.file && was.New == file.inNew && was.Ext == e.Ext:
			if was.Pending {
				b.pending = append(b.pending, was)
			}
			msgs = append(msgs, was)
		default:
			picks = append(picks, pick{at: len(msgs), file: file, entry: e, was: was})
			msgs = append(msgs, nil)
		}
	}
	if err := b.describeAll(picks, nil); err != nil {
		return nil, err
	}
	for _, p := range picks {
		if msgs[p.at] = p.msg; p.msg != nil && (p.was == nil || p.was.Flags != p.msg.Flags || p.was.Keywords != p.msg.Keywords) {
			p.msg.ModSeq, b.changed = b.at, true
		}
	}
	if len(picks) > 0 {
		msgs = slices.DeleteFunc(msgs, func(m *Message) bool { return m == nil })
	}
	return msgs, nil
}

// earlier is the message of old that e is of, or nil.
func earlier(old []*Message, e maildir.Entry) *Message {
	i, ok := slices.BinarySearchFunc(old, e.UID, func(m *Message, u uint32) int { return int(int64(m.UID) - int64(u)) })
	if ok && old[i].Base() == e.Base {
		return old[i]
	}
	return nil
}

// assign gives UIDs to the unknown files in order of arrival, writes them to
// the uidlist and moves the files of new to cur.
func (f *Folder) assign(r *reading, b *batch, lock *maildir.Lock) ([]*Message, error) {
	st := &f.state
	maildir.SortArrival(r.unknown)
	first := st.next
	if uint64(len(r.unknown)) >= math.MaxUint32-uint64(first) {
		return nil, errFull
	}
	picks := make([]pick, len(r.unknown))
	entries := make([]maildir.Entry, len(r.unknown))
	for i, base := range r.unknown {
		entries[i] = maildir.Entry{UID: first + uint32(i), Base: base}
		picks[i] = pick{file: r.files[base], entry: entries[i]}
	}
	st.next += uint32(len(picks))
	// The files are looked at while the list is on its way to the disk. One that
	// vanishes meanwhile leaves a UID that nobody has.
	described := make(chan error, 1)
	go func() { described <- b.describeAll(picks, lock) }()
	listed := f.writeList(r, entries)
	if err := <-described; err != nil {
		return nil, errors.Join(err, listed)
	}
	if noRoom(listed) && (st.loaded || !r.damaged) {
		// Readers must get at the old mail to make room for the new.
		f.box.store.log.Warn().Err(listed).Str("folder", f.dir.Path()).Msg("new mail is not shown")
		st.next, b.again = first, true
		return nil, nil
	} else if listed != nil {
		return nil, listed
	}
	msgs := make([]*Message, 0, len(picks))
	for _, p := range picks {
		if m := p.msg; m != nil {
			m.ModSeq, b.changed = b.at, true
			msgs = append(msgs, m)
		}
	}
	for _, m := range msgs {
		if m.New {
			b.moved = f.toCur(m) || b.moved
		}
	}
	return msgs, nil
}

// toCur moves a message from new to cur. When that is not possible now, it
// stays in new, where it can be read as well.
func (f *Folder) toCur(m *Message) bool {
	file := m.File
	if _, info := maildir.Split(file); info == "" {
		file += ":2,"
	}
	if err := f.new.Rename(m.File, f.cur, file); err != nil {
		f.box.store.log.Debug().Err(err).Msg("new mail stays in new")
		return false
	}
	m.File, m.New = file, false
	return true
}

// lost returns the UIDs of old that msgs has not.
func lost(old, msgs []*Message) []uint32 {
	var uids []uint32
	for _, m := range old {
		for len(msgs) > 0 && msgs[0].UID < m.UID {
			msgs = msgs[1:]
		}
		if len(msgs) == 0 || msgs[0].UID != m.UID {
			uids = append(uids, m.UID)
		}
	}
	return uids
}

// publish shows the state to readers and writes it to the index.
func (f *Folder) publish(c change) {
	f.snap.Store(f.state.snapshot())
	f.record(c)
	f.watchers.wake()
}

// change says what publish has to write to the index.
type change struct {
	all      bool // everything may have changed
	added    []*Message
	flagged  []*Message
	expunged []uint32
}

var errFull = fmt.Errorf("folder has no UIDs left")
