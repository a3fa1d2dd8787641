package maildrop

import (
	"errors"
	"fmt"
	"strings"

	"hoplite/maildrop/maildir"
)

// Rename renames a folder and all its subfolders. Renaming INBOX moves its
// messages to a new folder and leaves INBOX empty (RFC 9051, 6.3.6).
func (b *Box) Rename(from, to string) error {
	from, to = maildir.CanonicalFolder(from), maildir.CanonicalFolder(to)
	if from == maildir.Inbox {
		return b.renameInbox(to)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	moves, err := b.moves(from, to)
	if err != nil {
		return err
	}
	for _, m := range moves {
		oldDir, _ := maildir.FolderDir(m[0])
		newDir, _ := maildir.FolderDir(m[1])
		f := b.folders[m[0]]
		if f == nil {
			err = b.dir.Rename(oldDir, b.dir, newDir)
		} else {
			err = f.dir.MoveTo(newDir)
		}
		if err != nil {
			return fmt.Errorf("rename folder %q: %w", m[0], err)
		}
		if f != nil {
			delete(b.folders, m[0])
			f.name = m[1]
			b.folders[m[1]] = f
		}
	}
	b.listing.folders = nil
	return errors.Join(b.dir.Sync(), b.notes.move(moves...), b.uses.change(func(uses map[string]string) {
		for _, m := range moves {
			if use := uses[m[0]]; use != "" {
				delete(uses, m[0])
				uses[m[1]] = use
			}
		}
	}))
}

// moves lists the folders that must be renamed. It performs all checks first,
// so that a rename is not left half done.
func (b *Box) moves(from, to string) ([][2]string, error) {
	if _, err := maildir.FolderDir(from); err != nil {
		return nil, ErrNoFolder
	}
	if _, err := maildir.FolderDir(to); err != nil {
		return nil, err
	}
	if to == maildir.Inbox || to == from {
		return nil, ErrExists
	}
	if strings.HasPrefix(to, from+"/") {
		return nil, fmt.Errorf("cannot move a folder below itself: %w", ErrFolderName)
	}
	folders, err := b.list()
	if err != nil {
		return nil, err
	}
	var moves [][2]string
	known := false
	for _, f := range folders {
		if f.Name == to && f.Exists {
			return nil, ErrExists
		}
		rest, below := strings.CutPrefix(f.Name, from+"/")
		known = known || f.Name == from
		if !f.Exists || f.Name != from && !below {
			continue
		}
		target := to
		if below {
			target += "/" + rest
		}
		dir, err := maildir.FolderDir(target)
		if err != nil {
			return nil, err
		}
		if b.isFolder(dir) {
			return nil, ErrExists
		}
		moves = append(moves, [2]string{f.Name, target})
	}
	if !known {
		return nil, ErrNoFolder
	}
	return moves, nil
}

func (b *Box) renameInbox(to string) error {
	if err := b.Create(to, ""); err != nil {
		return err
	}
	src, err := b.Folder(maildir.Inbox)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := b.Folder(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	s, err := src.Sync()
	if err != nil {
		return err
	}
	uids := make([]uint32, len(s.Messages))
	for i, m := range s.Messages {
		uids[i] = m.UID
	}
	_, err = src.Move(uids, dst)
	return err
}
