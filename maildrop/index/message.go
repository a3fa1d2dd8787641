package index

import (
	"sync"
	"sync/atomic"
	"time"

	"hoplite/maildrop/maildir"
)

// Message is one message in a folder. A Message published in a snapshot is
// never modified; a change creates a new one.
type Message struct {
	UID   uint32
	Flags maildir.Flags
	// New is set while the file is in new instead of cur.
	New bool
	// Pending is set if the flags could not yet be written to the file name
	// because the disk was full or read-only.
	Pending bool
	// Exact is set if Size and Wire were counted in the file instead of being
	// taken from its name or the uidlist.
	Exact bool
	// Keywords has a bit for each of the message's keywords, by position in the
	// folder's list.
	Keywords uint64
	// Size is the size of the file, and Wire its size with CRLF line endings,
	// in octets.
	Size, Wire int64
	// Date is the internal date and Saved the time at which the message was
	// stored in this folder (RFC 8514), in seconds since 1970. Unless Dates is
	// nil or done, read them only with InternalDate and SaveDate.
	Date, Saved int64
	Dates       *DateLookup // nil if the dates are known
	ModSeq      uint64
	// File is the file name in cur or new.
	File string
	// Ext holds this message's keys in the uidlist, verbatim.
	Ext string
}

// Base returns the part of the file name that identifies the message.
func (m *Message) Base() string { return maildir.Base(m.File) }

// GUID returns the message's GUID as Dovecot defines it: it identifies the
// content, and copying or moving the message preserves it.
func (m *Message) GUID() string {
	if g := maildir.ExtKey(m.Ext, 'G'); g != "" {
		return g
	}
	return m.Base()
}

// InternalDate returns the time of arrival (RFC 9051, 2.3.3).
func (m *Message) InternalDate() time.Time {
	m.Dates.Wait()
	return time.Unix(m.Date, 0)
}

// SaveDate returns the time at which the message was stored in this folder (RFC
// 8514).
func (m *Message) SaveDate() time.Time {
	m.Dates.Wait()
	return time.Unix(m.Saved, 0)
}

// DateLookup is a deferred look-up of the dates of many messages, which readers
// may see before their dates are known. The first caller that needs a date runs
// it.
type DateLookup struct {
	over atomic.Bool
	once sync.Once
	run  func()
}

// NewDateLookup returns a DateLookup that calls run to set the dates.
func NewDateLookup(run func()) *DateLookup { return &DateLookup{run: run} }

// Wait returns when the dates are known. It returns immediately if d is nil.
func (d *DateLookup) Wait() {
	if d == nil || d.over.Load() {
		return
	}
	d.once.Do(func() {
		d.run()
		d.over.Store(true)
	})
}
