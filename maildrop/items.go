package maildrop

import "sync"

// items are pre-rendered pieces of messages by UID.
type items struct {
	mu   sync.RWMutex
	byID map[uint32][]byte
}

// Cached returns the bytes that a door kept for m with Keep, or nil. What they
// mean is the door's business: pre-rendered ENVELOPE and BODYSTRUCTURE,
// offsets, sort and thread keys. They must not be changed. They may be lost at
// any time, and begin with a version of the door's format for that reason.
func (f *Folder) Cached(m *Message) []byte {
	f.items.mu.RLock()
	defer f.items.mu.RUnlock()
	return f.items.byID[m.UID]
}

// Keep keeps bytes for m, in memory and on disk, until m is expunged. They
// must not be changed afterwards.
func (f *Folder) Keep(m *Message, item []byte) {
	f.items.mu.Lock()
	defer f.items.mu.Unlock()
	if f.items.byID == nil {
		f.items.byID = map[uint32][]byte{}
	}
	f.items.byID[m.UID] = item
}
