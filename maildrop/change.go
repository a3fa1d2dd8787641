package maildrop

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// NewMessage starts writing a new message for this folder.
func (f *Folder) NewMessage() (*NewMessage, error) {
	name := maildir.Unique()
	file, err := f.tmp.Create(name, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create a message: %w", err)
	}
	lf := lfPool.Get().(*maildir.LFWriter)
	lf.Reset(file)
	return &NewMessage{folder: f, file: file, lf: lf, name: name}, nil
}

// Append durably stores messages in the folder, all or none (RFC 3502), and
// returns them with their UIDs. The messages must have been created by this
// folder's NewMessage. If Append fails, the caller must Discard them.
func (f *Folder) Append(news ...*NewMessage) ([]*Message, *Snapshot, error) {
	var size, old int64
	for _, n := range news {
		if n.folder != f {
			return nil, nil, errors.New("message belongs to another folder")
		}
		if err := n.seal(); err != nil {
			return nil, nil, err
		}
		size += n.size
		old += n.old
	}
	if err := f.box.quota.fits(size-old, int64(len(news))); err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return nil, nil, err
	}
	var items []incoming
	for _, n := range news {
		mask, err := f.keywordMask(n.Keywords, true)
		if err != nil {
			return nil, nil, err
		}
		items = append(items, incoming{
			message: Message{Flags: n.Flags, Keywords: mask, Size: n.size, Wire: n.wire, Exact: true, Date: n.Date.Unix(), Ext: n.ext},
			base:    n.base(),
			place:   func(name string) error { return f.tmp.Rename(n.name, f.cur, name) },
			undo:    func(name string) { f.cur.Rename(name, f.tmp, n.name) },
		})
	}
	msgs, err := f.place(items)
	if err != nil {
		return nil, nil, err
	}
	f.box.quota.add(size, int64(len(news)))
	return msgs, f.snap.Load(), nil
}

// incoming is a message that has not yet been assigned a UID and a file in cur.
type incoming struct {
	message Message
	base    string
	place   func(name string) error // moves the file into cur
	undo    func(name string)
}

// place assigns UIDs to messages and places their files in cur, all or none. In
// the result, nil stands for a message that was expunged in the meantime. The
// uidlist is written first: a line without a file is harmless, but a file whose
// UID was shown to a client must have a line. The caller holds f.mu.
func (f *Folder) place(items []incoming) ([]*Message, error) {
	l, err := f.lockList(lockWait)
	if err != nil {
		return nil, err
	}
	defer l.release()
	// Other programs may have assigned UIDs before the lock was acquired.
	if now, err := l.stamp(); err != nil {
		return nil, err
	} else if !now.Equal(f.since.List) {
		r := round{Folder: f, list: l}
		if err := r.refresh(true); err != nil {
			return nil, err
		}
	}
	msgs := make([]*Message, len(items))
	saved := time.Now().Unix()
	for i := range items {
		m := items[i].message
		m.File, m.Saved = items[i].base, saved
		m.File = reconcile.FileName(&m)
		msgs[i] = &m
	}
	entries, err := f.known.Assign(msgs)
	if err != nil {
		return nil, err
	}
	var list *maildir.UIDList
	if f.known.Wasteful() {
		list = f.known.List(entries)
	}
	if err := l.write(&f.known, list, entries); err != nil {
		return nil, err
	}
	if err := f.placeFiles(items, msgs); err != nil {
		return nil, errors.Join(err, f.finish(l, reconcile.Changes{}))
	}
	placed := slices.DeleteFunc(slices.Clone(msgs), func(m *Message) bool { return m == nil })
	if len(placed) == 0 {
		return msgs, f.finish(l, reconcile.Changes{})
	}
	return msgs, f.finish(l, f.known.Add(placed))
}

// Expunge removes messages permanently, regardless of their flags, and returns
// the UIDs of the messages that it removed. The removal is durable: concurrent
// calls share one sync of the directory.
func (f *Folder) Expunge(uids []uint32) ([]uint32, *Snapshot, error) {
	done, s, err := f.expunge(uids)
	if len(done) > 0 {
		err = errors.Join(err, f.curSync.sync(f.cur))
	}
	return done, s, err
}

func (f *Folder) expunge(uids []uint32) ([]uint32, *Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return nil, nil, err
	}
	var done []uint32
	var size int64
	var failed error
	for _, uid := range uids {
		i, ok := f.known.Find(uid)
		if !ok {
			continue
		}
		m := f.known.Messages[i]
		if failed = f.remove(m); failed != nil {
			break
		}
		done = append(done, uid)
		size += m.Size
	}
	err := f.expunged(done)
	f.box.quota.add(-size, -int64(len(done)))
	return done, f.snap.Load(), errors.Join(failed, err)
}

// expunged removes messages from the state after their files have been removed.
func (f *Folder) expunged(uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	return f.finish(nil, f.known.Expunge(uids))
}

// Mode is the way in which a FlagChange changes flags.
type Mode uint8

// The modes of a FlagChange.
const (
	Add Mode = iota
	Remove
	Replace
)

// FlagChange is a change to the flags and keywords of messages.
type FlagChange struct {
	Mode     Mode
	Flags    Flags
	Keywords []string
	// Conditional skips messages whose ModSeq is above Unchanged
	// (UNCHANGEDSINCE, RFC 7162, 3.1.3).
	Conditional bool
	Unchanged   uint64
}

// flagBatch is the maximum number of messages that are changed before other
// callers can acquire the lock.
const flagBatch = 500

// Store changes the flags of messages. It returns the UIDs excluded by the
// condition and the resulting state. It skips messages that no longer exist.
// The changes are durable: concurrent calls share one sync of the directory.
func (f *Folder) Store(uids []uint32, c FlagChange) (modified []uint32, s *Snapshot, err error) {
	if len(uids) == 0 {
		s, err = f.Sync()
		return nil, s, err
	}
	changed := 0
	for len(uids) > 0 && err == nil {
		n := min(flagBatch, len(uids))
		var skipped []uint32
		var batch int
		skipped, batch, err = f.store(uids[:n], c)
		modified, changed = append(modified, skipped...), changed+batch
		uids = uids[n:]
	}
	if changed > 0 {
		err = errors.Join(err, f.curSync.sync(f.cur))
	}
	return modified, f.snap.Load(), err
}

// store changes the flags of a batch of messages and returns the number of
// messages changed.
func (f *Folder) store(uids []uint32, c FlagChange) (modified []uint32, changed int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return nil, 0, err
	}
	mask, err := f.keywordMask(c.Keywords, c.Mode != Remove)
	if err != nil {
		return nil, 0, err
	}
	var done []*Message
	for _, uid := range uids {
		i, ok := f.known.Find(uid)
		if !ok {
			continue
		}
		m := f.known.Messages[i]
		if c.Conditional && m.ModSeq > c.Unchanged {
			modified = append(modified, uid)
			continue
		}
		flags, keywords := c.apply(m, mask)
		if flags == m.Flags && keywords == m.Keywords {
			continue
		}
		next := *m
		next.Flags, next.Keywords = flags, keywords
		if err := f.renameFlags(&next, m); err != nil {
			return modified, len(done), err
		}
		if next.File == "" {
			continue // no file; the next Sync expunges the message
		}
		done = append(done, &next)
	}
	if len(done) == 0 {
		return modified, 0, nil
	}
	return modified, len(done), f.finish(nil, f.known.SetFlags(done))
}

func (c FlagChange) apply(m *Message, mask uint64) (Flags, uint64) {
	switch c.Mode {
	case Add:
		return m.Flags | c.Flags, m.Keywords | mask
	case Remove:
		return m.Flags &^ c.Flags, m.Keywords &^ mask
	}
	return c.Flags, mask
}

// keywordMask returns the bits of keywords. If create is set, new keywords are
// assigned bits.
func (f *Folder) keywordMask(names []string, create bool) (uint64, error) {
	var mask uint64
	for _, name := range names {
		if !maildir.ValidKeyword(name) {
			return 0, ErrKeywordName
		}
		bit, ok := f.known.Keyword(name)
		if !ok && create {
			var err error
			if bit, err = f.addKeyword(name); err != nil {
				return 0, err
			}
		}
		if ok || create {
			mask |= 1 << bit
		}
	}
	return mask, nil
}

// addKeyword assigns a letter to a keyword or, if all letters are in use, a bit
// that only the index records.
func (f *Folder) addKeyword(name string) (int, error) {
	l, err := f.lockList(lockWait)
	if err != nil {
		return 0, err
	}
	defer l.release()
	// Another program may have added keywords.
	letters, err := readLetters(f.dir)
	if err != nil {
		return 0, err
	}
	f.known.SetLetters(&letters)
	if bit, ok := f.known.Keyword(name); ok {
		return bit, nil
	}
	names, bit, ok := f.known.NewKeyword(name)
	if !ok {
		return 0, ErrKeywords
	}
	if bit < maildir.MaxLetters {
		if err := l.writeKeywords(maildir.Keywords(names[:maildir.MaxLetters])); err != nil {
			return 0, err
		}
		if f.since.Keywords, err = fileStamp(f.dir, maildir.KeywordsFile); err != nil {
			return 0, err
		}
	}
	f.known.Keywords = names
	return bit, nil
}
