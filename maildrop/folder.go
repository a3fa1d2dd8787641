package maildrop

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"hoplite/maildrop/maildir"
)

// Folder is one folder of a box, shared by all who have it open. Its methods
// may be called by several goroutines at once; what changes the folder waits
// its turn, readers of a Snapshot never wait.
type Folder struct {
	box              *Box
	name             string // guarded by box.mu
	dir              *maildir.Dir
	cur, new, tmp    *maildir.Dir
	newSync, curSync dirSyncer

	// Guarded by box.mu.
	refs int
	idle time.Time

	snap     atomic.Pointer[Snapshot]
	deleted  atomic.Bool
	fresh    atomic.Bool // a delivery came since new was last read
	waking   atomic.Bool // a look after a delivery is about to begin
	watchers watchers
	items    items

	mu    sync.Mutex // one change at a time
	order uint64     // in which two folders are locked
	state state
}

var folderOrder atomic.Uint64

func openFolder(b *Box, name string, dir *maildir.Dir) (*Folder, error) {
	f := &Folder{box: b, name: name, dir: dir, order: folderOrder.Add(1)}
	var err error
	for _, sub := range []struct {
		name string
		dir  **maildir.Dir
	}{{"cur", &f.cur}, {"new", &f.new}, {"tmp", &f.tmp}} {
		*sub.dir, err = dir.Sub(sub.name)
		if isNot(err) {
			if err = makeDirs(dir); err == nil {
				*sub.dir, err = dir.Sub(sub.name)
			}
		}
		if err != nil {
			f.closeDirs()
			return nil, fmt.Errorf("open folder %q: %w", name, err)
		}
	}
	return f, nil
}

func (f *Folder) closeDirs() {
	for _, d := range []*maildir.Dir{f.cur, f.new, f.tmp} {
		if d != nil {
			d.Close()
		}
	}
}

// shut gives everything back; b.mu is held.
func (f *Folder) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unload()
	f.closeDirs()
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

// gone tells whether the folder was deleted, by us or by others.
func (f *Folder) gone() bool {
	if f.deleted.Load() {
		return true
	}
	st, err := f.cur.StatSelf()
	return err != nil || st.Links == 0
}

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
	first := min(f.state.recent, s.Next)
	if claim {
		f.state.recent = max(f.state.recent, s.Next)
	}
	return first
}

// Vanished returns the UIDs that were expunged after modseq (RFC 7162, 3.2.6),
// ascending. When that is not known so far back, it returns every UID below
// UIDNEXT that no message has, which the RFC allows.
func (f *Folder) Vanished(s *Snapshot, modseq uint64) []uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.vanished(s, modseq)
}

// watchers are the channels of those who wait for changes.
type watchers struct {
	mu    sync.Mutex
	chans map[chan struct{}]bool
}

func (w *watchers) add() chan struct{} {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chans == nil {
		w.chans = map[chan struct{}]bool{}
	}
	w.chans[c] = true
	return c
}

func (w *watchers) remove(c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.chans, c)
}

func (w *watchers) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.chans) > 0
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.chans {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// dirSyncer makes several renames into one directory durable with one fsync.
type dirSyncer struct {
	mu      sync.Mutex
	running bool
	waiting []chan error
}

// sync returns once everything that the caller did in dir is durable.
func (s *dirSyncer) sync(dir *maildir.Dir) error {
	done := make(chan error, 1)
	s.mu.Lock()
	s.waiting = append(s.waiting, done)
	if !s.running {
		s.running = true
		s.mu.Unlock()
		s.round(dir)
	} else {
		s.mu.Unlock()
	}
	return <-done
}

// round serves those who wait now; those who come meanwhile need a new fsync.
func (s *dirSyncer) round(dir *maildir.Dir) {
	s.mu.Lock()
	batch := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	err := dir.Sync()
	for _, done := range batch {
		done <- err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.running = false
		return
	}
	go s.round(dir)
}
