// Package maildrop stores mailboxes as Maildir++ trees that Dovecot and Courier
// can also use: accounts have boxes, boxes have folders, and folders have
// messages. Servers for mail clients open folders and work on snapshots of
// them; a hop delivers mail into them.
//
// The Maildir is authoritative. Changes made by other programs are detected and
// adopted at any time, and other programs can read everything written here.
// POP3 and IMAP, including the rendering of IMAP items, are left to the
// servers, which also control access to boxes.
//
// Start with Store, Box and Folder. Each examination of the disk is a round
// (see round.go), which leaves all decisions to package reconcile.
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

	"hoplite/internal/handles"
	"hoplite/internal/quiet"
	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// Errors that callers can distinguish.
var (
	ErrNoBox       = errors.New("no such mailbox")
	ErrNoFolder    = errors.New("no such folder")
	ErrFolderName  = maildir.ErrFolderName
	ErrExists      = errors.New("folder exists")
	ErrGone        = errors.New("folder was deleted")
	ErrQuota       = errors.New("mailbox is full")
	ErrNoMessage   = errors.New("message no longer exists")
	ErrUnreadable  = errors.New("message file cannot be read")
	ErrKeywords    = errors.New("too many different keywords in this folder")
	ErrKeywordName = errors.New("invalid keyword")
	ErrInbox       = errors.New("INBOX cannot be deleted")
	ErrBusy        = maildir.ErrLocked
)

// Store holds all boxes of a maildrop block.
type Store struct {
	set   atomic.Pointer[settings]
	env   Env
	root  *os.Root
	index *os.Root // nil if there is no index
	path  string   // part of the path template below root
	log   zerolog.Logger
	watch *watcher

	unreadable quiet.Limiter // one line per file per minute

	mu    sync.Mutex
	boxes map[string]*Box

	stop func() // stops run and waits for it
}

// Env holds a store's dependencies on the rest of the program.
type Env struct {
	// Data is the data folder. It contains the index, and relative paths are
	// resolved against it.
	Data string
	Log  zerolog.Logger
	// NoIndex keeps the index only in memory, for programs that run alongside
	// the server.
	NoIndex bool
	// Account looks up an account for the hop. If it is nil, an address exists
	// if its box does.
	Account func(mail.Address) (Account, bool)
	// Handles limits the descriptors for directories and indexes, shared by all
	// stores in the process. If it is nil, the store has a separate limit.
	Handles *handles.Pool
}

// Account holds the account settings used by a store.
type Account struct {
	// Quota is the account's own limit in octets. If it is 0, the store's limit
	// applies.
	Quota int64
}

// idleTime is the time for which unused boxes and folders remain open.
const idleTime = 30 * time.Second

// Open opens a store, creating its directory if necessary, and maintains it
// until Close is called.
func Open(cfg Config, env Env) (*Store, error) {
	path := Location(cfg, env.Data)
	if env.Handles == nil {
		env.Handles = handles.Share()
	}
	s := &Store{env: env, boxes: map[string]*Box{}, log: env.Log.With().Str("maildrop", cfg.Name).Logger()}
	if err := s.Configure(cfg, env.Account); err != nil {
		return nil, err
	}
	// The directory before the first {placeholder} is created, and nothing
	// outside it is accessed.
	top, below := splitPath(path)
	if err := os.MkdirAll(top, 0o700); err != nil {
		return nil, fmt.Errorf("open maildrop %q: %w", cfg.Name, err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, fmt.Errorf("open maildrop %q: %w", cfg.Name, err)
	}
	s.root, s.path = root, below
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

// splitPath splits a maildrop's path after the directory that precedes the
// first {placeholder}.
func splitPath(path string) (top, below string) {
	top = path[:strings.IndexByte(path, '{')]
	top = top[:strings.LastIndexByte(top, '/')+1]
	return top, path[len(top):]
}

// boxPath returns the path of an account's box relative to the root.
func (s *Store) boxPath(a mail.Address) string { return boxPath(s.path, a) }

// boxPath fills in the placeholders of a path.
func boxPath(path string, a mail.Address) string {
	local, domain, _ := strings.Cut(a.Key(), "@")
	if i := strings.LastIndexByte(a.Key(), '@'); i >= 0 {
		local, domain = strings.ToLower(a.Local()), a.Key()[i+1:]
	}
	return strings.NewReplacer("{user}", pathPart(local), "{domain}", pathPart(domain)).Replace(path)
}

// pathPart converts part of an address to one path component. Characters that
// could refer to another directory, hide a file or have a meaning in a shell
// are written as %XX.
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

// Exists reports whether an account's box exists.
func (s *Store) Exists(a mail.Address) bool {
	st, err := s.root.Lstat(s.boxPath(a))
	return err == nil && st.IsDir()
}

// Box opens the box of an account and creates it if necessary. The caller makes
// sure that the account exists.
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

// take returns a box. b is the box if it is open, or nil. The caller holds
// s.mu.
func (s *Store) take(a mail.Address, path string, b *Box) (*Box, error) {
	if b != nil {
		b.refs++
		return b, nil
	}
	if err := s.root.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open the box of %s: %w", a, err)
	}
	dir, err := maildir.OpenDir(s.env.Handles, s.root, path)
	if err != nil {
		return nil, fmt.Errorf("open the box of %s: %w", a, err)
	}
	b = newBox(s, a, path, dir)
	s.boxes[path] = b
	return b, nil
}

// retire closes an unused box. A caller that needs the box in the meantime
// waits for closing. The caller of retire holds s.mu.
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

// release undoes Box.
func (s *Store) release(b *Box) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.refs--
	b.idle = time.Now()
}

// run watches for changes by other programs and closes unused boxes, until ctx
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

// tidy closes boxes and folders that have not been used since the given time.
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

// Close closes the store. No box may be in use.
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

// isExist reports whether an error means that a file already exists.
func isExist(err error) bool { return errors.Is(err, fs.ErrExist) }

// isNot reports whether an error means that a file does not exist.
func isNot(err error) bool { return errors.Is(err, fs.ErrNotExist) }
