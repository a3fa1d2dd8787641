package cms

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"hoplite/internal/memory"
)

const (
	// maxDepth is the maximum nesting depth of elements. Real messages need
	// about 12 levels; each level costs only an array element.
	maxDepth = 32

	windowSize = 32 << 10
)

// SyntaxError is the error for octets that are not acceptable CMS.
type SyntaxError struct {
	Offset int64 // number of octets read before the error
	Text   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("CMS octet %d: %s", e.Offset, e.Text)
}

// ErrTooLarge is wrapped by the error that [Read] returns for an object larger
// than Options.Max.
var ErrTooLarge = errors.New("larger than allowed")

// header is an element's identifier and length (X.690, 8.1.2 and 8.1.3).
type header struct {
	class  byte // classUniversal or classContext, shifted down
	cons   bool
	tag    uint32
	length int64 // -1 means indefinite
}

const (
	universal = 0
	context   = 2

	tagInteger = 2
	tagOctets  = 4
	tagOID     = 6
	tagSeq     = 16
	tagSet     = 17
)

func (h header) is(class byte, tag uint32) bool { return h.class == class && h.tag == tag }

// reader reads BER in one pass over an io.Reader without recursion: the ends of
// open elements are kept in a fixed array. It has many methods, one for each
// production of the grammar. They are spread over several files, but share this
// state.
type reader struct {
	src    io.Reader
	buf    []byte
	r, w   int
	off    int64 // octets consumed
	max    int64
	err    error // sticky error from src
	depth  int
	ends   [maxDepth]int64 // absolute end of each open element; -1 means indefinite
	pooled *[]byte
	share  *memory.Share // memory for elements that are kept
}

var windows = sync.Pool{New: func() any { b := make([]byte, windowSize); return &b }}

func newReader(src io.Reader, o Options) *reader {
	p := windows.Get().(*[]byte)
	return &reader{src: src, buf: *p, max: o.Max, pooled: p, share: o.Memory}
}

// close returns the window to the pool. The reader must not be used afterwards.
func (r *reader) close() {
	if r.pooled != nil {
		windows.Put(r.pooled)
		r.pooled, r.buf = nil, nil
	}
}

func (r *reader) fault(format string, args ...any) error {
	return &SyntaxError{Offset: r.off, Text: fmt.Sprintf(format, args...)}
}

// fill makes at least n octets available in the window.
func (r *reader) fill(n int) error {
	if r.w-r.r >= n {
		return nil
	}
	if r.r > 0 {
		copy(r.buf, r.buf[r.r:r.w])
		r.w -= r.r
		r.r = 0
	}
	for idle := 0; r.w < n; {
		if r.err != nil {
			if r.err == io.EOF {
				return r.fault("ends early")
			}
			return r.err
		}
		m, err := r.src.Read(r.buf[r.w:])
		r.w += m
		r.err = err
		if m == 0 && err == nil {
			if idle++; idle > 100 {
				r.err = io.ErrNoProgress
			}
		}
	}
	return nil
}

// take consumes n octets in the window.
func (r *reader) take(n int) error {
	r.r += n
	r.off += int64(n)
	if r.off > r.max {
		return fmt.Errorf("%w (%d octets)", ErrTooLarge, r.max)
	}
	return nil
}

// next reads the identifier and length of the next element.
func (r *reader) next() (header, error) {
	if err := r.fill(2); err != nil {
		return header{}, err
	}
	// An identifier and length occupy at most 5 + 9 octets, but the input
	// may end sooner.
	h, n, err := parseHeader(r.buf[r.r:r.w])
	if err == errShort {
		if err := r.fill(r.w - r.r + 1); err != nil {
			return h, err
		}
		for r.w-r.r < 14 && r.fill(r.w-r.r+1) == nil {
		}
		h, n, err = parseHeader(r.buf[r.r:r.w])
	}
	if err != nil {
		return h, r.fault("%v", err)
	}
	if err := r.take(n); err != nil {
		return h, err
	}
	if end := r.end(); end >= 0 && (r.off > end || h.length > end-r.off) {
		return h, r.fault("an element is longer than the one around it")
	}
	return h, nil
}

// end returns the nearest known end of an open element, or -1.
func (r *reader) end() int64 {
	for i := r.depth - 1; i >= 0; i-- {
		if r.ends[i] >= 0 {
			return r.ends[i]
		}
	}
	return -1
}

// enter descends into the element whose header has just been read.
func (r *reader) enter(h header) error {
	if !h.cons {
		return r.fault("a primitive element instead of a constructed one")
	}
	if r.depth == maxDepth {
		return r.fault("nested deeper than %d levels", maxDepth)
	}
	end := int64(-1)
	if h.length >= 0 {
		end = r.off + h.length
	}
	r.ends[r.depth] = end
	r.depth++
	return nil
}

// more reports whether the current element contains another one.
func (r *reader) more() (bool, error) {
	if end := r.ends[r.depth-1]; end >= 0 {
		return r.off < end, nil
	}
	if err := r.fill(2); err != nil {
		return false, err
	}
	return r.buf[r.r] != 0 || r.buf[r.r+1] != 0, nil
}

// leave skips the rest of the current element and closes it.
func (r *reader) leave() error {
	for {
		more, err := r.more()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		h, err := r.next()
		if err != nil {
			return err
		}
		if err := r.skip(h); err != nil {
			return err
		}
	}
	return r.close1()
}

// close1 closes an element that is known to have no more content.
func (r *reader) close1() error {
	r.depth--
	if r.ends[r.depth] >= 0 {
		return nil
	}
	if err := r.take(2); err != nil {
		return err
	}
	if end := r.end(); end >= 0 && r.off > end {
		return r.fault("an element is longer than the one around it")
	}
	return nil
}

// skip skips the element whose header has just been read.
func (r *reader) skip(h header) error {
	if h.length >= 0 {
		return r.discard(h.length)
	}
	if err := r.enter(h); err != nil {
		return err
	}
	for base := r.depth - 1; r.depth > base; {
		more, err := r.more()
		if err != nil {
			return err
		}
		if !more {
			if err := r.close1(); err != nil {
				return err
			}
			continue
		}
		h, err := r.next()
		if err != nil {
			return err
		}
		if h.length >= 0 {
			err = r.discard(h.length)
		} else {
			err = r.enter(h)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) discard(n int64) error {
	for n > 0 {
		b, err := r.window(n)
		if err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

// window consumes and returns between 1 and n octets. They are valid until the
// next call.
func (r *reader) window(n int64) ([]byte, error) {
	if err := r.fill(1); err != nil {
		return nil, err
	}
	b := r.buf[r.r:r.w]
	if int64(len(b)) > n {
		b = b[:n]
	}
	return b, r.take(len(b))
}

// expect reads the next header and checks its class and tag.
func (r *reader) expect(class byte, tag uint32, what string) (header, error) {
	h, err := r.next()
	if err != nil {
		return h, err
	}
	if !h.is(class, tag) {
		return h, r.fault("no %s", what)
	}
	return h, nil
}

// open expects a constructed element and descends into it.
func (r *reader) open(class byte, tag uint32, what string) error {
	h, err := r.expect(class, tag, what)
	if err != nil {
		return err
	}
	return r.enter(h)
}

// oid reads an object identifier and returns its content octets.
func (r *reader) oid(what string) (oid, error) {
	h, err := r.expect(universal, tagOID, what)
	if err != nil {
		return "", err
	}
	if h.cons || h.length < 1 || h.length > 64 {
		return "", r.fault("%s: invalid object identifier", what)
	}
	if err := r.fill(int(h.length)); err != nil {
		return "", err
	}
	id := internOID(r.buf[r.r : r.r+int(h.length)])
	return id, r.take(int(h.length))
}

// integer skips an INTEGER, such as a version number that is not needed.
func (r *reader) integer(what string) error {
	h, err := r.expect(universal, tagInteger, what)
	if err != nil {
		return err
	}
	if h.cons || h.length < 1 || h.length > 16 {
		return r.fault("%s: odd integer", what)
	}
	return r.discard(h.length)
}

// algorithm reads an AlgorithmIdentifier. what describes its purpose in errors.
func (r *reader) algorithm(what string) (algorithm, error) {
	h, err := r.next()
	if err != nil {
		return algorithm{}, err
	}
	der, err := r.capture(h, maxPiece)
	if err != nil {
		return algorithm{}, err
	}
	alg, err := parseAlgorithm(der)
	if err != nil {
		return algorithm{}, r.fault("%s: %v", what, err)
	}
	return alg, nil
}
