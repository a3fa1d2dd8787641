package mail

import (
	"bytes"
	"io"
)

// The values of Message.Repaired.
const (
	RepairedEnd  = "header ended at a line that is not a field: empty line added"
	RepairedMbox = "mbox From line renamed to X-Mailbox-Line"
)

// mailboxLine is the name of the field that replaces a leading mbox "From "
// line.
const mailboxLine = "X-Mailbox-Line: "

// repair returns a message whose header block consists only of fields. odd is
// the first line of block that is not a field. Without the repair, a first line
// that begins with white space would continue the field added above it, so that
// a client could extend our Received or Authentication-Results. Text that
// follows the header without an empty line would be parsed as part of the
// header.
//
// The header ends before such a line, where an empty line is inserted. If the
// first line is an mbox "From " line, it is renamed and the header continues.
func repair(base Content, block []byte, odd Field) (*Message, error) {
	if odd.Start == 0 && bytes.HasPrefix(odd.Raw, []byte("From ")) {
		renamed := patched(base, []byte(mailboxLine), 0)
		m, err := NewMessage(renamed)
		if err != nil {
			return nil, err
		}
		if m.Repaired != "" {
			m.Repaired = RepairedMbox + "; " + m.Repaired
		} else {
			m.Repaired = RepairedMbox
		}
		return m, nil
	}
	head := append(block[:odd.Start:odd.Start], "\r\n"...)
	m, err := NewMessage(patched(base, head, odd.Start))
	if err != nil {
		return nil, err
	}
	m.Repaired = RepairedEnd
	return m, nil
}

// patched returns front followed by the part of base that begins at offset
// skip.
func patched(base Content, front []byte, skip int64) Content {
	if b, ok := base.(Bytes); ok {
		return Bytes(append(append(make([]byte, 0, len(front)+len(b)), front...), b[skip:]...))
	}
	return &patch{front: front, base: base, skip: skip}
}

// patch is Content whose beginning has been replaced.
type patch struct {
	front []byte
	base  Content
	skip  int64
}

// Size returns the number of octets.
func (p *patch) Size() int64 { return int64(len(p.front)) + p.base.Size() - p.skip }

// ReadAt reads from both parts.
func (p *patch) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, io.EOF
	}
	if off < int64(len(p.front)) {
		if n = copy(b, p.front[off:]); n == len(b) {
			return n, nil
		}
	}
	k, err := p.base.ReadAt(b[n:], off+int64(n)-int64(len(p.front))+p.skip)
	return n + k, err
}

// CopyTo writes everything from offset off to the end.
func (p *patch) CopyTo(w io.Writer, off int64) (int64, error) {
	written := int64(0)
	if off < int64(len(p.front)) {
		n, err := w.Write(p.front[off:])
		if written = int64(n); err != nil {
			return written, err
		}
		off = int64(len(p.front))
	}
	rest := off - int64(len(p.front)) + p.skip
	if c, ok := p.base.(copier); ok {
		n, err := c.CopyTo(w, rest)
		return written + n, err
	}
	n, err := io.Copy(w, io.NewSectionReader(p.base, rest, p.base.Size()-rest))
	return written + n, err
}
