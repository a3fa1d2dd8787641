package maildrop

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"hoplite/maildrop/maildir"
)

// Copied says which UID each source message got.
type Copied struct {
	Validity uint32   // of the destination
	From, To []uint32 // the same length, both ascending
	// Source is the state of the source folder after a Move.
	Source *Snapshot
}

// Copy copies messages to dst with flags, keywords and dates, all or none.
// What is gone already is passed over. The files are hard links, as Dovecot
// makes them.
func (f *Folder) Copy(uids []uint32, dst *Folder) (Copied, error) {
	return f.transfer(uids, dst, false)
}

// Move moves messages to dst: they appear there and vanish here.
func (f *Folder) Move(uids []uint32, dst *Folder) (Copied, error) {
	return f.transfer(uids, dst, true)
}

func (f *Folder) transfer(uids []uint32, dst *Folder, move bool) (Copied, error) {
	defer lockBoth(f, dst)()
	if err := errors.Join(f.sync(), dst.sync()); err != nil {
		return Copied{}, err
	}
	uids = slices.Clone(uids)
	slices.Sort(uids)
	var items []incoming
	var from []*Message
	var size int64
	for _, uid := range slices.Compact(uids) {
		i, ok := f.state.find(uid)
		if !ok {
			continue
		}
		m := f.state.msgs[i]
		item, err := f.outgoing(m, dst, move)
		if err != nil {
			return Copied{}, err
		}
		items, from, size = append(items, item), append(from, m), size+m.Size
	}
	if !move || dst.box != f.box {
		if err := dst.box.fits(size, int64(len(items))); err != nil {
			return Copied{}, err
		}
		defer func() { dst.box.used(size, int64(len(items))) }()
	}
	c := Copied{Validity: dst.state.validity, Source: f.snap.Load()}
	if len(items) == 0 {
		return c, nil
	}
	msgs, err := dst.place(items)
	if err != nil {
		size, items = 0, nil
		return Copied{}, err
	}
	for i, m := range msgs {
		c.From, c.To = append(c.From, from[i].UID), append(c.To, m.UID)
	}
	if move {
		err = f.dropped(slices.Clone(c.From))
		c.Source = f.snap.Load()
	}
	return c, err
}

// outgoing is m as it will be in dst.
func (f *Folder) outgoing(m *Message, dst *Folder, move bool) (incoming, error) {
	mask, err := dst.keywordMask(f.state.snapshot().KeywordNames(m), true)
	if errors.Is(err, ErrKeywords) {
		mask, err = 0, nil // better a copy without its keywords than none
	}
	if err != nil {
		return incoming{}, err
	}
	next := Message{Flags: m.Flags, Keywords: mask, Size: m.Size, Wire: m.Wire, Exact: m.Exact, Date: m.Date}
	base := maildir.WithSizes(maildir.Unique(), m.Size, m.Wire)
	next.Ext = "G" + m.GUID()
	if move && f != dst {
		if _, taken := dst.state.names()[m.Base()]; !taken {
			base, next.Ext = m.Base(), m.Ext
		}
		return incoming{
			message: next, base: base,
			place: func(name string) error { return f.renameTo(m, dst, name) },
			undo:  func(name string) { dst.cur.Rename(name, f.cur, m.File) },
		}, nil
	}
	return incoming{
		message: next, base: base,
		place: func(name string) error { return f.linkTo(m, dst, name) },
		undo:  func(name string) { dst.cur.Remove(name) },
	}, nil
}

func (f *Folder) renameTo(m *Message, dst *Folder, name string) error {
	return f.wherever(m, func(at found) error { return f.in(at).Rename(at.file, dst.cur, name) })
}

func (f *Folder) linkTo(m *Message, dst *Folder, name string) error {
	err := f.wherever(m, func(at found) error { return f.in(at).Link(at.file, dst.cur, name) })
	if tooManyLinks(err) {
		return f.duplicate(m, dst, name)
	}
	return err
}

// wherever does something to a message's file, and tries again where others
// have moved it to meanwhile. When it is nowhere, it is ErrNoMessage.
func (f *Folder) wherever(m *Message, do func(at found) error) error {
	at := found{m.File, m.New}
	for range 3 {
		err := do(at)
		if !isNot(err) {
			return err
		}
		var ok bool
		if at, ok = f.search(m.Base()); !ok {
			break
		}
	}
	return ErrNoMessage
}

// duplicate copies the octets of a message, where a link is impossible.
func (f *Folder) duplicate(m *Message, dst *Folder, name string) error {
	r, err := f.Open(m)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := dst.tmp.Place(io.NewSectionReader(&r, 0, r.Size), m.InternalDate(), dst.cur, name); err != nil {
		return fmt.Errorf("copy message %d: %w", m.UID, err)
	}
	return nil
}

// ReplaceWith appends n to dst and expunges the message uid of f in one go
// (REPLACE, RFC 8508). When uid is gone already, it fails with ErrNoMessage
// and n is still the caller's.
func (f *Folder) ReplaceWith(uid uint32, dst *Folder, n *NewMessage) (*Message, *Snapshot, error) {
	s, err := f.Sync()
	if err != nil {
		return nil, nil, err
	}
	i, ok := s.Find(uid)
	if !ok {
		return nil, nil, ErrNoMessage
	}
	if f.box == dst.box {
		n.old = s.Messages[i].Size
	}
	msgs, _, err := dst.Append(n)
	if err != nil {
		return nil, nil, err
	}
	_, s, err = f.Expunge([]uint32{uid})
	return msgs[0], s, err
}

// lockBoth locks two folders, always in the same order, and returns what
// unlocks them.
func lockBoth(a, b *Folder) (unlock func()) {
	if a == b {
		a.mu.Lock()
		return a.mu.Unlock
	}
	first, second := a, b
	if b.order < a.order {
		first, second = b, a
	}
	first.mu.Lock()
	second.mu.Lock()
	return func() {
		second.mu.Unlock()
		first.mu.Unlock()
	}
}
