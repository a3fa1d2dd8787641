package maildrop

import (
	"fmt"
	"sync"
	"time"

	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// Box is the mailbox of one account: INBOX and the folders beside it. Close
// gives it back.
type Box struct {
	store   *Store
	account mail.Address
	path    string // below the store's root
	dir     *maildir.Dir

	// Guarded by store.mu.
	refs    int
	idle    time.Time
	closing chan struct{} // closed once the box is shut; nil while it is open

	mu      sync.Mutex // the tree: folders opened, made, renamed
	folders map[string]*Folder
	listing listing
	uses    specialUses
	subs    subscriptions
	quota   quota

	pop3 sync.Mutex
}

func newBox(s *Store, a mail.Address, path string, dir *maildir.Dir) *Box {
	b := &Box{store: s, account: a, path: path, dir: dir, refs: 1, folders: map[string]*Folder{}}
	b.uses.dir = dir
	b.subs.dir, b.subs.separator = dir, s.Separator
	b.quota.dir, b.quota.log = dir, s.log.With().Str("box", path).Logger()
	b.quota.set = func() (size, messages int64) { return s.limits(a) }
	return b
}

// Quota returns what the box uses. Without any limit it only adds up when
// asked.
func (b *Box) Quota() (Quota, error) { return b.quota.get() }

// gone tells whether the box's directory was removed.
func (b *Box) gone() bool {
	st, err := b.dir.StatSelf()
	return err != nil || st.Links == 0
}

// Account is whose box it is.
func (b *Box) Account() mail.Address { return b.account }

// Store is the store that the box belongs to.
func (b *Box) Store() *Store { return b.store }

// Close gives the box back. Its folders must be closed before.
func (b *Box) Close() error {
	b.store.release(b)
	return nil
}

// Subscriptions returns the names that the user subscribed to, in the order
// of the file. Folders that do not exist can be among them.
func (b *Box) Subscriptions() ([]string, error) { return b.subs.names() }

// Subscribe puts a name on the list of subscriptions or takes it off. The
// folder need not exist (RFC 9051, 6.3.7).
func (b *Box) Subscribe(name string, on bool) error {
	name = maildir.CanonicalFolder(name)
	if _, err := maildir.FolderDir(name); err != nil && on {
		return err
	}
	return b.subs.set(name, on)
}

// LockPOP3 takes the lock that one POP3 session at a time holds (RFC 1939, 3).
// IMAP does not care about it.
func (b *Box) LockPOP3() (unlock func(), ok bool) {
	if !b.pop3.TryLock() {
		return nil, false
	}
	return sync.OnceFunc(b.pop3.Unlock), true
}

// Folder opens a folder by its name: UTF-8, "/" between levels, INBOX in any
// case. INBOX is made when it isn't there. Close gives the folder back.
func (b *Box) Folder(name string) (*Folder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open(name)
}

// open is Folder with b.mu held.
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

// release is the other end of Folder.
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

// tidy closes the folders that nobody used since then.
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

// Status opens a folder for a moment and returns what it holds now.
func (b *Box) Status(name string) (*Snapshot, error) {
	f, err := b.Folder(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Sync()
}

// makeDirs makes a folder's three directories where they are missing.
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
