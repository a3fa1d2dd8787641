package maildrop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"hoplite/maildrop/maildir"
)

// File is a message's open file as stored, usually with LF line endings. Its
// sizes were verified on the open file, so a literal of size Wire can be sent
// in full even if the file name or the index is wrong.
type File struct {
	// Size is the number of octets in the file, and Wire the number with CRLF
	// line endings.
	Size, Wire int64

	file   *os.File
	block  *[confirmBlock]byte // the whole file, if it was read to verify Wire
	folder *Folder
	msg    *Message
	doubt  bool
}

// confirmBlock is the maximum size of a file that is read at once to verify its
// CRLF size.
const confirmBlock = 64 << 10

var confirmBlocks = sync.Pool{New: func() any { return new([confirmBlock]byte) }}

// Open opens a message's file. It returns ErrNoMessage if the message has been
// expunged, and ErrUnreadable if the file cannot be read.
func (f *Folder) Open(m *Message) (File, error) {
	of := File{folder: f, msg: m}
	file, st, err := f.in(fileOf(m)).OpenStat(m.File)
	if isNot(err) {
		// The file has been renamed.
		if file, st, err = f.reopen(m, f.snap.Load()); isNot(err) {
			return File{}, ErrNoMessage
		}
	}
	if err != nil {
		return File{}, of.unreadable(err)
	}
	of.file = file
	if err := of.confirm(st); err != nil {
		of.dropBlock()
		file.Close()
		return File{}, of.unreadable(err)
	}
	return of, nil
}

// unreadable returns the error for a file that cannot be opened or read. Unless
// the process is out of resources, the error concerns only this message, and
// the file's name is logged.
func (of *File) unreadable(err error) error {
	f, m := of.folder, of.msg
	if noResources(err) {
		return fmt.Errorf("open message %d: %w", m.UID, err)
	}
	store, path := f.box.store, f.in(fileOf(m)).Path()+"/"+m.File
	store.unreadable.Line(path, store.log.Warn()).Err(err).Str("file", path).Msg("message file cannot be read")
	return fmt.Errorf("message %d: %w: %w", m.UID, ErrUnreadable, err)
}

// confirm sets the sizes. Sizes counted earlier remain valid while the file's
// size and time are unchanged; otherwise they are counted again.
func (of *File) confirm(st maildir.Stat) error {
	m := of.msg
	if m.Exact && st.Size == m.Size && st.MTime.Unix() == m.Date {
		of.Size, of.Wire = m.Size, m.Wire
		return nil
	}
	if st.Size < confirmBlock {
		of.block = confirmBlocks.Get().(*[confirmBlock]byte)
		n, err := of.file.ReadAt(of.block[:], 0)
		if err == io.EOF {
			of.Size, of.Wire = int64(n), maildir.WireLen(of.block[:n])
			return nil
		}
		if err != nil {
			return err
		}
		of.dropBlock() // the file has grown
	}
	var err error
	of.Size, of.Wire, err = maildir.WireSize(io.NewSectionReader(of.file, 0, 1<<62))
	return err
}

func (of *File) dropBlock() {
	if of.block != nil {
		confirmBlocks.Put(of.block)
		of.block = nil
	}
}

// ReadAt implements io.ReaderAt.
func (of *File) ReadAt(p []byte, off int64) (int, error) {
	if of.block == nil {
		n, err := of.file.ReadAt(p, off)
		if err != nil && err != io.EOF {
			err = of.unreadable(err)
		}
		return n, err
	}
	if off >= of.Size {
		return 0, io.EOF
	}
	n := copy(p, of.block[off:of.Size])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Doubt records that the file changed while it was read and yielded fewer
// octets than announced. Close then measures the message again.
func (of *File) Doubt() { of.doubt = true }

// Close closes the file. If the folder had recorded other sizes, Close corrects
// them for the next snapshot.
func (of *File) Close() error {
	f, m := of.folder, of.msg
	switch {
	case of.doubt || of.Size != m.Size || of.Wire != m.Wire:
		f.mu.Lock()
		f.finishDates()
		f.remeasure(m.UID)
		f.mu.Unlock()
	case !m.Exact && of.block == nil && f.mu.TryLock():
		// Record the result, so that a large file is counted only once.
		f.finishDates()
		if i, ok := f.known.Find(m.UID); ok && f.known.Messages[i].Base() == m.Base() {
			f.counted(i, of.Size, of.Wire)
		}
		f.mu.Unlock()
	}
	of.dropBlock()
	return of.file.Close()
}

// Head reads the beginning of a message as stored into b and returns the number
// of octets read. It returns ErrNoMessage if the message has been expunged.
func (f *Folder) Head(m *Message, b []byte) (int, error) {
	n, err := f.in(fileOf(m)).ReadHead(m.File, b)
	if err == nil {
		return n, nil
	}
	if !isNot(err) {
		file := File{folder: f, msg: m}
		return 0, file.unreadable(err)
	}
	file, err := f.Open(m)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if n, err = file.ReadAt(b, 0); err != nil && err != io.EOF {
		return 0, err
	}
	return n, nil
}

// Reader reads a message with CRLF line endings. It returns exactly Size
// octets, even if another program changes the file while it is being read. It
// must be closed after use.
type Reader struct {
	crlf *maildir.CRLFReader
	file File
	left int64
}

var crlfPool = sync.Pool{New: func() any { return maildir.NewCRLFReader(nil) }}

// Read opens a message for reading with CRLF line endings.
func (f *Folder) Read(m *Message) (*Reader, error) {
	file, err := f.Open(m)
	if err != nil {
		return nil, err
	}
	r := &Reader{crlf: crlfPool.Get().(*maildir.CRLFReader), file: file, left: file.Wire}
	r.crlf.Reset(io.NewSectionReader(&r.file, 0, file.Size))
	return r, nil
}

// Size returns the total number of octets that the reader returns.
func (r *Reader) Size() int64 { return r.file.Wire }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.left)]
	n, err := r.crlf.Read(p)
	if err == io.EOF {
		// The file was truncated after it was opened.
		r.file.Doubt()
		for i := range p[n:] {
			p[n+i] = ' '
		}
		n, err = len(p), nil
	}
	r.left -= int64(n)
	return n, err
}

// WriteTo implements io.WriterTo.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	n, err := r.crlf.WriteTo(&limited{w: w, left: r.left})
	r.left -= n
	if err == errLimit {
		r.file.Doubt()
		return n, nil
	}
	if err != nil || r.left == 0 {
		return n, err
	}
	// Read pads the message to its full size.
	more, err := io.Copy(w, struct{ io.Reader }{r})
	return n + more, err
}

// limited writes the first left octets and then returns errLimit.
type limited struct {
	w    io.Writer
	left int64
}

var errLimit = errors.New("more octets than announced")

func (l *limited) Write(p []byte) (int, error) {
	over := int64(len(p)) > l.left
	n, err := l.w.Write(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err == nil && over {
		err = errLimit
	}
	return n, err
}

// Close closes the file.
func (r *Reader) Close() error {
	r.crlf.Reset(nil)
	crlfPool.Put(r.crlf)
	return r.file.Close()
}

// finishDates completes the look-up of dates. The caller holds f.mu.
func (f *Folder) finishDates() {
	d := f.dates
	if d == nil {
		return
	}
	d.Wait()
	f.dates = nil
	for _, uid := range d.wrong {
		f.remeasure(uid)
	}
}

// remeasure counts a message's octets again. The caller holds f.mu.
func (f *Folder) remeasure(uid uint32) {
	i, ok := f.known.Find(uid)
	if !ok {
		return
	}
	was := f.known.Messages[i]
	size, wire, err := f.measure(was)
	if err != nil {
		return
	}
	if size != was.Size || wire != was.Wire {
		f.box.store.log.Warn().Str("folder", f.dir.Path()).Str("file", was.File).Int64("was", was.Size).Int64("size", size).
			Msg("message size differs from its file name or the index")
		f.index.items.drop([]uint32{uid})
	}
	f.counted(i, size, wire)
}

// counted records the counted sizes of the i-th message.
func (f *Folder) counted(i int, size, wire int64) {
	next := *f.known.Messages[i]
	next.Size, next.Wire, next.Exact = size, wire, true
	if next != *f.known.Messages[i] {
		f.publish(f.known.Describe(i, &next))
	}
}

// Cached returns the bytes stored for m by Keep, or nil. Their meaning is up to
// the server, which stores pre-rendered ENVELOPE and BODYSTRUCTURE, offsets,
// and sort and thread keys. The caller must not modify them. They may be lost
// at any time, and should start with a version number of the server's format.
func (f *Folder) Cached(m *Message) []byte { return f.index.items.get(m.UID) }

// Keep stores bytes for m, in memory and on disk, until m is expunged. The
// caller must not modify them afterwards.
func (f *Folder) Keep(m *Message, item []byte) { f.index.items.put(m.UID, item) }
