package attachments

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"hoplite/mail/ole"
)

// maxDirectory is the maximum size of a zip file's directory. An entry needs
// more memory than its size in the file.
const maxDirectory = 1 << 20

// errNoZip is returned if a zip directory cannot be read.
var errNoZip = errors.New("damaged zip")

// listZip lists a zip file.
func listZip(s *scan, at place, index int, r *bufio.Reader) error {
	h, err := s.held(r)
	if err != nil {
		return err
	}
	defer h.Close()
	return listZipEntries(s, at, index, h, h.Size())
}

// listZipEntries lists the files in a zip file's directory. In an office
// document, which is also a zip file, only potentially harmful files are
// listed.
func listZipEntries(s *scan, at place, index int, r io.ReaderAt, size int64) error {
	// A directory entry of 46 octets becomes a record of about 300 octets.
	if err := s.memory.Take(s.ctx, 8*min(size, maxDirectory)); err != nil {
		return err
	}
	dir := &budget{r: r, left: maxDirectory}
	z, err := zip.NewReader(dir, size)
	if errors.Is(err, errFiles) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoZip, err)
	}
	dir.left = 1 << 62
	office := slices.ContainsFunc(z.File, func(f *zip.File) bool { return f.Name == "[Content_Types].xml" })
	if office && s.items[index].Kind == zipKind {
		s.items[index].Kind = "application/vnd.openxmlformats-officedocument"
	}
	var first error
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if office && !harmful(s, index, f.Name) {
			continue
		}
		if len(s.items) >= s.Files {
			return errFiles
		}
		if err := listZipEntry(s, at, index, f); err != nil {
			if s.fatal(err) != nil || errors.Is(err, errFull) {
				return err
			}
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// officeContent lists the extensions of files that office documents normally
// contain.
var officeContent = set("xml rels vml png jpg jpeg gif bmp tif tiff emf wmf svg ico wav mp3 mp4 m4a wdp jfif odttf fntdata ttf bin psmdcp")

// harmful reports whether a file in an office document is a macro or an
// embedded file, or does not belong in such a document.
func harmful(s *scan, index int, name string) bool {
	name = strings.ToLower(name)
	if strings.HasSuffix(name, "vbaproject.bin") || strings.Contains(name, "/macrosheets/") {
		s.items[index].Tricks = append(s.items[index].Tricks, TrickMacros)
		return true
	}
	return !officeContent[Extension(name)] || strings.Contains(name, "/embeddings/") || strings.Contains(name, "/activex/") && strings.HasSuffix(name, ".bin")
}

func listZipEntry(s *scan, at place, index int, f *zip.File) error {
	in := at.inside(f.Name, "zip")
	names := []string{strings.ToValidUTF8(clip(f.Name), "\uFFFD")}
	if f.Flags&1 != 0 {
		s.items[index].Encrypted = true
		return s.add(Item{Path: in.path, Kind: unknownKind, Via: "zip", Size: int64(f.UncompressedSize64),
			Encrypted: true, Unread: "encrypted"}, names)
	}
	if f.Mode()&fs.ModeSymlink != 0 {
		return s.add(Item{Path: in.path, Kind: "inode/symlink", Via: "zip"}, names)
	}
	r, err := f.Open()
	if err != nil {
		return s.add(Item{Path: in.path, Kind: unknownKind, Via: "zip", Size: int64(f.UncompressedSize64),
			Unread: err.Error()}, names)
	}
	defer r.Close()
	packed := max(1, int64(f.CompressedSize64))
	return s.packed(in, names, "", r, func() int64 { return packed })
}

// listOLE looks for macros (a folder with a Visual Basic project) in an old
// Office document, or in one embedded in another document. Other contents are
// not listed.
func listOLE(s *scan, _ place, index int, r *bufio.Reader) error {
	h, err := s.held(r)
	if err != nil {
		return err
	}
	defer h.Close()
	doc, err := ole.Open(s.ctx, h, h.Size(), s.memory)
	if err != nil {
		return fmt.Errorf("damaged document: %w", err)
	}
	for _, e := range doc.File {
		if e.Name == "_VBA_PROJECT" || e.Name == "_VBA_PROJECT_CUR" || e.Name == "VBA" {
			s.items[index].Tricks = append(s.items[index].Tricks, TrickMacros)
			return nil
		}
	}
	return nil
}

// budget is a ReaderAt that fails after a given number of octets.
type budget struct {
	r    io.ReaderAt
	left int64
}

func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errFiles
	}
	return b.r.ReadAt(p, off)
}
