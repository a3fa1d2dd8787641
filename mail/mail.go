// Package mail defines the types shared by all packages: addresses and patterns
// that match them, the envelope, the message, the transaction with its trail,
// replies, outcomes and hops.
//
// It uses no network, disk or configuration, and imports only mail/safe.
// Formats other than addresses and header fields are left to its sub-packages,
// such as mail/mime, mail/received, mail/authres and mail/dsn. Start with
// Transaction and Hop.
package mail

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// idDigits is Crockford's base32 in lower case. Ids sort like the numbers they
// encode, and contain no letters that are easily confused when an id is read
// out over the phone.
const idDigits = "0123456789abcdefghjkmnpqrstvwxyz"

// NewID returns a new transaction id: 16 characters that sort by time to the
// millisecond and are safe in file names, header fields and replies. Ids
// created by one process never collide. A collision between two processes is
// very unlikely, because the time is followed by 30 random bits.
func NewID() string { return ids.next(time.Now()) }

var ids idSource

// idSource draws random bits once per millisecond and then steps through all
// values. With independent random bits, thousands of ids per millisecond would
// collide every few hours.
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
		s.random += 0x9e3779b1 // odd, so all 2^30 values occur before any repeats
	}
	r := s.random
	s.mu.Unlock()
	n := uint64(now.UnixMilli())
	var id [16]byte
	for i := 15; i >= 10; i-- { // 30 of the random bits; two more would break the sort order
		id[i] = idDigits[r&31]
		r >>= 5
	}
	for i := 9; i >= 0; i-- {
		id[i] = idDigits[n&31]
		n >>= 5
	}
	return string(id[:])
}

// IDTime returns the time at which NewID created id; ok is false if id is not
// such an id.
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
