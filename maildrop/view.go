package maildrop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hoplite/internal/handles"
	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// View reads the mailboxes of a maildrop without changing anything: it assigns
// no UIDs, and new messages stay new. It can be used while the server is
// running.
type View struct {
	root *os.Root
	path string // contains {user} and {domain}
}

// FolderSize holds the size of a folder.
type FolderSize struct {
	Name             string
	Messages, Unseen int
	Octets           int64 // with CRLF line endings
}

// OpenView opens the maildrop of a block. It returns fs.ErrNotExist if its
// directory does not exist yet.
func OpenView(cfg Config, data string) (*View, error) {
	top, path := splitPath(Location(cfg, data))
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, fmt.Errorf("open maildrop %q: %w", cfg.Name, err)
	}
	return &View{root, path}, nil
}

// Close closes the view.
func (v *View) Close() error { return v.root.Close() }

// Exists reports whether an account's box exists.
func (v *View) Exists(a mail.Address) bool {
	st, err := v.root.Lstat(boxPath(v.path, a))
	return err == nil && st.IsDir()
}

// Path returns the path of an account's box.
func (v *View) Path(a mail.Address) string { return filepath.Join(v.root.Name(), boxPath(v.path, a)) }

// Folders returns the folders in an account's box: INBOX first, the others by
// name.
func (v *View) Folders(a mail.Address) ([]FolderSize, error) {
	box, err := maildir.OpenDir(handles.Share(), v.root, boxPath(v.path, a))
	if err != nil {
		return nil, fmt.Errorf("open the box of %s: %w", a, err)
	}
	defer box.Close()
	inbox, err := sizeOf(box, maildir.Inbox)
	if err != nil {
		return nil, err
	}
	list := []FolderSize{inbox}
	dirs, err := box.Dirs()
	if err != nil {
		return nil, fmt.Errorf("list folders of %s: %w", a, err)
	}
	for _, dir := range dirs {
		name, ok := maildir.FolderName(dir)
		if !ok || name == maildir.Inbox {
			continue
		}
		sub, err := box.Sub(dir)
		if err != nil {
			continue // a file, or removed in the meantime
		}
		one, err := sizeOf(sub, name)
		sub.Close()
		switch {
		case isNot(err): // not a folder
		case err != nil:
			return nil, err
		default:
			list = append(list, one)
		}
	}
	slices.SortFunc(list[1:], func(x, y FolderSize) int {
		return strings.Compare(strings.ReplaceAll(x.Name, "/", "\x00"), strings.ReplaceAll(y.Name, "/", "\x00"))
	})
	return list, nil
}

// sizeOf counts the messages in one folder.
func sizeOf(dir *maildir.Dir, name string) (FolderSize, error) {
	size, seen := FolderSize{Name: name}, map[string]bool{}
	for _, half := range []string{"cur", "new"} {
		sub, err := dir.Sub(half)
		if isNot(err) && (half == "new" || name == maildir.Inbox) { // INBOX may not exist yet
			continue
		}
		if err != nil {
			return size, fmt.Errorf("folder %s: %w", name, err)
		}
		err = size.add(sub, half == "new", seen)
		sub.Close()
		if err != nil {
			return size, fmt.Errorf("folder %s: %w", name, err)
		}
	}
	return size, nil
}

// add counts the messages in one directory. A message that is being renamed may
// be listed under two names.
func (s *FolderSize) add(dir *maildir.Dir, isNew bool, seen map[string]bool) error {
	names, err := dir.Files()
	if err != nil {
		return err
	}
	for _, name := range names {
		base, info := maildir.Split(name)
		if strings.HasPrefix(name, ".") || seen[base] {
			continue
		}
		seen[base] = true
		octets, err := wireSize(dir, name, base)
		if errors.Is(err, os.ErrNotExist) {
			continue // delivered or removed in the meantime
		}
		if err != nil {
			return err
		}
		s.Messages++
		s.Octets += octets
		if isNew || maildir.ParseInfo(info).Flags&maildir.Seen == 0 {
			s.Unseen++
		}
	}
	return nil
}

// wireSize returns a message's size with CRLF line endings, taken from its name
// if possible, otherwise by reading the file.
func wireSize(dir *maildir.Dir, name, base string) (int64, error) {
	if _, wire := maildir.Sizes(base); wire > 0 {
		return wire, nil
	}
	f, err := dir.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_, wire, err := maildir.WireSize(f)
	return wire, err
}
