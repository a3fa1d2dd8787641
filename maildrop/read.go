package maildrop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"hoplite/maildrop/maildir"
)

// File is the open file of a message as it is stored, mostly with LF line
// ends. Its sizes are those of the open file, whatever its name or the index
// say, so that a literal that announces Wire can be sent in full.
type File struct {
	// Size is the number of octets in the file, Wire the number once every
	// line ends in CRLF.
	Size, Wire int64

	file   *os.File
	block  *[confirmBlock]byte // the whole file, if it was read to confirm Wire
	folder *Folder
	msg    *Message
	doubt  bool
}

// confirmBlock is the size of the files that are read in one go to confirm
// their CRLF size.
const confirmBlock = 64 << 10

var confirmBlocks = sync.Pool{New: func() any { return new([confirmBlock]byte) }}

// Open opens the file of a message. If the message was expunged, it returns
// ErrNoMessage.
func (f *Folder) Open(m *Message) (File, error) {
	file, st, err := f.in(fileOf(m)).OpenStat(m.File)
	if isNot(err) {
		// Renamed meanwhile, by us or by others.
		if file, st, err = f.reopen(m, f.snap.Load()); isNot(err) {
			return File{}, ErrNoMessage
		}
	}
	if err != nil {
		return File{}, fmt.Errorf("open message %d: %w", m.UID, err)
	}
	of := File{file: file, folder: f, msg: m}
	if err := of.confirm(st); err != nil {
		of.Close()
		return File{}, fmt.Errorf("read message %d: %w", m.UID, err)
	}
	return of, nil
}

// confirm sets the sizes. Sizes that were counted earlier hold as long as size
// and time of the file are unchanged; others are counted now.
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
		of.dropBlock() // it grew since
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
		return of.file.ReadAt(p, off)
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

// Doubt marks the file as changed while it was being read: less than the
// announced octets came out of it. Close then has the message measured again.
func (of *File) Doubt() { of.doubt = true }

// Close closes the file. If the folder remembered other sizes, it corrects
// them, so that the next snapshot has the right ones.
func (of *File) Close() error {
	f, m := of.folder, of.msg
	switch {
	case of.doubt || of.Size != m.Size || of.Wire != m.Wire:
		f.mu.Lock()
		f.dated()
		f.remeasure(m.UID)
		f.mu.Unlock()
	case !m.Exact && of.block == nil && f.mu.TryLock():
		// Counting a large file once is enough.
		f.dated()
		if i, ok := f.known.Find(m.UID); ok && f.known.Messages[i].Base() == m.Base() {
			f.counted(i, of.Size, of.Wire)
		}
		f.mu.Unlock()
	}
	of.dropBlock()
	return of.file.Close()
}

// Head reads the beginning of a message as it is stored into b, and returns how
// much of b it filled. For a message that was expunged it is ErrNoMessage.
func (f *Folder) Head(m *Message, b []byte) (int, error) {
	n, err := f.in(fileOf(m)).ReadHead(m.File, b)
	if !isNot(err) {
		return n, err
	}
	file, err := f.Open(m)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if n, err = file.ReadAt(b, 0); err == io.EOF {
		err = nil
	}
	return n, err
}

// Reader reads one message with CRLF line ends. It returns exactly Size
// octets, so that an announced length is kept even if another program changes
// the file in the meantime. Close it.
type Reader struct {
	crlf *maildir.CRLFReader
	file File
	left int64
}

var crlfPool = sync.Pool{New: func() any { return maildir.NewCRLFReader(nil) }}

// Read opens a message for reading with CRLF line ends.
func (f *Folder) Read(m *Message) (*Reader, error) {
	file, err := f.Open(m)
	if err != nil {
		return nil, err
	}
	r := &Reader{crlf: crlfPool.Get().(*maildir.CRLFReader), file: file, left: file.Wire}
	r.crlf.Reset(io.NewSectionReader(&r.file, 0, file.Size))
	return r, nil
}

// Size returns how many octets the reader returns in all.
func (r *Reader) Size() int64 { return r.file.Wire }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.left)]
	n, err := r.crlf.Read(p)
	if err == io.EOF {
		// The file lost its end since it was opened.
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
	// Read fills up what is missing.
	more, err := io.Copy(w, struct{ io.Reader }{r})
	return n + more, err
}

// limited writes the first left octets and then fails with errLimit.
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

// dated sees to it that the dates of all messages are known. f.mu is held.
func (f *Folder) dated() {
	d := f.dating
	if d == nil {
		return
	}
	d.Wait()
	f.dating = nil
	for _, uid := range d.wrong {
		f.remeasure(uid)
	}
}

// remeasure counts a message's octets again. f.mu is held.
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
			Msg("message has another size than its name or the index says")
		f.index.items.drop([]uint32{uid})
	}
	f.counted(i, size, wire)
}

// counted remembers the sizes of the i-th message as counted ones.
func (f *Folder) counted(i int, size, wire int64) {
	next := *f.known.Messages[i]
	next.Size, next.Wire, next.Exact = size, wire, true
	if next != *f.known.Messages[i] {
		f.publish(f.known.Describe(i, &next))
	}
}

// Cached returns the bytes that a server kept for m with Keep, or nil. What
// they mean is up to the server: pre-rendered ENVELOPE and BODYSTRUCTURE,
// offsets, sort and thread keys. They must not be changed. They may be lost at
// any time, and begin with the version of the server's format for that reason.
func (f *Folder) Cached(m *Message) []byte { return f.index.items.get(m.UID) }

// Keep keeps bytes for m, in memory and on disk, until m is expunged. They
// must not be changed afterwards.
func (f *Folder) Keep(m *Message, item []byte) { f.index.items.put(m.UID, item) }
