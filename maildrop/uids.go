package maildrop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// modSeqStep is how far ahead of the present modification sequence the bound
// in the uidlist's header is kept.
const modSeqStep = 1000

// writeList appends entries to the uidlist, or writes the list anew when it
// is damaged or mostly dead lines. The list is locked.
func (f *Folder) writeList(r *reading, entries []maildir.Entry) error {
	st := &f.state
	live := len(st.msgs) + len(entries)
	if r.list != nil {
		live = len(r.files)
	}
	dead := st.lines - live + len(entries)
	if r.damaged || st.lines > 100 && dead > st.lines/4 {
		return f.rewriteList(r, entries)
	}
	return f.appendList(entries)
}

// appendList adds lines to a good uidlist.
func (f *Folder) appendList(entries []maildir.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	var b []byte
	for _, e := range entries {
		b = maildir.AppendEntry(b, e)
	}
	w, err := f.dir.Append(maildir.UIDListFile, 0o600)
	if err != nil {
		return err
	}
	st, err := maildir.FileStat(w)
	if err == nil {
		if _, err = w.Write(b); err != nil {
			// Half a line would make the whole list suspect.
			err = errors.Join(err, w.Truncate(st.Size))
		}
	}
	if err == nil {
		// A UID that a reader saw must survive a power cut.
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("append to the uidlist: %w", err)
	}
	f.state.lines += len(entries)
	return nil
}

// rewriteList writes the uidlist with its live lines only.
func (f *Folder) rewriteList(r *reading, entries []maildir.Entry) error {
	st := &f.state
	before, err := f.fileStamp(maildir.UIDListFile)
	if err != nil {
		return err
	}
	st.ceiling = max(st.ceiling, st.modseq+modSeqStep)
	list := &maildir.UIDList{Validity: st.validity, Next: st.next, GUID: st.guid, ModSeq: st.ceiling, Other: st.other}
	for _, e := range f.entries(r, st.msgs) {
		if _, there := r.files[e.Base]; there || r.list == nil {
			list.Entries = append(list.Entries, e)
		}
	}
	list.Entries = append(list.Entries, entries...)
	text := list.Bytes()
	if err := f.dir.Replace(maildir.UIDListFile, text); err != nil {
		return err
	}
	st.lines = len(list.Entries)
	st.ceilingAt = maildir.ModSeqOffset(text)
	return f.grow(before)
}

// grow makes sure that a rewritten uidlist has a later mtime than before:
// Dovecot compares size and mtime.
func (f *Folder) grow(before index.FileStamp) error {
	now, err := f.fileStamp(maildir.UIDListFile)
	if err != nil || now.MTime.After(before.MTime) {
		return err
	}
	return f.dir.SetTimes(maildir.UIDListFile, before.MTime.Add(time.Second))
}

// raise keeps the bound in the uidlist's header above the modification
// sequence. It writes in place, so it costs the same in a list of any length.
// A failure only matters should the index be lost later.
func (f *Folder) raise() {
	st := &f.state
	if st.ceilingAt < 0 || st.modseq < st.ceiling {
		return
	}
	st.ceiling = st.modseq + modSeqStep
	w, err := f.dir.Write(maildir.UIDListFile)
	if err == nil {
		_, err = w.WriteAt([]byte(maildir.ModSeqText(st.ceiling)), st.ceilingAt)
		err = errors.Join(err, w.Close())
	}
	if err == nil {
		st.stamp.List, err = f.fileStamp(maildir.UIDListFile)
	}
	if err != nil {
		f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("modification sequence not saved in the uidlist")
	}
}

// lockList locks the uidlist for work that gives out UIDs.
func (f *Folder) lockList() (*maildir.Lock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	return f.dir.Acquire(ctx, maildir.UIDListFile)
}

// foreignModSeq is a bound of the modification sequences that Dovecot gave out
// in this folder, so that ours go on above them: the sequence that its log
// file began with, and the most changes that the file can hold.
func (f *Folder) foreignModSeq() uint64 {
	const name, head = "dovecot.index.log", 40
	r, err := f.dir.Open(name)
	if err != nil {
		return 0
	}
	defer r.Close()
	st, err := maildir.FileStat(r)
	b := make([]byte, head)
	if _, rerr := r.ReadAt(b, 0); err != nil || rerr != nil || b[0] != 1 || st.Size > 1<<30 {
		return 0
	}
	// struct mail_transaction_log_header: initial_modseq at 24; the smallest
	// record takes 12 octets.
	initial := binary.LittleEndian.Uint64(b[24:])
	if initial > 1<<48 {
		return 0
	}
	return initial + uint64(st.Size-head)/12
}
