package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"hoplite/mail/mime"
	"hoplite/maildrop"
)

// positions maps offsets in a large message with CRLF line endings, which
// clients use, to offsets in its file, which usually has LF line endings.
// Without it, the server would have to read the file from the beginning for
// every piece that a client fetches.
type positions struct {
	uid        uint32
	size, wire int64
	marks      []mark // ascending
	tree       *mime.Tree
	binaries   map[string]counter // decoded sizes of parts
	decoding   *decoding          // the part decoded most recently, or nil
}

// mark is an offset in the file and the corresponding offset with CRLF line
// endings.
type mark struct{ file, wire int64 }

// minRemembered is the minimum size of messages whose positions are kept;
// smaller messages are quick to read.
const minRemembered = 64 << 10

// maxBinaries is the maximum number of parts whose decoded size is kept.
const maxBinaries = 1000

// maxRemembered is the maximum number of messages whose positions are kept.
const maxRemembered = 8

// remember returns the positions for a message that is being fetched, or nil if
// the message is small.
func (m *mailbox) remember(msg *maildrop.Message, file *maildrop.File) *positions {
	if file.Size < minRemembered {
		return nil
	}
	all := m.positions
	i := slices.IndexFunc(all, func(p *positions) bool {
		return p.uid == msg.UID && p.size == file.Size && p.wire == file.Wire
	})
	p := &positions{uid: msg.UID, size: file.Size, wire: file.Wire, marks: []mark{{}}}
	switch {
	case i >= 0:
		p = all[i]
		all = slices.Delete(all, i, i+1)
	case len(all) >= maxRemembered:
		all = slices.Delete(all, 0, 1) // the least recently used one
	}
	m.positions = append(all, p)
	return p
}

// seek returns a mark shortly before offset wire, which counts CRLF line
// endings. It reads only parts of the file that it has not read before.
func (p *positions) seek(file io.ReaderAt, wire int64) (mark, error) {
	buf := wholeBlocks.Get().(*[64 << 10]byte)
	defer wholeBlocks.Put(buf)
	for {
		last := p.marks[len(p.marks)-1]
		if last.wire >= wire {
			break
		}
		n, err := file.ReadAt(buf[:], last.file)
		if err != nil && err != io.EOF {
			return mark{}, err
		}
		if n < len(buf) {
			break // less than a block is left
		}
		b := buf[:]
		if b[n-1] == '\r' {
			b = b[:n-1] // never split between CR and LF
		}
		bare := bytes.Count(b, []byte("\n")) - bytes.Count(b, []byte("\r\n"))
		p.marks = append(p.marks, mark{last.file + int64(len(b)), last.wire + int64(len(b)+bare)})
	}
	i := sort.Search(len(p.marks), func(i int) bool { return p.marks[i].wire > wire })
	return p.marks[i-1], nil
}

// binary returns the decoded size of a part, if known.
func (p *positions) binary(path []int) (counter, bool) {
	c, ok := p.binaries[fmt.Sprint(path)]
	return c, ok
}

func (p *positions) setBinary(path []int, c counter) {
	if p.binaries == nil || len(p.binaries) >= maxBinaries {
		p.binaries = map[string]counter{}
	}
	p.binaries[fmt.Sprint(path)] = c
}

// decoding is a part that has been decoded up to some offset. A client that
// fetches the part in pieces continues from that offset.
type decoding struct {
	path string
	src  *source // the file, which is open while a command runs
	r    io.Reader
	at   int64
}

// ReadAt reads from the part's file for the decoder.
func (d *decoding) ReadAt(b []byte, off int64) (int, error) { return d.src.ReadAt(b, off) }

// Read implements io.Reader.
func (d *decoding) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	d.at += int64(n)
	return n, err
}

// decodedAt returns a reader for a part with its transfer encoding removed,
// starting at off.
func (s *source) decodedAt(path []int, off int64) (io.Reader, error) {
	var d *decoding
	key := fmt.Sprint(path)
	if s.memo != nil {
		d = s.memo.decoding
	}
	if d == nil || d.path != key || d.at > off {
		d = &decoding{path: key, src: s}
		var err error
		if d.r, err = s.decoded(d, path); err != nil {
			return nil, err
		}
		if s.memo != nil {
			s.memo.decoding = d
		}
	}
	d.src = s
	if _, err := io.CopyN(io.Discard, d, off-d.at); err != nil {
		return nil, errors.Join(errBye, err)
	}
	return d, nil
}
