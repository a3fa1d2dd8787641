package maildrop

import (
	"sync"

	"github.com/rs/zerolog"

	"hoplite/maildrop/index"
)

// items holds pre-rendered data for messages by UID. They are read from disk
// when the first one is needed.
type items struct {
	warn zerolog.Logger
	// shown returns the current snapshot, or nil.
	shown func() *Snapshot

	mu    sync.RWMutex
	place *index.Place // the folder's index, or nil
	cache *index.Cache
}

func (i *items) get(uid uint32) []byte {
	i.mu.RLock()
	if c := i.cache; c != nil {
		defer i.mu.RUnlock()
		return c.Get(uid)
	}
	i.mu.RUnlock()
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.open().Get(uid)
}

func (i *items) put(uid uint32, item []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.open().Put(uid, item); err != nil {
		i.disable(err)
	}
}

// open opens the cache. The caller holds i.mu.
func (i *items) open() *index.Cache {
	if i.cache != nil {
		return i.cache
	}
	s := i.shown()
	i.cache = index.NewCache()
	if i.place == nil || s == nil {
		return i.cache
	}
	c, err := index.OpenCache(*i.place, s.Validity, func(uid uint32) bool {
		_, ok := s.Find(uid)
		return ok
	})
	if err != nil {
		i.disable(err)
		return i.cache
	}
	i.cache = c
	return c
}

// disable keeps items only in memory from now on.
func (i *items) disable(err error) {
	i.warn.Warn().Err(err).Msg("item cache not written")
	i.cache = index.NewCache()
}

func (i *items) setPlace(p *index.Place) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.place = p
}

// drop removes the items of expunged messages.
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
		// If the cache cannot be written now, the next flush retries.
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
	i.cache, i.place = nil, nil
	return err
}
