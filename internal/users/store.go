package users

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"hoplite/internal/files"
	"hoplite/mail"
)

// Store holds the accounts of data/users. It is safe for concurrent use, also
// by several processes: the file is replaced as a whole under a lock, and read
// again after a change.
type Store struct {
	path  string
	hosts []string // domains assumed for names without one
	log   zerolog.Logger

	file     *files.Changes
	book     atomic.Pointer[Book]
	ready    atomic.Bool // whether every account has SCRAM keys
	writing  sync.Mutex
	hashing  chan struct{} // at most one hash per core at a time
	verified *verified

	pendMu sync.Mutex
	pend   []upgrade
}

// Open reads the accounts; a missing file means that there are none. A name
// without a domain refers to the first account with that local part at one of
// hosts.
func Open(path string, hosts []string, log zerolog.Logger) (*Store, error) {
	s := &Store{
		path: path, log: log, file: files.NewChanges(path), hashing: make(chan struct{}, runtime.GOMAXPROCS(0)),
		verified: newVerified(),
	}
	for _, h := range hosts {
		s.hosts = append(s.hosts, mail.Key(h))
	}
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

// current returns the accounts, at most about a second old. Mistakes in a
// changed file are logged, and the previous accounts are kept.
func (s *Store) current() *Book {
	if s.file.Due() {
		if err := s.Reload(); err != nil {
			s.log.Error().Err(err).Msg("accounts not reloaded; keeping the previous ones")
		}
	}
	return s.book.Load()
}

// Reload reads the file again if it has changed.
func (s *Store) Reload() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.file.Changed() {
		return nil
	}
	b, err := readBook(s.path)
	if err != nil {
		return err
	}
	s.set(b)
	return nil
}

// Account returns an account by its name, with or without a domain.
func (s *Store) Account(name string) (*Account, bool) {
	b, key := s.current(), mail.Key(name)
	if a, ok := b.accounts[key]; ok {
		return a, true
	}
	if key == "" || strings.Contains(key, "@") {
		return nil, false
	}
	for _, h := range s.hosts {
		if a, ok := b.accounts[key+"@"+h]; ok {
			return a, true
		}
	}
	return nil, false
}

// Find returns an account's full name and forwards, for mail/alias.
func (s *Store) Find(name string) (full string, forward []string, ok bool) {
	a, ok := s.Account(name)
	if !ok {
		return "", nil, false
	}
	return a.Name, a.Forward, true
}

// HasDomain reports whether an account is in a domain in normal form.
func (s *Store) HasDomain(domain string) bool { return s.current().domains[domain] > 0 }

// Accounts returns all accounts in the order of the file.
func (s *Store) Accounts() []*Account { return s.current().Accounts() }

// SCRAMReady reports whether all passwords are stored as SCRAM keys.
func (s *Store) SCRAMReady() bool {
	s.current()
	return s.ready.Load()
}

// Keeper returns the account that receives the postmaster's mail if no
// postmaster is configured: the first admin, otherwise the first account, or ""
// if there are no accounts.
func (s *Store) Keeper() string {
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

// Update changes the accounts: change modifies a copy of the accounts on disk,
// which is then written and takes effect. If it returns an error, nothing has
// changed.
func (s *Store) Update(change func(*Book) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	unlock, err := files.Lock(s.path + ".lock")
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
	var text bytes.Buffer
	if _, err := b.WriteTo(&text); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	if err := files.Write(s.path, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	s.file.Changed()
	s.set(b)
	return nil
}
