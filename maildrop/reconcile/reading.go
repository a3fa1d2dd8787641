package reconcile

import (
	"errors"
	"slices"
	"strings"
	"time"

	"hoplite/maildrop/maildir"
)

// File is one file of cur or new.
type File struct {
	Name string
	New  bool
}

// Reading is what a folder held when it was read.
type Reading struct {
	// List is the uidlist, nil if it is unchanged.
	List *maildir.UIDList
	// Damaged is set when the uidlist is missing or has to be written again.
	Damaged bool
	// Letters are the contents of dovecot-keywords, nil if unchanged.
	Letters *maildir.Keywords
	// Files are the messages by base name: those of new, and those of cur if
	// CurRead is set.
	Files   map[string]File
	CurRead bool
	// Locked is set when the uidlist was locked while the folder was read.
	// Only then are UIDs given out, and messages without a file taken for gone.
	Locked bool
	// KeepNew leaves files without a UID alone: the disk is full, and their
	// UIDs cannot be written down.
	KeepNew bool
	// ForeignModSeq is a bound of the modification sequences that another
	// server used in this folder. It counts when UIDVALIDITY is new to us.
	ForeignModSeq uint64
}

// NewReading returns an empty Reading with room for n files.
func NewReading(n int) *Reading { return &Reading{Files: make(map[string]File, n)} }

// Add adds a file. If there is another one with its base name already, Add
// returns that and leaves it to Twin which of them counts.
func (r *Reading) Add(f File) (twin File, twice bool) {
	base := maildir.Base(f.Name)
	// A line end would break the uidlist; a leading dot hides a file.
	if base == "" || f.Name[0] == '.' || strings.ContainsAny(f.Name, "\n\r") {
		return File{}, false
	}
	if twin, twice = r.Files[base]; !twice {
		r.Files[base] = f
	}
	return twin, twice
}

// MovedBack reports whether new has a file that is known from cur: moved
// there, or a second one of that name. Then cur has to be read as well.
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

// SetList takes over the text of the uidlist, or of Courier's if courier is
// set. It mends a damaged list with what is known.
func (r *Reading) SetList(s *State, text string, courier bool) error {
	list, err := maildir.ParseUIDList(text)
	if err != nil && !errors.Is(err, maildir.ErrUIDList) {
		return err
	}
	if err != nil {
		list = mended(s, list)
	}
	r.List = list
	r.Damaged = r.Damaged || err != nil || courier || list.GUID == "" || list.ModSeq == 0
	return err
}

// NoList takes over that there is no uidlist: the list as it is remembered, so
// that readers keep their UIDs. It is empty if nothing is remembered.
func (r *Reading) NoList(s *State) {
	r.List, r.Damaged = remembered(s), true
}

// remembered returns the uidlist as s knows it.
func remembered(s *State) *maildir.UIDList {
	list := &maildir.UIDList{Validity: s.Validity, Next: max(s.Next, 1), GUID: s.GUID, ModSeq: s.Ceiling, Other: s.Other}
	for _, m := range s.Messages {
		list.Entries = append(list.Entries, entryOf(m))
	}
	return list
}

func entryOf(m *Message) maildir.Entry {
	return maildir.Entry{UID: m.UID, Ext: m.Ext, Base: m.Base()}
}

// mended returns a damaged list completed with what s knows. If s knows
// nothing, the part before the damage stands, and the other messages get new
// UIDs.
func mended(s *State, list *maildir.UIDList) *maildir.UIDList {
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

// CourierUIDLs adds the names that Courier gave to messages on POP3.
func (r *Reading) CourierUIDLs(names map[string]string) {
	for i, e := range r.List.Entries {
		if name := names[e.Base]; name != "" && e.Key('P') == "" && !strings.ContainsAny(name, " \t") {
			r.List.Entries[i].Ext = strings.TrimSpace(e.Ext + " P" + name)
		}
	}
}

// Absent returns the base names of messages whose files the reading lacks:
// known ones, and those of lines that are new in the uidlist. A directory that
// others rename files in may be read without some of them, so the files have
// to be looked for again before the messages are taken for gone.
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

// Verdict is what has to be done about two files with one base name.
type Verdict uint8

// The verdicts. The second file is the one that Twin returned as other.
const (
	Leave   Verdict = iota // nothing: a rename in progress
	Unlink                 // the other is a second link to the same message
	NewName                // the other is another message: it needs a name of its own
)

// linkAge is how old a second link must be before it is not a rename in
// progress.
const linkAge = 30 * time.Second

// Twin decides about two files with one base name. known says which of them s
// knows; as and bs are their states, nil if the file is gone. keep is the one
// that has the base name from now on.
func Twin(s *State, a, b File, as, bs *maildir.Stat, now time.Time) (keep, other File, v Verdict) {
	if a.New && !b.New || s.Has(b) {
		a, b, as, bs = b, a, bs, as // the newcomer gives way
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
