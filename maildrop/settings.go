package maildrop

import (
	"path/filepath"
	"time"

	"hoplite/mail"
)

// settings holds the part of the configuration that a reload can change.
type settings struct {
	Config
	account func(mail.Address) (Account, bool) // see Env
}

// Location returns the path that contains the boxes of a maildrop. data is the
// data folder. Two blocks with the same location share one store.
func Location(cfg Config, data string) string {
	cfg.defaults()
	if filepath.IsAbs(cfg.Path) {
		return filepath.Clean(cfg.Path)
	}
	return filepath.Join(data, cfg.Path)
}

// Configure changes the store's settings, except its path. Open sessions
// continue. account replaces Env.Account.
func (s *Store) Configure(cfg Config, account func(mail.Address) (Account, bool)) error {
	cfg.defaults()
	if err := cfg.Check(); err != nil {
		return err
	}
	s.set.Store(&settings{cfg, account})
	return nil
}

// limits returns the limits configured for an account, or 0 for no limit.
func (s *Store) limits(a mail.Address) (size, messages int64) {
	set := s.set.Load()
	size, messages = int64(set.Quota), set.QuotaMessages
	if set.account != nil {
		if acc, ok := set.account(a); ok && acc.Quota > 0 {
			size = acc.Quota
		}
	}
	return size, messages
}

// Separator returns the string between the levels of a folder name in IMAP.
func (s *Store) Separator() string { return s.set.Load().Separator }

// Prefix returns the prefix of all folder names except INBOX, such as "INBOX.".
func (s *Store) Prefix() string { return s.set.Load().Prefix }

// Retire closes the store when none of its boxes is in use, or after
// retireWait.
func (s *Store) Retire() error {
	for end := time.Now().Add(retireWait); s.inUse() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	return s.Close()
}

// retireWait is longer than the longest delivery.
const retireWait = time.Minute

func (s *Store) inUse() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.boxes {
		if b.refs > 0 {
			return true
		}
	}
	return false
}
