package maildrop

import (
	"fmt"
	"sync"
	"time"

	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// Box is one account's mailbox: INBOX and the other folders. It must be closed
// after use.
type Box struct {
	store   *Store
	account mail.Address
	path    string // relative to the store's root
	dir     *maildir.Dir

	// Guarded by store.mu.
	refs    int
	idle    time.Time
	closing chan struct{} // closed when the box is shut; nil while open

	mu      sync.Mutex // guards the folder tree: opening, creating, renaming
	folders map[string]*Folder
	listing listing
	uses    specialUses
	notes   annotations
	subs    subscriptions
	quota   quota

	pop3 sync.Mutex
}

func newBox(s *Store, a mail.Address, path string, dir *maildir.Dir) *Box {
	b := &Box{store: s, account: a, path: path, dir: dir, refs: 1, folders: map[string]*Folder{}}
	b.uses.dir, b.notes.dir, b.notes.log = dir, dir, s.log.With().Str("box", path).Logger()
	b.subs.dir, b.subs.separator = dir, s.Separator
	b.quota.dir, b.quota.log = dir, s.log.With().Str("box", path).Logger()
	b.quota.set = func() (size, messages int64) { return s.limits(a) }
	return b
}

// Quota returns the usage and limits of the box. Without a limit, the usage is
// computed only on request.
func (b *Box) Quota() (Quota, error) { return b.quota.get() }

// gone reports whether the box's directory has been removed.
func (b *Box) gone() bool {
	st, err := b.dir.StatSelf()
	return err != nil || st.Links == 0
}

// Account returns the account that owns the box.
func (b *Box) Account() mail.Address { return b.account }

// Store returns the store that the box belongs to.
func (b *Box) Store() *Store { return b.store }

// Close releases the box. The caller must close its folders first.
func (b *Box) Close() error {
	b.store.release(b)
	return nil
}

// Subscriptions returns the subscribed names in file order, including names of
// folders that do not exist.
func (b *Box) Subscriptions() ([]string, error) { return b.subs.names() }

// Subscribe adds a name to the subscriptions, or removes it if on is false. The
// folder need not exist (RFC 9051, 6.3.7).
func (b *Box) Subscribe(name string, on bool) error {
	name = maildir.CanonicalFolder(name)
	if _, err := maildir.FolderDir(name); err != nil && on {
		return err
	}
	return b.subs.set(name, on)
}

// LockPOP3 acquires the lock that only one POP3 session can hold at a time (RFC
// 1939, 3). It does not affect IMAP.
func (b *Box) LockPOP3() (unlock func(), ok bool) {
	if !b.pop3.TryLock() {
		return nil, false
	}
	return sync.OnceFunc(b.pop3.Unlock), true
}

// Folder opens a folder by name: UTF-8 with "/" between levels, INBOX in any
// case. INBOX is created if necessary. The caller must close the folder.
func (b *Box) Folder(name string) (*Folder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open(name)
}

// open is like Folder, but the caller holds b.mu.
func (b *Box) open(name string) (*Folder, error) {
	name = maildir.CanonicalFolder(name)
	if f := b.folders[name]; f != nil {
		if !f.gone() {
			f.refs++
			return f, nil
		}
		delete(b.folders, name)
	}
	dirName, err := maildir.FolderDir(name)
	if err != nil {
		return nil, err
	}
	dir := b.dir
	if name != maildir.Inbox {
		if dir, err = b.dir.Sub(dirName); isNot(err) {
			return nil, ErrNoFolder
		} else if err != nil {
			return nil, fmt.Errorf("open folder %q: %w", name, err)
		}
	}
	f, err := openFolder(b, name, dir)
	if err != nil {
		if dir != b.dir {
			dir.Close()
		}
		return nil, err
	}
	f.refs = 1
	b.folders[name] = f
	return f, nil
}

// release undoes Folder.
func (b *Box) release(f *Folder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.refs--; f.refs == 0 {
		f.idle = time.Now()
		if f.gone() {
			f.shut()
			if b.folders[f.name] == f {
				delete(b.folders, f.name)
			}
		}
	}
}

// tidy closes folders that have not been used since the given time.
func (b *Box) tidy(since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, f := range b.folders {
		if f.refs == 0 && f.idle.Before(since) {
			delete(b.folders, name)
			f.shut()
			continue
		}
		f.index.items.flush()
	}
}

func (b *Box) shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.folders {
		f.shut()
	}
	b.folders = nil
	b.dir.Close()
}

// Status opens a folder, reads its current state and closes it.
func (b *Box) Status(name string) (*Snapshot, error) {
	f, err := b.Folder(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Sync()
}

// makeDirs creates the missing ones of a folder's three directories.
func makeDirs(dir *maildir.Dir) error {
	for _, name := range []string{"cur", "new", "tmp"} {
		if _, err := dir.Stat(name); err == nil {
			continue
		}
		if err := dir.Mkdir(name); err != nil {
			if _, again := dir.Stat(name); again == nil {
				continue
			}
			return err
		}
	}
	return dir.Sync()
}
