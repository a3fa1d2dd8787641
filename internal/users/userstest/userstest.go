// Package userstest creates accounts for tests of servers, whose passwords take
// little time to check.
package userstest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"

	"hoplite/internal/users"
)

// Account returns an account that can log in with the password, also with
// SCRAM. The password must be ASCII.
func Account(name, password string) *users.Account {
	salt := []byte("salt for a test!")
	const iterations = 4096 // clients reject fewer (RFC 7677, 4)
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		panic(err)
	}
	sum := func(text string) []byte {
		m := hmac.New(sha256.New, salted)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	stored := sha256.Sum256(sum("Client Key"))
	keys := users.Keys{Salt: salt, Iterations: iterations, Stored: stored[:], Server: sum("Server Key")}
	return &users.Account{Name: name, Credentials: []users.Credential{{Keys: &keys}}}
}
