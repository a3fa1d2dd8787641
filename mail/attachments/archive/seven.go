package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/bodgit/sevenzip"
)

var errSevenShort = errors.New("damaged 7z: a file ends early")

// sevenZip lists a 7-Zip archive. The directory is checked before the library
// reads the archive, because the library allocates whatever memory the
// directory declares.
func (w *walk) sevenZip() error {
	folders, err := w.sevenFolders()
	if err != nil {
		return err
	}
	var r *sevenzip.Reader
	err = try(func() (err error) { r, err = sevenzip.NewReader(w.At, w.Size); return err })
	if err != nil {
		return fmt.Errorf("damaged 7z: %w", err)
	}
	files, open := 0, -1
	for _, f := range r.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if files++; files > w.Files {
			return ErrFiles
		}
		if err := w.sevenFile(f, folders, &open); err != nil {
			return err
		}
	}
	return nil
}

// sevenFile passes one file on. The files in a folder are one compressed stream,
// so they are read in order, each to its end. The library goes on with the folder
// open, and unpacks another, or one of which it skipped a file, from its start.
func (w *walk) sevenFile(f *sevenzip.File, folders []sevenFolder, open *int) error {
	e := Entry{Name: f.Name, Size: int64(f.UncompressedSize)}
	switch {
	case f.Mode()&fs.ModeSymlink != 0:
		e.Link = true
		*open = -1
		return w.visit(e)
	case f.UncompressedSize == 0:
		e.Body = bytes.NewReader(nil)
		return w.visit(e)
	case f.Stream < len(folders) && folders[f.Stream].encrypted:
		e.Encrypted = true
		return w.visit(e)
	case f.Stream < len(folders) && folders[f.Stream].unknown:
		e.Unread = ErrMethod.Error()
		return w.visit(e)
	}
	if f.Stream < len(folders) && f.Stream != *open {
		if err := w.Memory.Spend(folders[f.Stream].memory); err != nil {
			return err
		}
		*open = f.Stream
	}
	var body io.ReadCloser
	if err := try(func() (err error) { body, err = f.Open(); return err }); err != nil {
		return fmt.Errorf("damaged 7z: %w", err)
	}
	content := &tally{r: guarded{body}}
	e.Body = content
	e.Packed = func() int64 { return w.Size }
	whole, err := w.whole(e)
	switch {
	case err == nil && !whole:
		err = ErrIncomplete
	case err == nil && content.n < e.Size:
		// The library reads no data after the directory, but other programs do.
		err = errSevenShort
	}
	return errors.Join(err, try(body.Close))
}
