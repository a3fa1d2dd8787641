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

// lockedList is a folder's uidlist while this process holds its lock. All
// writes to the list, and to the keywords that its lock protects, are methods
// of lockedList. So is taking stamps after a write: without the lock, another
// program could append lines before the stamp is taken, and those lines would
// be treated as already read.
type lockedList struct {
	dir  *maildir.Dir
	lock *maildir.Lock
	mu   sync.Mutex // guards touch
}

// lockWait is the maximum time that operations wait for another program to
// release the uidlist's lock.
const lockWait = 20 * time.Second

// release releases the lock.
func (l *lockedList) release() { l.lock.Release() }

// stamp returns the list's current stamp.
func (l *lockedList) stamp() (index.FileStamp, error) {
	return fileStamp(l.dir, maildir.UIDListFile)
}

// restamp updates the list and keyword stamps in s.
func (l *lockedList) restamp(s *stamp) (err error) {
	if s.List, err = l.stamp(); err == nil {
		s.Keywords, err = fileStamp(l.dir, maildir.KeywordsFile)
	}
	return err
}

// append appends lines to a valid list.
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
			// A partial line would make the whole list look damaged.
			err = errors.Join(err, w.Truncate(st.Size))
		}
	}
	if err == nil {
		// A UID that has been shown to a reader must survive a power failure.
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

// replace replaces a file. It gives the new file a later mtime than the old
// one, because Dovecot compares size and mtime.
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

// errNoBound is returned by raise if the list's header does not contain a bound
// of the expected width.
var errNoBound = errors.New("uidlist header has no modification sequence")

// raise updates the bound for modification sequences in the list's header. It
// writes in place, so the cost does not depend on the length of the list. The
// bound is durable before a reader is shown a higher modification sequence than
// the previous bound.
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
	if _, err = w.WriteAt([]byte(maildir.ModSeqText(bound)), at); err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}

// touch keeps the lock from becoming stale during long operations. It may be
// called concurrently.
func (l *lockedList) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lock.Touch()
}

// write rewrites the uidlist, or appends entries if list is nil.
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
