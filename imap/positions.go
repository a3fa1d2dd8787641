package imap

import (
	"bytes"
	"fmt"
	"io"
	"sort"

	"hoplite/mail/mime"
	"hoplite/maildrop"
)

// positions relates offsets in a large message with CRLF line ends, in which
// clients count, to offsets in its file, which mostly has LF line ends. Without
// it, a client that fetches the message in pieces would make the server read the
// file from the beginning for every piece.
type positions struct {
	uid        uint32
	size, wire int64
	marks      []mark // ascending
	tree       *mime.Tree
	binaries   map[string]counter // decoded sizes of parts
}

// mark is a place in the file, and its offset with CRLF line ends.
type mark struct{ file, wire int64 }

// minRemembered is the size of the smallest message whose positions are kept;
// smaller ones are read quickly.
const minRemembered = 64 << 10

// maxBinaries is the number of parts whose decoded size is kept.
const maxBinaries = 1000

// remember returns the positions of a message that is being fetched, nil if it
// is small. Those of the previous message are forgotten.
func (m *mailbox) remember(msg *maildrop.Message, file *maildrop.File) *positions {
	if file.Size < minRemembered {
		return nil
	}
	if p := m.positions; p != nil && p.uid == msg.UID && p.size == file.Size && p.wire == file.Wire {
		return p
	}
	m.positions = &positions{uid: msg.UID, size: file.Size, wire: file.Wire, marks: []mark{{}}}
	return m.positions
}

// seek returns a mark not far before the octet at wire, counted with CRLF line
// ends. It reads the parts of the file that it has not read before.
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
			break // the rest of the file is less than a block
		}
		b := buf[:]
		if b[n-1] == '\r' {
			b = b[:n-1] // never between CR and LF
		}
		bare := bytes.Count(b, []byte("\n")) - bytes.Count(b, []byte("\r\n"))
		p.marks = append(p.marks, mark{last.file + int64(len(b)), last.wire + int64(len(b)+bare)})
	}
	i := sort.Search(len(p.marks), func(i int) bool { return p.marks[i].wire > wire })
	return p.marks[i-1], nil
}

// binary returns the decoded size of a part, if it is known.
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
