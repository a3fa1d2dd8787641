package imap

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"hoplite/imap/wire"
	"hoplite/mail/mime"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// source is a message's open file, with the data read from it so far.
type source struct {
	file   maildrop.File
	memo   *positions // set for a large message
	tree   *mime.Tree // set once a part has been requested
	header []byte     // set once the header has been requested
	ended  bool       // header is complete
	read   int64      // octets read from the file
	sent   int64      // octets sent to the client
}

// ReadAt reads from the file.
func (s *source) ReadAt(b []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(b, off)
	s.read += int64(n)
	return n, err
}

func openMessage(folder *maildrop.Folder, m *maildrop.Message) (*source, error) {
	file, err := folder.Open(m)
	if err != nil {
		return nil, err
	}
	return &source{file: file}, nil
}

func (s *source) close() { s.file.Close() }

// walk returns the message's structure.
func (s *source) walk() (*mime.Tree, error) {
	if s.tree == nil && s.memo != nil {
		s.tree = s.memo.tree
	}
	if s.tree == nil {
		t, err := mime.Walk(io.NewSectionReader(s, 0, 1<<62))
		if err != nil {
			return nil, err
		}
		s.tree = t
		if s.memo != nil {
			s.memo.tree = t
		}
	}
	return s.tree, nil
}

// head returns the header as stored, including the empty line. Most headers are
// short, so one read is enough.
func (s *source) head() ([]byte, error) {
	if s.header != nil {
		return s.header, nil
	}
	for size := 8 << 10; ; size *= 4 {
		buf := make([]byte, size)
		n, err := s.ReadAt(buf, 0)
		if err != nil && err != io.EOF {
			return nil, err
		}
		buf = buf[:n]
		if end := headerEnd(buf); end >= 0 || err == io.EOF || size > mime.MaxHeader {
			if end >= 0 {
				buf = buf[:end]
			}
			s.header, s.ended = buf, end >= 0 || err == io.EOF
			return s.header, nil
		}
	}
}

// headerEnd returns the offset of the body, or -1 if b contains no empty line.
func headerEnd(b []byte) int {
	for i := 0; i < len(b); {
		switch {
		case b[i] == '\n':
			return i + 1
		case b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n':
			return i + 2
		}
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
	}
	return -1
}

// piece is text to send: octets in memory, or a span of the file.
type piece struct {
	size int64 // with CRLF line endings
	mem  []byte
	src  *source
	span mime.Span
}

// noNUL replaces NULs with 0x80, as Dovecot does, because a literal cannot
// contain NULs (RFC 9051, 4.3). BINARY returns them unchanged.
type noNUL struct{ w io.Writer }

func (n noNUL) Write(b []byte) (int, error) {
	if bytes.IndexByte(b, 0) >= 0 {
		b = bytes.ReplaceAll(b, []byte{0}, []byte{0x80})
	}
	return n.w.Write(b)
}

var crlfReaders = sync.Pool{New: func() any { return maildir.NewCRLFReader(nil) }}

// send writes n octets of the piece, starting at off. The length has already
// been announced, so the session ends if fewer octets are available.
func (p *piece) send(to io.Writer, off, n int64) error {
	w := noNUL{to}
	if p.src == nil {
		_, err := w.Write(p.mem[off : off+n])
		return err
	}
	p.src.sent += n
	err := p.sendFile(w, off, n)
	// If the file is shorter than its recorded size, it was changed after it
	// was opened.
	if errors.Is(err, io.ErrUnexpectedEOF) {
		p.src.file.Doubt()
	}
	return err
}

func (p *piece) sendFile(w io.Writer, off, n int64) error {
	from, end := p.span.From.Off, p.span.To.Off
	if p.span.Size() == p.size {
		// The file also has CRLF line endings, so its offsets are the same.
		return copySpan(w, io.NewSectionReader(p.src, from+off, end-from-off), 0, n)
	}
	c := crlfReaders.Get().(*maildir.CRLFReader)
	defer crlfReaders.Put(c)
	defer c.Reset(nil)
	if off == 0 && n == p.size {
		c.Reset(io.NewSectionReader(p.src, from, end-from))
		sent, err := c.WriteTo(w)
		if err == nil && sent != n {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return errors.Join(errBye, err)
		}
		return nil
	}
	if p.src.memo != nil {
		at, err := p.src.memo.seek(p.src, p.span.From.Wire()+off)
		if err != nil {
			return errors.Join(errBye, err)
		}
		if at.file > from {
			off -= at.wire - p.span.From.Wire()
			from = at.file
		}
	}
	c.Reset(io.NewSectionReader(p.src, from, end-from))
	return copySpan(w, c, off, n)
}

func (s *source) span(sp mime.Span) *piece {
	return &piece{size: sp.WireSize(), src: s, span: sp}
}

// section returns the piece requested by BODY[...], or nil if the part does not
// exist.
func (s *source) section(it *wire.Item) (*piece, error) {
	if len(it.Path) == 0 && it.Text == wire.Whole {
		whole := mime.Span{To: mime.Mark{Off: s.file.Size, Bare: s.file.Wire - s.file.Size}}
		return s.span(whole), nil
	}
	if len(it.Path) == 0 && it.Text != wire.Text {
		h, err := s.head()
		if err != nil {
			return nil, err
		}
		if s.ended {
			return headerPiece(h, it), nil
		}
	}
	t, err := s.walk()
	if err != nil {
		return nil, err
	}
	part := t.Find(it.Path...)
	if part == nil {
		return nil, nil
	}
	switch {
	case it.Text == wire.Whole:
		return s.span(part.Body), nil
	case it.Text == wire.MIME:
		return s.span(part.Header), nil
	case len(it.Path) > 0:
		// HEADER and TEXT of a part refer to the message that it contains.
		if part = part.Message(); part == nil {
			return nil, nil
		}
	}
	switch it.Text {
	case wire.Text:
		return s.span(part.Body), nil
	case wire.Header:
		return s.span(part.Header), nil
	}
	return headerPiece(part.Raw, it), nil
}

// headerPiece returns a header, or only the fields selected by the item, with
// CRLF line endings and the empty line.
func headerPiece(h []byte, it *wire.Item) *piece {
	out := make([]byte, 0, len(h)+len(h)/16)
	if it.Text == wire.Header {
		out = appendCRLF(out, h)
		return &piece{size: int64(len(out)), mem: out}
	}
	for f := range mime.Fields(h) {
		named := slices.ContainsFunc(it.Fields, func(n string) bool { return f.Is(n) })
		if named == (it.Text == wire.HeaderFields) && len(f.Name) > 0 {
			out = appendCRLF(out, f.Raw)
			if !bytes.HasSuffix(out, []byte("\n")) {
				out = append(out, "\r\n"...)
			}
		}
	}
	out = append(out, "\r\n"...)
	return &piece{size: int64(len(out)), mem: out}
}

// appendCRLF appends text with CRLF line endings.
func appendCRLF(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return append(dst, text...)
		}
		line := text[:i]
		if i > 0 && line[i-1] == '\r' {
			line = line[:i-1]
		}
		dst = append(append(dst, line...), "\r\n"...)
		text = text[i+1:]
	}
}

// binaryPart returns the part selected by BINARY[...], or nil for the whole
// message.
func (s *source) binaryPart(path []int) (*mime.Part, error) {
	if len(path) == 0 {
		return nil, nil
	}
	t, err := s.walk()
	if err != nil {
		return nil, err
	}
	return t.Find(path...), nil
}

// checkBinary returns an error if the part's transfer encoding is unknown.
func (s *source) checkBinary(path []int) error {
	part, err := s.binaryPart(path)
	if err != nil {
		return err
	}
	if part == nil {
		return nil
	}
	if _, known := mime.Decoder(part.Encoding, strings.NewReader("")); !known {
		return nof("[UNKNOWN-CTE] Unknown transfer encoding")
	}
	return nil
}

// decoded returns a reader for a part with its transfer encoding removed. file
// is the message's file. A nonexistent part is empty.
func (s *source) decoded(file io.ReaderAt, path []int) (io.Reader, error) {
	part, err := s.binaryPart(path)
	if err != nil {
		return nil, err
	}
	if part == nil {
		if len(path) > 0 {
			return strings.NewReader(""), nil
		}
		return maildir.NewCRLFReader(io.NewSectionReader(file, 0, s.file.Size)), nil
	}
	stored := io.NewSectionReader(file, part.Body.From.Off, part.Body.Size())
	if strings.EqualFold(part.Encoding, "binary") && s.asReceived(part) {
		return stored, nil
	}
	raw := maildir.NewCRLFReader(stored)
	if part.Type == "multipart" || part.Message() != nil {
		return raw, nil // never encoded (RFC 2045, 6.4)
	}
	r, _ := mime.Decoder(part.Encoding, raw)
	return r, nil
}

// asReceived reports whether a part's line endings were left unconverted. In
// that case its header ends with CRLF; see maildir.LFWriter.
func (s *source) asReceived(part *mime.Part) bool {
	var b [2]byte
	off := part.Body.From.Off - int64(len(b))
	if off < 0 {
		return false
	}
	n, _ := s.file.ReadAt(b[:], off)
	return n == len(b) && string(b[:]) == "\r\n"
}

// binarySize counts the decoded octets and reports whether any of them is NUL.
func (s *source) binarySize(path []int) (n int64, nul bool, err error) {
	if s.memo != nil {
		if known, ok := s.memo.binary(path); ok {
			return known.n, known.nul, nil
		}
	}
	r, err := s.decoded(s, path)
	if err != nil {
		return 0, false, err
	}
	c := counter{}
	if _, err = io.Copy(&c, r); err == nil && s.memo != nil {
		s.memo.setBinary(path, c)
	}
	return c.n, c.nul, err
}

// counter counts the octets written to it.
type counter struct {
	n   int64
	nul bool
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	c.nul = c.nul || bytes.IndexByte(b, 0) >= 0
	return len(b), nil
}
