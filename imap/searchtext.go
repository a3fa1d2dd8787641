package imap

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"hoplite/imap/wire"
	"hoplite/mail/mime"
)

// foldText makes texts comparable without regard to case.
func foldText(s string) []byte { return []byte(strings.ToLower(s)) }

func upper(s string) string { return strings.ToUpper(s) }

// matchHeader looks for a field that contains the needle.
func (s *subject) matchHeader(n *node) (bool, error) {
	if n.find >= 0 {
		if err := s.entry(); err != nil {
			return false, err
		}
		return bytes.Contains(s.e.text(n.find), n.needle), nil
	}
	if err := s.open(); err != nil {
		return false, err
	}
	h, err := s.src.head()
	if err != nil {
		return false, err
	}
	for f := range mime.Fields(h) {
		if f.Is(n.field) && bytes.Contains(foldText(mime.DecodeWords(f.Unfolded())), n.needle) {
			return true, nil
		}
	}
	return false, nil
}

// maxWhole is the largest message that is searched in memory; larger ones are
// read in pieces.
const maxWhole = 1 << 20

var wholes = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// readTexts goes through the message once and notes which of the query's
// BODY and TEXT keys it holds. Text in attachments that are no text, and in
// unknown encodings, is not looked at.
func (s *subject) readTexts() error {
	s.texts = make([]bool, len(s.q.texts))
	if err := s.open(); err != nil {
		return err
	}
	var at io.ReaderAt = &s.src.file
	if size := s.src.file.Size; size <= maxWhole {
		whole := wholes.Get().(*[]byte)
		defer wholes.Put(whole)
		if int64(cap(*whole)) < size {
			*whole = make([]byte, size)
		}
		b := (*whole)[:size]
		n, err := s.src.file.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return err
		}
		at = bytes.NewReader(b[:n])
	}
	t, err := mime.Walk(io.NewSectionReader(at, 0, 1<<62))
	if err != nil {
		return err
	}
	finder := finder{sub: s, at: at}
	return finder.part(t.Root)
}

// finder looks for the query's texts in the parts of one message.
type finder struct {
	sub *subject
	at  io.ReaderAt
}

// part looks into a part's header and text, and into the parts below.
func (f *finder) part(p *mime.Part) error {
	f.header(p)
	if len(p.Children) == 0 && (p.Type == "text" || p.Type == "message") {
		raw := io.NewSectionReader(f.at, p.Body.From.Off, p.Body.Size())
		if r, known := mime.Decoder(p.Encoding, raw); known {
			if err := f.text(mime.CharsetReader(p.Charset(), r)); err != nil {
				return err
			}
		}
	}
	for _, c := range p.Children {
		if err := f.sub.ctx.Err(); err != nil {
			return errSearchLimit
		}
		if err := f.part(c); err != nil {
			return err
		}
	}
	return nil
}

// header looks for TEXT keys in a header, and for BODY keys in those of
// messages inside the message.
func (f *finder) header(p *mime.Part) {
	var text []byte
	for field := range mime.Fields(p.Raw) {
		text = append(text, foldText(mime.DecodeWords(string(field.Name)+": "+field.Unfolded()))...)
		text = append(text, '\n')
	}
	for i, n := range f.sub.q.texts {
		if !f.sub.texts[i] && (n.op == wire.KeyText || p.Parent != nil && p.IsMessage()) {
			f.sub.texts[i] = bytes.Contains(text, n.needle)
		}
	}
}

// finds holds buffers for text: 32 KiB of it behind the end of what came before.
var finds = sync.Pool{New: func() any { b := make([]byte, 40<<10); return &b }}

// text looks for all keys in a decoded text.
func (f *finder) text(r io.Reader) error {
	buf := finds.Get().(*[]byte)
	defer finds.Put(buf)
	keep := 3 // a character may be cut in two
	for _, n := range f.sub.q.texts {
		keep = max(keep, len(n.needle)+3)
	}
	if need := keep + 32<<10; len(*buf) < need {
		*buf = make([]byte, need)
	}
	have := 0
	for {
		n, err := io.ReadFull(r, (*buf)[have:have+32<<10])
		have += n
		f.look((*buf)[:have])
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return nil // text that cannot be decoded any further has an end here
		}
		if f.sub.ctx.Err() != nil {
			return errSearchLimit
		}
		if f.all() {
			return nil
		}
		from := max(have-keep, 0)
		have = copy(*buf, (*buf)[from:have])
	}
}

func (f *finder) all() bool {
	for _, hit := range f.sub.texts {
		if !hit {
			return false
		}
	}
	return true
}

// look folds a piece of text in place where it is ASCII, else in a copy, and
// looks for the keys that were not found yet.
func (f *finder) look(text []byte) {
	folded := lowerASCII(text)
	if folded == nil {
		folded = bytes.ToLower(text)
	}
	for i, n := range f.sub.q.texts {
		if !f.sub.texts[i] {
			f.sub.texts[i] = bytes.Contains(folded, n.needle)
		}
	}
}

// lowerASCII folds text in place; nil when some of it is not ASCII.
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
