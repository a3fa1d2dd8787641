package attachments

import (
	"bufio"
	"errors"
	"path"
	"strings"

	"hoplite/mail/attachments/archive"
)

// listArchive lists the files in an archive and their contents.
func listArchive(s *scan, f *archive.Format, at place, index int, r *bufio.Reader) error {
	in := archive.Input{Reader: r}
	if f.Random {
		h, err := s.held(r)
		if err != nil {
			return err
		}
		defer h.Close()
		in.At, in.Size = h, h.Size()
	}
	err := f.Walk(s.ctx, in, archive.Options{Files: s.Files + 1, Memory: s.memory}, func(e archive.Entry) error {
		return listEntry(s, f, at, index, e)
	})
	if errors.Is(err, archive.ErrEncrypted) {
		s.items[index].Encrypted = true
	}
	return err
}

// listEntry lists one file in an archive.
func listEntry(s *scan, f *archive.Format, at place, index int, e archive.Entry) error {
	if len(s.items) >= s.Files {
		return errFiles
	}
	name := strings.ToValidUTF8(clip(e.Name), "\uFFFD")
	if name == "" && f.Suffix != "" {
		if name = s.items[index].Name; name == "" {
			name = path.Base(at.path)
		}
		name = uncompressed(name, f.Suffix)
	}
	in, names := at.inside(name, f.Name), []string{clip(name)}
	switch {
	case e.Link:
		return s.add(Item{Path: in.path, Kind: "inode/symlink", Via: f.Name}, names)
	case e.Encrypted:
		s.items[index].Encrypted = true
		return s.add(Item{Path: in.path, Kind: unknownKind, Via: f.Name, Size: e.Size, Encrypted: true, Unread: "encrypted"}, names)
	case e.Body == nil:
		return s.add(Item{Path: in.path, Kind: unknownKind, Via: f.Name, Size: e.Size, Unread: e.Unread}, names)
	}
	return s.packed(in, names, "", e.Body, e.Packed)
}

// uncompressed returns the name of a compressed file's content.
func uncompressed(name, suffix string) string {
	name = strings.TrimSuffix(name, suffix)
	for _, short := range []string{".tgz", ".tbz2", ".tbz", ".txz", ".tlz", ".tzst"} {
		if t, ok := strings.CutSuffix(name, short); ok {
			return t + ".tar"
		}
	}
	return name
}
