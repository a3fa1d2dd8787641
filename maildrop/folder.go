package maildrop

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// Folder is one folder of a box, shared by all sessions that have it open. Its
// methods may be called concurrently. Changes to the folder are serialized;
// readers of a Snapshot never wait.
//
// A Folder owns the lock, the I/O and the published snapshot. Package reconcile
// interprets readings; files holds the directories, lockedList is the uidlist,
// indexer the private index, and round one examination of the disk.
type Folder struct {
	*files
	box  *Box
	name string // guarded by box.mu

	// Guarded by box.mu.
	refs int
	idle time.Time

	snap     atomic.Pointer[Snapshot]
	deleted  atomic.Bool
	fresh    atomic.Bool // mail has been delivered since new was last read
	waking   atomic.Bool // a background Sync is about to start
	watchers watchers

	mu     sync.Mutex // serializes changes
	order  uint64     // locking order for two folders
	known  reconcile.State
	since  stamp       // state of the disk when known was read
	settle bool        // a directory changed so recently that another change may have the same time
	dates  *dateLookup // set while dates are being looked up
	index  indexer     // its items have a separate lock
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

// shut closes the folder's directories and index. The caller holds b.mu.
func (f *Folder) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unload()
	f.files.close()
	if f.dir != f.box.dir {
		f.dir.Close()
	}
}

// Close releases the folder.
func (f *Folder) Close() error {
	f.box.release(f)
	return nil
}

// Name returns the folder's current name, with "/" between levels.
func (f *Folder) Name() string {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	return f.name
}

// Box returns the box that the folder belongs to.
func (f *Folder) Box() *Box { return f.box }

// gone reports whether the folder has been deleted.
func (f *Folder) gone() bool { return f.deleted.Load() || f.files.gone() }

// Snapshot returns the state of the folder when it was last read, without
// checking the disk. The first call reads the folder.
func (f *Folder) Snapshot() (*Snapshot, error) {
	if s := f.snap.Load(); s != nil {
		return s, nil
	}
	return f.Sync()
}

// Sync checks for changes by other programs and returns the current state. It
// takes a few microseconds if nothing has changed.
func (f *Folder) Sync() (*Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return nil, err
	}
	return f.snap.Load(), nil
}

// Watch returns a channel that receives a value when the folder may have
// changed: within milliseconds for a change through this store, soon for a
// change by another program. The receiver should then call Snapshot. stop ends
// the watch.
func (f *Folder) Watch() (changed <-chan struct{}, stop func()) {
	c := f.watchers.add()
	f.box.store.watch.add(f)
	return c, sync.OnceFunc(func() {
		f.watchers.remove(c)
		f.box.store.watch.remove(f)
	})
}

// Recent determines which messages a session may show as \Recent (RFC 3501,
// 2.3.2). Messages with UIDs of at least the returned UID have not been shown
// as recent in any session. If claim is set, those below the UIDNEXT of s are
// claimed by the caller.
func (f *Folder) Recent(s *Snapshot, claim bool) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := min(f.known.Recent, s.Next)
	if claim {
		f.known.Recent = max(f.known.Recent, s.Next)
	}
	return first
}

// Vanished returns the UIDs that were expunged after modseq, in ascending order
// (RFC 7162, 3.2.6). If the record does not reach back that far, it returns
// every unused UID below UIDNEXT, which the RFC allows.
func (f *Folder) Vanished(s *Snapshot, modseq uint64) []uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known.Vanished(s.Messages, s.Next, modseq, s.ModSeq)
}
