package maildrop

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// Folder is one folder of a box, shared by all who have it open. Its methods
// may be called by several goroutines at once. Changes to the folder wait for
// each other; readers of a Snapshot never wait.
//
// A Folder holds the lock, does the I/O and publishes: what follows from what
// was read is decided by package reconcile, the directories are files, the
// uidlist is a lockedList, the private index an indexer.
type Folder struct {
	*files
	box  *Box
	name string // guarded by box.mu

	// Guarded by box.mu.
	refs int
	idle time.Time

	snap     atomic.Pointer[Snapshot]
	deleted  atomic.Bool
	fresh    atomic.Bool // a delivery came since new was last read
	waking   atomic.Bool // a look after a delivery is about to begin
	watchers watchers

	mu     sync.Mutex // one change at a time
	order  uint64     // in which two folders are locked
	known  reconcile.State
	since  stamp   // how the disk looked when known was read
	settle bool    // a directory changed so lately that another change may hide
	dating *dating // not over yet, or not seen to be; nil without
	index  indexer // its items have a lock of their own
}

var folderOrder atomic.Uint64

func openFolder(b *Box, name string, dir *maildir.Dir) (*Folder, error) {
	d, err := openFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("open folder %q: %w", name, err)
	}
	f := &Folder{files: d, box: b, name: name, order: folderOrder.Add(1)}
	log := b.store.log.With().Str("folder", dir.Path()).Logger()
	f.index.root, f.index.files, f.index.warn = b.store.index, d, log
	f.index.items.warn, f.index.items.shown = log, f.snap.Load
	return f, nil
}

// shut gives everything back; b.mu is held.
func (f *Folder) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unload()
	f.files.close()
	if f.dir != f.box.dir {
		f.dir.Close()
	}
}

// Close gives the folder back.
func (f *Folder) Close() error {
	f.box.release(f)
	return nil
}

// Name is the folder's present name, "/" between levels.
func (f *Folder) Name() string {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	return f.name
}

// Box is the box that the folder belongs to.
func (f *Folder) Box() *Box { return f.box }

// gone reports whether the folder was deleted, by us or by others.
func (f *Folder) gone() bool { return f.deleted.Load() || f.files.gone() }

// Snapshot is the folder as it was last seen, without a look at the disk. The
// first call looks.
func (f *Folder) Snapshot() (*Snapshot, error) {
	if s := f.snap.Load(); s != nil {
		return s, nil
	}
	return f.Sync()
}

// Sync looks for changes by others and returns the present state. It costs a
// few microseconds when nothing happened.
func (f *Folder) Sync() (*Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return nil, err
	}
	return f.snap.Load(), nil
}

// Watch returns a channel that receives when the folder may have changed:
// within milliseconds when we changed it, soon when others did. Read Snapshot
// then. stop ends it.
func (f *Folder) Watch() (changed <-chan struct{}, stop func()) {
	c := f.watchers.add()
	f.box.store.watch.add(f)
	return c, sync.OnceFunc(func() {
		f.watchers.remove(c)
		f.box.store.watch.remove(f)
	})
}

// Recent hands out the right to show messages as \Recent (RFC 3501, 2.3.2):
// messages with a UID of at least the one returned were shown as recent to
// nobody yet, and now belong to the caller up to UIDNEXT of s.
func (f *Folder) Recent(s *Snapshot, claim bool) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := min(f.known.Recent, s.Next)
	if claim {
		f.known.Recent = max(f.known.Recent, s.Next)
	}
	return first
}

// Vanished returns the UIDs that were expunged after modseq (RFC 7162, 3.2.6),
// ascending. When that is not known so far back, it returns every UID below
// UIDNEXT that no message has, which the RFC allows.
func (f *Folder) Vanished(s *Snapshot, modseq uint64) []uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known.Vanished(s.Messages, s.Next, modseq, s.ModSeq)
}
