// Package journal defines the contract of a durable log of queued mail.
//
// A journal stores messages, each with two opaque byte strings: meta, which
// never changes, and state, which can be replaced. It knows nothing about
// schedules, recipients or reports, which belong to relay/queue.
//
// Start with the Journal interface. The implementations are journal/disk, a
// segmented log in a folder, and journal/memory, which tests use. Every
// implementation must pass the suite in journal/journaltest.
package journal

import (
	"context"
	"errors"
	"io"

	"hoplite/mail"
)

// Journal stores queued messages durably. It is safe for concurrent use.
//
// A journal has one owner at a time. Once another process has taken it over,
// every method that returns an error returns ErrFenced.
type Journal interface {
	// Load calls yield for every live message, in order of ids. It is called
	// once, before any change. An error means that the list may be incomplete;
	// an error returned by yield ends the iteration.
	Load(yield func(Entry) error) error
	// Commit applies the changes in order, either all or none of them, and
	// returns once they are durable. If it returns an error, none of them took
	// effect, except that a Done is retried until it succeeds or the journal is
	// fenced.
	Commit(ctx context.Context, changes ...Change) error
	// Done marks messages as finished. It does not wait until the mark is
	// durable, so a message may be live again after a crash. Unknown and
	// finished ids are ignored.
	Done(ids ...string)
	// Message opens the content of a live message. It stays readable until the
	// closer is closed, even if the message is marked as done.
	Message(id string) (*mail.Message, io.Closer, error)
	// Meta returns the meta and the latest state of a live message.
	Meta(id string) (meta, state []byte, err error)
	// Usage returns the amount of data in the journal.
	Usage() Usage
	// Close writes pending changes and releases the journal.
	Close() error
}

// The errors that callers distinguish.
var (
	// ErrExists is returned for a Put with the id of a live message.
	ErrExists = errors.New("id is already in the journal")
	// ErrUnknown is returned if no live message has the given id.
	ErrUnknown = errors.New("id is not in the journal")
	// ErrGone is returned by Message if the journal lists the message but its
	// content no longer exists.
	ErrGone = errors.New("the message's octets have been removed")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("journal is closed")
	// ErrFenced is returned once another process has taken over the journal.
	// This process's view of the messages is then out of date: it must stop
	// delivering them immediately, and retrying is pointless.
	ErrFenced = errors.New("journal has been taken over by another owner")
	// ErrVersion is returned if the journal was written by a version of this
	// program that uses a different format. Nothing has been modified.
	ErrVersion = errors.New("journal was written in a format that this version cannot read")
)

// Kind is the type of a Change.
type Kind uint8

// The kinds of change.
const (
	Put  Kind = 1 + iota // add a message: Meta, Message and optionally State
	Set                  // replace a message's State
	Done                 // mark a message as finished
)

// Change is one change to the journal.
type Change struct {
	Kind    Kind
	ID      string // see ValidID
	Meta    []byte
	State   []byte
	Message *mail.Message
}

// Entry is a live message as passed to Load's yield.
type Entry struct {
	ID          string
	Meta, State []byte // State is nil until one is set
	Size        int64  // size of the message in octets
}

// Usage is the amount of data in a journal.
type Usage struct {
	Messages int
	Log      int64 // octets occupied by the journal's log
	Live     int64 // octets of Log needed by live messages
}

// MaxID is the maximum length of an id.
const MaxID = 64

// ValidID reports whether id can name a message: 1 to MaxID octets of a-z, 0-9,
// "-" and ".", not beginning with a dot. Such an id is safe as a file name.
func ValidID(id string) bool {
	if id == "" || len(id) > MaxID || id[0] == '.' {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}
