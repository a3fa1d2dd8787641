package users

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hoplite/mail"
)

// Verify checks a password against all credentials of an account. For a name
// without an account it computes the same hash. A matching imported hash is
// replaced with SCRAM keys.
func (s *Store) Verify(ctx context.Context, name, password string) (*Account, error) {
	if a, ok := s.known(name, password); ok {
		return a, nil
	}
	a, found := s.Account(name)
	select {
	case s.hashing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("check password: %w", ctx.Err())
	}
	defer func() { <-s.hashing }()
	// Unknown accounts, and accounts without credentials, take the same amount
	// of work.
	if !found || len(a.Credentials) == 0 {
		derive(password, s.decoy(name).Salt, iterations)
		return nil, ErrBadLogin
	}
	c, ok := match(a, password)
	if !ok {
		return nil, ErrBadLogin
	}
	if c.Keys == nil {
		k := derive(password, s.saltFor(a), iterations)
		s.upgrade(upgrade{a.Name, c.Legacy, k})
		c.Keys = &k
		if now, ok := s.Account(a.Name); ok {
			a = now
		}
	}
	s.verified.add(a.Name, password, *c.Keys)
	return a, nil
}

// match returns the credential that a password matches. Credentials with the
// same salt are hashed once.
func match(a *Account, password string) (Credential, bool) {
	var last Keys
	var found Credential
	ok := false
	for _, c := range a.Credentials {
		switch {
		case c.Keys == nil:
			if verifyLegacy(c.Legacy, password) {
				found, ok = c, true
			}
			continue
		case last.Iterations != c.Keys.Iterations || !bytes.Equal(last.Salt, c.Keys.Salt):
			last = derive(password, c.Keys.Salt, c.Keys.Iterations)
		}
		if last.matches(*c.Keys) {
			found, ok = c, true
		}
	}
	return found, ok
}

// saltFor returns the salt that the credentials of an account share, or a new
// one.
func (s *Store) saltFor(a *Account) []byte {
	for _, c := range a.Credentials {
		if c.Keys != nil && c.Keys.Iterations == iterations {
			return c.Keys.Salt
		}
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	return salt
}

// decoy returns the salt and iterations that SCRAM sends for a name without an
// account or keys. As for a real account, they are the same for all spellings
// of a login name.
func (s *Store) decoy(name string) Keys {
	full := s.LoginName(name)
	b := s.current()
	if a, ok := b.accounts[full]; ok {
		for _, c := range a.Credentials {
			if c.Keys != nil {
				return Keys{Salt: c.Keys.Salt, Iterations: c.Keys.Iterations}
			}
		}
	}
	return Keys{Salt: sum(b.Decoy, full)[:16], Iterations: iterations}
}

// LoginName returns the full address that a login name refers to. The names of
// this server are interchangeable: if ann@localhost is the only such account,
// then ann and ann@mail.example.org refer to it too.
func (s *Store) LoginName(name string) string {
	key := mail.Key(name)
	b := s.current()
	if _, ok := b.accounts[key]; ok || len(s.hosts) == 0 {
		return key
	}
	local, domain := split(key)
	switch {
	case !strings.Contains(key, "@"):
		local = key
	case !slices.Contains(s.hosts, domain):
		return key
	}
	for _, h := range s.hosts {
		if full := local + "@" + h; b.accounts[full] != nil {
			return full
		}
	}
	return local + "@" + s.hosts[0]
}

// SCRAM returns the keys of an account that have the same salt as the first
// ones, or random keys.
func (s *Store) SCRAM(name string) (*Account, []Keys) {
	if a, ok := s.Account(name); ok {
		var keys []Keys
		for _, c := range a.Credentials {
			if c.Keys != nil && (keys == nil || c.Keys.Iterations == keys[0].Iterations && bytes.Equal(c.Keys.Salt, keys[0].Salt)) {
				keys = append(keys, *c.Keys)
			}
		}
		if keys != nil {
			return a, keys
		}
	}
	k := s.decoy(name)
	k.Stored, k.Server = make([]byte, sha256.Size), make([]byte, sha256.Size)
	rand.Read(k.Stored) // no client can prove that it holds random keys
	rand.Read(k.Server)
	return nil, []Keys{k}
}

// upgrade holds the keys that replace an imported hash.
type upgrade struct {
	account, legacy string
	keys            Keys
}

// upgrade writes new keys. If many logins call it at once, one of them writes
// the keys of all that are waiting.
func (s *Store) upgrade(u upgrade) {
	s.pendMu.Lock()
	s.pend = append(s.pend, u)
	s.pendMu.Unlock()
	err := s.Update(func(b *Book) error {
		s.pendMu.Lock()
		todo := s.pend
		s.pend = nil
		s.pendMu.Unlock()
		if len(todo) == 0 {
			return errNothing
		}
		for _, u := range todo {
			a, ok := b.Account(u.account)
			for i := 0; ok && i < len(a.Credentials); i++ {
				if c := &a.Credentials[i]; c.Legacy == u.legacy {
					c.Keys, c.Legacy = &u.keys, ""
				}
			}
		}
		return nil
	})
	if err != nil && err != errNothing {
		// The login is still valid, and the next one tries again.
		s.log.Warn().Err(err).Str("account", u.account).Msg("imported hash not replaced")
	}
}

var errNothing = fmt.Errorf("nothing to write")

// verified caches passwords that matched, hashed with a key that only this
// process has. An entry is valid only while the account still has the same
// credential, so a changed password takes effect at once.
type verified struct {
	key [32]byte
	m   *lru.Cache[[sha256.Size]byte, knownKeys]
}

type knownKeys struct {
	stored  [sha256.Size]byte
	expires time.Time
}

// verifiedFor is the lifetime of an entry; verifiedSize bounds the memory to
// about 2 MiB.
const (
	verifiedFor  = 10 * time.Minute
	verifiedSize = 10_000
)

func newVerified() *verified {
	v := &verified{}
	rand.Read(v.key[:])
	v.m, _ = lru.New[[sha256.Size]byte, knownKeys](verifiedSize) // fails only if the size is below 1
	return v
}

func (v *verified) hash(account, password string) (h [sha256.Size]byte) {
	m := hmac.New(sha256.New, v.key[:])
	fmt.Fprintf(m, "%d:%s%s", len(account), account, password)
	m.Sum(h[:0])
	return h
}

func (v *verified) add(account, password string, k Keys) {
	v.m.Add(v.hash(account, password), knownKeys{[sha256.Size]byte(k.Stored), time.Now().Add(verifiedFor)})
}

// known returns the account if its password matched recently, without computing
// the hash.
func (s *Store) known(name, password string) (*Account, bool) {
	a, ok := s.Account(name)
	if !ok {
		return nil, false
	}
	known, ok := s.verified.m.Get(s.verified.hash(a.Name, password))
	if !ok || time.Now().After(known.expires) {
		return nil, false
	}
	for _, c := range a.Credentials {
		if c.Keys != nil && [sha256.Size]byte(c.Keys.Stored) == known.stored {
			return a, true
		}
	}
	return nil, false
}
