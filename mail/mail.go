// Package mail holds the words that every room shares: the envelope, the
// message, the transaction with its trail, replies, outcomes and hops.
//
// It knows no socket, no disk and no configuration, and imports nothing of
// ours. What parses more than an address or a field lives in its sub-packages:
// mail/mime walks parts, mail/trace reads Received, mail/authres
// Authentication-Results, mail/dsn writes reports.
package mail

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// idDigits is Crockford's base32 in lower case: it sorts like the number and
// has no letters that people confuse when they read an id over the phone.
const idDigits = "0123456789abcdefghjkmnpqrstvwxyz"

// NewID makes the id of one transaction: 16 characters, sorted by time to the
// millisecond, unique by 30 random bits beside it, safe in file names, header
// fields and replies.
func NewID() string { return newID(time.Now()) }

func newID(now time.Time) string {
	var random [8]byte
	rand.Read(random[:4]) // never fails (crypto/rand)
	n := uint64(now.UnixMilli())
	r := uint64(binary.LittleEndian.Uint32(random[:4]))
	var id [16]byte
	for i := 15; i >= 10; i-- { // 30 of the random bits; two more in front would spoil the order
		id[i] = idDigits[r&31]
		r >>= 5
	}
	for i := 9; i >= 0; i-- {
		id[i] = idDigits[n&31]
		n >>= 5
	}
	return string(id[:])
}

// IDTime tells when an id of ours was made; ok is false for any other text.
func IDTime(id string) (t time.Time, ok bool) {
	if len(id) != 16 {
		return time.Time{}, false
	}
	var n uint64
	for i := range 16 {
		d := digit(id[i])
		if d < 0 {
			return time.Time{}, false
		}
		if i < 10 {
			n = n<<5 | uint64(d)
		}
	}
	return time.UnixMilli(int64(n & (1<<48 - 1))), true
}

func digit(c byte) int {
	for i := range len(idDigits) {
		if idDigits[i] == c {
			return i
		}
	}
	return -1
}
