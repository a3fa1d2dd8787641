package maildrop

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// lockedList is a folder's uidlist while its lock is held. Everything that
// writes to the list, or to the keywords that its lock covers, is a method of
// it, and so is taking stamps of what was written: without the lock, another
// program's lines could be written between our own and the stamp, and would
// count as read.
type lockedList struct {
	dir  *maildir.Dir
	lock *maildir.Lock
	mu   sync.Mutex // for touch
}

// lockWait is how long work that needs the uidlist's lock waits for another
// program that has it.
const lockWait = 20 * time.Second

// release gives the lock back.
func (l *lockedList) release() { l.lock.Release() }

// stamp returns the stamp of the list as it is now.
func (l *lockedList) stamp() (index.FileStamp, error) {
	return fileStamp(l.dir, maildir.UIDListFile)
}

// restamp sets the stamps of the list and the keywords in s to what they are
// now.
func (l *lockedList) restamp(s *stamp) (err error) {
	if s.List, err = l.stamp(); err == nil {
		s.Keywords, err = fileStamp(l.dir, maildir.KeywordsFile)
	}
	return err
}

// append adds lines to a good list.
func (l *lockedList) append(entries []maildir.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	var b []byte
	for _, e := range entries {
		b = maildir.AppendEntry(b, e)
	}
	w, err := l.dir.Append(maildir.UIDListFile, 0o600)
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
	return nil
}

// rewrite replaces the list.
func (l *lockedList) rewrite(list *maildir.UIDList) error {
	return l.replace(maildir.UIDListFile, list.Bytes())
}

// writeKeywords replaces dovecot-keywords.
func (l *lockedList) writeKeywords(k maildir.Keywords) error {
	return l.replace(maildir.KeywordsFile, k.Bytes())
}

// replace replaces a file and makes sure that the new one has a later mtime:
// Dovecot compares size and mtime.
func (l *lockedList) replace(name string, text []byte) error {
	before, err := fileStamp(l.dir, name)
	if err != nil {
		return err
	}
	if err := l.dir.Replace(name, text); err != nil {
		return err
	}
	now, err := fileStamp(l.dir, name)
	if err != nil || now.MTime.After(before.MTime) {
		return err
	}
	return l.dir.SetTimes(name, before.MTime.Add(time.Second))
}

// errNoBound is the answer of raise for a list whose header has no bound of
// the width that ours has.
var errNoBound = errors.New("uidlist has no modification sequence")

// raise writes another bound for modification sequences into the list's
// header. It writes in place, so it costs the same in a list of any length.
func (l *lockedList) raise(bound uint64) error {
	head, err := readHead(l.dir)
	if err != nil {
		return err
	}
	at := maildir.ModSeqOffset([]byte(head))
	if at < 0 {
		return errNoBound
	}
	w, err := l.dir.Write(maildir.UIDListFile)
	if err != nil {
		return err
	}
	_, err = w.WriteAt([]byte(maildir.ModSeqText(bound)), at)
	return errors.Join(err, w.Close())
}

// touch keeps the lock from looking stale during long work. It may be called
// by several goroutines.
func (l *lockedList) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lock.Touch()
}

// write writes the uidlist as a whole, or appends entries if list is nil.
func (l *lockedList) write(known *reconcile.State, list *maildir.UIDList, entries []maildir.Entry) error {
	if list == nil {
		if err := l.append(entries); err != nil {
			return err
		}
		known.Lines += len(entries)
		return nil
	}
	if err := l.rewrite(list); err != nil {
		return err
	}
	known.Lines, known.Ceiling = len(list.Entries), list.ModSeq
	return nil
}
