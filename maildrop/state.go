package maildrop

import (
	"fmt"
	"slices"
	"time"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// state is what a loaded folder knows; Folder.mu guards it.
type state struct {
	loaded   bool
	msgs     []*Message // ascending by UID; never changed in place below len
	uids     map[string]uint32
	keywords []string // by bit; the first 26 are dovecot-keywords
	validity uint32
	next     uint32
	guid     string
	other    []string // header keys of the uidlist that we don't know
	lines    int      // entries in the uidlist, dead ones included

	modseq    uint64
	ceiling   uint64 // the bound in the uidlist's header; modseq stays below
	ceilingAt int64  // where it stands in the file, or -1
	recent    uint32 // UIDs from here on were never shown as \Recent

	gone      []index.Gone // ascending by modseq
	goneFloor uint64       // gone is complete for changes after this

	stamp  stamp
	settle bool // a directory changed so lately that another change may hide

	log    *index.Log
	dating *dating // not over yet, or not seen to be; nil without

	noLog          bool       // there can be none now
	rewriting      bool       // the log is about to be written as a whole
	logged         []*Message // what the log says; nil when nothing of use
	loggedKeywords []string
}

// stamp is how the disk looked when it was last read.
type stamp = index.Stamp

// settleTime is how old a directory's mtime must be before its equality means
// that nothing changed: several changes can share one time stamp.
const settleTime = 2 * time.Second

// look reads the stamps. gone tells that the folder was deleted.
func (f *Folder) look() (s stamp, gone bool, err error) {
	cur, err := f.cur.StatSelf()
	if err != nil {
		return s, false, err
	}
	if cur.Links == 0 {
		return s, true, nil
	}
	fresh, err := f.new.StatSelf()
	if err != nil {
		return s, false, err
	}
	s.Cur, s.New = cur.MTime, fresh.MTime
	if s.List, err = f.fileStamp(maildir.UIDListFile); err == nil {
		s.Keywords, err = f.fileStamp(maildir.KeywordsFile)
	}
	return s, false, err
}

func (f *Folder) fileStamp(name string) (index.FileStamp, error) {
	st, err := f.dir.Stat(name)
	if isNot(err) {
		return index.FileStamp{}, nil
	}
	if err == nil && !st.Mode.IsRegular() {
		err = fmt.Errorf("%s in %s is not a regular file", name, f.dir.Path())
	}
	return index.FileStamp{Ino: st.Ino, Size: st.Size, MTime: st.MTime}, err
}

// young tells whether a directory of s changed within settleTime.
func young(s stamp) bool {
	return time.Since(s.New) < settleTime || time.Since(s.Cur) < settleTime
}

// snapshot makes a Snapshot of the state.
func (st *state) snapshot() *Snapshot {
	return &Snapshot{
		Validity: st.validity, Next: st.next, ModSeq: st.modseq, GUID: st.guid,
		Messages: st.msgs[:len(st.msgs):len(st.msgs)],
		Keywords: st.keywords[:len(st.keywords):len(st.keywords)],
	}
}

func (st *state) find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(st.msgs, uid, func(m *Message, u uint32) int {
		return int(int64(m.UID) - int64(u))
	})
}

// names returns the map from base name to UID, which is only built when a
// directory is read.
func (st *state) names() map[string]uint32 {
	if st.uids == nil {
		st.uids = make(map[string]uint32, len(st.msgs))
		for _, m := range st.msgs {
			st.uids[m.Base()] = m.UID
		}
	}
	return st.uids
}

// maxGone is how many expunges are remembered for Vanished.
const maxGone = 100_000

// forget notes that messages were expunged at the present modseq.
func (st *state) forget(uids []uint32) {
	for _, uid := range uids {
		st.gone = append(st.gone, index.Gone{UID: uid, ModSeq: st.modseq})
	}
	if over := len(st.gone) - maxGone; over > 0 {
		st.goneFloor = st.gone[over-1].ModSeq
		st.gone = slices.Clone(st.gone[over:])
	}
}

func (st *state) vanished(s *Snapshot, modseq uint64) []uint32 {
	var uids []uint32
	if modseq < st.goneFloor {
		want := uint32(1)
		for _, m := range s.Messages {
			for ; want < m.UID; want++ {
				uids = append(uids, want)
			}
			want = m.UID + 1
		}
		for ; want < s.Next; want++ {
			uids = append(uids, want)
		}
		return uids
	}
	for _, g := range st.gone {
		if g.ModSeq > modseq && g.ModSeq <= s.ModSeq {
			uids = append(uids, g.UID)
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}
