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

// NewMessage begins a message for this folder.
func (f *Folder) NewMessage() (*NewMessage, error) {
	name := maildir.Unique()
	file, err := f.tmp.Create(name, 0o600)
	if err != nil {
		return nil, fmt.Errorf("begin a message: %w", err)
	}
	lf := lfPool.Get().(*maildir.LFWriter)
	lf.Reset(file)
	return &NewMessage{folder: f, file: file, lf: lf, name: name}, nil
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

// Append puts messages into the folder, all or none (RFC 3502), durably, and
// returns them with their UIDs. They must come from this folder's NewMessage;
// after an error they are still the caller's to Discard.
func (f *Folder) Append(news ...*NewMessage) ([]*Message, *Snapshot, error) {
	var size, old int64
	for _, n := range news {
		if n.folder != f {
			return nil, nil, errors.New("message was begun for another folder")
		}
		if err := n.seal(); err != nil {
			return nil, nil, err
		}
		size += n.size
		old += n.old
	}
	if err := f.box.fits(size-old, int64(len(news))); err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return nil, nil, err
	}
	var items []incoming
	for _, n := range news {
		mask, err := f.keywordMask(n.Keywords, true)
		if err != nil {
			return nil, nil, err
		}
		items = append(items, incoming{
			message: Message{Flags: n.Flags, Keywords: mask, Size: n.size, Wire: n.wire, Exact: true, Date: n.Date.Unix(), Ext: n.ext},
			base:    n.base(),
			place:   func(name string) error { return f.tmp.Rename(n.name, f.cur, name) },
			undo:    func(name string) { f.cur.Rename(name, f.tmp, n.name) },
		})
	}
	msgs, err := f.place(items)
	if err != nil {
		return nil, nil, err
	}
	f.box.used(size, int64(len(news)))
	return msgs, f.snap.Load(), nil
}
