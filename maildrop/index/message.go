package index

import (
	"sync"
	"sync/atomic"
	"time"

	"hoplite/maildrop/maildir"
)

// Message is one message of a folder as the store knows it. A Message that
// was published in a snapshot never changes; a change makes a new one.
type Message struct {
	UID   uint32
	Flags maildir.Flags
	// New is set while the file lies in new and not in cur.
	New bool
	// Pending is set when the flags could not be written into the file name
	// yet, because the disk was full or read-only.
	Pending bool
	// Exact is set when Size and Wire were counted in the file, and not merely
	// taken from its name or from the uidlist.
	Exact bool
	// Keywords has a bit for each keyword, by its place in the folder's list.
	Keywords uint64
	// Size is the file's size, Wire the size with CRLF line ends, in octets.
	Size, Wire int64
	// Date is the internal date, Saved the time the message came into this
	// folder (RFC 8514), in seconds since 1970. Before Dating was done, they are
	// read with InternalDate and SaveDate only.
	Date, Saved int64
	Dating      *Dating // nil when the dates are known
	ModSeq      uint64
	// File is the name in cur or new.
	File string
	// Ext are the uidlist's keys for this message, as they stand.
	Ext string
}

// Base is the part of the file name that identifies the message.
func (m *Message) Base() string { return maildir.Base(m.File) }

// GUID identifies the message's content over copies and moves; what Dovecot
// calls GUID.
func (m *Message) GUID() string {
	if g := maildir.ExtKey(m.Ext, 'G'); g != "" {
		return g
	}
	return m.Base()
}

// InternalDate is when the message arrived (RFC 9051, 2.3.3).
func (m *Message) InternalDate() time.Time {
	m.Dating.Wait()
	return time.Unix(m.Date, 0)
}

// SaveDate is when the message came into this folder (RFC 8514).
func (m *Message) SaveDate() time.Time {
	m.Dating.Wait()
	return time.Unix(m.Saved, 0)
}

// Dating is the looking up of the dates of many messages, which readers may
// see before it was done. Whoever needs a date first does it.
type Dating struct {
	over atomic.Bool
	once sync.Once
	run  func()
}

// NewDating makes one of the function that fills in the dates.
func NewDating(run func()) *Dating { return &Dating{run: run} }

// Wait returns once the dates are there; at once when d is nil.
func (d *Dating) Wait() {
	if d == nil || d.over.Load() {
		return
	}
	d.once.Do(func() {
		d.run()
		d.over.Store(true)
	})
}
