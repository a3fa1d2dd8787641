package imap

import (
	"errors"
	"fmt"
	"slices"

	"hoplite/imap/summary"
	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// seenBatch is the maximum number of messages that are marked \Seen together
// before they are sent.
const seenBatch = 64

// summaryBatch is the maximum number of messages whose summaries are computed
// in parallel before they are sent.
const summaryBatch = 512

// need is the data that an item requires. A larger need includes the smaller
// ones.
type need uint8

const (
	needIndex     need = iota // flags, sizes and dates; needs no file
	needHeader                // the header's summary
	needStructure             // the whole message's summary
	needFile                  // the message's file
)

// fetchItem describes a FETCH item. Its name is the Label of a wire.Item.
type fetchItem struct {
	need need
	// seen is set if the item sets \Seen unless requested with PEEK.
	seen bool
	// check returns an error if the item cannot be sent for this message. It is
	// called before the first octet of the response is written and may be nil.
	check func(*fetcher, *wire.Item) error
	// write appends the value to b, which is the free part of the output
	// buffer.
	write func(f *fetcher, b []byte, it *wire.Item) ([]byte, error)
}

// step is a requested FETCH item and its description.
type step struct {
	item *wire.Item
	*fetchItem
}

// handleFetch runs FETCH and UID FETCH (RFC 9051, 6.4.5; RFC 7162).
func handleFetch(m *mailbox, c *call) error {
	c.args.SP()
	cmd := c.args.Fetch()
	if err := c.args.End(); err != nil {
		return err
	}
	if cmd.Vanished && (!m.session().on.qresync || !c.uid) {
		return badf("VANISHED needs UID FETCH and ENABLE QRESYNC")
	}
	if c.uid && !m.session().on.uidOnly && !has(cmd.Items, wire.ItemUID) {
		cmd.Items = slices.Insert(cmd.Items, 0, wire.ItemOf(wire.ItemUID))
	}
	if cmd.ChangedSince > 0 && !has(cmd.Items, wire.ItemModSeq) {
		cmd.Items = append(cmd.Items, wire.ItemOf(wire.ItemModSeq))
	}
	f, err := newFetcher(m, c, cmd.Items)
	if err != nil {
		return err
	}
	if has(cmd.Items, wire.ItemModSeq) {
		m.account.enableCondstore()
	}
	idx, err := m.view.resolve(cmd.Set, c.uid)
	if err != nil {
		return err
	}
	if cmd.Vanished {
		m.sendVanishedSince(cmd.Set, cmd.ChangedSince)
	}
	if cmd.ChangedSince > 0 {
		idx = slices.DeleteFunc(idx, func(i int) bool { return m.view.Messages[i].ModSeq <= cmd.ChangedSince })
	}
	if cmd.Partial.Given() {
		from, to := cmd.Partial.Of(len(idx))
		idx = idx[from:to]
	}
	defer f.close()
	if err := f.all(idx); err != nil {
		return err
	}
	switch {
	case f.gone && c.uid:
		// A nonexistent UID is not an error (RFC 9051, 6.4.9).
		c.setCode("EXPUNGEISSUED")
	case f.gone:
		return maildrop.ErrNoMessage
	case f.broken > 0 && f.sent == 0:
		return errUnreadable
	case f.broken > 0:
		// The other messages have been sent, and the client can retry the
		// unreadable ones.
		c.note = fmt.Sprintf("; %d of the messages can't be read", f.broken)
	}
	return nil
}

func has(items []wire.Item, k wire.ItemKind) bool {
	return slices.ContainsFunc(items, func(it wire.Item) bool { return it.Kind == k })
}

// fetcher sends the items of one message after another.
type fetcher struct {
	*mailbox
	call      *call
	steps     []step
	withFlags []step // the steps for a message that FETCH has marked \Seen
	need      need   // the highest need of all steps, ignoring needFile
	needsFile bool
	marks     bool // messages are marked \Seen

	msg     *maildrop.Message
	summary summary.Summary
	src     *source // the message's file, if needed
	gone    bool    // some messages were expunged by other sessions
	sent    int     // number of messages sent
	broken  int     // number of messages whose files could not be read
}

func newFetcher(m *mailbox, c *call, items []wire.Item) (*fetcher, error) {
	d := c.session.srv.dialect
	f := &fetcher{mailbox: m, call: c, steps: make([]step, 0, len(items)+1)}
	flags := false
	for i := range items {
		s := step{&items[i], &d.items[items[i].Kind]}
		if s.write == nil {
			return nil, badf("Unknown FETCH item %s", items[i].Label)
		}
		if s.need == needFile {
			f.needsFile = true
		} else {
			f.need = max(f.need, s.need)
		}
		f.marks = f.marks || s.seen && !items[i].Peek && !m.readOnly
		flags = flags || items[i].Kind == wire.ItemFlags
		f.steps = append(f.steps, s)
	}
	f.withFlags = f.steps
	if f.marks && !flags {
		at := 0
		if items[0].Kind == wire.ItemUID {
			at = 1
		}
		it := wire.ItemOf(wire.ItemFlags)
		f.withFlags = slices.Insert(slices.Clone(f.steps), at, step{&it, &d.items[wire.ItemFlags]})
	}
	return f, nil
}

func (f *fetcher) close() {
	if f.src != nil {
		f.account.work.spend(f.src.read - f.src.sent)
		f.src.close()
		f.src = nil
	}
}

// all sends the messages at the given indices of the view.
func (f *fetcher) all(idx []int) error {
	for len(idx) > 0 {
		batch := idx
		switch {
		case f.marks:
			batch = idx[:min(seenBatch, len(idx))]
		case f.need > needIndex:
			batch = idx[:min(summaryBatch, len(idx))]
		}
		if f.need > needIndex {
			if err := f.prepare(f.call, batch, f.need == needStructure); err != nil {
				return err
			}
		}
		var marked []uint32
		if f.marks {
			var err error
			if marked, err = f.markSeen(batch); err != nil {
				return err
			}
		}
		for _, i := range batch {
			steps := f.steps
			if len(marked) > 0 {
				if _, ok := slices.BinarySearch(marked, f.view.Messages[i].UID); ok {
					steps = f.withFlags
				}
			}
			switch err := f.one(i, steps); {
			case err == nil:
				f.sent++
			case errors.Is(err, errBye):
				return err
			case errors.Is(err, maildrop.ErrNoMessage):
				f.gone = true
			case errors.Is(err, maildrop.ErrUnreadable):
				f.broken++
			default:
				return err
			}
		}
		idx = idx[len(batch):]
	}
	return nil
}

// one sends "* n FETCH (...)". An error that concerns only this message is
// returned before the first octet is sent.
func (f *fetcher) one(i int, steps []step) (err error) {
	f.msg = f.view.Messages[i]
	f.close()
	if f.needsFile {
		if err := f.account.work.check(); err != nil {
			return err
		}
		if f.src, err = openMessage(f.folder, f.msg); err != nil {
			return err
		}
		f.src.memo = f.remember(f.msg, &f.src.file)
	}
	if f.need > needIndex {
		if f.summary, err = summaryOf(f.folder, f.msg, f.need == needStructure); err != nil {
			return err
		}
	}
	for _, s := range steps {
		if s.check != nil {
			if err := s.check(f, s.item); err != nil {
				return err
			}
		}
	}
	b := f.beginFetch(i, f.msg, false)
	for n, s := range steps {
		if n > 0 {
			b = append(b, ' ')
		}
		b = append(append(b, s.item.Label...), ' ')
		if b, err = s.write(f, b, s.item); err != nil {
			return errors.Join(errBye, err) // part of the response has been sent
		}
	}
	f.out.Took(append(b, ")\r\n"...))
	return f.out.Err()
}

// markSeen sets \Seen on messages in the view and returns the UIDs of those
// that were not yet \Seen.
func (f *fetcher) markSeen(idx []int) ([]uint32, error) {
	var uids []uint32
	for _, i := range idx {
		if m := f.view.Messages[i]; m.Flags&maildrop.Seen == 0 {
			uids = append(uids, m.UID)
		}
	}
	if len(uids) == 0 {
		return nil, nil
	}
	_, snap, err := f.folder.Store(uids, maildrop.FlagChange{Mode: maildrop.Add, Flags: maildrop.Seen})
	if err != nil {
		return nil, err
	}
	return uids, f.advance(snap, false, func(m *maildrop.Message) bool {
		_, mine := slices.BinarySearch(uids, m.UID)
		return mine
	})
}
