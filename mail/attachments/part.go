package attachments

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"hoplite/internal/hold"
	"hoplite/internal/memory"
	"hoplite/mail/cms"
	"hoplite/mail/mime"
)

// entity lists the parts of an unpacked message or MIME entity.
func (s *scan) entity(src io.ReaderAt, size int64, path string, depth int) error {
	tree, err := s.walk(io.NewSectionReader(src, 0, size))
	if errors.Is(err, memory.ErrFull) {
		return err
	}
	if err != nil {
		return &diskError{fmt.Errorf("read unpacked content: %w", err)}
	}
	if err := s.part(src, tree.Root, path, depth); err != nil {
		return err
	}
	if why := unwalked(tree.Notes); why != "" {
		return errors.New(why)
	}
	return nil
}

// cancellable is a reader that returns an error when its context is done.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// unwalked returns the reason why the walker skipped parts that mail programs
// may show, or "" if it skipped none.
func unwalked(n mime.Notes) string {
	switch {
	case n&mime.TooDeep != 0:
		return "parts nested too deeply"
	case n&mime.TooManyParts != 0:
		return "too many parts"
	case n&mime.HeaderTooBig != 0:
		return "a header that is too long"
	case n&mime.NoBoundary != 0:
		return "a multipart without a boundary"
	}
	return ""
}

// part lists a MIME part and its contents. The walker limits the depth and
// number of parts.
func (s *scan) part(src io.ReaderAt, p *mime.Part, path string, depth int) error {
	if m := p.Message(); m != nil {
		if path == "" {
			path = "1"
		}
		if err := s.add(Item{Path: path, Type: "message/rfc822", Kind: "message/rfc822", Size: p.Body.Size(), Via: "mime", Unread: ambiguous(p)},
			partNames(p)); err != nil {
			return err
		}
		if len(m.Children) == 0 {
			path += ".1"
		}
		return s.part(src, m, path, depth)
	}
	if len(p.Children) > 0 {
		return s.multipart(src, p, path, depth)
	}
	if path == "" {
		path = "1"
	}
	if p.Type == "multipart" && encoded(p) {
		return s.encodedMultipart(src, p, place{path: path, via: "mime", depth: depth})
	}
	return s.leaf(src, p, place{path: path, via: "mime", depth: depth})
}

// encoded reports whether a part has a transfer encoding that changes its
// content.
func encoded(p *mime.Part) bool {
	switch p.Encoding {
	case "7bit", "8bit", "binary":
		return false
	}
	return true
}

// encodedMultipart lists a multipart whose body is encoded. RFC 2045, 6.4
// forbids this, but some readers decode it.
func (s *scan) encodedMultipart(src io.ReaderAt, p *mime.Part, at place) error {
	kind := p.Type + "/" + p.Subtype
	index := len(s.items)
	if err := s.add(Item{Path: at.path, Type: kind, Kind: kind, Size: p.Body.Size(), Via: "mime"}, partNames(p)); err != nil {
		return err
	}
	err := s.decodedMultipart(src, p, at)
	if fatal := s.fatal(err); fatal != nil || errors.Is(err, errFull) {
		return err
	}
	s.unread(index, err)
	return nil
}

func (s *scan) decodedMultipart(src io.ReaderAt, p *mime.Part, at place) error {
	if at.depth >= s.Depth {
		return errDepth
	}
	dec, known := mime.Decoder(p.Encoding, io.NewSectionReader(src, p.Body.From.Off, p.Body.Size()))
	if !known {
		return errEncoding(p)
	}
	h, err := s.held(io.MultiReader(strings.NewReader("Content-Type: "+p.Field("Content-Type")+"\r\n\r\n"), dec))
	if err != nil {
		return err
	}
	defer h.Close()
	return s.entity(h, h.Size(), at.path, at.depth+1)
}

func errEncoding(p *mime.Part) error {
	return errors.New("unknown transfer encoding " + strconv.Quote(clip(p.Encoding)))
}

// multipart lists the parts of a multipart, including those after its closing
// delimiter.
func (s *scan) multipart(src io.ReaderAt, p *mime.Part, path string, depth int) error {
	within := func(n int) string {
		if path == "" {
			return strconv.Itoa(n)
		}
		return path + "." + strconv.Itoa(n)
	}
	for i, c := range p.Children {
		if err := s.part(src, c, within(i+1), depth); err != nil {
			return err
		}
	}
	why := ambiguous(p)
	if why == "" && encoded(p) {
		why = "a multipart with a transfer encoding, which only some readers decode"
	}
	late, err := s.epilogue(src, p, within(len(p.Children)+1), depth)
	if err != nil {
		return err
	}
	if why == "" && late {
		why = "parts after the closing delimiter, which only some readers see"
	}
	if why == "" {
		return nil
	}
	if path == "" {
		path = "message"
	}
	kind := p.Type + "/" + p.Subtype
	return s.add(Item{Path: path, Type: kind, Kind: kind, Size: p.Body.Size(), Via: "mime", Unread: why}, nil)
}

// epilogue lists the parts after the closing delimiter of a multipart, which
// some mail programs show, and reports whether there are any.
func (s *scan) epilogue(src io.ReaderAt, p *mime.Part, path string, depth int) (bool, error) {
	size := p.Body.To.Off - p.Epilogue.Off
	boundary := strings.TrimRight(mime.Get(p.Params, "boundary"), " \t")
	if !p.Closed || size < int64(len(boundary)) {
		return false, nil
	}
	head := []byte("Content-Type: multipart/mixed; boundary=" + strconv.Quote(boundary) + "\r\n\r\n")
	after := &prefixed{head, io.NewSectionReader(src, p.Epilogue.Off, size)}
	tree, err := s.walk(io.NewSectionReader(after, 0, int64(len(head))+size))
	if errors.Is(err, memory.ErrFull) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read message: %w", err)
	}
	if len(tree.Root.Children) == 0 {
		return false, nil
	}
	if depth >= s.Depth {
		return true, nil
	}
	return true, s.part(after, tree.Root, path, depth+1)
}

// prefixed is content preceded by a prefix.
type prefixed struct {
	head []byte
	rest io.ReaderAt
}

func (p *prefixed) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(p.head)) {
		return p.rest.ReadAt(b, off-int64(len(p.head)))
	}
	n := copy(b, p.head[off:])
	if n == len(b) {
		return n, nil
	}
	m, err := p.rest.ReadAt(b[n:], 0)
	return n + m, err
}

// leaf lists a part that is not a multipart or a message.
func (s *scan) leaf(src io.ReaderAt, p *mime.Part, at place) error {
	body := func() io.Reader { return io.NewSectionReader(src, p.Body.From.Off, p.Body.Size()) }
	names, claimed := partNames(p), p.Type+"/"+p.Subtype
	if strings.Contains(p.Encoding, "uu") {
		// The begin line also contains a name, which mail programs
		// prefer.
		return s.text(at, names, claimed, body())
	}
	dec, known := mime.Decoder(p.Encoding, body())
	if !known {
		return s.add(Item{Path: at.path, Type: claimed, Kind: unknownKind, Size: p.Body.Size(), Via: "mime",
			Unread: errEncoding(p).Error()}, names)
	}
	index := len(s.items)
	if err := s.content(at, names, claimed, dec); err != nil {
		return err
	}
	if index >= len(s.items) {
		return nil
	}
	if p.Type == "text" && !strings.HasPrefix(s.items[index].Kind, "text/") {
		// Mail programs look for uuencoded files anywhere in a text
		// part.
		dec, _ := mime.Decoder(p.Encoding, body())
		err := s.inText(at, bufio.NewReaderSize(&counter{s: s, r: dec, free: true}, headSize), false)
		if fatal := s.fatal(err); fatal != nil {
			return fatal
		}
		s.unread(index, err)
	}
	switch {
	case p.Is("message", "partial"):
		s.unread(index, errPartial)
	case p.Is("message", "external-body"):
		s.unread(index, errElsewhere)
	}
	if why := ambiguous(p); why != "" && s.items[index].Unread == "" {
		s.items[index].Unread = why
	}
	return nil
}

// unread sets the reason why an item could not be scanned, unless it already
// has one.
func (s *scan) unread(index int, why error) {
	if it := &s.items[index]; why != nil && it.Unread == "" {
		it.Unread = why.Error()
	}
}

// ambiguous returns a description of a repeated header field or parameter, or
// "". Mail programs differ in which one they use.
func ambiguous(p *mime.Part) string {
	var seen [3]bool
	for f := range mime.Fields(p.Raw) {
		for i, name := range [...]string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"} {
			if !f.Is(name) {
				continue
			}
			if seen[i] {
				return "two " + name + " fields, of which readers use different ones"
			}
			seen[i] = true
			if i == 0 && p.Type == "multipart" && boundaries(f) > 1 {
				return "two boundaries, of which readers use different ones"
			}
		}
	}
	return ""
}

// boundaries returns the number of different boundaries that mail programs may
// find in a field.
func boundaries(f mime.Field) int {
	all := mime.Every(f.Unfolded(), "boundary")
	for i := range all {
		all[i] = strings.TrimRight(all[i], " \t")
	}
	slices.Sort(all)
	return len(slices.Compact(all))
}

// cmsKind is the kind of signed or compressed S/MIME content. It must be
// opened, because anyone could sign a message to hide its attachments.
const cmsKind = "application/pkcs7-mime"

// pkcs is the common prefix of the object identifiers of CMS content types.
var pkcs = []byte("\x2a\x86\x48\x86\xf7\x0d\x01")

// isCMS reports whether content looks like the start of a ContentInfo.
func isCMS(head []byte) bool {
	return len(head) > 16 && head[0] == 0x30 && bytes.Contains(head[:16], pkcs)
}

// smime lists signed or compressed S/MIME content.
func (s *scan) smime(at place, index int, r *bufio.Reader) error {
	h := hold.New(s.Dir)
	defer h.Close()
	obj, err := cms.Read(r, cms.Options{Max: s.Size, MaxInflated: max(1, s.left), Content: &unpacked{s: s, h: h}, Memory: s.memory})
	if err != nil {
		for _, why := range []error{errSize, memory.ErrFull} {
			if errors.Is(err, why) {
				return why
			}
		}
		return err
	}
	if obj.Encrypted != nil {
		s.items[index].Encrypted = true
		return errors.New("encrypted")
	}
	if h.Size() == 0 {
		return nil
	}
	return s.entity(h, h.Size(), at.path+"/1", at.depth+1)
}

// unpacked counts content against the budget.
type unpacked struct {
	s *scan
	h *hold.Hold
}

func (u *unpacked) Write(p []byte) (int, error) {
	if u.s.left -= int64(len(p)); u.s.left < 0 {
		return 0, errSize
	}
	return writer{u.h}.Write(p)
}
