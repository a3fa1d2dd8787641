package attachments

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"hoplite/internal/hold"
	"hoplite/internal/memory"
	"hoplite/mail/attachments/archive"
	"hoplite/mail/mime"
)

// Item is a part of a message, or a file inside a part.
type Item struct {
	Path  string   `json:"path"`            // "2", "2/winmail.dat/report.doc"
	Name  string   `json:"name,omitempty"`  // the most likely name
	Names []string `json:"names,omitempty"` // all names, if there is more than one
	Type  string   `json:"type,omitempty"`  // as declared
	Kind  string   `json:"kind"`            // as detected in the content
	Size  int64    `json:"size"`            // decoded size in octets
	// Via lists the formats in which the item was packed: mime, uuencode,
	// binhex, tnef, zip, or the name of another archive format. Parts of
	// signed or compressed S/MIME content count as mime.
	Via       string   `json:"via"`
	Encrypted bool     `json:"encrypted,omitempty"` // needs a password
	Unread    string   `json:"unread,omitempty"`    // the reason why it could not be scanned completely
	Tricks    []string `json:"tricks,omitempty"`
}

// Limits restricts unpacking. Zero values mean the defaults, shown below.
type Limits struct {
	Depth int    // depth of nested containers: 4
	Files int    // total number of items: 1,000
	Size  int64  // total octets unpacked: 100 MiB
	Ratio int64  // ratio of unpacked to packed size, checked from 1 MiB on: 200
	Dir   string // directory for large containers; empty means the default directory for temporary files
}

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = 4
	}
	if l.Files <= 0 {
		l.Files = 1000
	}
	if l.Size <= 0 {
		l.Size = 100 << 20
	}
	if l.Ratio <= 0 {
		l.Ratio = 200
	}
	return l
}

// List returns the contents of a message of size octets. Problems with the
// message are recorded in an Item; the error is nil unless the reader, the disk
// or the context fails.
func List(ctx context.Context, msg io.ReaderAt, size int64, l Limits) ([]Item, error) {
	s := newScan(ctx, l)
	defer s.close()
	return s.listMessage(msg, size)
}

// listMessage lists a whole message.
func (s *scan) listMessage(msg io.ReaderAt, size int64) ([]Item, error) {
	why := ""
	switch tree, err := s.walk(io.NewSectionReader(msg, 0, size)); {
	case errors.Is(err, memory.ErrFull):
		why = err.Error()
	case err != nil:
		return nil, fmt.Errorf("read message: %w", err)
	default:
		why = unwalked(tree.Notes)
		if err := s.part(msg, tree.Root, "", 0); s.full(err) != nil {
			return s.items, err
		}
	}
	if why != "" {
		s.items = append(s.items, Item{Path: "message", Type: "message/rfc822", Kind: "message/rfc822", Size: size, Via: "mime", Unread: why})
	}
	return s.items, nil
}

// ListPart returns the contents of one part of a message. path is the part's
// path.
func ListPart(ctx context.Context, msg io.ReaderAt, p *mime.Part, path string, l Limits) ([]Item, error) {
	s := newScan(ctx, l)
	defer s.close()
	err := s.part(msg, p, path, 0)
	return s.items, s.full(err)
}

// scan is the state of one listing: the list and the budgets. The opener for
// each container format is in its own file.
type scan struct {
	Limits
	ctx   context.Context
	items []Item
	left  int64 // number of octets that may still be unpacked

	memory *memory.Share // for open containers
	listed *memory.Share // for items
}

func newScan(ctx context.Context, l Limits) *scan {
	s := &scan{ctx: ctx, Limits: l.withDefaults(), memory: memory.Content.Share(0), listed: memory.Content.Share(0)}
	s.left = s.Size
	return s
}

func (s *scan) close() {
	s.memory.Close()
	s.listed.Close()
}

// walk parses the structure of a message or MIME entity. Its memory is released
// together with the container's.
func (s *scan) walk(r *io.SectionReader) (*mime.Tree, error) {
	if err := s.memory.Take(s.ctx, mime.Memory(r.Size())); err != nil {
		return nil, err
	}
	return mime.Walk(&cancellable{s.ctx, r})
}

var (
	errFiles = errors.New("too many files to scan")
	errSize  = errors.New("too much content to scan")
	errDepth = errors.New("nested too deeply to scan")
	errRatio = errors.New("expands too much to scan")

	errPartial   = errors.New("one piece of a message that was sent in pieces")
	errElsewhere = errors.New("content is stored elsewhere")
)

// place is the location of an item and the formats around it.
type place struct {
	path  string
	via   string
	depth int // number of containers around it
}

// inside returns the place of an item in a container.
func (p place) inside(name, via string) place {
	if name = BaseName(name); name == "" || name == "." {
		name = "(no name)"
	}
	return place{path: strings.TrimPrefix(p.path+"/"+clip(name), "/"), via: via, depth: p.depth + 1}
}

// itemMemory is the memory that an item needs, excluding its strings.
const itemMemory = 300

// add appends an item, or returns errFull.
func (s *scan) add(it Item, names []string) error {
	if len(s.items) >= s.Files {
		s.items[len(s.items)-1].Unread = errFiles.Error()
		return errFull
	}
	if len(names) > 0 {
		it.Name = names[0]
	}
	if len(names) > 1 {
		it.Names = names
	}
	it.Tricks = tricksOf(names, it.Kind)
	size := int64(itemMemory + len(it.Path) + len(it.Unread))
	for _, n := range names {
		size += int64(len(n))
	}
	if !s.listed.TryTake(size) {
		if len(s.items) > 0 {
			s.items[len(s.items)-1].Unread = memory.ErrFull.Error()
		}
		return errFull
	}
	s.items = append(s.items, it)
	return nil
}

// errFull ends a listing early. It is not returned to callers.
var errFull = errors.New("listing is full")

// counter counts the octets read and returns an error when the budget is
// exhausted.
type counter struct {
	s     *scan
	r     io.Reader
	n     int64
	free  bool         // not unpacked, so not counted
	under func() int64 // returns the packed size, for the ratio; nil if not packed
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.s.ctx.Err(); err != nil {
		return 0, err
	}
	if !c.free && c.s.left <= 0 {
		return 0, errSize
	}
	if c.under != nil && c.n > 1<<20 && c.n/c.s.Ratio > c.under() {
		return 0, errRatio
	}
	if !c.free && int64(len(p)) > c.s.left {
		p = p[:c.s.left]
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if !c.free {
		c.s.left -= int64(n)
	}
	return n, err
}

// content lists an item and its contents.
func (s *scan) content(at place, names []string, claimed string, r io.Reader) error {
	return s.packed(at, names, claimed, r, nil)
}

// packed is like content for compressed content. under returns its packed size.
func (s *scan) packed(at place, names []string, claimed string, r io.Reader, under func() int64) error {
	defer s.memory.Return(s.memory.Held())
	defer s.memory.Return(s.memory.Held())
	c := &counter{s: s, r: r, free: at.via == "mime", under: under}
	spot := &spotter{r: c, dir: s.Dir, limit: s.Size}
	defer spot.close()
	b := bufio.NewReaderSize(spot, headSize)
	head, err := b.Peek(headSize)
	if fatal := s.fatal(err); fatal != nil {
		return fatal
	}
	kind := kindOf(head)
	if kind == unknownKind && len(head) == headSize {
		b = bufio.NewReaderSize(b, imageHead)
		if head, err = b.Peek(imageHead); s.fatal(err) != nil {
			return s.fatal(err)
		}
		kind = kindOf(head)
	}
	if strings.HasPrefix(kind, "text/") && isTNEF(claimed, names) {
		kind = unknownKind // damaged TNEF
	}
	index := len(s.items)
	if err := s.add(Item{Path: at.path, Type: claimed, Kind: kind, Via: at.via}, names); err != nil {
		return s.full(err)
	}
	if kind == zipKind {
		spot.stop()
	}
	why := s.look(at, index, kind, claimed, names, b)
	if fatal := s.fatal(why); fatal != nil {
		return fatal
	}
	zeros, err := drain(b)
	if s.fatal(err) != nil {
		return err
	}
	if why == nil {
		if why = err; err == nil && zeros && (kind == tarKind || kind == tnefKind) {
			spot.forget() // everything was scanned
		}
	}
	if spotted := listSpotted(s, at, index, spot); why == nil || s.fatal(spotted) != nil {
		why = spotted
	}
	if fatal := s.fatal(why); fatal != nil {
		return fatal
	}
	it := &s.items[index]
	it.Size = c.n
	if why != nil && it.Unread == "" {
		it.Unread = why.Error()
	}
	return nil
}

// drain reads to the end and reports whether all octets were zero.
func drain(r *bufio.Reader) (zeros bool, err error) {
	zeros = true
	for {
		_, err := r.Peek(1)
		if err == io.EOF {
			return zeros, nil
		}
		if err != nil {
			return zeros, err
		}
		b, _ := r.Peek(r.Buffered())
		zeros = zeros && len(bytes.Trim(b, "\x00")) == 0
		if _, err := r.Discard(len(b)); err != nil {
			return zeros, err
		}
	}
}

// full returns nil if err only indicates that the list is full, otherwise err.
func (s *scan) full(err error) error {
	if errors.Is(err, errFull) {
		return nil
	}
	return err
}

// fatal returns err if it was not caused by the message.
func (s *scan) fatal(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		return fmt.Errorf("scan attachments: %w", cause)
	}
	var disk *diskError
	if errors.As(err, &disk) {
		return err
	}
	return nil
}

// diskError is an error on the local disk.
type diskError struct{ error }

func (e *diskError) Unwrap() error { return e.error }

// opener lists the contents of a container. index is the container's item.
type opener func(s *scan, at place, index int, r *bufio.Reader) error

// look opens a container. The error is the reason why the container, or part of
// it, could not be read.
func (s *scan) look(at place, index int, kind, claimed string, names []string, r *bufio.Reader) error {
	var open opener
	format := archive.Find(kind)
	switch {
	case kind == zipKind:
		open = listZip
	case format != nil:
		open = func(s *scan, at place, index int, r *bufio.Reader) error { return listArchive(s, format, at, index, r) }
	case kind == oleKind:
		open = listOLE
	case kind == tnefKind:
		open = openTNEF
	case kind == cmsKind:
		open = (*scan).smime
	case strings.HasPrefix(kind, "text/") && isMail(claimed, names):
		open = (*scan).message
	case claimed == "application/mac-binhex40" || startsBinHex(r):
		open = func(s *scan, at place, _ int, r *bufio.Reader) error { return s.inText(at, r, true) }
	case closed[kind]:
		return errClosed
	case strings.HasPrefix(kind, "text/") && at.via == "mime":
		return s.inText(at, r, false)
	default:
		return nil
	}
	if at.depth >= s.Depth {
		return errDepth
	}
	return open(s, at, index, r)
}

// isMail reports whether content is a message that the walker did not
// recognise. It may be in an archive, or be encoded, which RFC 2046, 5.2.1
// forbids but mail programs accept.
func isMail(claimed string, names []string) bool {
	return claimed == "message/rfc822" || claimed == "message/global" ||
		slices.ContainsFunc(names, func(n string) bool { return Extension(n) == "eml" })
}

// message lists the parts of a message.
func (s *scan) message(at place, _ int, r *bufio.Reader) error {
	h, err := s.held(r)
	if err != nil {
		return err
	}
	defer h.Close()
	return s.entity(h, h.Size(), at.path+"/1", at.depth+1)
}

// isTNEF reports whether a part is declared as winmail.dat.
func isTNEF(claimed string, names []string) bool {
	return claimed == "application/ms-tnef" || claimed == "application/vnd.ms-tnef" ||
		slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "winmail.dat") })
}

// held buffers a container that needs random access.
func (s *scan) held(r io.Reader) (*hold.Hold, error) {
	h := hold.New(s.Dir)
	w := writer{h}
	if _, err := io.Copy(w, io.LimitReader(r, s.Size+1)); err != nil {
		h.Close()
		return nil, err
	}
	if h.Size() > s.Size {
		h.Close()
		return nil, errSize
	}
	return h, nil
}

// writer wraps write errors in diskError.
type writer struct{ h *hold.Hold }

func (w writer) Write(p []byte) (int, error) {
	n, err := w.h.Write(p)
	if err != nil {
		err = &diskError{err}
	}
	return n, err
}
