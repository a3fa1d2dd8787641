package wire

import (
	"bytes"
	"encoding/binary"
	"io"
)

// lines stands between a decoder and the spool: it counts, watches over line
// ends, and converts what is to be converted. After a defect nothing more is
// written, but everything is taken.
type lines struct {
	w    io.Writer
	max  int64
	fix  bool
	body Body
	err  error // the first defect
	seen int64 // octets that came

	cr   bool // the octet before was CR
	kept bool // with fix: CRs wait until it is known what follows them
	line int  // octets of the line so far
}

// Write never fails, see close.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	if n == 0 {
		return 0, nil
	}
	l.seen += int64(n)
	if l.err != nil {
		return n, nil
	}
	if !l.body.EightBit {
		l.body.EightBit = eightBit(p)
	}
	defect := l.measure(p)
	switch {
	case defect == nil && !l.fix:
		l.emit(p)
	case defect == nil:
		l.emitHeld(p)
	case l.fix:
		l.body.Fixed = true
		l.convert(p)
	default:
		l.err = defect
	}
	return n, nil
}

// emitHeld writes p, in which nothing is to be converted. A CR at its end is
// kept back: the octet behind it decides what it is.
func (l *lines) emitHeld(p []byte) {
	if l.kept {
		l.emit([]byte("\r")) // p begins with its LF
	}
	if p, l.kept = bytes.CutSuffix(p, []byte("\r")); len(p) > 0 {
		l.emit(p)
	}
}

// measure walks the lines of p and reports the first kind of defect.
func (l *lines) measure(p []byte) (defect error) {
	before := l.cr // a CR was the last octet of what came before
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
			defect = ErrBareLF
			l.long(l.line + i)
		}
		l.line = 0
		pos = end + 1
	}
	l.line += len(p) - pos
	if before && p[0] != '\n' {
		crs++ // that one was bare
	}
	if l.cr = p[len(p)-1] == '\r'; l.cr {
		crs-- // not known yet
		l.long(l.line - 1)
	} else {
		l.long(l.line)
	}
	switch {
	case bytes.IndexByte(p, 0) >= 0:
		return ErrNUL
	case crs != 0:
		return ErrBareCR
	}
	return defect
}

func (l *lines) long(n int) { l.body.LongLine = max(l.body.LongLine, n) }

// convert writes p with every line end as CRLF. A run of other CRs becomes one
// blank.
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
	if l.body.Size += int64(len(p)); l.max > 0 && l.body.Size > l.max {
		l.err = ErrTooLarge
		return
	}
	if _, err := l.w.Write(p); err != nil {
		l.err = err
	}
}

// close ends the message and reports its first defect. A last line without an
// end, which BDAT allows, gets one: everybody behind us counts on it, and DKIM
// does not mind (RFC 6376, 3.4.3).
func (l *lines) close() error {
	if l.err == nil && l.cr {
		if !l.fix {
			return ErrBareCR
		}
		l.body.Fixed = true
	}
	if l.err == nil && (l.line > 0 || l.cr) {
		n, err := l.w.Write([]byte("\r\n"))
		l.body.Size += int64(n)
		l.err = err
	}
	return l.err
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
