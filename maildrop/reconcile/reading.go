package reconcile

import (
	"errors"
	"slices"
	"strings"
	"time"

	"hoplite/maildrop/maildir"
)

// File is a file in cur or new.
type File struct {
	Name string
	New  bool
}

// Reading is the contents of a folder as read from disk.
type Reading struct {
	// List is the uidlist, or nil if it is unchanged.
	List *maildir.UIDList
	// Damaged is set if the uidlist is missing or must be rewritten.
	Damaged bool
	// Letters is the contents of dovecot-keywords, or nil if it is unchanged.
	Letters *maildir.Keywords
	// Files holds the messages by base name: those in new and, if CurRead is
	// set, those in cur.
	Files   map[string]File
	CurRead bool
	// Locked is set if the uidlist was locked while the folder was read. Only
	// then are UIDs assigned and messages without a file treated as expunged.
	Locked bool
	// KeepNew is set if the disk is full. Files without a UID are then ignored,
	// because their UIDs could not be recorded.
	KeepNew bool
	// ForeignModSeq is an upper bound for the modification sequences that
	// another server used in this folder. It applies if the UIDVALIDITY is new.
	ForeignModSeq uint64
}

// NewReading returns an empty Reading with room for n files.
func NewReading(n int) *Reading { return &Reading{Files: make(map[string]File, n)} }

// Add adds a file. If the base name is already in use, it returns the other
// file, and the caller must call Twin.
func (r *Reading) Add(f File) (twin File, twice bool) {
	base := maildir.Base(f.Name)
	// A line ending would corrupt the uidlist. A leading dot hides a file.
	if base == "" || f.Name[0] == '.' || strings.ContainsAny(f.Name, "\n\r") {
		return File{}, false
	}
	if twin, twice = r.Files[base]; !twice {
		r.Files[base] = f
	}
	return twin, twice
}

// Rename records that f now has the given file name, or that f no longer exists
// if the name is empty.
func (r *Reading) Rename(f File, name string) {
	delete(r.Files, maildir.Base(f.Name))
	if name != "" {
		r.Files[maildir.Base(name)] = File{Name: name, New: f.New}
	}
}

// MovedBack reports whether new contains a file that is known from cur: either
// the file was moved there, or a second file has the same base name. In both
// cases cur must be read as well.
func (r *Reading) MovedBack(s *State) bool {
	if len(r.Files) == 0 {
		return false
	}
	for base := range r.Files {
		if m := s.Named(base); m != nil && !m.New {
			return true
		}
	}
	return false
}

// SetList parses the uidlist's text, or that of Courier's list if courier is
// set. It uses s to repair a damaged list.
func (r *Reading) SetList(s *State, text string, courier bool) error {
	list, err := maildir.ParseUIDList(text)
	if err != nil && !errors.Is(err, maildir.ErrUIDList) {
		return err
	}
	if err != nil {
		list = repaired(s, list)
	}
	r.List = list
	r.Damaged = r.Damaged || err != nil || courier || list.GUID == "" || list.ModSeq == 0
	return err
}

// NoList handles a missing uidlist. The known list, which may be empty, takes
// its place, so that UIDs do not change.
func (r *Reading) NoList(s *State) {
	r.List, r.Damaged = remembered(s), true
}

// remembered returns the uidlist as recorded in s.
func remembered(s *State) *maildir.UIDList {
	list := &maildir.UIDList{Validity: s.Validity, Next: max(s.Next, 1), GUID: s.GUID, ModSeq: s.Ceiling, Other: s.Other}
	list.Entries = Lines(s.Messages)
	return list
}

func entryOf(m *Message) maildir.Entry {
	return maildir.Entry{UID: m.UID, Ext: m.Ext, Base: m.Base()}
}

// repaired returns a damaged list completed from s. If s contains nothing, only
// the part before the damage is kept, and the other messages are assigned new
// UIDs.
func repaired(s *State, list *maildir.UIDList) *maildir.UIDList {
	if s.Validity == 0 || list.Validity != 0 && list.Validity != s.Validity {
		// UIDs after the damage may have been shown to readers.
		list.Next += 1000
		return list
	}
	ours := remembered(s)
	ours.Next = max(ours.Next, list.Next)
	for _, e := range list.Entries {
		if n := len(ours.Entries); n == 0 || e.UID > ours.Entries[n-1].UID {
			ours.Entries = append(ours.Entries, e)
		}
	}
	return ours
}

// CourierUIDLs adds the UIDLs assigned by Courier.
func (r *Reading) CourierUIDLs(names map[string]string) {
	for i, e := range r.List.Entries {
		if name := names[e.Base]; name != "" && e.Key('P') == "" && !strings.ContainsAny(name, " \t") {
			r.List.Entries[i].Ext = strings.TrimSpace(e.Ext + " P" + name)
		}
	}
}

// Absent returns the base names of messages whose files are missing from the
// reading: known messages and those on new lines of the uidlist. Reading a
// directory can miss files that other programs rename, so the caller must
// search for the files again before treating the messages as expunged.
func (r *Reading) Absent(s *State) []string {
	var bases []string
	same := r.List == nil || r.List.Validity == s.Validity
	if same {
		for _, m := range s.Messages {
			if base := m.Base(); (r.CurRead || m.New) && !r.has(base) {
				bases = append(bases, base)
			}
		}
	}
	if r.List == nil {
		return bases
	}
	fresh := r.List.Entries
	if same {
		i, _ := slices.BinarySearchFunc(fresh, s.Next, func(e maildir.Entry, u uint32) int { return int(int64(e.UID) - int64(u)) })
		fresh = fresh[i:]
	}
	for _, e := range fresh {
		if !r.has(e.Base) {
			bases = append(bases, e.Base)
		}
	}
	return bases
}

func (r *Reading) has(base string) bool {
	_, ok := r.Files[base]
	return ok
}

// Verdict determines how to handle two files with the same base name.
type Verdict uint8

// The verdicts. The other file is the second one that Twin returns.
const (
	Leave   Verdict = iota // do nothing: a rename is in progress
	Unlink                 // remove the other: a link to the same message
	NewName                // rename the other: it is a different message
)

// linkAge is the age at which a second link is no longer considered a rename in
// progress.
const linkAge = 30 * time.Second

// Twin decides how to handle two files with the same base name. as and bs are
// their states, or nil for a file that no longer exists. keep is the file that
// has the base name from now on.
func Twin(s *State, a, b File, as, bs *maildir.Stat, now time.Time) (keep, other File, v Verdict) {
	if a.New && !b.New || s.Has(b) {
		a, b, as, bs = b, a, bs, as // the newer file is the other one
	}
	switch {
	case as == nil:
		return b, a, Leave
	case bs == nil:
		return a, b, Leave
	case as.Ino != bs.Ino:
		return a, b, NewName
	case as.Links > 1 && now.Sub(bs.CTime) > linkAge:
		return a, b, Unlink
	}
	return a, b, Leave
}
