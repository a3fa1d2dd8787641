package maildrop

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// Copied maps the messages copied from the source folder to their copies.
type Copied struct {
	Validity uint32   // UIDVALIDITY of the destination
	From, To []uint32 // same length, both ascending
	// Source is the state of the source folder after a Move.
	Source *Snapshot
}

// Copy copies messages to dst, including flags, keywords and dates, all or
// none. It skips messages that no longer exist. The copies are hard links, as
// in Dovecot.
func (f *Folder) Copy(uids []uint32, dst *Folder) (Copied, error) {
	t := transfer{from: f, to: dst}
	return t.run(uids)
}

// Move moves messages to dst. If dst is the same folder, the messages are
// assigned new UIDs. The move is durable in both folders.
func (f *Folder) Move(uids []uint32, dst *Folder) (Copied, error) {
	t := transfer{from: f, to: dst, move: true}
	return t.run(uids)
}

// transfer copies or moves messages to another folder, or within one folder.
type transfer struct {
	from, to *Folder
	move     bool

	msgs  []*Message // source messages
	items []incoming // destinations, in the same order
	size  int64
}

// run performs the transfer. place syncs the destination.
func (t *transfer) run(uids []uint32) (Copied, error) {
	c, err := t.locked(uids)
	if t.move && len(c.From) > 0 && t.from != t.to {
		err = errors.Join(err, t.from.curSync.sync(t.from.cur))
	}
	return c, err
}

// locked performs the transfer while both folders are locked.
func (t *transfer) locked(uids []uint32) (Copied, error) {
	defer lockBoth(t.from, t.to)()
	if err := errors.Join(t.from.sync(), t.to.sync()); err != nil {
		return Copied{}, err
	}
	if err := t.collect(uids); err != nil {
		return Copied{}, err
	}
	quota := &t.to.box.quota
	grows := !t.move || t.to.box != t.from.box
	if grows {
		if err := quota.fits(t.size, int64(len(t.items))); err != nil {
			return Copied{}, err
		}
	}
	c := Copied{Validity: t.to.known.Validity, Source: t.from.snap.Load()}
	if len(t.items) == 0 {
		return c, nil
	}
	msgs, err := t.to.place(t.items)
	if err != nil {
		return Copied{}, err
	}
	var size int64
	for i, m := range msgs {
		if m != nil {
			c.From, c.To, size = append(c.From, t.msgs[i].UID), append(c.To, m.UID), size+m.Size
		}
	}
	if grows {
		quota.add(size, int64(len(c.To)))
	}
	if t.move {
		err = t.from.expunged(c.From)
		c.Source = t.from.snap.Load()
	}
	return c, err
}

// collect prepares the messages.
func (t *transfer) collect(uids []uint32) error {
	uids = slices.Clone(uids)
	slices.Sort(uids)
	for _, uid := range slices.Compact(uids) {
		i, ok := t.from.known.Find(uid)
		if !ok {
			continue
		}
		m := t.from.known.Messages[i]
		item, err := t.item(m)
		if err != nil {
			return err
		}
		t.items, t.msgs, t.size = append(t.items, item), append(t.msgs, m), t.size+m.Size
	}
	return nil
}

// item prepares the destination for m.
func (t *transfer) item(m *Message) (incoming, error) {
	mask, err := t.to.keywordMask(snapshotOf(&t.from.known).KeywordNames(m), true)
	if errors.Is(err, ErrKeywords) {
		mask, err = 0, nil // prefer a copy without keywords to none
	}
	if err != nil {
		return incoming{}, err
	}
	next := Message{Flags: m.Flags, Keywords: mask, Size: m.Size, Wire: m.Wire, Exact: m.Exact, Date: m.Date, Ext: "G" + m.GUID()}
	// A moved message also gets a new base name: the destination's uidlist may
	// contain a line with the current name, for a message that was moved away.
	base := maildir.WithSizes(maildir.Unique(), m.Size, m.Wire)
	if !t.move {
		return incoming{
			message: next, base: base,
			place: func(name string) error { return t.link(m, name) },
			undo:  func(name string) { t.to.cur.Remove(name) },
		}, nil
	}
	if next.Ext = m.Ext; maildir.ExtKey(m.Ext, 'G') == "" {
		next.Ext = strings.TrimSpace(m.Ext + " G" + m.GUID())
	}
	return incoming{
		message: next, base: base,
		place: func(name string) error { return t.from.rename(m, t.to.cur, name) },
		undo:  func(name string) { t.to.cur.Rename(name, t.from.cur, m.File) },
	}, nil
}

// link creates a second name for m's file, or copies the file if that is
// impossible.
func (t *transfer) link(m *Message, name string) error {
	err := t.from.withFile(m, func(at reconcile.File) error { return t.from.in(at).Link(at.Name, t.to.cur, name) })
	if !tooManyLinks(err) {
		return err
	}
	r, err := t.from.Open(m)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := t.to.tmp.Place(io.NewSectionReader(&r, 0, r.Size), m.InternalDate(), t.to.cur, name); err != nil {
		return fmt.Errorf("copy message %d: %w", m.UID, err)
	}
	return nil
}

// ReplaceWith appends n to dst and expunges the message with the given UID from
// f (REPLACE, RFC 8508). If the message no longer exists, it returns
// ErrNoMessage, and the caller must discard n.
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

// lockBoth locks two folders, always in the same order, and returns a function
// that unlocks them.
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
