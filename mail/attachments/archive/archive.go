// Package archive lists the files in archives and compressed files: gzip,
// bzip2, xz, lzma, zstd, tar, rar, 7z, cabinets and ISO 9660 images. (Package
// attachments reads zip files itself, because office documents are zip files.)
//
// Start with [Find] and [Format.Walk]. An archive may be designed to exhaust
// its reader, so the size of directories is limited, memory is reserved from a
// [memory.Share] before it is used, and archives that need more are not opened.
// Limiting the amount of unpacked content is left to the caller, who reads each
// [Entry].
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"hoplite/internal/memory"
)

// Entry is one file in an archive.
type Entry struct {
	Name string // as in the archive; empty if unnamed
	Size int64  // as declared by the archive
	// Body is the content, or nil if it cannot be read.
	Body io.Reader
	// Packed returns the size of the packed content read for Body so far.
	// It is nil if the content is not compressed.
	Packed    func() int64
	Link      bool   // a symbolic or hard link
	Encrypted bool   // a password is required
	Unread    string // the reason why Body is nil, unless Encrypted or Link is set
}

// Visit is called for each entry in turn. Body is valid until it returns. An
// error ends the walk.
type Visit func(Entry) error

// Input is an archive. At and Size are needed only if the format is Random.
type Input struct {
	Reader io.Reader
	At     io.ReaderAt
	Size   int64
}

// Options limit a walk.
type Options struct {
	Files  int           // maximum number of entries in a directory; 0 means 1,000
	Memory *memory.Share // memory is returned after the walk; nil means no limit
}

// The reasons why an archive cannot be read to the end.
var (
	ErrDamaged    = errors.New("damaged archive")
	ErrEncrypted  = errors.New("encrypted")
	ErrFiles      = errors.New("too many files")
	ErrVolumes    = errors.New("one volume of an archive of several")
	ErrNamesOnly  = errors.New("only the list of files was read")
	ErrMethod     = errors.New("compressed with a method that is not supported")
	ErrIncomplete = errors.New("the files after one that could not be read are missing")
)

// Format is a kind of archive.
type Format struct {
	Name   string // such as "rar"
	Random bool   // Input needs At and Size
	// Suffix is the usual extension of a file that is only compressed. The
	// content's name lacks it.
	Suffix string

	walk func(*walk) error
}

// The formats, by the media types detected by package attachments.
var formats = map[string]*Format{
	"application/gzip":                  {Name: "gzip", Suffix: ".gz", walk: (*walk).gzip},
	"application/x-bzip2":               {Name: "bzip2", Suffix: ".bz2", walk: (*walk).bzip2},
	"application/x-xz":                  {Name: "xz", Suffix: ".xz", walk: (*walk).xz},
	"application/x-lzma":                {Name: "lzma", Suffix: ".lzma", walk: (*walk).lzma},
	"application/zstd":                  {Name: "zstd", Suffix: ".zst", walk: (*walk).zstd},
	"application/x-tar":                 {Name: "tar", walk: (*walk).tar},
	"application/vnd.rar":               {Name: "rar", Random: true, walk: (*walk).rar},
	"application/x-7z-compressed":       {Name: "7z", Random: true, walk: (*walk).sevenZip},
	"application/vnd.ms-cab-compressed": {Name: "cab", Random: true, walk: (*walk).cabinet},
	"application/x-iso9660-image":       {Name: "iso", Random: true, walk: (*walk).iso},
}

// Find returns the format with the given media type, or nil.
func Find(kind string) *Format { return formats[kind] }

// walk is the state of reading one archive.
type walk struct {
	Input
	Options
	ctx   context.Context
	visit Visit
}

// Walk calls visit for every file in an archive. The error comes from the
// reader, visit or ctx, is [memory.ErrFull], or describes what is wrong with
// the archive.
func (f *Format) Walk(ctx context.Context, in Input, o Options, visit Visit) error {
	if o.Files <= 0 {
		o.Files = 1000
	}
	defer o.Memory.Return(o.Memory.Held())
	return f.walk(&walk{Input: in, Options: o, ctx: ctx, visit: visit})
}

// take reserves memory until the end of the walk.
func (w *walk) take(n int64) error { return w.Memory.Take(w.ctx, n) }

// allocate reserves n octets that are allocated next until the end of the walk.
func (w *walk) allocate(n int64) error {
	if err := w.take(n); err != nil {
		return err
	}
	return w.Memory.Spend(n)
}

// whole passes an entry on and reports whether its content was read to its end.
func (w *walk) whole(e Entry) (bool, error) {
	b := &body{r: e.Body}
	e.Body = b
	if err := w.visit(e); err != nil {
		return false, err
	}
	if b.err == nil { // the caller may have stopped exactly at the end
		_, b.err = io.ReadFull(b.r, make([]byte, 1))
	}
	return b.err == io.EOF, nil
}

// body records the first error of a reader.
type body struct {
	r   io.Reader
	err error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.err == nil {
		b.err = err
	}
	return n, err
}

// tally counts the octets read.
type tally struct {
	r io.Reader
	n int64
}

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	return n, err
}

func (t *tally) count() int64 { return t.n }

// try calls a library function that may panic on malicious input.
func try(f func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, cause)
		}
	}()
	return f()
}

// guarded reads from a library that may panic on malicious input.
type guarded struct{ r io.Reader }

func (g guarded) Read(p []byte) (n int, err error) {
	err = try(func() (err error) { n, err = g.r.Read(p); return err })
	return n, err
}
