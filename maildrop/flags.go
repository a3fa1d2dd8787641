package maildrop

import (
	"errors"
	"slices"
	"strings"

	"hoplite/maildrop/maildir"
)

// Mode is what a FlagChange does with its flags.
type Mode uint8

// The modes of a FlagChange.
const (
	Add Mode = iota
	Remove
	Replace
)

// FlagChange changes flags and keywords of messages.
type FlagChange struct {
	Mode     Mode
	Flags    Flags
	Keywords []string
	// Conditional leaves messages alone whose ModSeq is above Unchanged
	// (UNCHANGEDSINCE, RFC 7162, 3.1.3).
	Conditional bool
	Unchanged   uint64
}

// flagBatch is how many messages change before others get their turn.
const flagBatch = 500

// Store changes the flags of messages. It returns the UIDs that a condition
// left alone, and the state afterwards. Messages that are gone are passed over.
func (f *Folder) Store(uids []uint32, c FlagChange) (modified []uint32, s *Snapshot, err error) {
	if len(uids) == 0 {
		s, err = f.Sync()
		return nil, s, err
	}
	for len(uids) > 0 {
		n := min(flagBatch, len(uids))
		more, err := f.store(uids[:n], c)
		modified = append(modified, more...)
		if err != nil {
			return modified, f.snap.Load(), err
		}
		uids = uids[n:]
	}
	return modified, f.snap.Load(), nil
}

func (f *Folder) store(uids []uint32, c FlagChange) (modified []uint32, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return nil, err
	}
	mask, err := f.keywordMask(c.Keywords, c.Mode != Remove)
	if err != nil {
		return nil, err
	}
	st := &f.state
	var done []*Message
	msgs := st.msgs
	for _, uid := range uids {
		i, ok := st.find(uid)
		if !ok {
			continue
		}
		m := msgs[i]
		if c.Conditional && m.ModSeq > c.Unchanged {
			modified = append(modified, uid)
			continue
		}
		flags, keywords := c.apply(m, mask)
		if flags == m.Flags && keywords == m.Keywords {
			continue
		}
		if len(done) == 0 {
			msgs = slices.Clone(st.msgs)
		}
		next := *m
		next.Flags, next.Keywords, next.ModSeq = flags, keywords, st.modseq+1
		if err := f.rename(&next, m); err != nil {
			return modified, err
		}
		if next.File == "" {
			continue // it vanished; the next look expunges it
		}
		msgs[i] = &next
		done = append(done, &next)
	}
	if len(done) == 0 {
		return modified, nil
	}
	st.modseq++
	st.msgs = msgs
	return modified, f.finish(change{flagged: done})
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

// finish ends a change of our own: what the disk looks like now is known, so
// it need not be read again.
func (f *Folder) finish(c change) error {
	f.raise()
	now, _, err := f.look()
	if err != nil {
		return err
	}
	f.state.stamp = now
	f.state.settle = true
	f.publish(c)
	return nil
}

// infoName is the file name that says what m's flags are. Letters that are
// not ours stay as they were.
func infoName(m *Message) string {
	base, text := maildir.Split(m.File)
	info := maildir.ParseInfo(text)
	info.Flags = m.Flags
	info.Letters = uint32(m.Keywords & (1<<maildir.MaxLetters - 1))
	return base + info.String()
}

// rename gives the file of m the name for its flags. was is the message
// before. When another program renamed the file meanwhile, it is looked for;
// m.File is empty when it is gone.
func (f *Folder) rename(m, was *Message) error {
	to := infoName(m)
	from := found{was.File, was.New}
	if !from.inNew && to == from.file {
		m.Pending = false
		return nil // keywords without a letter
	}
	err := f.wherever(was, func(at found) error { return f.in(at).Rename(at.file, f.cur, to) })
	switch {
	case errors.Is(err, ErrNoMessage):
		m.File = ""
		return nil
	case noRoom(err):
		// The index remembers what the name can't say yet.
		m.Pending = true
		return nil
	case err != nil:
		return err
	}
	m.File, m.New, m.Pending = to, false, false
	return nil
}

// search looks for a message's file by its base name.
func (f *Folder) search(base string) (found, bool) {
	for range 3 {
		for _, inNew := range []bool{false, true} {
			names, err := f.in(found{inNew: inNew}).Files()
			if err != nil {
				return found{}, false
			}
			i := slices.IndexFunc(names, func(n string) bool {
				return strings.HasPrefix(n, base) && maildir.Base(n) == base
			})
			if i >= 0 {
				return found{names[i], inNew}, true
			}
		}
	}
	return found{}, false
}

// retry writes flags that could not be written before.
func (f *Folder) retry(m *Message) {
	i, ok := f.state.find(m.UID)
	if !ok || f.state.msgs[i] != m {
		return
	}
	next := *m
	if f.rename(&next, m) == nil && next.File != "" {
		f.state.msgs[i] = &next
	}
}

// keywordMask is the bits of keywords; with create, new ones get a bit.
func (f *Folder) keywordMask(names []string, create bool) (uint64, error) {
	var mask uint64
	for _, name := range names {
		if !maildir.ValidKeyword(name) {
			return 0, ErrKeywordName
		}
		bit := slices.IndexFunc(f.state.keywords, func(k string) bool { return strings.EqualFold(k, name) })
		if bit < 0 && create {
			var err error
			if bit, err = f.addKeyword(name); err != nil {
				return 0, err
			}
		}
		if bit >= 0 {
			mask |= 1 << bit
		}
	}
	return mask, nil
}

// addKeyword gives a keyword a letter, or, when all are taken, a place that
// only our index knows.
func (f *Folder) addKeyword(name string) (int, error) {
	lock, err := f.lockList()
	if err != nil {
		return 0, err
	}
	defer lock.Release()
	// Another program may have added some.
	if err := f.readKeywords(); err != nil {
		return 0, err
	}
	st := &f.state
	if bit := slices.IndexFunc(st.keywords, func(k string) bool { return strings.EqualFold(k, name) }); bit >= 0 {
		return bit, nil
	}
	bit := slices.Index(st.keywords, "")
	names := slices.Clone(st.keywords)
	if bit < 0 {
		if len(names) == MaxKeywords {
			return 0, ErrKeywords
		}
		bit = len(names)
		names = append(names, "")
	}
	names[bit] = name
	if bit < maildir.MaxLetters {
		before, err := f.fileStamp(maildir.KeywordsFile)
		if err != nil {
			return 0, err
		}
		if err := f.dir.Replace(maildir.KeywordsFile, maildir.Keywords(names[:maildir.MaxLetters]).Bytes()); err != nil {
			return 0, err
		}
		if st.stamp.Keywords, err = f.fileStamp(maildir.KeywordsFile); err == nil && !st.stamp.Keywords.MTime.After(before.MTime) {
			err = f.dir.SetTimes(maildir.KeywordsFile, before.MTime.Add(1e9))
		}
		if err != nil {
			return 0, err
		}
	}
	st.keywords = names
	return bit, nil
}
