package imap

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"unicode/utf8"

	"hoplite/imap/summary"
	"hoplite/mail/mime"
)

// maxInMemory is the maximum size of messages that are read into memory for a
// search; larger messages are read in pieces.
const maxInMemory = 1 << 20

var messageBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// readTexts reads the message once and records which of the query's BODY and
// TEXT keys it contains. It skips attachments that are not text and parts in an
// unknown transfer encoding.
func (c *candidate) readTexts() error {
	c.found = append(c.found[:0], make([]bool, len(c.q.texts))...)
	c.read = true
	src, err := c.open()
	if err != nil {
		return err
	}
	var file io.ReaderAt = &src.file
	if size := src.file.Size; size <= maxInMemory {
		buf := messageBuffers.Get().(*[]byte)
		defer messageBuffers.Put(buf)
		if int64(cap(*buf)) < size {
			*buf = make([]byte, size)
		}
		b := (*buf)[:size]
		n, err := src.file.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return err
		}
		file = bytes.NewReader(b[:n])
	}
	t, err := mime.Walk(io.NewSectionReader(file, 0, 1<<62))
	if err != nil {
		return err
	}
	finder := finder{candidate: c, file: file}
	return finder.part(t.Root)
}

// finder searches the parts of one message for the query's texts.
type finder struct {
	*candidate
	file   io.ReaderAt
	folded []byte // buffer
}

// maxShrink is the maximum factor by which folding shortens text: mathematical
// letters of four octets become one.
const maxShrink = 4

// part searches a part's header and text, and its subparts.
func (f *finder) part(p *mime.Part) error {
	f.header(p)
	if len(p.Children) == 0 && (p.Type == "text" || p.Type == "message") {
		raw := io.NewSectionReader(f.file, p.Body.From.Off, p.Body.Size())
		if r, known := mime.Decoder(p.Encoding, raw); known {
			if err := f.text(mime.CharsetReader(p.Charset(), r)); err != nil {
				return err
			}
		}
	}
	for _, c := range p.Children {
		if err := f.ctx.Err(); err != nil {
			return errSearchLimit
		}
		if err := f.part(c); err != nil {
			return err
		}
	}
	return nil
}

// header searches a header for TEXT keys, and the headers of attached messages
// for BODY keys as well.
func (f *finder) header(p *mime.Part) {
	var text []byte
	for field := range mime.Fields(p.Raw) {
		text = append(text, summary.Fold(mime.DecodeWords(string(field.Name)+": "+field.Unfolded()))...)
		text = append(text, '\n')
	}
	attached := p.Parent != nil && p.IsMessage()
	for i, n := range f.q.texts {
		if !f.found[i] && (n.headers || attached) {
			f.found[i] = bytes.Contains(text, n.needle)
		}
	}
}

// textWindow is the amount of decoded text searched in one step. Each buffer in
// textBuffers holds one window and the end of the previous one.
const textWindow = 32 << 10

var textBuffers = sync.Pool{New: func() any { b := make([]byte, textWindow+8<<10); return &b }}

// text searches a decoded text for all keys.
func (f *finder) text(r io.Reader) error {
	buf := textBuffers.Get().(*[]byte)
	defer textBuffers.Put(buf)
	keep := utf8.UTFMax - 1 // a character may be split between windows
	for _, n := range f.q.texts {
		keep = max(keep, maxShrink*len(n.needle)+utf8.UTFMax-1)
	}
	if len(*buf) < keep+textWindow {
		*buf = make([]byte, keep+textWindow)
	}
	have := 0
	for {
		n, err := io.ReadFull(r, (*buf)[have:have+textWindow])
		have += n
		f.look((*buf)[:have])
		if err != nil {
			return nil // end of the text, or an encoding error
		}
		if f.ctx.Err() != nil {
			return errSearchLimit
		}
		if f.foundAll() {
			return nil
		}
		have = copy(*buf, (*buf)[max(have-keep, 0):have])
	}
}

func (f *finder) foundAll() bool { return !slices.Contains(f.found, false) }

// look folds a piece of text, in place if it is ASCII, and searches it for the
// keys that have not been found yet.
func (f *finder) look(text []byte) {
	folded := lowerASCII(text)
	if folded == nil {
		f.folded = summary.AppendFold(f.folded[:0], text)
		folded = f.folded
	}
	for i, n := range f.q.texts {
		if !f.found[i] {
			f.found[i] = bytes.Contains(folded, n.needle)
		}
	}
}

// lowerASCII folds text in place. It returns nil if the text is not pure ASCII.
func lowerASCII(text []byte) []byte {
	for i, c := range text {
		if c >= utf8.RuneSelf {
			return nil
		}
		if c-'A' < 26 {
			text[i] = c + 'a' - 'A'
		}
	}
	return text
}
