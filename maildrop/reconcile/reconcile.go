package reconcile

import (
	"errors"
	"math"
	"slices"

	"hoplite/internal/parallel"
	"hoplite/maildrop/maildir"
)

// ErrFull is returned if no UIDs are left in a folder.
var ErrFull = errors.New("folder has no UIDs left")

// Plan lists the steps that bring the disk into agreement with the new State.
type Plan struct {
	// Lock is set if a decision requires the uidlist's lock, so the caller must
	// lock it and read again. All is set if cur must be read again as well.
	Lock, All bool
	// Measure holds new messages without sizes and dates. If a message's file
	// no longer exists, the message must be passed to State.Drop.
	Measure []*Message
	// Assigned holds the messages that were assigned UIDs. Their lines must be
	// appended to the uidlist (see Lines) before their files are moved from new
	// to cur. If Rewrite is set, the whole list must be written instead (see
	// State.List).
	Assigned []*Message
	Rewrite  bool
	// Rename holds files of expunged messages that exist again under a base
	// name that is still in the uidlist. The caller must pass each to
	// Reading.Rename with a new base name and call Reconcile again. Nothing
	// else in the Plan applies then.
	Rename []File
	// Pending holds messages whose flags have not been written to their file
	// names.
	Pending []*Message
	// Err is set if nothing can be done because no UIDs are left.
	Err error
}

// Reconcile compares a folder's known state with its current contents. It
// returns the new state, the changes, and a plan for what to write. If a
// decision is needed that another program could make at the same time and the
// uidlist is not locked, Reconcile returns s and a plan to lock it.
func Reconcile(s *State, r *Reading) (State, Changes, Plan) {
	entries, unknown, twice, revived := match(s, r)
	damaged := r.Damaged || twice
	hidden := r.List == nil && slices.ContainsFunc(unknown, func(f File) bool { return !f.New })
	if !r.Locked {
		absent := len(r.Absent(s)) > 0
		if damaged || len(unknown) > 0 || len(revived) > 0 || absent {
			return *s, Changes{Quiet: true}, Plan{Lock: true, All: absent || hidden || r.List != nil}
		}
	}
	if hidden {
		// An unchanged uidlist may contain the line of a file that was missing
		// when the list was read.
		return *s, Changes{Quiet: true}, Plan{Lock: true, All: true}
	}
	if len(revived) > 0 && !r.KeepNew {
		return *s, Changes{Quiet: true}, Plan{Rename: revived}
	}
	m := merge{old: s.Messages, next: *s, r: r}
	if r.List != nil {
		if r.List.Validity != s.Validity {
			m.old = nil // all UIDs are new, so the known messages do not apply
		}
		m.head(s)
	}
	if r.Letters != nil {
		m.next.Keywords = s.mergeKeywords(r.Letters)
	}
	m.at = m.next.ModSeq + 1
	m.keep(entries)
	if r.Locked && !r.KeepNew && !m.assign(unknown) {
		return *s, Changes{Quiet: true}, Plan{Err: ErrFull}
	}
	m.describe()
	m.finish(s)
	if r.Locked && !r.KeepNew {
		m.plan.Rewrite = damaged || m.next.wasteful(len(m.next.Messages)-len(m.plan.Assigned))
	}
	return m.next, m.changes, m.plan
}

// match finds the files without a UID. It also drops invalid lines from the
// uidlist: twice is set if several lines refer to the same file, of which the
// last one is valid. The files in revived have lines of expunged messages. Such
// a file is assigned a new UID, because clients already consider its UID
// expunged, and a new base name, because Dovecot never accepts a second UID for
// a base name without a warning.
func match(s *State, r *Reading) (entries []maildir.Entry, unknown []File, twice bool, revived []File) {
	if r.List == nil {
		for base, f := range r.Files {
			if _, ok := s.names()[base]; !ok {
				unknown = append(unknown, f)
			}
		}
		return nil, unknown, false, nil
	}
	last := make(map[string]uint32, len(r.List.Entries))
	for _, e := range r.List.Entries {
		last[e.Base] = e.UID
	}
	same := s.Known && r.List.Validity == s.Validity
	entries = r.List.Entries
	stale := func(e maildir.Entry) bool {
		if last[e.Base] != e.UID {
			twice = true
			return true
		}
		if !same || e.UID >= s.Next || !r.has(e.Base) {
			return false
		}
		if _, known := s.Find(e.UID); known {
			return false
		}
		revived = append(revived, r.Files[e.Base])
		return true
	}
	if i := slices.IndexFunc(entries, stale); i >= 0 {
		rest := entries[i+1:]
		entries = slices.Clone(entries[:i])
		for _, e := range rest {
			if !stale(e) {
				entries = append(entries, e)
			}
		}
	}
	unknown = make([]File, 0, max(len(r.Files)-len(last), 0))
	for base, f := range r.Files {
		if _, ok := last[base]; !ok {
			unknown = append(unknown, f)
		}
	}
	return entries, unknown, twice, revived
}

// merge is the state of one run of Reconcile.
type merge struct {
	r       *Reading
	old     []*Message // known messages, if their UIDs still apply
	next    State
	at      uint64     // modification sequence of all changes
	changed bool       // something changed
	fresh   []*Message // messages whose files were not known before
	room    []Message  // preallocated space for fresh
	changes Changes
	plan    Plan
}

// head adopts the uidlist's header.
func (m *merge) head(s *State) {
	list, next := m.r.List, &m.next
	if list.Validity == s.Validity {
		next.Next = max(list.Next, s.Next, 1)
	} else {
		next.Next = max(list.Next, 1)
		next.Recent, next.Gone = 1, nil
		// An empty folder starts with 1 (RFC 7162, 3.1.2.1), so its first
		// change is 2.
		next.ModSeq = max(s.ModSeq, list.ModSeq, m.r.ForeignModSeq, 1)
		next.GoneFloor = next.ModSeq
	}
	next.Validity, next.GUID, next.Other = list.Validity, list.GUID, list.Other
	next.Ceiling, next.Lines = list.ModSeq, len(list.Entries)
}

// keep collects the messages that have UIDs and whose files exist. An unchanged
// message keeps its *Message.
func (m *merge) keep(entries []maildir.Entry) {
	m.next.Messages = make([]*Message, 0, max(len(m.r.Files), len(m.old)))
	if !m.next.Known {
		m.fresh = make([]*Message, 0, len(m.r.Files))
	}
	if m.r.List == nil {
		for _, was := range m.old {
			m.one(entryOf(was), was)
		}
		return
	}
	rest := m.old
	for _, e := range entries {
		for len(rest) > 0 && rest[0].UID < e.UID {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].UID == e.UID && rest[0].Base() == e.Base {
			m.one(e, rest[0])
		} else {
			m.one(e, nil)
		}
	}
}

// one handles one message. was is the known message, or nil.
func (m *merge) one(e maildir.Entry, was *Message) {
	file, there := m.r.Files[e.Base]
	msgs := &m.next.Messages
	switch {
	case !there && was != nil && !was.New && !m.r.CurRead:
		*msgs = append(*msgs, was)
	case !there:
	case was == nil:
		m.add(file, e.UID, e.Ext)
	case was.File == file.Name && was.New == file.New && was.Ext == e.Ext:
		if was.Pending {
			m.plan.Pending = append(m.plan.Pending, was)
		}
		*msgs = append(*msgs, was)
	default:
		now := renamed(was, file, e)
		if now.Flags != was.Flags || now.Keywords != was.Keywords {
			now.ModSeq, m.changed = m.at, true
		}
		if now.Ext == was.Ext {
			m.changes.Flagged = append(m.changes.Flagged, now)
		} else {
			m.changes.Added = append(m.changes.Added, now)
		}
		*msgs = append(*msgs, now)
	}
}

// assign assigns UIDs to files without one, in order of arrival. It returns
// false if not enough UIDs are left.
func (m *merge) assign(unknown []File) bool {
	if uint64(len(unknown)) >= math.MaxUint32-uint64(m.next.Next) {
		return false
	}
	maildir.SortArrival(unknown, func(f File) string { return f.Name })
	for _, f := range unknown {
		m.add(f, m.next.Next, "")
		m.next.Next++
	}
	m.plan.Assigned = m.fresh[len(m.fresh)-len(unknown):]
	return true
}

// slab is the number of messages that are allocated together when a large
// folder is read for the first time.
const slab = 128

// add adds a message whose file was not known before.
func (m *merge) add(f File, uid uint32, ext string) {
	if len(m.room) == 0 {
		n := 1
		if !m.next.Known {
			n = min(slab, len(m.r.Files)-len(m.fresh))
		}
		m.room = make([]Message, n)
	}
	made := &m.room[0]
	m.room = m.room[1:]
	made.UID, made.Ext, made.File, made.New, made.ModSeq = uid, ext, f.Name, f.New, m.at
	m.fresh = append(m.fresh, made)
	m.next.Messages = append(m.next.Messages, made)
}

// describe reads the flags of new messages from their names. It works in
// parallel, because there may be a hundred thousand messages.
func (m *merge) describe() {
	n := len(m.fresh)
	if n == 0 {
		return
	}
	m.changed = true
	m.plan.Err = parallel.Do(n, func(i int) error {
		setFlags(m.fresh[i])
		return nil
	})
	m.plan.Measure = m.fresh
	if len(m.changes.Added) == 0 {
		m.changes.Added = m.fresh[:n:n]
	} else {
		m.changes.Added = append(m.changes.Added, m.fresh...)
	}
}

// finish updates the modification sequence and records expunged messages.
func (m *merge) finish(s *State) {
	next := &m.next
	m.changes.Expunged = lost(m.old, next.Messages)
	if m.changed = m.changed || len(m.changes.Expunged) > 0; m.changed {
		next.ModSeq = m.at
		next.recordExpunged(m.changes.Expunged)
	}
	m.changes.Quiet = s.Known && len(m.plan.Pending) == 0 && !m.changed &&
		len(m.changes.Added) == 0 && len(m.changes.Flagged) == 0 &&
		next.Validity == s.Validity && next.Next == s.Next && next.GUID == s.GUID && slices.Equal(next.Keywords, s.Keywords)
	if m.changes.Quiet {
		next.Messages = s.Messages
	} else {
		next.uids = nil
	}
	next.Known = true
}

// lost returns the UIDs in old that are missing from msgs.
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

// Drop removes new messages whose files disappeared before they could be
// measured. They have never been visible.
func (s *State) Drop(c *Changes, gone []*Message) {
	if len(gone) == 0 {
		return
	}
	dropped := func(m *Message) bool { return slices.Contains(gone, m) }
	s.Messages = slices.DeleteFunc(slices.Clone(s.Messages), dropped)
	c.Added = slices.DeleteFunc(slices.Clone(c.Added), dropped)
	s.uids = nil
}

// ModSeqStep is the difference between ModSeq and a new bound in the uidlist.
const ModSeqStep = 1000

// wasteful reports whether too many lines of the uidlist belong to expunged
// messages, so that it should be rewritten.
func (s *State) wasteful(live int) bool {
	return s.Lines > 100 && s.Lines-live > s.Lines/4
}

// Wasteful reports whether the uidlist should be rewritten instead of appended
// to.
func (s *State) Wasteful() bool { return s.wasteful(len(s.Messages)) }

// List returns the uidlist with the lines of all messages, followed by more,
// the lines of messages about to be stored. Its bound leaves room for
// ModSeqStep changes.
func (s *State) List(more []maildir.Entry) *maildir.UIDList {
	list := remembered(s)
	list.ModSeq = s.Bound()
	list.Entries = append(list.Entries, more...)
	return list
}

// Lines returns the lines of messages in the uidlist.
func Lines(msgs []*Message) []maildir.Entry {
	entries := make([]maildir.Entry, len(msgs))
	for i, m := range msgs {
		entries[i] = entryOf(m)
	}
	return entries
}

// Bound returns the bound to be written to the uidlist's header.
func (s *State) Bound() uint64 { return max(s.Ceiling, s.ModSeq+ModSeqStep) }
