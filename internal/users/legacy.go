package users

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// errScheme is returned for a password hash with an unknown scheme.
var errScheme = errors.New("unknown kind of password hash")

// checkLegacy returns an error unless verifyLegacy can check hash.
func checkLegacy(hash string) error {
	switch {
	case isBcrypt(hash):
		return checkBcrypt(hash)
	case strings.HasPrefix(hash, "$argon2id$"):
		_, err := parseArgon(hash)
		return err
	case strings.HasPrefix(hash, "$1$"), strings.HasPrefix(hash, "$5$"), strings.HasPrefix(hash, "$6$"):
		_, err := parseCrypt(hash)
		return err
	}
	return errScheme
}

// verifyLegacy checks a password against an imported hash. No password matches
// a hash that cannot be parsed.
func verifyLegacy(hash, password string) bool {
	switch {
	case isBcrypt(hash):
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	case strings.HasPrefix(hash, "$argon2id$"):
		a, err := parseArgon(hash)
		return err == nil && a.verify(password)
	}
	c, err := parseCrypt(hash)
	return err == nil && c.Match(password) // in constant time
}

// maxBcryptCost bounds the cost of a login: a cost of 16 takes several seconds,
// and each step doubles the time.
const maxBcryptCost = 16

func checkBcrypt(hash string) error {
	cost, err := bcrypt.Cost([]byte(hash))
	if err == nil && cost > maxBcryptCost {
		err = fmt.Errorf("cost %d: want at most %d", cost, maxBcryptCost)
	}
	if err != nil {
		return fmt.Errorf("bcrypt hash: %w", err)
	}
	return nil
}

func isBcrypt(hash string) bool {
	return len(hash) > 4 && hash[:2] == "$2" && strings.IndexByte("abxy", hash[2]) >= 0 && hash[3] == '$'
}

// The limits for an argon2id hash are far above the usual values, but prevent a
// login from exhausting the machine's memory or occupying its processors for
// more than a few seconds.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonWork   = 4 << 20 // KiB times passes
)

// argon is a parsed hash in PHC text form,
// $argon2id$v=19$m=65536,t=3,p=4$salt$sum.
type argon struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

func parseArgon(hash string) (a argon, err error) {
	f := strings.Split(hash, "$")
	if len(f) != 6 || f[2] != "v=19" {
		return a, errors.New("argon2id hash: want $argon2id$v=19$m=,t=,p=$salt$sum")
	}
	if _, err = fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &a.memory, &a.time, &a.threads); err != nil {
		return a, fmt.Errorf("argon2id parameters %q: %w", f[3], err)
	}
	if a.memory > maxArgonMemory || a.time < 1 || a.time > maxArgonWork || uint64(a.memory)*uint64(a.time) > maxArgonWork || a.threads < 1 {
		return a, fmt.Errorf("argon2id parameters %q: out of bounds", f[3])
	}
	if a.salt, err = base64.RawStdEncoding.DecodeString(f[4]); err != nil {
		return a, fmt.Errorf("argon2id salt: %w", err)
	}
	if a.sum, err = base64.RawStdEncoding.DecodeString(f[5]); err != nil {
		return a, fmt.Errorf("argon2id sum: %w", err)
	}
	if len(a.sum) < 4 || len(a.sum) > 512 {
		return a, fmt.Errorf("argon2id sum of %d octets: out of bounds", len(a.sum))
	}
	return a, nil
}

func (a argon) verify(password string) bool {
	sum := argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(len(a.sum)))
	return subtle.ConstantTimeCompare(sum, a.sum) == 1
}
