package wire

import (
	"bytes"
	"encoding/binary"
	"io"
)

// lines is the writer between a decoder and the spool. It counts octets, checks
// line endings, and converts them if fix is set. After a defect it stops
// writing but continues checking, so that the reported defect does not depend
// on how the message was split into segments.
type lines struct {
	w    io.Writer
	max  int64
	fix  bool
	body Body
	err  error // from w
	seen int64 // octets received

	nul, bareCR, bareLF bool

	cr   bool // the previous octet was CR
	kept bool // with fix: CRs held back until the next octet is known
	line int  // octets in the current line so far
}

// Write never returns an error; see close.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	if n == 0 {
		return 0, nil
	}
	l.seen += int64(n)
	if l.err != nil || l.tooLarge() {
		return n, nil
	}
	if !l.body.EightBit {
		l.body.EightBit = eightBit(p)
	}
	clean := l.measure(p)
	switch {
	case l.fix && clean:
		l.emitHeld(p)
	case l.fix:
		l.body.Fixed = true
		l.convert(p)
	case l.defect() == nil:
		l.emit(p)
	}
	return n, nil
}

// tooLarge reports whether the message exceeds its limit.
func (l *lines) tooLarge() bool {
	size := l.seen
	if l.fix {
		size = l.body.Size
	}
	return l.max > 0 && size > l.max
}

// defect returns the error for the defects found so far, or nil.
func (l *lines) defect() error {
	switch {
	case l.fix:
		return nil
	case l.nul:
		return ErrNUL
	case l.bareCR:
		return ErrBareCR
	case l.bareLF:
		return ErrBareLF
	}
	return nil
}

// emitHeld writes p, which needs no conversion. It holds back a trailing CR,
// whose meaning depends on the next octet.
func (l *lines) emitHeld(p []byte) {
	if l.kept {
		l.emit([]byte("\r")) // p begins with its LF
	}
	if p, l.kept = bytes.CutSuffix(p, []byte("\r")); len(p) > 0 {
		l.emit(p)
	}
}

// measure records the lengths and the defects of the lines in p, and reports
// whether p has no defect.
func (l *lines) measure(p []byte) (clean bool) {
	clean = true
	before := l.cr // the last octet before p was CR
	crs := bytes.Count(p, []byte{'\r'})
	pos := 0
	for {
		i := bytes.IndexByte(p[pos:], '\n')
		if i < 0 {
			break
		}
		end := pos + i
		switch {
		case end > 0 && p[end-1] == '\r':
			crs--
			l.long(l.line + i - 1)
		case end == 0 && before:
			l.long(l.line - 1)
		default:
			clean, l.bareLF = false, true
			l.long(l.line + i)
		}
		l.line = 0
		pos = end + 1
	}
	l.line += len(p) - pos
	if before && p[0] != '\n' {
		crs++ // that CR was bare
	}
	if l.cr = p[len(p)-1] == '\r'; l.cr {
		crs-- // not yet known to be bare
		l.long(l.line - 1)
	} else {
		l.long(l.line)
	}
	if bytes.IndexByte(p, 0) >= 0 {
		clean, l.nul = false, true
	}
	if crs != 0 {
		clean, l.bareCR = false, true
	}
	return clean
}

func (l *lines) long(n int) { l.body.LongLine = max(l.body.LongLine, n) }

// convert writes p with every line ending as CRLF. Other CRs become one space.
func (l *lines) convert(p []byte) {
	out := make([]byte, 0, len(p)+len(p)/16+16)
	for _, b := range p {
		if b == '\r' {
			l.kept = true
			continue
		}
		if b == '\n' {
			out = append(out, '\r', '\n')
			l.kept = false
			continue
		}
		if l.kept {
			out = append(out, ' ')
			l.kept = false
		}
		if b == 0 {
			b = ' '
		}
		out = append(out, b)
	}
	if len(out) > 0 {
		l.emit(out)
	}
}

func (l *lines) emit(p []byte) {
	if l.body.Size += int64(len(p)); l.tooLarge() {
		return
	}
	if _, err := l.w.Write(p); err != nil {
		l.err = err
	}
}

// close ends the message and returns the error for its defects. BDAT permits a
// last line without a line ending; close adds it, because later stages rely on
// it. DKIM signatures stay valid (RFC 6376, 3.4.3).
func (l *lines) close() error {
	if l.cr {
		l.bareCR, l.body.Fixed = true, l.fix
	}
	switch {
	case l.err != nil:
		return l.err
	case l.tooLarge():
		return ErrTooLarge
	case l.defect() != nil:
		return l.defect()
	}
	if l.line > 0 || l.cr {
		n, err := l.w.Write([]byte("\r\n"))
		l.body.Size += int64(n)
		return err
	}
	return nil
}

func eightBit(p []byte) bool {
	for len(p) >= 8 {
		if binary.LittleEndian.Uint64(p)&0x8080808080808080 != 0 {
			return true
		}
		p = p[8:]
	}
	for _, b := range p {
		if b >= 0x80 {
			return true
		}
	}
	return false
}
