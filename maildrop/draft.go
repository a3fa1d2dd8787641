package maildrop

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"hoplite/maildrop/maildir"
)

// NewMessage is a message on its way into a folder: written to tmp, seen by
// nobody. Write it, then give it to Folder.Append, or Discard it.
type NewMessage struct {
	Flags    Flags
	Keywords []string
	// Date is the internal date; the zero time means now.
	Date time.Time

	folder *Folder
	file   *os.File
	lf     *maildir.LFWriter
	name   string // in tmp
	size   int64  // of the file, once it is sealed
	wire   int64  // the same with CRLF
	ext    string // uidlist keys, as for a copy
	closed bool
	old    int64  // octets that it takes the place of
	as     string // the base name without sizes; empty: that in tmp
}

// Write takes the next octets, with CRLF or LF line ends.
func (n *NewMessage) Write(p []byte) (int, error) { return n.lf.Write(p) }

// Size is how many octets were written so far, counted with CRLF.
func (n *NewMessage) Size() int64 {
	if n.closed {
		return n.wire
	}
	return n.lf.Wire
}

// lfPool keeps the writers' buffers.
var lfPool = sync.Pool{New: func() any { return maildir.NewLFWriter(nil) }}

// shut closes the file and gives the writer back.
func (n *NewMessage) shut() error {
	n.closed = true
	n.size, n.wire = n.lf.Size, n.lf.Wire
	n.lf.Reset(nil)
	lfPool.Put(n.lf)
	n.lf = nil
	return n.file.Close()
}

// seal makes the file complete and durable, and gives it its final base name.
func (n *NewMessage) seal() error {
	if n.closed {
		return nil
	}
	err := n.lf.Flush()
	if err == nil && !n.Date.IsZero() {
		err = n.folder.tmp.SetTimes(n.name, n.Date)
	}
	if err == nil {
		err = n.file.Sync()
	}
	if err == nil && n.Date.IsZero() {
		var st maildir.Stat
		st, err = maildir.FileStat(n.file)
		n.Date = st.MTime
	}
	if err = errors.Join(err, n.shut()); err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	return nil
}

// base is the name it will have.
func (n *NewMessage) base() string {
	name := n.name
	if n.as != "" {
		name = n.as
	}
	return maildir.WithSizes(name, n.size, n.wire)
}

// Discard removes a message that was not appended.
func (n *NewMessage) Discard() {
	if !n.closed {
		n.shut()
	}
	n.folder.tmp.Remove(n.name)
}

// deliver puts a message into new, as every delivery agent does: the file is
// synced, moved, and the directory synced, before anybody is told. UIDs are
// given by whoever reads the folder next. Many deliveries at once share the
// directory's sync.
func (n *NewMessage) deliver() error {
	f := n.folder
	if err := n.seal(); err != nil {
		return err
	}
	base := n.base()
	if err := f.tmp.Rename(n.name, f.new, base); err != nil {
		return err
	}
	if err := f.newSync.sync(f.new); err != nil {
		// The sender will send it again; keep what may not be durable from
		// becoming a second copy.
		f.new.Remove(base)
		return err
	}
	f.box.quota.used(n.size, 1)
	// The directory's time stamp may be the same as at the last look.
	f.fresh.Store(true)
	if f.watchers.any() {
		f.box.store.watch.look(f, 0)
	}
	return nil
}
