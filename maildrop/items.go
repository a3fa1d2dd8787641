package maildrop

import (
	"os"
	"sync"

	"hoplite/maildrop/index"
)

// items are pre-rendered pieces of messages by UID, read from disk when the
// first is asked for.
type items struct {
	mu    sync.RWMutex
	root  *os.Root // of the folder's index; nil without
	cache *index.Cache
}

// Cached returns the bytes that a door kept for m with Keep, or nil. What they
// mean is the door's business: pre-rendered ENVELOPE and BODYSTRUCTURE,
// offsets, sort and thread keys. They must not be changed. They may be lost at
// any time, and begin with a version of the door's format for that reason.
func (f *Folder) Cached(m *Message) []byte {
	f.items.mu.RLock()
	if c := f.items.cache; c != nil {
		defer f.items.mu.RUnlock()
		return c.Get(m.UID)
	}
	f.items.mu.RUnlock()
	f.items.mu.Lock()
	defer f.items.mu.Unlock()
	return f.openCache().Get(m.UID)
}

// Keep keeps bytes for m, in memory and on disk, until m is expunged. They
// must not be changed afterwards.
func (f *Folder) Keep(m *Message, item []byte) {
	f.items.mu.Lock()
	defer f.items.mu.Unlock()
	if err := f.openCache().Put(m.UID, item); err != nil {
		f.loseCache(err)
	}
}

// openCache opens the cache with items.mu held.
func (f *Folder) openCache() *index.Cache {
	if f.items.cache != nil {
		return f.items.cache
	}
	s := f.snap.Load()
	f.items.cache = index.NewCache()
	if f.items.root == nil || s == nil {
		return f.items.cache
	}
	c, err := index.OpenCache(f.items.root, s.Validity, func(uid uint32) bool {
		_, ok := s.Find(uid)
		return ok
	})
	if err != nil {
		f.loseCache(err)
		return f.items.cache
	}
	f.items.cache = c
	return c
}

// loseCache goes on in memory only.
func (f *Folder) loseCache(err error) {
	f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("item cache not written")
	f.items.cache = index.NewCache()
}

func (i *items) setRoot(root *os.Root) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.root = root
}

// drop forgets the items of messages that are gone.
func (i *items) drop(uids []uint32) {
	if len(uids) == 0 {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cache != nil {
		for _, uid := range uids {
			i.cache.Drop(uid)
		}
	}
}

func (i *items) flush() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cache != nil {
		// What can't be written now is tried again at the next flush.
		_ = i.cache.Flush()
	}
}

func (i *items) close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	var err error
	if i.cache != nil {
		err = i.cache.Close()
	}
	if i.root != nil {
		i.root.Close()
	}
	i.cache, i.root = nil, nil
	return err
}
