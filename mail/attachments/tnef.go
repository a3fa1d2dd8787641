package attachments

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"hoplite/mail/mime"
)

// The TNEF attributes that are used ([MS-OXTNEF], 2.1.3), as type and number.
const (
	attAttachRendData = 0x00069002 // starts an attachment
	attAttachTitle    = 0x00018010 // the attachment's short name
	attAttachData     = 0x0006800f
	attAttachment     = 0x00069005 // the attachment's MAPI properties
	attMAPIProps      = 0x00069003 // the message's MAPI properties
	attOemCodepage    = 0x00069007 // charset of the text in attributes
)

// MAPI properties.
const (
	propAttachObject   = 0x3701
	propAttachFilename = 0x3704
	propAttachLongName = 0x3707
	propDisplayName    = 0x3001
	propAttachMIME     = 0x370e
	propHTML           = 0x1013
	propRTF            = 0x1009
)

var (
	errTNEF = errors.New("damaged TNEF")
	tnefSig = []byte("\x78\x9f\x3e\x22")
)

const (
	maxTNEFAttributes = 10_000
	maxMAPIProps      = 2_000  // in one attachment, and values in one property
	maxMAPIValues     = 50_000 // in one file
)

// tnefFile collects the attributes of an attachment. The name follows the data.
type tnefFile struct {
	open  bool
	title string
	long  string
	mime  string
	data  *io.SectionReader
	inner *io.SectionReader // an embedded message in TNEF
}

// openTNEF lists the contents of winmail.dat, the format in which Outlook packs
// attachments.
func openTNEF(s *scan, at place, _ int, r *bufio.Reader) error {
	h, err := s.held(r)
	if err != nil {
		return err
	}
	defer h.Close()
	return listTNEF(s, at, io.NewSectionReader(h, 0, h.Size()))
}

// tnefReader lists the contents of one stream of attributes.
type tnefReader struct {
	*scan
	at      place
	file    tnefFile // the current attachment
	charset string
	values  int // number of MAPI values that may still be read
}

func listTNEF(s *scan, at place, r *io.SectionReader) error {
	var head [9]byte
	if _, err := r.ReadAt(head[:6], 0); err != nil || !bytes.Equal(head[:4], tnefSig) {
		return errTNEF
	}
	t := &tnefReader{scan: s, at: at, charset: codePage(0), values: maxMAPIValues}
	for off, n := int64(6), 0; ; n++ {
		if n > maxTNEFAttributes {
			return errFiles
		}
		if _, err := r.ReadAt(head[:], off); err == io.EOF && off >= r.Size() {
			return t.finish()
		} else if err != nil {
			return errors.Join(t.finish(), errTNEF)
		}
		id, size := binary.LittleEndian.Uint32(head[1:]), int64(binary.LittleEndian.Uint32(head[5:]))
		off += 9
		if head[0] != 1 && head[0] != 2 || size > r.Size()-off {
			return errors.Join(t.finish(), errTNEF)
		}
		if err := t.attribute(id, io.NewSectionReader(r, off, size)); err != nil {
			return err
		}
		off += size + 2 // plus the checksum
	}
}

// attribute reads one attribute.
func (t *tnefReader) attribute(id uint32, data *io.SectionReader) error {
	switch id {
	case attOemCodepage:
		var page [4]byte
		if _, err := data.ReadAt(page[:], 0); err == nil {
			t.charset = codePage(binary.LittleEndian.Uint32(page[:]))
		}
	case attAttachRendData:
		if err := t.finish(); err != nil {
			return err
		}
		t.file = tnefFile{open: true}
	case attAttachTitle:
		t.file.title, t.file.open = ansi(t.charset, data), true
	case attAttachData:
		t.file.data, t.file.open = data, true
	case attAttachment:
		if err := mapiProps(data, &t.values, t.property); err != nil {
			return errors.Join(t.finish(), err)
		}
	case attMAPIProps:
		return t.body(data)
	}
	return nil
}

// codePage returns the charset of a Windows code page.
func codePage(n uint32) string {
	switch {
	case n == 932:
		return "shift_jis"
	case n == 936:
		return "gbk"
	case n == 949:
		return "euc-kr"
	case n == 950:
		return "big5"
	case n == 65001:
		return "utf-8"
	case n == 874, n >= 1250 && n <= 1258:
		return fmt.Sprintf("windows-%d", n)
	case n > 28590 && n < 28610:
		return fmt.Sprintf("iso-8859-%d", n-28590)
	case n >= 437 && n <= 866: // DOS code pages
		if name := fmt.Sprintf("ibm%d", n); mime.KnownCharset(name) {
			return name
		}
	}
	return "windows-1252"
}

// body lists the message text if this is its only copy.
func (t *tnefReader) body(data *io.SectionReader) error {
	var html, rtf *io.SectionReader
	err := mapiProps(data, &t.values, func(id, _ uint16, v *io.SectionReader) {
		switch id {
		case propHTML:
			html = v
		case propRTF:
			rtf = v
		}
	})
	if err != nil {
		return err
	}
	if html != nil {
		return t.content(t.at.inside("body.html", "tnef"), []string{"body.html"}, "text/html", html)
	}
	if rtf != nil {
		return t.content(t.at.inside("body.rtf.compressed", "tnef"), []string{"body.rtf.compressed"}, "application/rtf", rtf)
	}
	return nil
}

// property records a MAPI property of the attachment.
func (t *tnefReader) property(id, typ uint16, v *io.SectionReader) {
	f := &t.file
	f.open = true
	switch id {
	case propAttachLongName:
		f.long = mapiText(t.charset, typ, v)
	case propAttachFilename:
		if f.title == "" {
			f.title = mapiText(t.charset, typ, v)
		}
	case propDisplayName:
		if f.long == "" && f.title == "" {
			f.title = mapiText(t.charset, typ, v)
		}
	case propAttachMIME:
		f.mime = mapiText(t.charset, typ, v)
	case propAttachObject:
		// An interface identifier precedes the embedded message or
		// object.
		var sig [4]byte
		if v.Size() > 20 {
			if _, err := v.ReadAt(sig[:], 16); err == nil && bytes.Equal(sig[:], tnefSig) {
				f.inner = io.NewSectionReader(v, 16, v.Size()-16)
				return
			}
		}
		if f.data == nil {
			f.data = v
		}
	}
}

// finish lists an attachment after its last attribute.
func (t *tnefReader) finish() error {
	s, f := t.scan, &t.file
	if !f.open {
		return nil
	}
	f.open = false
	var names []string
	for _, n := range []string{f.long, f.title} {
		if n != "" && (len(names) == 0 || names[0] != n) {
			names = append(names, n)
		}
	}
	name := "(no name)"
	if len(names) > 0 {
		name = names[0]
	}
	in := t.at.inside(name, "tnef")
	switch {
	case f.inner != nil:
		index := len(s.items)
		if err := s.add(Item{Path: in.path, Type: "application/ms-tnef", Kind: "application/ms-tnef", Size: f.inner.Size(), Via: "tnef"}, names); err != nil {
			return err
		}
		err := errDepth
		if in.depth < s.Depth {
			err = listTNEF(s, in, f.inner)
		}
		if fatal := s.fatal(err); fatal != nil {
			return fatal
		}
		if err != nil {
			s.items[index].Unread = err.Error()
		}
		return nil
	case f.data != nil:
		return s.content(in, names, f.mime, f.data)
	}
	return s.full(s.add(Item{Path: in.path, Kind: unknownKind, Via: "tnef"}, names))
}

// mapiProps calls each for every property in a list of MAPI properties
// ([MS-OXTNEF], 2.1.3.4), with its value or the first of several values. budget
// limits the number of values, because each requires a read.
func mapiProps(data *io.SectionReader, budget *int, each func(id, typ uint16, v *io.SectionReader)) error {
	p := &cursor{r: data}
	count := p.u32()
	if count > maxMAPIProps {
		return fmt.Errorf("%w: %d properties", errTNEF, count)
	}
	for range count {
		typ := uint16(p.u16())
		id := uint16(p.u16())
		if id >= 0x8000 { // a named property
			p.skip(16)
			if p.u32() == 0 {
				p.skip(4)
			} else {
				p.skip(pad4(int64(p.u32())))
			}
		}
		values := uint32(1)
		multi := typ&0x1000 != 0
		typ &^= 0x1000
		size, fixed := mapiSize(typ)
		if multi || !fixed {
			values = p.u32()
		}
		if values > maxMAPIProps {
			return fmt.Errorf("%w: %d values", errTNEF, values)
		}
		for i := range values {
			if *budget--; *budget < 0 {
				return errFiles
			}
			n := size
			if !fixed {
				n = int64(p.u32())
			}
			if p.err != nil || n > data.Size()-p.off {
				return errTNEF
			}
			if i == 0 {
				each(id, typ, io.NewSectionReader(data, p.off, n))
			}
			p.skip(pad4(n))
		}
		if p.err != nil {
			return errTNEF
		}
	}
	return nil
}

// mapiSize returns the size of a fixed-size property type.
func mapiSize(typ uint16) (n int64, fixed bool) {
	switch typ {
	case 0x02, 0x03, 0x04, 0x0a, 0x0b:
		return 4, true
	case 0x05, 0x06, 0x07, 0x14, 0x40:
		return 8, true
	case 0x48:
		return 16, true
	}
	return 0, false
}

func pad4(n int64) int64 { return (n + 3) &^ 3 }

// cursor reads little-endian numbers and records the first error.
type cursor struct {
	r   *io.SectionReader
	off int64
	err error
}

func (c *cursor) u16() uint32 { return c.number(2) }
func (c *cursor) u32() uint32 { return c.number(4) }

func (c *cursor) number(n int) uint32 {
	var b [4]byte
	if c.err == nil {
		if m, err := c.r.ReadAt(b[:n], c.off); m < n {
			c.err = errors.Join(errTNEF, err)
		}
	}
	c.off += int64(n)
	return binary.LittleEndian.Uint32(b[:])
}

func (c *cursor) skip(n int64) {
	c.off += n
	if c.off > c.r.Size()+3 { // the last value may lack padding
		c.err = errTNEF
	}
}

// mapiText returns a text property, which is in UTF-16 or in the sender's
// charset.
func mapiText(charset string, typ uint16, v *io.SectionReader) string {
	if typ != 0x1f {
		return ansi(charset, v)
	}
	b := make([]byte, min(v.Size(), maxName)&^1)
	n, _ := v.ReadAt(b, 0)
	units := make([]uint16, n/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	text, _, _ := strings.Cut(string(utf16.Decode(units)), "\x00")
	return text
}

// ansi returns text in the sender's charset.
func ansi(charset string, v *io.SectionReader) string {
	b := make([]byte, min(v.Size(), maxName))
	n, _ := v.ReadAt(b, 0)
	b, _, _ = bytes.Cut(b[:n], []byte{0})
	return mime.DecodeString(charset, string(b))
}
