package maildrop

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
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
	msgs := make([]*Message, 0, max(len(r.files), len(old)))
	for _, e := range f.entries(r, old) {
		m, err := b.message(r, e, old)
		if err != nil {
			return err
		}
		if m != nil {
			msgs = append(msgs, m)
		}
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
}

// message is the message of a uidlist entry, nil when its file is gone.
func (b *batch) message(r *reading, e maildir.Entry, old []*Message) (*Message, error) {
	var was *Message
	i, ok := slices.BinarySearchFunc(old, e.UID, func(m *Message, u uint32) int { return int(int64(m.UID) - int64(u)) })
	if ok && old[i].Base() == e.Base {
		was = old[i]
	}
	file, ok := r.files[e.Base]
	if !ok {
		if was != nil && !was.New && !r.curRead {
			return was, nil
		}
		return nil, nil
	}
	if was != nil && was.File == file.file && was.New == file.inNew && was.Ext == e.Ext {
		if was.Pending {
			b.pending = append(b.pending, was)
		}
		return was, nil
	}
	m, err := b.folder.describe(file, e, was)
	if isNot(err) {
		return nil, nil // it vanished meanwhile
	}
	if err != nil {
		return nil, err
	}
	if was == nil || was.Flags != m.Flags || was.Keywords != m.Keywords {
		m.ModSeq, b.changed = b.at, true
	}
	return m, nil
}

// describe makes the message of a file. was is the same message earlier, or
// nil.
func (f *Folder) describe(file found, e maildir.Entry, was *Message) (*Message, error) {
	base, text := maildir.Split(file.file)
	info := maildir.ParseInfo(text)
	m := &Message{UID: e.UID, Flags: info.Flags, Keywords: uint64(info.Letters), New: file.inNew, File: file.file, Ext: e.Ext}
	if was != nil {
		m.Size, m.Wire, m.Date, m.Saved, m.ModSeq = was.Size, was.Wire, was.Date, was.Saved, was.ModSeq
		m.Keywords |= was.Keywords &^ (1<<maildir.MaxLetters - 1)
		return m, nil
	}
	st, err := f.in(file).Stat(file.file)
	if err != nil {
		return nil, err
	}
	m.Size, m.Date, m.Saved = st.Size, st.MTime.Unix(), st.CTime.Unix()
	size, wire := maildir.Sizes(base)
	if n, err := strconv.ParseInt(e.Key('S'), 10, 64); err == nil && size < 0 {
		size = n
	}
	if n, err := strconv.ParseInt(e.Key('W'), 10, 64); err == nil && wire < 0 {
		wire = n
	}
	// Names are only believed as far as they can be true.
	if size == st.Size && wire >= size && wire <= 2*size {
		m.Wire = wire
		return m, nil
	}
	m.Size, m.Wire, err = f.measure(file)
	return m, err
}

// measure reads a file to know its CRLF size.
func (f *Folder) measure(file found) (size, wire int64, err error) {
	r, err := f.in(file).Open(file.file)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	return maildir.WireSize(r)
}

// assign gives UIDs to the unknown files in order of arrival, writes them to
// the uidlist and moves the files of new to cur.
func (f *Folder) assign(r *reading, b *batch, lock *maildir.Lock) ([]*Message, error) {
	st := &f.state
	var msgs []*Message
	var entries []maildir.Entry
	first := st.next
	for _, base := range r.unknown {
		if st.next == math.MaxUint32 {
			return nil, errFull
		}
		m, err := f.describe(r.files[base], maildir.Entry{UID: st.next}, nil)
		if isNot(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m.ModSeq, b.changed = b.at, true
		msgs = append(msgs, m)
		entries = append(entries, maildir.Entry{UID: m.UID, Base: base})
		st.next++
		lock.Touch()
	}
	if err := f.writeList(r, entries); noRoom(err) && (st.loaded || !r.damaged) {
		// Readers must get at the old mail to make room for the new.
		f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("new mail is not shown")
		st.next, b.again = first, true
		return nil, nil
	} else if err != nil {
		return nil, err
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
