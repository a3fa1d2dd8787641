package mime

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
)

// Walk reads a message to its end and returns its structure. It needs memory
// only for the tree and a fixed buffer, regardless of the message's size. If r
// returns an error, Walk returns that error and the tree of the part that was
// read.
func Walk(r io.Reader) (*Tree, error) {
	w := newWalker()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	err := w.read(r, *buf)
	w.end()
	return w.tree, err
}

// WalkBytes is like Walk for a message in memory.
func WalkBytes(b []byte) *Tree {
	w := newWalker()
	for fresh := true; len(b) > 0; {
		n := min(lineLen(b), window)
		w.piece(b[:n], fresh)
		fresh = b[n-1] == '\n'
		b = b[n:]
	}
	w.end()
	return w.tree
}

const window = 32 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, window); return &b }}

// walker is the state of a walk. It processes the message line by line; lines
// longer than the window are processed in pieces.
type walker struct {
	tree *Tree
	at   Mark // the position after the processed octets
	eol  Mark // the position before the last line ending, which may belong to a delimiter
	cr   bool // the last octet was a CR

	open     []open // from the root to the current part
	inHeader bool
	head     []byte
	kept     int // number of header octets kept in the tree
	params   int // number of parameters kept in the tree
}

// open is a part whose end has not been reached. Its boundary is set only if it
// is a multipart whose closing delimiter has not been found.
type open struct {
	part     *Part
	boundary string
}

func newWalker() *walker {
	w := &walker{tree: &Tree{Root: &Part{Depth: 1}, Parts: 1}}
	w.begin(w.tree.Root)
	return w
}

// read passes r to the walker in lines.
func (w *walker) read(r io.Reader, buf []byte) error {
	lo, hi, fresh := 0, 0, true // fresh: buf[lo] is the start of a line
	for {
		for {
			i := bytes.IndexByte(buf[lo:hi], '\n')
			if i < 0 {
				break
			}
			w.piece(buf[lo:lo+i+1], fresh)
			lo, fresh = lo+i+1, true
		}
		if lo == 0 && hi == len(buf) {
			w.piece(buf, fresh)
			lo, fresh = hi, false
		}
		hi = copy(buf, buf[lo:hi])
		lo = 0
		n, err := r.Read(buf[hi:])
		hi += n
		if err != nil && hi > 0 {
			// The remaining data may still contain complete lines.
			if bytes.IndexByte(buf[:hi], '\n') >= 0 {
				continue
			}
			w.piece(buf[:hi], fresh)
			hi = 0
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// piece processes a line, or a part of an overlong one.
func (w *walker) piece(b []byte, fresh bool) {
	if fresh && len(b) > 2 && b[0] == '-' && b[1] == '-' && w.delimiter(b) {
		w.advance(b)
		return
	}
	if !w.inHeader {
		w.advance(b)
		return
	}
	if max := w.headerLimit(); len(w.head)+len(b) > max {
		w.tree.Notes |= HeaderTooBig
		w.head = append(w.head, b[:max-len(w.head)]...)
	} else {
		w.head = append(w.head, b...)
	}
	w.advance(b)
	if fresh && (b[0] == '\n' || len(b) == 2 && b[0] == '\r' && b[1] == '\n') {
		w.endHeader(w.at)
	}
}

func (w *walker) headerLimit() int {
	if w.top().part.Depth == 1 {
		return MaxHeader
	}
	return MaxPartHeader
}

// advance adds the octets of a piece to the position.
func (w *walker) advance(b []byte) {
	n := len(b)
	if b[n-1] != '\n' {
		w.at.Off += int64(n)
		w.cr = b[n-1] == '\r'
		return
	}
	crlf := n > 1 && b[n-2] == '\r' || n == 1 && w.cr
	w.eol = w.at
	w.eol.Off += int64(n - 1)
	w.at.Off += int64(n)
	w.at.Lines++
	if crlf {
		w.eol.Off--
	} else {
		w.at.Bare++
	}
	w.cr = false
}

func (w *walker) top() *open { return &w.open[len(w.open)-1] }

// begin opens a part whose header starts at the current position.
func (w *walker) begin(p *Part) {
	p.Header.From = w.at
	w.open = append(w.open, open{part: p})
	w.inHeader, w.head = true, w.head[:0]
}

// delimiter reports whether the line is a delimiter of an open multipart; if
// so, it closes the parts that end there and begins the next one. According to
// RFC 2046, 5.1.1, only the start of the line is compared; a boundary that
// matches the whole line takes precedence, so that "b" does not hide "b1".
func (w *walker) delimiter(line []byte) bool {
	text := line[2:]
	found, exact := -1, false
	for i := len(w.open) - 1; i >= 0 && !exact; i-- {
		b := w.open[i].boundary
		if b == "" || len(text) < len(b) || string(text[:len(b)]) != b {
			continue
		}
		exact = blank(bytes.TrimPrefix(text[len(b):], []byte("--")))
		if exact || found < 0 || len(b) > len(w.open[found].boundary) {
			found = i
		}
	}
	if found < 0 {
		return false
	}
	multi := w.open[found]
	w.endParts(found+1, w.eol)
	if len(multi.part.Children) == 0 {
		multi.part.Preamble = w.at
	}
	if bytes.HasPrefix(text[len(multi.boundary):], []byte("--")) {
		w.close(line)
		return true
	}
	if w.tree.Parts >= MaxParts {
		w.tree.Notes |= TooManyParts
		return true
	}
	next := w.at
	w.advanceCopy(&next, line)
	w.add(multi.part, next)
	return true
}

// close ends the innermost multipart at its closing delimiter.
func (w *walker) close(line []byte) {
	multi := w.top()
	multi.boundary = ""
	multi.part.Closed = true
	multi.part.Epilogue = w.at
	w.advanceCopy(&multi.part.Epilogue, line)
}

// advanceCopy moves m, which equals w.at, past line.
func (w *walker) advanceCopy(m *Mark, line []byte) {
	n := len(line)
	m.Off += int64(n)
	if line[n-1] == '\n' {
		m.Lines++
		if line[n-2] != '\r' {
			m.Bare++
		}
	}
}

// add opens a part of p whose header starts at from.
func (w *walker) add(p *Part, from Mark) {
	child := &Part{Parent: p, Depth: p.Depth + 1}
	p.Children = append(p.Children, child)
	w.tree.Parts++
	w.begin(child)
	child.Header.From = from
}

// endHeader parses the header of the current part, which ends at to, and
// prepares for the part's content.
func (w *walker) endHeader(to Mark) {
	o := w.top()
	p := o.part
	p.Header.To, p.Body.From = to, to
	p.Preamble, p.Epilogue = to, to
	w.inHeader = false
	// The line ending before a delimiter is not part of the header that the
	// delimiter ends.
	w.head = w.head[:min(int64(len(w.head)), p.Header.Size())]
	if w.kept+len(w.head) <= maxHeaders {
		p.Raw = bytes.Clone(w.head)
		w.kept += len(w.head)
	} else {
		w.tree.Notes |= HeaderTooBig
	}
	p.readFields()
	if w.params += len(p.Params) + len(p.DispParams); w.params > maxTreeParams {
		// No real message has that many.
		p.Params, p.DispParams = slices.Clone(p.Params[:min(len(p.Params), maxParams/100)]), nil
		w.tree.Notes |= HeaderTooBig
	}
	switch {
	case p.Type == "multipart":
		b := strings.TrimRight(Get(p.Params, "boundary"), " \t")
		switch {
		case b == "" || len(b) > maxBoundary:
			w.tree.Notes |= NoBoundary
		case p.Depth >= MaxDepth:
			w.tree.Notes |= TooDeep
		default:
			o.boundary = b
		}
	case p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global") && p.identity():
		switch {
		case p.Depth >= MaxDepth:
			w.tree.Notes |= TooDeep
		case w.tree.Parts >= MaxParts:
			w.tree.Notes |= TooManyParts
		default:
			w.add(p, to)
		}
	}
}

// identity reports whether the part's content is not encoded.
func (p *Part) identity() bool {
	switch p.Encoding {
	case "7bit", "8bit", "binary":
		return true
	}
	return false
}

// endParts ends the open parts starting with index i at position to.
func (w *walker) endParts(i int, to Mark) {
	for w.inHeader && i < len(w.open) {
		// This runs twice if the part contains a message, in which case
		// the message's header is empty.
		w.tree.Notes |= HeaderUnclosed
		w.endHeader(later(w.top().part.Header.From, to))
	}
	for j := len(w.open) - 1; j >= i; j-- {
		p := w.open[j].part
		if w.open[j].boundary != "" {
			w.tree.Notes |= Unclosed
		}
		// An empty part starts after the line ending that would belong
		// to the next delimiter, so the enclosing part ends there as
		// well.
		to = later(p.Body.From, to)
		p.Body.To = to
		if len(p.Children) == 0 && !p.Closed {
			p.Preamble = p.Body.To
		}
		if !p.Closed {
			p.Epilogue = p.Body.To
		}
	}
	w.open = w.open[:i]
}

// end completes the tree at the end of the message.
func (w *walker) end() {
	w.endParts(0, w.at)
	w.tree.Size.To = w.at
}

func later(a, b Mark) Mark {
	if b.Off < a.Off {
		return a
	}
	return b
}

// blank reports whether a line consists only of white space.
func blank(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// readFields sets the part's fields from its header.
func (p *Part) readFields() {
	p.Type, p.Subtype, p.Encoding = "text", "plain", "7bit"
	if up := p.Parent; up != nil && up.Is("multipart", "digest") {
		p.Type, p.Subtype = "message", "rfc822" // RFC 2046, 5.1.5
	}
	var seenType, seenEnc, seenDisp bool
	for f := range Fields(p.Raw) {
		switch {
		case !seenType && f.Is("Content-Type"):
			seenType = true
			if typ, sub, params, ok := ParseType(f.Unfolded()); ok {
				p.Type, p.Subtype, p.Params = typ, sub, params
			}
		case !seenEnc && f.Is("Content-Transfer-Encoding"):
			seenEnc = true
			if v := token(f.Unfolded()); v != "" {
				p.Encoding = v
			}
		case !seenDisp && f.Is("Content-Disposition"):
			seenDisp = true
			p.Disposition, p.DispParams = ParseDisposition(f.Unfolded())
		}
	}
}
