package attachments

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"hoplite/internal/hold"
)

// The signatures that a spotter recognises. Unpackers look for them anywhere in
// a file. Self-extracting programs rely on this, as do archives disguised as
// pictures.
const (
	zipLocal   = "PK\x03\x04" // before each file
	zipCentral = "PK\x01\x02" // before each directory entry
	zipEnd     = "PK\x05\x06" // after the directory
	rarMagic   = "Rar!\x1a\x07"
	sevenZip   = "7z\xbc\xaf\x27\x1c"
)

// border is the maximum number of octets of a signature that a previous piece
// of content may contain.
const border = len(rarMagic) - 1

// spotter detects archives in the content read through it. It keeps the content
// from the first zip signature on, so that it can be read again.
type spotter struct {
	r     io.Reader
	dir   string
	limit int64 // maximum number of octets to keep

	n      int64 // number of octets read
	tail   []byte
	zip    *hold.Hold // content from the first zip signature on
	start  int64      // the offset of that signature
	ended  bool       // the end of a zip directory was found
	over   bool       // limit was exceeded
	closed string     // kind of an archive that cannot be opened
	off    bool
}

func (p *spotter) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 && !p.off {
		if e := p.see(b[:n]); e != nil {
			return n, e
		}
	}
	return n, err
}

// see examines the next piece of content.
func (p *spotter) see(b []byte) error {
	if p.tail == nil {
		p.tail = make([]byte, 0, 2*border) // space for joined
	}
	joined := append(p.tail, b[:min(len(b), border)]...)
	if err := p.find(joined, p.n-int64(len(p.tail)), len(p.tail)); err != nil {
		return err
	}
	if err := p.find(b, p.n, len(b)); err != nil {
		return err
	}
	p.n += int64(len(b))
	if len(b) >= border {
		p.tail = append(p.tail[:0], b[len(b)-border:]...)
	} else {
		p.tail = append(p.tail[:0], joined[max(0, len(joined)-border):]...)
	}
	return nil
}

// find looks for signatures that start in the first most octets of b. at is the
// offset of b.
func (p *spotter) find(b []byte, at int64, most int) error {
	if p.zip == nil && !p.over {
		i := zipSignature(b)
		if i < 0 || i >= most {
			return p.others(b, at, most)
		}
		p.zip, p.start = hold.New(p.dir), at+int64(i)
	}
	if p.zip != nil {
		if err := p.keep(b, at); err != nil {
			return err
		}
	}
	return p.others(b, at, most)
}

// keep stores the octets of b that have not been stored.
func (p *spotter) keep(b []byte, at int64) error {
	if skip := p.start + p.zip.Size() - at; skip >= int64(len(b)) {
		return nil
	} else if skip > 0 {
		b = b[skip:]
	}
	if p.zip.Size()+int64(len(b)) > p.limit {
		p.over = true
		p.close()
		return nil
	}
	_, err := writer{p.zip}.Write(b)
	return err
}

// others looks for signatures of archives that are not read again.
func (p *spotter) others(b []byte, at int64, most int) error {
	p.ended = p.ended || bytes.Contains(b, []byte(zipEnd))
	if p.closed != "" {
		return nil
	}
	if i := imageAt - at; i >= 0 && i < int64(len(b)) && bytes.HasPrefix(b[i:], []byte("CD001")) {
		p.closed = isoKind
	}
	for _, m := range []magic{{want: rarMagic, kind: "application/vnd.rar"}, {want: sevenZip, kind: "application/x-7z-compressed"}} {
		if i := bytes.Index(b, []byte(m.want)); i >= 0 && i < most {
			p.closed = m.kind
		}
	}
	return nil
}

// zipSignature returns the position of the first zip signature, or -1.
func zipSignature(b []byte) int {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte("PK"))
		if i < 0 {
			return -1
		}
		from += i
		switch rest := b[from:]; {
		case len(rest) < 4:
			return -1
		case string(rest[:4]) == zipLocal, string(rest[:4]) == zipCentral, string(rest[:4]) == zipEnd:
			return from
		}
		from += 2
	}
}

// stop ends the search.
func (p *spotter) stop() {
	p.forget()
	p.off = true
}

// forget resets the search when the content has been scanned by other means.
func (p *spotter) forget() {
	p.close()
	p.tail, p.ended, p.over, p.closed = p.tail[:0], false, false, ""
}

func (p *spotter) close() {
	if p.zip != nil {
		p.zip.Close()
		p.zip = nil
	}
}

// ReadAt reads the content. Octets that were not kept are zero.
func (p *spotter) ReadAt(b []byte, off int64) (int, error) {
	if off >= p.start {
		return p.zip.ReadAt(b, off-p.start)
	}
	zeros := int(min(int64(len(b)), p.start-off))
	clear(b[:zeros])
	if zeros == len(b) {
		return zeros, nil
	}
	n, err := p.zip.ReadAt(b[zeros:], 0)
	return zeros + n, err
}

// plausible reports whether the kept content begins with a real file header,
// rather than with four octets that match by chance.
func (p *spotter) plausible() bool {
	var h [30]byte
	if n, _ := p.zip.ReadAt(h[:], 0); n < len(h) || string(h[:4]) != zipLocal {
		return false
	}
	le := binary.LittleEndian
	name := le.Uint16(h[26:])
	return h[4] <= 63 && h[5] <= 20 && le.Uint16(h[8:]) < 100 && name > 0 && name <= maxName
}

var errClosed = errors.New("an archive that cannot be opened")

// listSpotted lists an archive found in the content of an item of another kind.
func listSpotted(s *scan, at place, index int, p *spotter) error {
	switch {
	case p.over:
		return errSize
	case p.closed != "" && !compact(s.items[index].Kind):
		return errClosed
	case p.zip == nil || !p.ended && !p.plausible():
		return nil
	case at.depth >= s.Depth:
		return errDepth
	}
	err := listZipEntries(s, at, index, p, p.n)
	if errors.Is(err, errNoZip) && !p.plausible() {
		return nil
	}
	return err
}
