package maildrop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"hoplite/maildrop/maildir"
)

// NewMessage is a message being written to tmp, where readers do not see it.
// Once written, it must be passed to Folder.Append or discarded.
type NewMessage struct {
	Flags    Flags
	Keywords []string
	// Date is the internal date. The zero time means now.
	Date time.Time

	folder *Folder
	file   *os.File
	lf     *maildir.LFWriter
	name   string // file name in tmp
	size   int64  // file size, set by seal
	wire   int64  // size with CRLF
	ext    string // uidlist keys
	closed bool
	old    int64  // size of the replaced message
	as     string // base name without sizes, if not name
}

// Write writes p, which may contain CRLF or LF line endings.
func (n *NewMessage) Write(p []byte) (int, error) { return n.lf.Write(p) }

// Size returns the number of octets written so far, counting line endings as
// CRLF.
func (n *NewMessage) Size() int64 {
	if n.closed {
		return n.wire
	}
	return n.lf.Wire
}

// lfPool holds writers with their buffers.
var lfPool = sync.Pool{New: func() any { return maildir.NewLFWriter(nil) }}

// shut closes the file and returns the writer to the pool.
func (n *NewMessage) shut() error {
	n.closed = true
	n.size, n.wire = n.lf.Size, n.lf.Wire
	n.lf.Reset(nil)
	lfPool.Put(n.lf)
	n.lf = nil
	return n.file.Close()
}

// seal completes and syncs the file.
func (n *NewMessage) seal() error {
	if n.closed {
		return nil
	}
	err := n.lf.Flush()
	if err == nil && n.lf.Binary && !n.lf.Bare {
		err = n.convert()
	}
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
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// convert replaces the file with one in which the lines of binary parts also
// end in LF. These parts contain no bare LF, so no information is lost, and
// other programs can read the file.
func (n *NewMessage) convert() error {
	r, err := n.folder.tmp.Open(n.name)
	if err != nil {
		return err
	}
	defer r.Close()
	name := maildir.Unique()
	file, err := n.folder.tmp.Create(name, 0o600)
	if err != nil {
		return err
	}
	old, oldName := n.file, n.name
	n.file, n.name = file, name
	n.lf.Reset(file)
	n.lf.ConvertAll()
	_, err = io.Copy(n.lf, r)
	return errors.Join(err, n.lf.Flush(), old.Close(), n.folder.tmp.Remove(oldName))
}

// base returns the message's final base name.
func (n *NewMessage) base() string {
	name := n.name
	if n.as != "" {
		name = n.as
	}
	return maildir.WithSizes(name, n.size, n.wire)
}

// Discard removes a message that has not been appended.
func (n *NewMessage) Discard() {
	if !n.closed {
		n.shut()
	}
	n.folder.tmp.Remove(n.name)
}

// deliver moves a message into new, as delivery agents do: it syncs the file,
// moves it, and syncs the directory. The folder's next Sync assigns the UID.
// Concurrent deliveries share a directory sync.
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
		// The sender will retry. Remove the file, which may not be durable, so
		// that it does not become a duplicate.
		f.new.Remove(base)
		return err
	}
	f.box.quota.add(n.size, 1)
	// The directory's timestamp may be the same as at the last Sync.
	f.fresh.Store(true)
	if f.watchers.any() {
		f.box.store.watch.look(f, 0)
	}
	return nil
}
