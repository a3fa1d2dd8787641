// Package srs rewrites the sender of forwarded mail (Sender Rewriting Scheme),
// so that SPF at the next server checks the forwarder, and restores the
// original address for bounces. Like postsrsd and libsrs2, it writes SRS0 for
// an original sender and SRS1 for a sender already rewritten by an earlier
// forwarder.
//
// A rewritten address is valid for three weeks and cannot be forged. The caller
// decides which mail to rewrite, and stores the key. Start with Rewriter.
package srs

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"hoplite/mail"
)

// The errors of Reverse. Each means that the address does not exist.
var (
	ErrForged  = errors.New("rewritten address was not created here")
	ErrExpired = errors.New("rewritten address is older than three weeks")
)

const (
	validDays = 21
	hashLen   = 6 // base32 digits: 30 bits, which cannot be guessed within three weeks
	keyLen    = 32
)

// Rewriter rewrites senders into addresses of one domain.
type Rewriter struct {
	key    []byte
	domain string
	now    func() time.Time
}

// New returns a Rewriter for domain with a key of at least 32 octets.
func New(key []byte, domain string) *Rewriter {
	if d, err := mail.ParseDomain(domain); err == nil {
		domain = d
	}
	return &Rewriter{key, domain, time.Now}
}

// NewKey returns a random key.
func NewKey() []byte {
	key := make([]byte, keyLen)
	rand.Read(key) // never fails (crypto/rand)
	return key
}

// ValidKey reports whether key can be passed to New. A power failure can leave
// a file of zeros, which would be a predictable key.
func ValidKey(key []byte) bool {
	return len(key) >= keyLen && len(bytes.Trim(key, "\x00")) > 0
}

// digits is base32 (RFC 4648) in upper case. Mail servers may change the case
// of a local part, so comparisons ignore it.
var digits = base32.StdEncoding.WithPadding(base32.NoPadding)

func (w *Rewriter) hash(parts ...string) string {
	mac := hmac.New(sha256.New, w.key)
	for _, p := range parts {
		mac.Write([]byte(strings.ToLower(p)))
		mac.Write([]byte{0})
	}
	return digits.EncodeToString(mac.Sum(nil))[:hashLen]
}

func day(t time.Time) int { return int(t.Unix()/86400) & 1023 }

func dayText(d int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	return string([]byte{letters[d>>5], letters[d&31]})
}

func parseDay(s string) (int, bool) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	if len(s) != 2 {
		return 0, false
	}
	hi, lo := strings.IndexByte(letters, s[0]&^0x20), strings.IndexByte(letters, s[1]&^0x20)
	if s[0] >= '2' && s[0] <= '7' {
		hi = strings.IndexByte(letters, s[0])
	}
	if s[1] >= '2' && s[1] <= '7' {
		lo = strings.IndexByte(letters, s[1])
	}
	return hi<<5 | lo, hi >= 0 && lo >= 0
}

// Forward returns the sender to use for forwarded mail from an address. An
// address whose rewritten local part would exceed 64 octets is returned
// unchanged: SPF may fail for it, but bounces are still delivered.
func (w *Rewriter) Forward(from mail.Address) mail.Address {
	if from == "" || from.ASCIIDomain() == w.domain {
		return from
	}
	local := from.Local()
	var next string
	switch tag, rest := cutTag(local); tag {
	case "SRS0": // keep the first forwarder's part and domain
		next = "SRS1=" + w.hash(from.Domain(), rest) + "=" + from.Domain() + "=" + rest
	case "SRS1":
		_, tail, ok := strings.Cut(rest, "=") // drop the earlier forwarder's hash
		host, inner, ok2 := strings.Cut(tail, "=")
		if !ok || !ok2 {
			return from
		}
		next = "SRS1=" + w.hash(host, inner) + "=" + host + "=" + inner
	default:
		stamp := dayText(day(w.now()))
		next = "SRS0=" + w.hash(stamp, from.Domain(), local) + "=" + stamp + "=" + from.Domain() + "=" + local
	}
	a, err := mail.Join(next, w.domain)
	if err != nil {
		return from
	}
	return a
}

// Ours reports whether an address has the form of addresses returned by
// Forward.
func (w *Rewriter) Ours(a mail.Address) bool {
	tag, _ := cutTag(a.Local())
	return tag != "" && a.ASCIIDomain() == w.domain
}

// Reverse returns the original address for a rewritten address.
func (w *Rewriter) Reverse(a mail.Address) (mail.Address, error) {
	tag, rest := cutTag(a.Local())
	hash, rest, ok := strings.Cut(rest, "=")
	if !ok || a.ASCIIDomain() != w.domain {
		return "", ErrForged
	}
	switch tag {
	case "SRS0":
		stamp, rest, ok := strings.Cut(rest, "=")
		domain, local, ok2 := strings.Cut(rest, "=")
		made, ok3 := parseDay(stamp)
		if !ok || !ok2 || !ok3 || !equal(hash, w.hash(stamp, domain, local)) {
			return "", ErrForged
		}
		if age := (day(w.now()) - made) & 1023; age > validDays {
			return "", ErrExpired
		}
		return join(local, domain)
	case "SRS1":
		host, inner, ok := strings.Cut(rest, "=")
		if !ok || !equal(hash, w.hash(host, inner)) {
			return "", ErrForged
		}
		return join("SRS0="+inner, host)
	}
	return "", ErrForged
}

func join(local, domain string) (mail.Address, error) {
	a, err := mail.Join(local, domain)
	if err != nil {
		return "", ErrForged
	}
	return a, nil
}

func equal(a, b string) bool {
	return hmac.Equal([]byte(strings.ToUpper(a)), []byte(b))
}

// cutTag removes SRS0 or SRS1 and its separator (=, + or -) from a local part.
func cutTag(local string) (tag, rest string) {
	if len(local) < 5 || !strings.ContainsRune("=+-", rune(local[4])) {
		return "", local
	}
	switch tag = strings.ToUpper(local[:4]); tag {
	case "SRS0", "SRS1":
		return tag, local[5:]
	}
	return "", local
}
