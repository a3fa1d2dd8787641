package journal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"hoplite/mail"
)

// Memory is a journal that forgets everything when the process ends: for
// tests of what stands on a journal, and as the measure that Log is held to.
// It is safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	entries map[string]*memoryEntry
	closed  bool
	fail    error
}

type memoryEntry struct {
	Entry
	octets         []byte
	head, longLine int
	eightBit       bool
}

// NewMemory makes an empty one.
func NewMemory() *Memory { return &Memory{entries: map[string]*memoryEntry{}} }

// Fail makes every Commit fail with err until it is called with nil.
func (j *Memory) Fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = err
}

// Load yields every live message in the order of their ids.
func (j *Memory) Load(yield func(Entry) error) error {
	j.mu.Lock()
	var all []Entry
	for _, id := range slices.Sorted(maps.Keys(j.entries)) {
		all = append(all, j.entries[id].Entry)
	}
	j.mu.Unlock()
	for _, e := range all {
		if err := yield(e); err != nil {
			return fmt.Errorf("load %s: %w", e.ID, err)
		}
	}
	return nil
}

// Commit makes all changes or none.
func (j *Memory) Commit(ctx context.Context, changes ...Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	if j.fail != nil {
		return j.fail
	}
	for _, c := range changes {
		e := j.entries[c.ID]
		switch {
		case !validID(c.ID):
			return fmt.Errorf("id %q cannot be a file name", c.ID)
		case c.Kind == Put && e != nil:
			return fmt.Errorf("put %s: %w", c.ID, ErrExists)
		case c.Kind == Set && e == nil:
			return fmt.Errorf("set %s: %w", c.ID, ErrUnknown)
		}
	}
	for _, c := range changes {
		if err := j.apply(c); err != nil {
			return err
		}
	}
	return nil
}

func (j *Memory) apply(c Change) error {
	switch c.Kind {
	case Put:
		octets, err := appendMessage(nil, c.Message)
		if err != nil {
			return err
		}
		j.entries[c.ID] = &memoryEntry{
			Entry:  Entry{ID: c.ID, Meta: bytes.Clone(c.Meta), State: bytes.Clone(c.State), Size: int64(len(octets))},
			octets: octets, head: len(c.Message.Header()),
			longLine: c.Message.LongLine, eightBit: c.Message.EightBit,
		}
	case Set:
		j.entries[c.ID].State = bytes.Clone(c.State)
	case Done:
		delete(j.entries, c.ID)
	}
	return nil
}

// Done removes messages.
func (j *Memory) Done(ids ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, id := range ids {
		delete(j.entries, id)
	}
}

// Message opens the octets of a live message.
func (j *Memory) Message(id string) (*mail.Message, io.Closer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.entries[id]
	if e == nil {
		return nil, nil, ErrUnknown
	}
	return &mail.Message{
		Base: mail.Bytes(e.octets), Head: e.octets[:e.head:e.head],
		EightBit: e.eightBit, LongLine: e.longLine,
	}, closeFunc(func() {}), nil
}

// Usage counts the messages.
func (j *Memory) Usage() Usage {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Usage{Messages: len(j.entries)}
}

// Close ends changes; Reopen allows them again.
func (j *Memory) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	return nil
}

// Reopen stands for a start of the program with the same disk.
func (j *Memory) Reopen() *Memory {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &Memory{entries: j.entries}
}
