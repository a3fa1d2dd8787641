package maildrop

import (
	"path/filepath"
	"time"

	"hoplite/mail"
)

// settings are what a reload of the configuration may change.
type settings struct {
	Config
	account func(mail.Address) (Account, bool) // see Env
}

// Location is where the boxes of a maildrop lie, data being the data folder.
// Two blocks with one location are the same store.
func Location(cfg Config, data string) string {
	cfg.defaults()
	if filepath.IsAbs(cfg.Path) {
		return filepath.Clean(cfg.Path)
	}
	return filepath.Join(data, cfg.Path)
}

// Configure gives the store other settings, except for its path. Sessions that
// are open go on, account takes the place of Env.Account.
func (s *Store) Configure(cfg Config, account func(mail.Address) (Account, bool)) error {
	cfg.defaults()
	if err := cfg.Check(); err != nil {
		return err
	}
	s.set.Store(&settings{cfg, account})
	return nil
}

// limits returns the limits that are configured for an account, 0 for none.
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

// Separator is what stands between the levels of a folder name on IMAP, and
// Prefix what stands before all names but INBOX, as in "INBOX.".
func (s *Store) Separator() string { return s.set.Load().Separator }

// Prefix is described at Separator.
func (s *Store) Prefix() string { return s.set.Load().Prefix }

// Retire closes the store once no box of it is in use, or after a while.
func (s *Store) Retire() error {
	for end := time.Now().Add(retireWait); s.inUse() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	return s.Close()
}

// retireWait is longer than any delivery takes.
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
