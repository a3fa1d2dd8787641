package disk

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"hoplite/relay/queue/journal"
)

// place is the location of a message's content. The numbers are stored on disk.
type place uint8

const (
	inline   place = iota // in the put record
	large                 // body/xx/ID
	deferred              // deferred/xx/ID.eml
)

// entry is the catalog's record of one live message.
type entry struct {
	seg      *segment // segment of the put or keep record; nil until it is synced
	off      int64    // offset of that record
	rec      int64    // its size
	meta     int64    // length of meta
	head     int64    // length of the message's header block
	size     int64    // of the message
	longLine uint32
	place    place
	eightBit bool
	dead     bool // a done mark is pending or written

	set     *segment // of the latest set record; nil if there is none
	setOff  int64
	setLen  int64 // length of the whole record
	kept    int64 // length of the state inside the put or keep record
	version uint32

	loadMeta, loadState []byte // set between recovery and Load
}

// beside returns the offset of meta in e's segment. The state follows meta.
func (e *entry) beside(id string) int64 { return e.off + recordHead + int64(len(id)) + putHead }

// octets returns the offset of an inline message in e's segment.
func (e *entry) octets(id string) int64 { return e.beside(id) + e.meta + e.kept }

// catalog is the index of live messages and the list of segments with the
// amount of live data in each. It does no I/O except to close segment files.
type catalog struct {
	mu     sync.Mutex
	index  map[string]*entry
	segs   []*segment // oldest first; the last one is the write target unless it is sealed
	drop   []finished // finished messages whose files can be removed
	rotate bool       // the next batch opens a new segment

	wanted chan struct{} // holds a token when a reclaim may be worthwhile
}

// finished is a message whose done mark is synced but whose file still exists.
type finished struct {
	id    string
	place place
}

func newCatalog() *catalog {
	return &catalog{index: map[string]*entry{}, wanted: make(chan struct{}, 1)}
}

// load calls yield for every message that recovery found.
func (c *catalog) load(yield func(journal.Entry) error) error {
	c.mu.Lock()
	ids := slices.Sorted(maps.Keys(c.index))
	c.mu.Unlock()
	for _, id := range ids {
		c.mu.Lock()
		e := c.index[id]
		found := journal.Entry{ID: id, Meta: e.loadMeta, State: e.loadState, Size: e.size}
		e.loadMeta, e.loadState = nil, nil
		c.mu.Unlock()
		if err := yield(found); err != nil {
			return fmt.Errorf("load %s: %w", id, err)
		}
	}
	return nil
}

// knows reports whether id belongs to a message that is live or is being
// committed.
func (c *catalog) knows(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index[id] != nil
}

// open returns a copy of a message's entry. An inline message keeps its segment
// open until release.
func (c *catalog) open(id string) (entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.index[id]
	if e == nil || e.seg == nil {
		return entry{}, journal.ErrUnknown
	}
	if e.place == inline {
		e.seg.refs++
	}
	return *e, nil
}

// openRecords returns a message's entry and keeps the segments of its records
// open until releaseRecords.
func (c *catalog) openRecords(id string) (survivor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.index[id]
	if e == nil || e.seg == nil {
		return survivor{}, journal.ErrUnknown
	}
	e.seg.refs++
	if e.set != nil {
		e.set.refs++
	}
	return survivor{id, *e}, nil
}

func (c *catalog) releaseRecords(v *survivor) {
	c.release(v.e.seg)
	if v.e.set != nil {
		c.release(v.e.set)
	}
}

// release drops a reader's reference to a segment.
func (c *catalog) release(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.refs--; s.refs == 0 && s.removed {
		s.file.Close()
	}
}

// closeSegments closes all segment files; those being read are closed when
// their last reader releases them.
func (c *catalog) closeSegments() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.segs {
		if s.removed = true; s.refs == 0 {
			s.file.Close()
		}
	}
}

// usage returns the size of the log.
func (c *catalog) usage() journal.Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := journal.Usage{Messages: len(c.index)}
	for _, s := range c.segs {
		u.Log += s.size
		u.Live += s.live
	}
	return u
}

// fewSegments reports whether messages leave as fast as they arrive. If they
// accumulate, pre-filling spare segments would double the amount of data
// written.
func (c *catalog) fewSegments() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.segs) <= 2
}

// admit checks the commits against everything written before them. Valid
// commits join the batch and are treated as written; the others have their
// error set. Done marks for the given ids follow.
func (c *catalog) admit(b *batch, commits []*commit, dones []string, salt uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range commits {
		if m.err = c.check(m); m.err == nil {
			c.count(m)
			b.commits = append(b.commits, m)
			b.records += len(m.ops)
		}
	}
	for _, id := range dones {
		if e := c.index[id]; e != nil && !e.dead {
			e.dead = true
			b.mark(id, salt)
		}
	}
}

func (c *catalog) check(m *commit) error {
	for i := range m.ops {
		o := &m.ops[i]
		e := c.index[o.id]
		switch {
		case o.kind == kindPut && e != nil:
			return fmt.Errorf("put %s: %w", o.id, journal.ErrExists)
		case o.kind == kindSet && (e == nil || e.dead):
			return fmt.Errorf("set %s: %w", o.id, journal.ErrUnknown)
		}
	}
	return nil
}

func (c *catalog) count(m *commit) {
	for i := range m.ops {
		o := &m.ops[i]
		e := c.index[o.id]
		switch o.kind {
		case kindPut:
			c.index[o.id] = o.entry
		case kindSet:
			e.version++
		case kindDone:
			if e != nil {
				e.dead = true
			}
		case kindKeep:
			o.skip = e == nil || e.dead || e.version != o.version
		}
	}
}

// undo reverts a failed batch. It returns the ids of its done marks, which will
// be written again.
func (c *catalog) undo(b *batch) (dones []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	revive := func(id string) {
		if e := c.index[id]; e != nil {
			e.dead = false
			dones = append(dones, id)
		}
	}
	for _, m := range b.commits {
		for i := range m.ops {
			switch o := &m.ops[i]; o.kind {
			case kindPut:
				delete(c.index, o.id)
			case kindDone:
				revive(o.id)
			}
		}
	}
	for i := range b.marks {
		revive(b.marks[i].id)
	}
	return dones
}

// settle records the location of each record of a synced batch.
func (c *catalog) settle(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.segs[len(c.segs)-1]
	off := s.size + firstSize
	s.size += b.size
	for o := range b.ops() {
		c.settleOne(s, off, o)
		off += int64(len(o.rec))
	}
}

func (c *catalog) settleOne(s *segment, off int64, o *op) {
	e := c.index[o.id]
	size := int64(len(o.rec))
	switch o.kind {
	case kindPut:
		e.seg, e.off = s, off
		s.add(size, e.place == inline)
	case kindSet:
		if e != nil {
			e.replaceSet(s, off, size)
		}
	case kindKeep:
		e.unplace()
		e.seg, e.off, e.rec = s, off, size
		e.kept, e.place = o.entry.kept, o.entry.place
		s.add(size, false)
	case kindDone:
		if e == nil {
			return
		}
		e.unplace()
		delete(c.index, o.id)
		if e.place != inline {
			c.drop = append(c.drop, finished{o.id, e.place})
		}
		c.wantReclaim()
	}
}

// replaceSet makes the record at off in s the latest set record of e.
func (e *entry) replaceSet(s *segment, off, size int64) {
	if e.set != nil {
		e.set.take(e.setLen, false)
	}
	e.set, e.setOff, e.setLen = s, off, size
	s.add(size, false)
}

// unplace removes e's records from the live data of their segments.
func (e *entry) unplace() {
	if e.seg != nil {
		e.seg.take(e.rec, e.place == inline)
	}
	if e.set != nil {
		e.set.take(e.setLen, false)
		e.set = nil
	}
}

// replay applies one record that recovery read.
func (c *catalog) replay(s *segment, off int64, r record, copies *slab) error {
	e := c.index[r.id]
	switch r.kind {
	case kindPut, kindKeep:
		n, meta, state, err := r.entry()
		if err != nil {
			return err
		}
		if e != nil {
			e.unplace()
		}
		n.seg, n.off = s, off
		n.loadMeta, n.loadState = copies.clone(meta), copies.clone(state)
		c.index[r.id] = &n
		s.add(n.rec, n.place == inline)
	case kindSet:
		if e != nil {
			e.replaceSet(s, off, r.size)
			e.loadState = copies.clone(r.payload)
		}
	case kindDone:
		if e != nil {
			e.unplace()
			delete(c.index, r.id)
		}
	}
	return nil
}

// target returns the segment for a batch of size octets. If a new segment is
// needed, s is nil, and next and end are its number and the end of the previous
// segment.
func (c *catalog) target(size, full int64) (s *segment, next uint64, end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.segs) == 0 {
		return nil, 1, 0
	}
	last := c.segs[len(c.segs)-1]
	if !last.sealed && !c.rotate && (last.size == segmentHead || last.size+size <= full) {
		return last, 0, 0
	}
	return nil, last.num + 1, last.size
}

// append adds s as the newest segment, to which batches are written.
func (c *catalog) append(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.segs); n > 0 {
		c.segs[n-1].sealed = true
	}
	c.segs = append(c.segs, s)
	c.rotate = false
	c.wantReclaim()
}

// fail marks a segment as failed and returns the offset of its synced end.
func (c *catalog) fail(s *segment) (end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.sealed, s.failed = true, true
	return s.size
}

// wantReclaim wakes the reclaimer if a reclaim may be worthwhile. The caller
// holds c.mu.
func (c *catalog) wantReclaim() {
	if len(c.drop) == 0 && (len(c.segs) < 2 || c.segs[0].count > 0 && c.segs[len(c.segs)-1].size > segmentHead) {
		return
	}
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

// takeDropped returns the messages whose files can be removed, and clears the
// list.
func (c *catalog) takeDropped() []finished {
	c.mu.Lock()
	defer c.mu.Unlock()
	drop := c.drop
	c.drop = nil
	return drop
}

// task is the next step of a reclaim.
type task struct {
	seg    *segment // nil if no segment is to be reclaimed
	remove bool     // seg is dead and already out of the catalog; otherwise its survivors are moved
	reuse  bool     // the removed segment's file can become the spare
	rotate bool     // the newest segment is old: an empty batch opens another
}

// nextTask returns the next step of a reclaim. full is the size of a full
// segment, and age the time after which mail leaves the log.
func (c *catalog) nextTask(full int64, age time.Duration) task {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.segs); n > 0 && c.segs[n-1].mails > 0 && time.Since(c.segs[n-1].born) > age && !c.segs[n-1].sealed {
		c.rotate = true
	}
	t := task{rotate: c.rotate}
	t.seg, t.remove = c.candidate(full, age)
	if t.remove {
		s := t.seg
		t.reuse = !s.damaged && !s.failed && s.refs == 0
		c.segs = c.segs[1:]
		if s.removed = true; s.refs == 0 {
			s.file.Close()
		}
	}
	return t
}

// candidate returns the segment to reclaim. remove is true if the segment is
// the oldest and dead, so that the done marks in it are no longer needed.
func (c *catalog) candidate(full int64, age time.Duration) (s *segment, remove bool) {
	var total, live int64
	for _, s := range c.segs {
		total += s.size
		live += s.live
	}
	for i, s := range c.segs {
		switch {
		case i == len(c.segs)-1:
			return nil, false
		case i == 0 && s.count == 0:
			return s, true
		case i == 0 && total > 2*live+full:
			return s, false
		case s.mails > 0 && time.Since(s.born) > age:
			return s, false
		}
	}
	return nil, false
}

// survivors returns the live messages that have a record in s.
func (c *catalog) survivors(s *segment) []survivor {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []survivor
	for id, e := range c.index {
		if (e.seg == s || e.set == s) && e.seg != nil && !e.dead {
			all = append(all, survivor{id, *e})
		}
	}
	return all
}

// isDeferred reports whether a message's content is in its deferred file.
func (c *catalog) isDeferred(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.index[id]
	return e != nil && e.place == deferred
}
