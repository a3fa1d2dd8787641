package maildrop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// lockWait is how long we wait for another program's uidlist lock.
const lockWait = 20 * time.Second

// sync takes over what changed on disk. f.mu is held.
func (f *Folder) sync() error {
	st := &f.state
	if f.dated(); f.deleted.Load() {
		return ErrGone
	}
	now, gone, err := f.look()
	if err != nil {
		return fmt.Errorf("look at folder %s: %w", f.dir.Path(), err)
	}
	if gone {
		f.vanish()
		return ErrGone
	}
	if !st.loaded {
		f.load()
	}
	arrived := f.fresh.Swap(false)
	same := st.loaded && now.Equal(st.stamp)
	all := false
	switch {
	case arrived || !same:
	case !st.settle:
		return nil
	case time.Since(now.Cur) > settleTime && time.Since(now.New) > settleTime:
		all = true
	case time.Since(now.New) > settleTime:
		return nil // looked at again once it had time to settle
	}
	if err := f.rescan(now, all); err != nil {
		return fmt.Errorf("read folder %s: %w", f.dir.Path(), err)
	}
	return nil
}

// vanish marks the folder as deleted.
func (f *Folder) vanish() {
	f.deleted.Store(true)
	if s := f.snap.Load(); s != nil {
		gone := *s
		gone.Gone = true
		f.snap.Store(&gone)
	}
	f.watchers.wake()
}

// found is one file of cur or new.
type found struct {
	file  string
	inNew bool
}

// reading is one look at everything that makes up a folder.
type reading struct {
	stamp   stamp
	list    *maildir.UIDList // nil when it is as it was
	damaged bool             // the list can't be trusted or is missing
	files   map[string]found // by base name
	curRead bool             // cur was read; otherwise files holds only new
	missing []uint32
	unknown []string // base names without a UID
}

// rescan reads what changed, without a lock when all files are known and
// there, else once more with the uidlist locked: a file that another program
// renames meanwhile can be missing from one reading of a directory.
func (f *Folder) rescan(now stamp, all bool) error {
	// A folder that nobody served yet has nothing but unknown files.
	if !f.state.loaded && now.List == (index.FileStamp{}) {
		return f.rescanLocked(true)
	}
	r, err := f.read(now, all)
	if err != nil {
		return err
	}
	if len(r.missing) == 0 && len(r.unknown) == 0 && !r.damaged {
		return f.adopt(r, nil)
	}
	// With only new mail, cur need not be read again.
	return f.rescanLocked(len(r.missing) > 0 || all || r.list != nil)
}

// rescanLocked reads what changed and gives UIDs to new files.
func (f *Folder) rescanLocked(all bool) error {
	lock, err := f.lockList()
	if err != nil {
		return err
	}
	defer lock.Release()
	now, _, err := f.look()
	if err != nil {
		return err
	}
	r, err := f.read(now, all)
	if err != nil {
		return err
	}
	if err := f.lookAgain(r); err != nil {
		return err
	}
	return f.adopt(r, lock)
}

// lookAgain looks a few more times for the files of missing messages. Programs
// that rename files without the lock make a reading of a directory miss some,
// and a message that was expunged by mistake would come back with another UID.
func (f *Folder) lookAgain(r *reading) error {
	for range 3 {
		if len(r.missing) == 0 {
			return nil
		}
		again := reading{files: map[string]found{}}
		for _, inNew := range []bool{true, false} {
			names, err := f.in(found{inNew: inNew}).Files()
			if err != nil {
				return err
			}
			for _, file := range names {
				again.files[maildir.Base(file)] = found{file, inNew}
			}
		}
		r.missing = slices.DeleteFunc(r.missing, func(uid uint32) bool {
			i, ok := f.state.find(uid)
			if !ok {
				return true
			}
			base := f.state.msgs[i].Base()
			file, there := again.files[base]
			if there {
				r.files[base] = file
			}
			return there
		})
	}
	return nil
}

// read reads uidlist, keywords and directories as far as they changed, or
// everything.
func (f *Folder) read(now stamp, all bool) (*reading, error) {
	st := &f.state
	r := &reading{stamp: now}
	all = all || !st.loaded
	if all || !now.List.Equal(st.stamp.List) {
		if err := f.readList(r); err != nil {
			return nil, err
		}
		all = true
	}
	if all || !now.Keywords.Equal(st.stamp.Keywords) {
		if err := f.readKeywords(); err != nil {
			return nil, err
		}
		all = true // letters may mean other keywords now
	}
	r.curRead = all || !now.Cur.Equal(st.stamp.Cur)
	r.files = map[string]found{}
	if err := f.readDir(r, f.new, true); err != nil {
		return nil, err
	}
	if !r.curRead && f.movedBack(r) {
		r.curRead = true
	}
	if r.curRead {
		if err := f.readDir(r, f.cur, false); err != nil {
			return nil, err
		}
	}
	f.match(r)
	return r, nil
}

// movedBack tells whether new has a file that we know from cur: moved there,
// or a second one of that name.
func (f *Folder) movedBack(r *reading) bool {
	if len(r.files) == 0 {
		return false
	}
	names := f.state.names()
	for base := range r.files {
		if uid, ok := names[base]; ok {
			if i, ok := f.state.find(uid); ok && !f.state.msgs[i].New {
				return true
			}
		}
	}
	return false
}

// readList reads the uidlist, or Courier's if there is no other.
func (f *Folder) readList(r *reading) error {
	text, err := f.dir.ReadFile(maildir.UIDListFile, maildir.MaxUIDList)
	courier := false
	if isNot(err) {
		r.damaged = true
		text, err = f.dir.ReadFile(maildir.CourierUIDListFile, maildir.MaxUIDList)
		courier = err == nil
	}
	if isNot(err) {
		r.list = f.rebuiltList()
		return nil
	}
	if err != nil {
		return err
	}
	list, err := maildir.ParseUIDList(string(text))
	if errors.Is(err, maildir.ErrUIDList) {
		f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("uidlist is damaged and will be mended")
		r.damaged = true
		list = f.mergedList(list)
	}
	r.list = list
	r.damaged = r.damaged || list.GUID == "" || list.ModSeq == 0
	f.state.ceilingAt = maildir.ModSeqOffset(text)
	if courier {
		f.state.ceilingAt = -1
		f.courierUIDLs(list)
	}
	return nil
}

// courierUIDLs takes over what Courier called the messages on POP3.
func (f *Folder) courierUIDLs(list *maildir.UIDList) {
	text, err := f.dir.ReadFile(maildir.CourierSizesFile, maildir.MaxUIDList)
	if err != nil {
		return
	}
	names := maildir.ParseCourierSizes(string(text))
	for i, e := range list.Entries {
		if name := names[e.Base]; name != "" && e.Key('P') == "" && !strings.ContainsAny(name, " \t") {
			list.Entries[i].Ext = strings.TrimSpace(e.Ext + " P" + name)
		}
	}
}

// rebuiltList is the uidlist as we remember it, for when the file is gone:
// readers keep their UIDs. It is empty when we remember nothing.
func (f *Folder) rebuiltList() *maildir.UIDList {
	st := &f.state
	list := &maildir.UIDList{Validity: st.validity, Next: max(st.next, 1), GUID: st.guid, ModSeq: st.ceiling, Other: st.other}
	for _, m := range st.msgs {
		list.Entries = append(list.Entries, maildir.Entry{UID: m.UID, Ext: m.Ext, Base: m.Base()})
	}
	return list
}

// mergedList mends a damaged list with what we remember. Without that, the
// good part of it stands, and what followed gets new UIDs.
func (f *Folder) mergedList(list *maildir.UIDList) *maildir.UIDList {
	if f.state.validity != 0 && (list.Validity == 0 || list.Validity == f.state.validity) {
		ours := f.rebuiltList()
		ours.Next = max(ours.Next, list.Next)
		for _, e := range list.Entries {
			if _, known := ours.Find(e.UID); !known && e.UID > lastUID(ours) {
				ours.Entries = append(ours.Entries, e)
			}
		}
		return ours
	}
	// UIDs behind the damage may have been shown to readers.
	list.Next += 1000
	return list
}

func lastUID(l *maildir.UIDList) uint32 {
	if n := len(l.Entries); n > 0 {
		return l.Entries[n-1].UID
	}
	return 0
}

// readKeywords reads dovecot-keywords and keeps our own keywords beyond it.
func (f *Folder) readKeywords() error {
	text, err := f.dir.ReadFile(maildir.KeywordsFile, 64<<10)
	if err != nil && !isNot(err) {
		return err
	}
	letters := maildir.ParseKeywords(string(text))
	names := make([]string, max(len(f.state.keywords), maildir.MaxLetters))
	copy(names, letters[:])
	if len(f.state.keywords) > maildir.MaxLetters {
		copy(names[maildir.MaxLetters:], f.state.keywords[maildir.MaxLetters:])
	}
	f.state.keywords = names
	return nil
}
