package maildrop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// FolderInfo is an entry in a folder list.
type FolderInfo struct {
	Name string // "/" between levels
	// Exists is false for a parent level that is not itself a folder.
	Exists      bool
	HasChildren bool
	// SpecialUse is the folder's special use (RFC 6154), such as `\Sent`. It is
	// empty if there is none.
	SpecialUse string
}

// listing caches the contents of the box's directory.
type listing struct {
	mtime   time.Time
	folders []FolderInfo
}

// List returns all folders: INBOX first, the others by name, each after its
// parent.
func (b *Box) List() ([]FolderInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list()
}

func (b *Box) list() ([]FolderInfo, error) {
	st, err := b.dir.StatSelf()
	if err != nil {
		return nil, err
	}
	if b.listing.folders != nil && st.MTime.Equal(b.listing.mtime) {
		return b.listing.folders, nil
	}
	dirs, err := b.dir.Dirs()
	if err != nil {
		return nil, fmt.Errorf("list folders of %s: %w", b.path, err)
	}
	seen := map[string]bool{maildir.Inbox: true}
	for _, dir := range dirs {
		name, ok := maildir.FolderName(dir)
		if !ok || name == maildir.Inbox || !b.isFolder(dir) {
			continue
		}
		seen[name] = true
		for i := strings.LastIndexByte(name, '/'); i >= 0; i = strings.LastIndexByte(name[:i], '/') {
			if _, known := seen[name[:i]]; !known {
				seen[name[:i]] = false
			}
		}
	}
	folders := b.describe(seen)
	b.listing.folders = nil
	if time.Since(st.MTime) > settleTime {
		b.listing = listing{mtime: st.MTime, folders: folders}
	}
	return folders, nil
}

// isFolder distinguishes folders from other hidden directories.
func (b *Box) isFolder(dir string) bool {
	sub, err := b.dir.Sub(dir)
	if err != nil {
		return false
	}
	defer sub.Close()
	st, err := sub.Stat("cur")
	return err == nil && st.Mode.IsDir()
}

func (b *Box) describe(seen map[string]bool) []FolderInfo {
	uses := b.uses.read()
	folders := make([]FolderInfo, 0, len(seen))
	for name, exists := range seen {
		folders = append(folders, FolderInfo{Name: name, Exists: exists, SpecialUse: uses[name]})
	}
	slices.SortFunc(folders, func(x, y FolderInfo) int {
		if (x.Name == maildir.Inbox) != (y.Name == maildir.Inbox) {
			return map[bool]int{true: -1, false: 1}[x.Name == maildir.Inbox]
		}
		return strings.Compare(strings.ReplaceAll(x.Name, "/", "\x00"), strings.ReplaceAll(y.Name, "/", "\x00"))
	})
	for i := range folders {
		folders[i].HasChildren = i+1 < len(folders) && strings.HasPrefix(folders[i+1].Name, folders[i].Name+"/")
		if folders[i].Name == maildir.Inbox {
			folders[i].HasChildren = slices.ContainsFunc(folders, func(x FolderInfo) bool {
				return strings.HasPrefix(x.Name, maildir.Inbox+"/")
			})
		}
	}
	// A folder without a recorded use gets the use that its name implies,
	// unless another folder already has it.
	for i, f := range folders {
		use := usualNames[strings.ToLower(f.Name)]
		if use != "" && f.Exists && f.SpecialUse == "" && !slices.ContainsFunc(folders, func(x FolderInfo) bool { return x.SpecialUse == use }) {
			folders[i].SpecialUse = use
		}
	}
	return folders
}

// Create creates a folder and, if use is not empty, sets its special use (RFC
// 6154). Parent levels need not exist on disk and are not created.
func (b *Box) Create(name, use string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	name = maildir.CanonicalFolder(name)
	dirName, err := maildir.FolderDir(name)
	if err != nil {
		return err
	}
	if name == maildir.Inbox || b.isFolder(dirName) {
		return ErrExists
	}
	if use != "" && !slices.Contains(SpecialUses, use) {
		return fmt.Errorf("special use %q: %w", use, ErrFolderName)
	}
	b.listing.folders = nil
	if err := createFolder(b.dir, dirName); err != nil {
		return fmt.Errorf("create folder %q: %w", name, err)
	}
	if use == "" {
		return nil
	}
	return b.uses.change(func(uses map[string]string) { uses[name] = use })
}

// createFolder creates a folder's directory and its contents.
func createFolder(box *maildir.Dir, dirName string) error {
	if err := box.Mkdir(dirName); err != nil && !isExist(err) {
		return err
	}
	dir, err := box.Sub(dirName)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := makeDirs(dir); err != nil {
		return err
	}
	if err := errors.Join(markFolder(dir), dir.Sync(), box.Sync()); err != nil {
		return err
	}
	validity, err := maildir.NextUIDValidity(box)
	if err != nil {
		return err
	}
	list := maildir.UIDList{Validity: validity, Next: 1, GUID: newGUID(), ModSeq: reconcile.ModSeqStep}
	return dir.Replace(maildir.UIDListFile, list.Bytes())
}

// markFolder creates the file that Maildir++ requires in a folder, so that a
// delivery agent started in the folder can find the box above it.
func markFolder(dir *maildir.Dir) error {
	w, err := dir.Append("maildirfolder", 0o600)
	if err != nil {
		return err
	}
	return w.Close()
}

// Delete removes a folder and its messages, but not its subfolders. INBOX
// cannot be deleted.
func (b *Box) Delete(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	name = maildir.CanonicalFolder(name)
	if name == maildir.Inbox {
		return ErrInbox
	}
	f, err := b.open(name)
	if err != nil {
		return err
	}
	defer func() { f.refs--; b.drop(f) }()
	// First hide the folder with a single rename, then remove its files. A
	// crash may leave files behind, but no half-deleted folder.
	trash := ".." + maildir.Unique()
	if err := f.dir.MoveTo(trash); err != nil {
		return fmt.Errorf("delete folder %q: %w", name, err)
	}
	b.listing.folders = nil
	f.mu.Lock()
	var size int64
	for _, m := range f.known.Messages {
		size += m.Size
	}
	count := int64(len(f.known.Messages))
	if !f.known.Known {
		size, count = addUp(f.dir)
	}
	f.index.erase(f.known.GUID)
	f.markDeleted()
	f.mu.Unlock()
	b.quota.add(-size, -count)
	return errors.Join(b.dir.Sync(), removeTree(b.dir, trash),
		b.uses.change(func(uses map[string]string) { delete(uses, name) }), b.notes.move([2]string{name, ""}))
}

// drop removes a deleted folder from the box. Sessions that have it open must
// still close it.
func (b *Box) drop(f *Folder) {
	if b.folders[f.name] == f {
		delete(b.folders, f.name)
	}
	if f.refs == 0 {
		f.shut()
	}
}

// removeTree removes a folder's directory with its files and one level of
// subdirectories.
func removeTree(parent *maildir.Dir, name string) error {
	dir, err := parent.Sub(name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer dir.Close()
	subs, err := dir.Dirs()
	for _, sub := range subs {
		err = errors.Join(err, removeTree(dir, sub))
	}
	files, ferr := dir.All()
	for _, file := range files {
		err = errors.Join(err, ignoreMissing(dir.Remove(file)))
	}
	return errors.Join(err, ferr, ignoreMissing(parent.RemoveDir(name)))
}
