package users

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// recheck is how long a change of a file may go unnoticed.
const recheck = time.Second

// Store is the accounts of data/users. It may be used by many goroutines, and
// by another process beside it: the file is replaced as a whole, under a lock,
// and read again when it has changed.
type Store struct {
	path  string
	hosts []string // the names that a bare account is looked for under
	log   zerolog.Logger

	file     watched
	book     atomic.Pointer[Book]
	ready    atomic.Bool // every account has SCRAM keys
	writing  sync.Mutex
	hashing  chan struct{} // never more hashes at once than cores
	verified *verified

	pendMu sync.Mutex
	pend   []upgrade
}

// Open reads the accounts; a file that is not there has none. A bare account
// ann is ann@ one of hosts, the first that exists.
func Open(path string, hosts []string, log zerolog.Logger) (*Store, error) {
	s := &Store{
		path: path, log: log, hashing: make(chan struct{}, runtime.GOMAXPROCS(0)),
		verified: newVerified(),
	}
	for _, h := range hosts {
		s.hosts = append(s.hosts, Canonical(h))
	}
	s.file.path = path
	s.file.changed()
	b, err := readBook(path)
	if err != nil {
		return nil, err
	}
	s.set(b)
	return s, nil
}

func (s *Store) set(b *Book) {
	ready := true
	for _, a := range b.accounts {
		for _, c := range a.Credentials {
			ready = ready && c.Keys != nil
		}
	}
	s.book.Store(b)
	s.ready.Store(ready)
}

func readBook(path string) (*Book, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newBook(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	defer f.Close()
	return parseBook(f, path)
}

// current returns the accounts, read again if the file was changed at least a
// moment ago. A file with mistakes changes nothing and is logged.
func (s *Store) current() *Book {
	if s.file.due() {
		if err := s.Reload(); err != nil {
			s.log.Error().Err(err).Msg("accounts unchanged")
		}
	}
	return s.book.Load()
}

// Reload reads the file again if it has changed.
func (s *Store) Reload() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.file.changed() {
		return nil
	}
	b, err := readBook(s.path)
	if err != nil {
		return err
	}
	s.set(b)
	return nil
}

// Account finds an account by its name, bare or full.
func (s *Store) Account(name string) (*Account, bool) {
	b, name := s.current(), Canonical(name)
	if a, ok := b.accounts[name]; ok {
		return a, true
	}
	if _, domain := split(name); domain != "" || name == "" {
		return nil, false
	}
	for _, h := range s.hosts {
		if a, ok := b.accounts[name+"@"+h]; ok {
			return a, true
		}
	}
	return nil, false
}

// Accounts returns all accounts in the order of the file.
func (s *Store) Accounts() []*Account { return s.current().Accounts() }

// SCRAMReady says that every password is known as SCRAM keys.
func (s *Store) SCRAMReady() bool {
	s.current()
	return s.ready.Load()
}

// keeper is the account that answers for the house when nobody is named: the
// first admin, or the first account; "" when there is none.
func (s *Store) keeper() string {
	all := s.Accounts()
	for _, a := range all {
		if a.Is(Admin) {
			return a.Name
		}
	}
	if len(all) == 0 {
		return ""
	}
	return all[0].Name
}

// Update changes the accounts: change gets a copy of what is on disk now, and
// what it leaves there is written and then in force. If it fails, nothing has
// happened.
func (s *Store) Update(change func(*Book) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	unlock, err := lock(s.path + ".lock")
	if err != nil {
		return fmt.Errorf("lock accounts: %w", err)
	}
	defer unlock()
	old, err := readBook(s.path)
	if err != nil {
		return err
	}
	b := old.clone()
	if err := change(b); err != nil {
		return err
	}
	if err := replace(s.path, b); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	s.file.changed()
	s.set(b)
	return nil
}

// replace writes a file so that a crash leaves the old or the new one.
func replace(path string, b *Book) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".tmp*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = b.WriteTo(f)
	like, e := os.Stat(path)
	if e == nil && err == nil {
		err = f.Chmod(like.Mode().Perm())
	} else {
		like, e = os.Stat(dir)
	}
	if e == nil && err == nil {
		err = ownLike(f, like)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
