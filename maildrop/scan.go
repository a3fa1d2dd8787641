package maildrop

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"hoplite/maildrop/maildir"
)

// readDir adds the messages of one directory to r.
func (f *Folder) readDir(r *reading, dir *maildir.Dir, inNew bool) error {
	names, err := dir.Files()
	if err != nil {
		return err
	}
	if len(r.files) == 0 {
		r.files = make(map[string]found, len(names))
	}
	for _, file := range names {
		base := maildir.Base(file)
		// A line end would break the uidlist; a leading dot hides a file.
		if base == "" || file[0] == '.' || strings.ContainsAny(file, "\n\r") {
			continue
		}
		if other, twice := r.files[base]; twice {
			if err := f.untwin(r, base, other, found{file, inNew}); err != nil {
				return err
			}
			continue
		}
		r.files[base] = found{file, inNew}
	}
	return nil
}

// untwin handles two files with one base name: a rename that we saw half of,
// two links to one file, or two messages.
func (f *Folder) untwin(r *reading, base string, a, b found) error {
	if a.inNew && !b.inNew || f.knows(base, b) {
		a, b = b, a // the newcomer gives way
	}
	as, aerr := f.in(a).Stat(a.file)
	bs, berr := f.in(b).Stat(b.file)
	r.files[base] = a
	switch {
	case isNot(aerr):
		r.files[base] = b
		return nil
	case isNot(berr):
		return nil
	case aerr != nil || berr != nil:
		return errors.Join(aerr, berr)
	}
	if as.Ino == bs.Ino {
		// Only links that stood for a while are not a rename in progress.
		if time.Since(bs.CTime) > 30*time.Second && as.Links > 1 {
			return ignoreMissing(f.in(b).Remove(b.file))
		}
		return nil
	}
	_, info := maildir.Split(b.file)
	fresh := maildir.Unique()
	if size, wire := maildir.Sizes(base); size == bs.Size && wire >= 0 {
		fresh = maildir.WithSizes(fresh, size, wire)
	}
	err := f.in(b).Rename(b.file, f.in(b), fresh+info)
	if err == nil {
		r.files[fresh] = found{fresh + info, b.inNew}
	}
	return ignoreMissing(err)
}

// knows tells whether a file is the one that we know by that base name.
func (f *Folder) knows(base string, x found) bool {
	i, ok := f.state.find(f.state.names()[base])
	return ok && f.state.msgs[i].File == x.file && f.state.msgs[i].New == x.inNew
}

func (f *Folder) in(x found) *maildir.Dir {
	if x.inNew {
		return f.new
	}
	return f.cur
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dropRevived takes the lines out of the uidlist whose message was expunged,
// but whose file is there again: readers were told that its UID is gone, so it
// gets another one. Of two lines for one file the last counts. It returns the
// UIDs of the lines that are left, by base name.
func (f *Folder) dropRevived(r *reading) map[string]uint32 {
	st := &f.state
	last := make(map[string]uint32, len(r.list.Entries))
	for _, e := range r.list.Entries {
		last[e.Base] = e.UID
	}
	n := len(r.list.Entries)
	r.list.Entries = slices.DeleteFunc(r.list.Entries, func(e maildir.Entry) bool {
		if last[e.Base] != e.UID {
			return true
		}
		if _, there := r.files[e.Base]; !there || !st.loaded || r.list.Validity != st.validity || e.UID >= st.next {
			return false
		}
		if _, known := st.find(e.UID); known {
			return false
		}
		delete(last, e.Base)
		return true
	})
	r.damaged = r.damaged || len(r.list.Entries) < n
	return last
}

// match finds which files have no UID, and which messages no file.
func (f *Folder) match(r *reading) {
	if r.list != nil {
		listed := f.dropRevived(r)
		r.unknown = make([]string, 0, max(len(r.files)-len(listed), 0))
		for base := range r.files {
			if _, ok := listed[base]; !ok {
				r.unknown = append(r.unknown, base)
			}
		}
	} else {
		names := f.state.names()
		for base := range r.files {
			if _, ok := names[base]; !ok {
				r.unknown = append(r.unknown, base)
			}
		}
	}
	for _, m := range f.state.msgs {
		if !r.curRead && !m.New {
			continue
		}
		if _, ok := r.files[m.Base()]; !ok {
			r.missing = append(r.missing, m.UID)
		}
	}
}
