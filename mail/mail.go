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
	"sync"
	"time"
)

// idDigits is Crockford's base32 in lower case: it sorts like the number and
// has no letters that people confuse when they read an id over the phone.
const idDigits = "0123456789abcdefghjkmnpqrstvwxyz"

// NewID makes the id of one transaction: 16 characters, sorted by time to the
// millisecond, safe in file names, header fields and replies. Two of one process
// are never the same, those of two processes hardly ever: 30 random bits stand
// behind the time.
func NewID() string { return ids.next(time.Now()) }

var ids idSource

// idSource draws once a millisecond and then goes round: the birthdays of
// thousands of ids in one millisecond would fall together every few hours.
type idSource struct {
	mu     sync.Mutex
	milli  int64
	random uint64
}

func (s *idSource) next(now time.Time) string {
	s.mu.Lock()
	if milli := now.UnixMilli(); milli != s.milli {
		var b [8]byte
		rand.Read(b[:4]) // never fails (crypto/rand)
		s.milli, s.random = milli, binary.LittleEndian.Uint64(b[:])
	} else {
		s.random += 0x9e3779b1 // odd: all 2^30 values come before one comes again
	}
	r := s.random
	s.mu.Unlock()
	n := uint64(now.UnixMilli())
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
