package users

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// iterations is the PBKDF2 count for new passwords. It takes about 5 ms on a
// server from 2025. SCRAM clients must do the same work, and phones are slower.
const iterations = 32768

// maxIterations bounds the cost of a login for hashes in a hand-written file.
const maxIterations = 10_000_000

// scheme is the prefix of SCRAM keys, the same as in Dovecot.
const scheme = "{SCRAM-SHA-256}"

// Keys holds the data that a server stores for a password with SCRAM-SHA-256
// (RFC 7677). The keys verify the password but cannot be used to log in.
type Keys struct {
	Salt       []byte
	Iterations int
	Stored     []byte // H(ClientKey)
	Server     []byte
}

// NewKeys returns the keys for a password with a fresh salt.
func NewKeys(password string) Keys {
	salt := make([]byte, 16)
	rand.Read(salt)
	return derive(password, salt, iterations)
}

// derive computes keys as defined in RFC 5802, section 3.
func derive(password string, salt []byte, n int) Keys {
	salted, err := pbkdf2.Key(sha256.New, prepare(password), salt, n, sha256.Size)
	if err != nil { // happens only in FIPS mode, if the salt is too short
		panic("pbkdf2: " + err.Error())
	}
	stored := sha256.Sum256(sum(salted, "Client Key"))
	return Keys{Salt: salt, Iterations: n, Stored: stored[:], Server: sum(salted, "Server Key")}
}

func sum(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// prepare applies SASLprep, as SCRAM clients do. Passwords that it prohibits
// are used unchanged.
func prepare(password string) string {
	if p, err := stringprep.SASLprep.Prepare(password); err == nil {
		return p
	}
	return password
}

// matches reports whether two keys are equal, in constant time.
func (k Keys) matches(o Keys) bool {
	return subtle.ConstantTimeCompare(k.Stored, o.Stored)&subtle.ConstantTimeCompare(k.Server, o.Server) == 1
}

// String returns the text form used in data/users, which is the same as
// Dovecot's.
func (k Keys) String() string {
	b := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d,%s,%s,%s", scheme, k.Iterations, b(k.Salt), b(k.Stored), b(k.Server))
}

// parseKeys parses the output of String.
func parseKeys(text string) (Keys, error) {
	f := strings.Split(strings.TrimPrefix(text, scheme), ",")
	if len(f) != 4 {
		return Keys{}, fmt.Errorf("want %siterations,salt,stored,server", scheme)
	}
	n, err := strconv.Atoi(f[0])
	if err != nil || n < 1 || n > maxIterations {
		return Keys{}, fmt.Errorf("iterations %q: want a number up to %d", f[0], maxIterations)
	}
	k := Keys{Iterations: n}
	for i, to := range []*[]byte{&k.Salt, &k.Stored, &k.Server} {
		if *to, err = base64.StdEncoding.DecodeString(f[i+1]); err != nil {
			return Keys{}, fmt.Errorf("key %d: %w", i+1, err)
		}
	}
	if len(k.Salt) == 0 || len(k.Stored) != sha256.Size || len(k.Server) != sha256.Size {
		return Keys{}, fmt.Errorf("keys of %d, %d, %d octets: want a salt and twice %d",
			len(k.Salt), len(k.Stored), len(k.Server), sha256.Size)
	}
	return k, nil
}
