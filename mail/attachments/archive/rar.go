package archive

import (
	"errors"
	"fmt"
	"io"

	"github.com/nwaples/rardecode/v2"
)

const (
	rarMemory = 8 << 20 // filters and tables
	rarFive   = "Rar!\x1a\x07\x01\x00"
)

// rarDictionaries lists the dictionary sizes to try. The library does not
// report the size that an archive needs, but rejects larger ones.
var rarDictionaries = []int64{1 << 20, 8 << 20, 64 << 20}

var errRAR4 = errors.New("compressed in a RAR format before version 5")

// rar lists an archive. Content is read only from version 5 on. Older formats
// include PPMd, which may declare up to 341 MiB of memory in the middle of the
// content, and the library does not limit it.
func (w *walk) rar() error {
	head := make([]byte, len(rarFive))
	if _, err := w.At.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	dictionary := rarDictionaries[0]
	content := string(head) == rarFive
	if content {
		for _, dictionary = range rarDictionaries {
			if err := w.rarFits(dictionary); !errors.Is(err, rardecode.ErrDictionaryTooLarge) {
				break
			}
		}
	}
	if err := w.take(rarMemory + dictionary); err != nil {
		return err
	}
	files := 0
	return w.rarFiles(dictionary, func(h *rardecode.FileHeader, r io.Reader) error {
		if files++; files > w.Files {
			return ErrFiles
		}
		e := Entry{Name: h.Name, Size: h.UnPackedSize}
		switch {
		case h.IsDir:
			return nil
		case h.LinkType != rardecode.LinkTypeNone && h.LinkType != rardecode.LinkTypeFileCopy:
			e.Link = true
		case h.Encrypted:
			e.Encrypted = true
		case !content:
			e.Unread = errRAR4.Error()
		default:
			packed := max(1, h.PackedSize)
			e.Packed = func() int64 { return packed }
			e.Body = r
			whole, err := w.whole(e)
			if err == nil && !whole {
				return ErrIncomplete
			}
			return err
		}
		return w.visit(e)
	})
}

// rarFits walks through the headers of an archive with the given maximum
// dictionary size.
func (w *walk) rarFits(dictionary int64) error {
	held := w.Memory.Held()
	defer w.Memory.Return(held)
	if err := w.take(rarMemory + dictionary); err != nil {
		return err
	}
	n := 0
	return w.rarFiles(dictionary, func(*rardecode.FileHeader, io.Reader) error {
		if n++; n > w.Files {
			return ErrFiles
		}
		return w.ctx.Err()
	})
}

// rarFiles calls each for every file in an archive.
func (w *walk) rarFiles(dictionary int64, each func(*rardecode.FileHeader, io.Reader) error) error {
	var r *rardecode.Reader
	if err := w.Memory.Spend(rarMemory / 8); err != nil { // most of it is not used
		return err
	}
	window := int64(0) // of the files until now
	err := try(func() (err error) {
		r, err = rardecode.NewReader(io.NewSectionReader(w.At, 0, w.Size), rardecode.MaxDictionarySize(dictionary))
		return err
	})
	for err == nil {
		var h *rardecode.FileHeader
		err = try(func() (err error) { h, err = r.Next(); return err })
		if err == nil {
			// The library has made the window larger for this file, or cleared
			// it, unless the file is stored.
			need := dictionary
			if !h.Solid && !h.UnKnownSize {
				need = min(need, max(h.UnPackedSize, 0))
			}
			spent := window / 8
			if need > window {
				window, spent = need, need
			}
			if stop := w.Memory.Spend(spent); stop != nil {
				return stop
			}
			if stop := each(h, guarded{r}); stop != nil {
				return stop
			}
		}
	}
	if err == io.EOF {
		return nil
	}
	if !errors.Is(err, rardecode.ErrDictionaryTooLarge) {
		if spent := w.Memory.Spend(dictionary); spent != nil { // perhaps for the file with the error
			return spent
		}
	}
	switch {
	case errors.Is(err, rardecode.ErrArchiveEncrypted), errors.Is(err, rardecode.ErrArchivedFileEncrypted):
		return ErrEncrypted
	case errors.Is(err, rardecode.ErrMultiVolume):
		return ErrVolumes
	}
	return fmt.Errorf("damaged rar: %w", err)
}
