// Package ole opens compound files (MS-CFB), the format of Outlook messages and
// old Office documents. The files are read by a library; this package rejects
// files for which the library would need too much memory or time.
package ole

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/richardlehane/mscfb"

	"hoplite/internal/memory"
)

// Magic is the signature at the start of every compound file.
const Magic = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// Limits on a directory. The library stores the full path of each entry, so the
// cost of nested folders grows with the square of their depth.
const (
	maxEntries = 50_000
	maxDepth   = 64
)

// inHeader is the number of allocation table sectors listed in the header.
const inHeader = 109

// ErrDamaged is returned for a file that violates the format or is larger than
// any real one.
var ErrDamaged = errors.New("the file is damaged")

// The memory that the library needs for a directory entry including its path,
// and for each sector of the file in its sector lists.
const (
	entryMemory  = 600
	sectorMemory = 64
)

// Open reads the directory of a compound file. Next returns its entries, each
// of which is a reader of its content. The Size of an entry may be wrong.
// Memory for the document is reserved from share, which may be nil.
func Open(ctx context.Context, r io.ReaderAt, size int64, share *memory.Share) (doc *mscfb.Reader, err error) {
	defer func() {
		// The input may be malicious and cause the library to panic.
		if recover() != nil {
			err = ErrDamaged
		}
	}()
	f := file{r: r, size: size}
	if err := share.Take(ctx, size/512*sectorMemory); err != nil {
		return nil, err
	}
	if err := f.header(); err != nil {
		return nil, err
	}
	entries, err := f.directory()
	if err != nil {
		return nil, err
	}
	if err := walk(entries); err != nil {
		return nil, err
	}
	if err := share.Take(ctx, int64(len(entries))*entryMemory); err != nil {
		return nil, err
	}
	return mscfb.New(r)
}

// file holds the parts of a compound file needed to find its directory.
type file struct {
	r      io.ReaderAt
	size   int64
	sector int64
	start  uint32   // of the directory
	fat    []uint32 // the sectors of the allocation table
}

func (f *file) read(at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, at); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: truncated", ErrDamaged)
		}
		return nil, err
	}
	return b, nil
}

// at reads sector n. Sector 0 follows the header.
func (f *file) at(n uint32) ([]byte, error) { return f.read((int64(n)+1)*f.sector, f.sector) }

func (f *file) header() error {
	h, err := f.read(0, 512)
	if err != nil {
		return err
	}
	shift := binary.LittleEndian.Uint16(h[30:])
	if string(h[:8]) != Magic || shift != 9 && shift != 12 {
		return ErrDamaged
	}
	f.sector, f.start = 1<<shift, binary.LittleEndian.Uint32(h[48:])
	f.fat = words(h[76:512])
	if mini := int64(binary.LittleEndian.Uint32(h[64:])); mini > f.size/f.sector {
		return fmt.Errorf("%w: its table of small sectors is too large", ErrDamaged)
	}
	return f.difat(binary.LittleEndian.Uint32(h[68:]), int64(binary.LittleEndian.Uint32(h[72:])))
}

// difat adds the sectors of the allocation table that the header has no room
// for: a chain of n sectors that contain sector numbers. Both the library and
// this package keep all of them, so a loop, or a chain longer than the file
// could need, is treated as damage.
func (f *file) difat(next uint32, n int64) error {
	numbers := f.sector / 4
	table := (f.size/f.sector + numbers - 1) / numbers // number of sectors that the table needs
	most := max(0, table-inHeader+numbers-2) / (numbers - 1)
	if n > most {
		return fmt.Errorf("%w: its allocation table is too large", ErrDamaged)
	}
	seen := make(map[uint32]bool, n)
	for range n {
		if seen[next] {
			return fmt.Errorf("%w: its allocation table loops", ErrDamaged)
		}
		seen[next] = true
		b, err := f.at(next)
		if err != nil {
			return err
		}
		list := words(b)
		f.fat, next = append(f.fat, list[:len(list)-1]...), list[len(list)-1]
	}
	return nil
}

func words(b []byte) []uint32 {
	list := make([]uint32, len(b)/4)
	for i := range list {
		list[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return list
}

// entry links a directory entry to its neighbours in the tree of its folder,
// and to the first entry in it.
type entry struct{ left, right, child uint32 }

// none is an absent link; last marks the end of a chain of sectors.
const (
	none = 0xffffffff
	last = 0xfffffffe
)

func (f *file) directory() ([]entry, error) {
	var list []entry
	for n := f.start; n != last; {
		b, err := f.at(n)
		if err != nil {
			return nil, err
		}
		for ; len(b) >= 128; b = b[128:] {
			e := words(b[68:80])
			list = append(list, entry{e[0], e[1], e[2]})
		}
		if len(list) > maxEntries {
			return nil, fmt.Errorf("%w: more than %d entries", ErrDamaged, maxEntries)
		}
		per := uint32(f.sector / 4)
		if n/per >= uint32(len(f.fat)) {
			return nil, ErrDamaged
		}
		table, err := f.at(f.fat[n/per])
		if err != nil {
			return nil, err
		}
		n = binary.LittleEndian.Uint32(table[n%per*4:])
	}
	return list, nil
}

// walk traverses the tree in the same way as the library.
func walk(list []entry) error {
	type place struct {
		n     uint32
		depth int
	}
	todo := []place{{0, 0}}
	for seen := 0; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if p.n == none {
			continue
		}
		if seen++; seen > len(list) || p.n >= uint32(len(list)) {
			return fmt.Errorf("%w: invalid directory", ErrDamaged)
		}
		if p.depth > maxDepth {
			return fmt.Errorf("%w: folders nested more than %d deep", ErrDamaged, maxDepth)
		}
		e := list[p.n]
		todo = append(todo, place{e.left, p.depth}, place{e.right, p.depth}, place{e.child, p.depth + 1})
	}
	return nil
}
