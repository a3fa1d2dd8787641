// Package memory implements a journal in memory, for testing packages that use
// a journal. Its content is lost when the process ends.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// Journal is a journal.Journal in memory. It is safe for concurrent use.
type Journal struct {
	store *store // shared with the journals returned by Reopen

	mu     sync.Mutex
	closed bool
	fenced bool
	fail   error
}

// store holds the messages, like a disk.
type store struct {
	mu      sync.Mutex
	entries map[string]*entry
}

type entry struct {
	journal.Entry
	octets         []byte
	head, longLine int
	eightBit       bool
}

// New returns an empty journal.
func New() *Journal { return &Journal{store: &store{entries: map[string]*entry{}}} }

// Fail makes every Commit return err until Fail is called with nil.
func (j *Journal) Fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = err
}

// Fence makes the journal behave as if another process had taken it over.
func (j *Journal) Fence() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fenced = true
}

// Reopen returns a journal with the same messages, as another owner or the
// program would find them after a restart.
func (j *Journal) Reopen() *Journal { return &Journal{store: j.store} }

// ready returns the error that every operation must return, or nil if the
// journal is usable.
func (j *Journal) ready(write bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.fenced:
		return journal.ErrFenced
	case write && j.closed:
		return journal.ErrClosed
	case write:
		return j.fail
	}
	return nil
}

// Load calls yield for every live message, in order of ids.
func (j *Journal) Load(yield func(journal.Entry) error) error {
	if err := j.ready(false); err != nil {
		return err
	}
	j.store.mu.Lock()
	var all []journal.Entry
	for _, id := range slices.Sorted(maps.Keys(j.store.entries)) {
		all = append(all, j.store.entries[id].Entry)
	}
	j.store.mu.Unlock()
	for _, e := range all {
		if err := yield(e); err != nil {
			return fmt.Errorf("load %s: %w", e.ID, err)
		}
	}
	return nil
}

// Commit applies either all changes or none.
func (j *Journal) Commit(ctx context.Context, changes ...journal.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := j.ready(true); err != nil {
		return err
	}
	j.store.mu.Lock()
	defer j.store.mu.Unlock()
	for _, c := range changes {
		e := j.store.entries[c.ID]
		switch {
		case !journal.ValidID(c.ID):
			return fmt.Errorf("invalid message id %q", c.ID)
		case c.Kind == journal.Put && e != nil:
			return fmt.Errorf("put %s: %w", c.ID, journal.ErrExists)
		case c.Kind == journal.Set && e == nil:
			return fmt.Errorf("set %s: %w", c.ID, journal.ErrUnknown)
		}
	}
	for _, c := range changes {
		if err := j.store.apply(c); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) apply(c journal.Change) error {
	switch c.Kind {
	case journal.Put:
		var octets bytes.Buffer
		if _, err := c.Message.WriteTo(&octets); err != nil {
			return err
		}
		s.entries[c.ID] = &entry{
			Entry:  journal.Entry{ID: c.ID, Meta: bytes.Clone(c.Meta), State: bytes.Clone(c.State), Size: int64(octets.Len())},
			octets: octets.Bytes(), head: len(c.Message.Header()),
			longLine: c.Message.LongLine, eightBit: c.Message.EightBit,
		}
	case journal.Set:
		s.entries[c.ID].State = bytes.Clone(c.State)
	case journal.Done:
		delete(s.entries, c.ID)
	}
	return nil
}

// Done removes messages.
func (j *Journal) Done(ids ...string) {
	if j.ready(false) != nil {
		return
	}
	j.store.mu.Lock()
	defer j.store.mu.Unlock()
	for _, id := range ids {
		delete(j.store.entries, id)
	}
}

// Message opens the content of a live message.
func (j *Journal) Message(id string) (*mail.Message, io.Closer, error) {
	e, err := j.find(id)
	if err != nil {
		return nil, nil, err
	}
	return &mail.Message{
		Base: mail.Bytes(e.octets), Head: e.octets[:e.head:e.head],
		EightBit: e.eightBit, LongLine: e.longLine,
	}, io.NopCloser(nil), nil
}

// Meta returns the meta and the latest state of a live message.
func (j *Journal) Meta(id string) (meta, state []byte, err error) {
	e, err := j.find(id)
	return e.Entry.Meta, e.Entry.State, err
}

// find returns a copy of a live message's entry.
func (j *Journal) find(id string) (entry, error) {
	if err := j.ready(false); err != nil {
		return entry{}, err
	}
	j.store.mu.Lock()
	defer j.store.mu.Unlock()
	e := j.store.entries[id]
	if e == nil {
		return entry{}, journal.ErrUnknown
	}
	return *e, nil
}

// Usage counts the messages.
func (j *Journal) Usage() journal.Usage {
	j.store.mu.Lock()
	defer j.store.mu.Unlock()
	return journal.Usage{Messages: len(j.store.entries)}
}

// Close makes later commits return journal.ErrClosed.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	return nil
}
