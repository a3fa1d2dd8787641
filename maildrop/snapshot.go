package maildrop

import (
	"sort"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// Message is one message of a Snapshot. It never changes.
type Message = index.Message

// Flags are the system flags of a message.
type Flags = maildir.Flags

// The system flags.
const (
	Seen     = maildir.Seen
	Answered = maildir.Answered
	Flagged  = maildir.Flagged
	Deleted  = maildir.Deleted
	Draft    = maildir.Draft
)

// MaxKeywords is the maximum number of different keywords in a folder.
const MaxKeywords = reconcile.MaxKeywords

// Snapshot is the state of a folder at one point in time. It never changes, so
// it can be read at any time without a lock.
type Snapshot struct {
	Validity uint32 // UIDVALIDITY; if it changes, older snapshots are invalid
	Next     uint32 // UIDNEXT
	// ModSeq is HIGHESTMODSEQ (RFC 7162).
	ModSeq uint64
	// GUID identifies the folder permanently, even after a rename (MAILBOXID,
	// RFC 8474).
	GUID     string
	Messages []*Message // ascending by UID
	// Keywords holds the folder's keywords by bit of Message.Keywords, with ""
	// for unused bits.
	Keywords []string
	// Gone is set once the folder has been deleted.
	Gone bool
}

// snapshotOf returns a Snapshot of the state.
func snapshotOf(k *reconcile.State) *Snapshot {
	return &Snapshot{
		Validity: k.Validity, Next: k.Next, ModSeq: k.ModSeq, GUID: k.GUID,
		Messages: k.Messages[:len(k.Messages):len(k.Messages)],
		Keywords: k.Keywords[:len(k.Keywords):len(k.Keywords)],
	}
}

// Find returns the index of the message with the given UID.
func (s *Snapshot) Find(uid uint32) (int, bool) {
	i := s.From(uid)
	return i, i < len(s.Messages) && s.Messages[i].UID == uid
}

// From returns the index of the first message whose UID is at least uid.
func (s *Snapshot) From(uid uint32) int {
	// Most folders have few gaps.
	return sort.Search(len(s.Messages), func(i int) bool { return s.Messages[i].UID >= uid })
}

// KeywordNames returns the names of m's keywords.
func (s *Snapshot) KeywordNames(m *Message) []string {
	if m.Keywords == 0 {
		return nil
	}
	var names []string
	for bit, name := range s.Keywords {
		if m.Keywords&(1<<bit) != 0 && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Counts holds the counters used by STATUS and STAT.
type Counts struct {
	Messages, Unseen, Deleted int
	// Size is the total CRLF size of all messages in octets, and DeletedSize
	// that of messages marked \Deleted.
	Size, DeletedSize int64
	// FirstUnseen is the index of the first message without \Seen, or -1.
	FirstUnseen int
}

// Counts returns counters for the snapshot's messages.
func (s *Snapshot) Counts() Counts {
	c := Counts{Messages: len(s.Messages), FirstUnseen: -1}
	for i, m := range s.Messages {
		c.Size += m.Wire
		if m.Flags&Seen == 0 {
			if c.Unseen++; c.FirstUnseen < 0 {
				c.FirstUnseen = i
			}
		}
		if m.Flags&Deleted != 0 {
			c.Deleted++
			c.DeletedSize += m.Wire
		}
	}
	return c
}

// Changes holds the differences between two snapshots of a folder.
type Changes struct {
	Expunged []uint32   // UIDs, ascending
	Flagged  []*Message // flags or keywords changed
	Added    []*Message
}

// Since returns the changes from old to s. Both must be snapshots of the same
// folder with the same Validity.
func (s *Snapshot) Since(old *Snapshot) Changes {
	var c Changes
	a, b := old.Messages, s.Messages
	// Snapshots share messages and often the array as well.
	if len(a) > 0 && len(b) >= len(a) && &a[0] == &b[0] {
		c.Added = b[len(a):]
		return c
	}
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case a[0].UID == b[0].UID:
			if a[0].Flags != b[0].Flags || a[0].Keywords != b[0].Keywords {
				c.Flagged = append(c.Flagged, b[0])
			}
			a, b = a[1:], b[1:]
		case a[0].UID < b[0].UID:
			c.Expunged = append(c.Expunged, a[0].UID)
			a = a[1:]
		default:
			// A UID below old.Next that is not in old occurs only after the
			// uidlist was damaged. For readers of old, the message is new.
			c.Added = append(c.Added, b[0])
			b = b[1:]
		}
	}
	for _, m := range a {
		c.Expunged = append(c.Expunged, m.UID)
	}
	c.Added = append(c.Added, b...)
	return c
}
