// Package reconcile compares a folder's known state with its current contents.
// It determines the UIDs of new messages, changed flags, expunged messages, and
// what must be written.
//
// The package is pure: it does not access the disk, locks or the clock. Package
// maildrop reads the directories and the uidlist, calls Reconcile, carries out
// the Plan and publishes the new State. Start with Reconcile.
package reconcile

import (
	"math"
	"slices"
	"strings"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// Message is one message in a folder.
type Message = index.Message

// State is the known state of a folder. The zero State means that nothing is
// known. A new State shares memory with its predecessor, which must not be
// modified afterwards.
type State struct {
	// Known is set once the folder has been read or loaded from the index.
	Known bool
	// Messages is in ascending order of UID. Snapshots share the slice, so
	// elements may be appended but must be replaced only in a copy.
	Messages []*Message
	// Keywords holds the keyword names by bit of Message.Keywords. The first 26
	// have letters in dovecot-keywords; the others are recorded only in the
	// index.
	Keywords []string

	Validity, Next uint32
	GUID           string
	Other          []string // unknown keys in the uidlist's header
	Lines          int      // uidlist lines, with those of expunged messages

	ModSeq uint64
	// Ceiling is the bound in the uidlist's header. ModSeq must stay below it.
	Ceiling uint64
	// Recent is the first UID that has never been shown as \Recent.
	Recent uint32

	Gone      []index.Gone // expunged messages, in ascending order of ModSeq
	GoneFloor uint64       // Gone is complete for later changes

	uids map[string]uint32 // UIDs by base name; see names
}

// Find returns the index of the message with the given UID.
func (s *State) Find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(s.Messages, uid, func(m *Message, u uint32) int {
		return int(int64(m.UID) - int64(u))
	})
}

// names returns a map from base names to UIDs, building it on first use.
func (s *State) names() map[string]uint32 {
	if s.uids == nil {
		s.uids = make(map[string]uint32, len(s.Messages))
		for _, m := range s.Messages {
			s.uids[m.Base()] = m.UID
		}
	}
	return s.uids
}

// Named returns the message with the given base name, or nil.
func (s *State) Named(base string) *Message {
	uid, ok := s.names()[base]
	if !ok {
		return nil
	}
	i, _ := s.Find(uid)
	return s.Messages[i]
}

// Has reports whether f is the current file of a known message.
func (s *State) Has(f File) bool {
	m := s.Named(maildir.Base(f.Name))
	return m != nil && m.File == f.Name && m.New == f.New
}

// Changes holds the messages that differ between two states of a folder.
type Changes struct {
	Added    []*Message // new, or with other sizes or another name
	Flagged  []*Message // only flags, keywords or the file name changed
	Expunged []uint32
	// Quiet is set if the states have no visible differences.
	Quiet bool
}

// Assign assigns UIDs and modification sequences to messages that are about to
// be stored, and returns their lines for the uidlist. The UIDs are used up even
// if the messages are not added afterwards.
func (s *State) Assign(msgs []*Message) ([]maildir.Entry, error) {
	if uint64(len(msgs)) >= math.MaxUint32-uint64(s.Next) {
		return nil, ErrFull
	}
	for i, m := range msgs {
		m.UID, m.ModSeq = s.Next+uint32(i), s.ModSeq+1
	}
	s.Next += uint32(len(msgs))
	return Lines(msgs), nil
}

// Add adds messages that were assigned UIDs by Assign.
func (s *State) Add(msgs []*Message) Changes {
	s.ModSeq++
	s.Messages = append(s.Messages, msgs...)
	if s.uids != nil {
		for _, m := range msgs {
			s.uids[m.Base()] = m.UID
		}
	}
	return Changes{Added: msgs}
}

// SetFlags replaces messages with copies that have other flags. The copies are
// assigned the next modification sequence.
func (s *State) SetFlags(changed []*Message) Changes {
	s.ModSeq++
	s.Messages = slices.Clone(s.Messages)
	for _, m := range changed {
		if i, ok := s.Find(m.UID); ok {
			m.ModSeq = s.ModSeq
			s.Messages[i] = m
		}
	}
	return Changes{Flagged: changed}
}

// Describe replaces the i-th message with a copy that has other sizes or
// another file name. The modification sequence does not change, because the
// difference is invisible to clients.
func (s *State) Describe(i int, m *Message) Changes {
	if m.Base() != s.Messages[i].Base() {
		s.uids = nil
	}
	s.Messages = slices.Clone(s.Messages)
	s.Messages[i] = m
	return Changes{Added: []*Message{m}}
}

// Expunge removes messages.
func (s *State) Expunge(uids []uint32) Changes {
	uids = slices.Sorted(slices.Values(uids))
	keep := make([]*Message, 0, len(s.Messages))
	for _, m := range s.Messages {
		if _, gone := slices.BinarySearch(uids, m.UID); gone {
			delete(s.uids, m.Base())
			continue
		}
		keep = append(keep, m)
	}
	s.Messages = keep
	s.ModSeq++
	s.recordExpunged(uids)
	return Changes{Expunged: uids}
}

// maxGone is the maximum number of expunged messages recorded for Vanished.
const maxGone = 100_000

// recordExpunged records that messages were expunged at the current ModSeq.
func (s *State) recordExpunged(uids []uint32) {
	if len(uids) == 0 {
		return
	}
	for _, uid := range uids {
		s.Gone = append(s.Gone, index.Gone{UID: uid, ModSeq: s.ModSeq})
	}
	if over := len(s.Gone) - maxGone; over > 0 {
		s.GoneFloor = s.Gone[over-1].ModSeq
		s.Gone = slices.Clone(s.Gone[over:])
	}
}

// Vanished returns the UIDs that were expunged after modseq, up to and
// including upTo, in ascending order. If the record does not reach back that
// far, it returns every UID below next that is not in shown.
func (s *State) Vanished(shown []*Message, next uint32, modseq, upTo uint64) []uint32 {
	var uids []uint32
	if modseq < s.GoneFloor {
		want := uint32(1)
		for _, m := range shown {
			for ; want < m.UID; want++ {
				uids = append(uids, want)
			}
			want = m.UID + 1
		}
		for ; want < next; want++ {
			uids = append(uids, want)
		}
		return uids
	}
	for _, g := range s.Gone {
		if g.ModSeq > modseq && g.ModSeq <= upTo {
			uids = append(uids, g.UID)
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}

// Keyword returns a keyword's bit. The name is case-insensitive.
func (s *State) Keyword(name string) (bit int, ok bool) {
	bit = slices.IndexFunc(s.Keywords, func(k string) bool { return strings.EqualFold(k, name) })
	return bit, bit >= 0
}

// MaxKeywords is the maximum number of different keywords in a folder.
const MaxKeywords = 64

// NewKeyword returns the keywords with name added, and the keyword's bit, which
// has a letter if one is free. ok is false if the folder already has
// MaxKeywords keywords.
func (s *State) NewKeyword(name string) (names []string, bit int, ok bool) {
	names = slices.Clone(s.Keywords)
	if bit = slices.Index(names, ""); bit < 0 {
		if bit = len(names); bit >= MaxKeywords {
			return nil, 0, false
		}
		names = append(names, "")
	}
	names[bit] = name
	return names, bit, true
}

// mergeKeywords returns the keywords after dovecot-keywords has changed to
// letters. It preserves keywords without a letter.
func (s *State) mergeKeywords(letters *maildir.Keywords) []string {
	names := make([]string, max(len(s.Keywords), maildir.MaxLetters))
	copy(names, letters[:])
	if len(s.Keywords) > maildir.MaxLetters {
		copy(names[maildir.MaxLetters:], s.Keywords[maildir.MaxLetters:])
	}
	return names
}

// SetLetters adopts the contents of dovecot-keywords.
func (s *State) SetLetters(letters *maildir.Keywords) { s.Keywords = s.mergeKeywords(letters) }
