// Package maildrop keeps mailboxes as Maildir++ trees that Dovecot and Courier
// understand: boxes of accounts, folders in them, messages in those. Doors for
// readers open folders and hold snapshots of them; a hop delivers into them.
//
// A Maildir is the truth. What other programs do to it, now or while we were
// away, is seen and taken over; what we write, they can read. Speaking POP3 or
// IMAP is the doors' work, rendering items for IMAP too; finding out who may
// read a box is package users'.
package maildrop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// The errors that doors tell apart.
var (
	ErrNoBox       = errors.New("no such mailbox")
	ErrNoFolder    = errors.New("no such folder")
	ErrFolderName  = maildir.ErrFolderName
	ErrExists      = errors.New("folder exists")
	ErrGone        = errors.New("folder was deleted")
	ErrQuota       = errors.New("mailbox is full")
	ErrNoMessage   = errors.New("message is gone")
	ErrKeywords    = errors.New("too many different keywords in this folder")
	ErrKeywordName = errors.New("not a keyword")
	ErrInbox       = errors.New("INBOX cannot be deleted")
	ErrBusy        = maildir.ErrLocked
)

// Store is all the boxes of one maildrop block.
type Store struct {
	set   atomic.Pointer[settings]
	env   Env
	root  *os.Root
	index *os.Root // nil: without
	path  string   // the part of the template below root
	log   zerolog.Logger
	watch *watcher

	mu    sync.Mutex
	boxes map[string]*Box

	stop func() // ends run and waits for it
}

// Env is what a store needs of the house.
type Env struct {
	// Data is the data folder; a relative path and the index lie in it.
	Data string
	Log  zerolog.Logger
	// NoIndex keeps everything in memory, for programs beside the server.
	NoIndex bool
	// Account answers whether an address is an account of ours, for the hop.
	// When nil, an address is known when its box exists.
	Account func(mail.Address) (Account, bool)
}

// Account is what a store wants to know of an account.
type Account struct {
	// Quota is the account's own limit in octets; 0 means the store's.
	Quota int64
}

// idleTime is how long boxes and folders that nobody uses stay open.
const idleTime = 30 * time.Second

// Open opens a store, makes its directory, and looks after it until Close.
func Open(cfg Config, env Env) (*Store, error) {
	path := Location(cfg, env.Data)
	s := &Store{env: env, boxes: map[string]*Box{}, log: env.Log.With().Str("maildrop", cfg.Name).Logger()}
	if err := s.Configure(cfg, env.Account); err != nil {
		return nil, err
	}
	// Everything before the first {placeholder} is ours to make and to stay in.
	top := path[:strings.IndexByte(path, '{')]
	top = top[:strings.LastIndexByte(top, '/')+1]
	if err := os.MkdirAll(top, 0o700); err != nil {
		return nil, fmt.Errorf("open maildrop %q: %w", cfg.Name, err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, fmt.Errorf("open maildrop %q: %w", cfg.Name, err)
	}
	s.root, s.path = root, path[len(top):]
	if err := s.openIndex(); err != nil {
		root.Close()
		return nil, err
	}
	s.watch = newWatcher(s.log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	s.stop = func() { cancel(); <-done }
	return s, nil
}

// boxPath is where the box of an account lies below the root.
func (s *Store) boxPath(a mail.Address) string {
	local, domain, _ := strings.Cut(a.Key(), "@")
	if i := strings.LastIndexByte(a.Key(), '@'); i >= 0 {
		local, domain = strings.ToLower(a.Local()), a.Key()[i+1:]
	}
	return strings.NewReplacer("{user}", pathPart(local), "{domain}", pathPart(domain)).Replace(s.path)
}

// pathPart makes one path component of a part of an address. What could lead
// elsewhere, hide or surprise a shell is written %XX.
func pathPart(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c <= 0x20 || c == 0x7f || strings.IndexByte(`/\%"'*?$&;<>|~:`+"`", c) >= 0 || c == '.' && i == 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Exists tells whether an account's box is there.
func (s *Store) Exists(a mail.Address) bool {
	st, err := s.root.Lstat(s.boxPath(a))
	return err == nil && st.IsDir()
}

// Box opens the box of an account and makes it if it isn't there. Whether
// there is such an account is the caller's knowledge.
func (s *Store) Box(a mail.Address) (*Box, error) {
	path := s.boxPath(a)
	for {
		s.mu.Lock()
		b := s.boxes[path]
		if b != nil && b.refs == 0 && b.closing == nil && b.gone() {
			s.retire(path, b)
		}
		if b == nil || b.closing == nil {
			defer s.mu.Unlock()
			return s.take(a, path, b)
		}
		s.mu.Unlock()
		<-b.closing
	}
}

// take hands out a box, with s.mu held; b is the one that is open, or nil.
func (s *Store) take(a mail.Address, path string, b *Box) (*Box, error) {
	if b != nil {
		b.refs++
		return b, nil
	}
	if err := s.root.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open the box of %s: %w", a, err)
	}
	dir, err := maildir.OpenDir(s.root, path)
	if err != nil {
		return nil, fmt.Errorf("open the box of %s: %w", a, err)
	}
	b = newBox(s, a, path, dir)
	s.boxes[path] = b
	return b, nil
}

// retire closes a box that nobody uses, with s.mu held. Who wants it meanwhile
// waits for closing.
func (s *Store) retire(path string, b *Box) {
	b.closing = make(chan struct{})
	go func() {
		b.shut()
		s.mu.Lock()
		delete(s.boxes, path)
		s.mu.Unlock()
		close(b.closing)
	}()
}

// release is the other end of Box.
func (s *Store) release(b *Box) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.refs--
	b.idle = time.Now()
}

// run watches for changes by others and gives back what is unused, until ctx
// is done.
func (s *Store) run(ctx context.Context) {
	poll, tidy := time.NewTicker(pollEvery), time.NewTicker(idleTime/3)
	defer poll.Stop()
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			s.watch.poll()
		case <-tidy.C:
			s.tidy(time.Now().Add(-idleTime))
		}
	}
}

// tidy closes boxes and folders that nobody used since then.
func (s *Store) tidy(since time.Time) {
	s.mu.Lock()
	boxes := make([]*Box, 0, len(s.boxes))
	for path, b := range s.boxes {
		switch {
		case b.closing != nil:
		case b.refs == 0 && b.idle.Before(since):
			s.retire(path, b)
		default:
			boxes = append(boxes, b)
		}
	}
	s.mu.Unlock()
	for _, b := range boxes {
		b.tidy(since)
	}
}

// Close gives everything back. No box may be in use.
func (s *Store) Close() error {
	s.stop()
	s.mu.Lock()
	boxes := make([]*Box, 0, len(s.boxes))
	for path, b := range s.boxes {
		if b.closing == nil {
			s.retire(path, b)
		}
		boxes = append(boxes, b)
	}
	s.mu.Unlock()
	for _, b := range boxes {
		<-b.closing
	}
	s.watch.close()
	if s.index != nil {
		s.index.Close()
	}
	return s.root.Close()
}

// isExist tells whether an error says that a file is there already.
func isExist(err error) bool { return errors.Is(err, fs.ErrExist) }

// isNot tells whether an error says that a file is not there.
func isNot(err error) bool { return errors.Is(err, fs.ErrNotExist) }
