package maildrop

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"hoplite/maildrop/maildir"
)

// Open opens the file of a message, as it is stored: with LF line ends, mostly.
// A message that was expunged is ErrNoMessage.
func (f *Folder) Open(m *Message) (*os.File, error) {
	file, err := f.in(found{m.File, m.New}).Open(m.File)
	if isNot(err) {
		// Renamed meanwhile, by us or by others.
		if file, err = f.reopen(m); isNot(err) {
			return nil, ErrNoMessage
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open message %d: %w", m.UID, err)
	}
	return file, nil
}

// Head reads the beginning of a message as it is stored into b, and returns how
// much of b it filled. For a message that was expunged it is ErrNoMessage.
func (f *Folder) Head(m *Message, b []byte) (int, error) {
	n, err := f.in(found{m.File, m.New}).ReadHead(m.File, b)
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

// reopen opens a file whose name m does not know any more.
func (f *Folder) reopen(m *Message) (*os.File, error) {
	if s := f.snap.Load(); s != nil {
		if i, ok := s.Find(m.UID); ok && s.Messages[i].Base() == m.Base() {
			now := s.Messages[i]
			if file, err := f.in(found{now.File, now.New}).Open(now.File); !isNot(err) {
				return file, err
			}
		}
	}
	at, ok := f.search(m.Base())
	if !ok {
		return nil, os.ErrNotExist
	}
	return f.in(at).Open(at.file)
}

// Reader reads one message with CRLF line ends: exactly Size octets, or an
// error, so that a length that was announced is kept. Close it.
type Reader struct {
	*maildir.CRLFReader
	folder *Folder
	uid    uint32
	file   *os.File
	left   int64
	wrong  bool // the file has another size than we thought
}

var crlfPool = sync.Pool{New: func() any { return maildir.NewCRLFReader(nil) }}

// Read opens a message for reading as it goes over the wire, m.Wire octets.
func (f *Folder) Read(m *Message) (*Reader, error) {
	file, err := f.Open(m)
	if err != nil {
		return nil, err
	}
	c := crlfPool.Get().(*maildir.CRLFReader)
	c.Reset(file)
	return &Reader{CRLFReader: c, folder: f, uid: m.UID, file: file, left: m.Wire}, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.CRLFReader.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		r.wrong, err = true, io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	n, err := r.CRLFReader.WriteTo(&exact{w: w, left: r.left})
	r.left -= n
	if err == nil && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	r.wrong = r.wrong || err == io.ErrUnexpectedEOF
	return n, err
}

// exact ends with an error before more than left octets are written.
type exact struct {
	w    io.Writer
	left int64
}

func (e *exact) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}

// Close closes the file. A message that had another size than its name says
// is measured, so that it can be read the next time.
func (r *Reader) Close() error {
	if r.wrong {
		r.folder.mu.Lock()
		r.folder.dated()
		r.folder.remeasure(r.uid)
		r.folder.mu.Unlock()
	}
	r.CRLFReader.Reset(nil)
	crlfPool.Put(r.CRLFReader)
	return r.file.Close()
}

// remeasure reads a message to know its sizes. f.mu is held.
func (f *Folder) remeasure(uid uint32) {
	st := &f.state
	i, ok := st.find(uid)
	if !ok {
		return
	}
	next := *st.msgs[i]
	var err error
	if next.Size, next.Wire, err = f.measure(found{next.File, next.New}); err != nil || next == *st.msgs[i] {
		return
	}
	st.msgs = slices.Clone(st.msgs)
	st.msgs[i] = &next
	f.publish(change{added: []*Message{&next}})
}
