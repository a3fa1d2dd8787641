package users

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// crypt is a hash in the text form of crypt(3): $1$ (MD5), $5$ (SHA-256) or $6$
// (SHA-512). They are only ever checked, never made: the first login by
// password replaces them by SCRAM keys.
type crypt struct {
	kind   byte
	salt   string
	rounds int
	sum    string
}

func parseCrypt(text string) (c crypt, err error) {
	f := strings.Split(text, "$")
	if len(f) < 4 || f[0] != "" || len(f[1]) != 1 || !strings.Contains("156", f[1]) {
		return c, errScheme
	}
	c.kind, c.rounds = f[1][0], 5000
	f = f[2:]
	if r, ok := strings.CutPrefix(f[0], "rounds="); ok && c.kind != '1' {
		n, err := strconv.Atoi(r)
		if err != nil || n < 1 || n > maxIterations {
			return c, fmt.Errorf("crypt hash: rounds %q: want a number up to %d", r, maxIterations)
		}
		c.rounds = max(n, 1000)
		f = f[1:]
	}
	if len(f) != 2 {
		return c, fmt.Errorf("crypt hash: want $%c$salt$sum", c.kind)
	}
	c.salt, c.sum = f[0], f[1]
	if want := map[byte]int{'1': 22, '5': 43, '6': 86}[c.kind]; len(c.sum) != want {
		return c, fmt.Errorf("crypt hash: sum of %d characters, want %d", len(c.sum), want)
	}
	c.salt = c.salt[:min(len(c.salt), map[byte]int{'1': 8, '5': 16, '6': 16}[c.kind])]
	return c, nil
}

func (c crypt) hash(password string) string {
	switch c.kind {
	case '1':
		return md5Crypt([]byte(password), []byte(c.salt))
	case '5':
		return crypt64(shaCrypt(sha256.New, []byte(password), []byte(c.salt), c.rounds), order256)
	}
	return crypt64(shaCrypt(sha512.New, []byte(password), []byte(c.salt), c.rounds), order512)
}

// shaCrypt is "Unix crypt using SHA-256 and SHA-512" (U. Drepper, 2007), its
// numbered steps in order.
func shaCrypt(newHash func() hash.Hash, key, salt []byte, rounds int) []byte {
	b := digest(newHash, key, salt, key) // 4-8
	size := len(b)
	h := newHash() // 1-3
	h.Write(key)
	h.Write(salt)
	h.Write(stretch(b, len(key))) // 9, 10
	for n := len(key); n > 0; n >>= 1 {
		if n&1 != 0 { // 11
			h.Write(b)
		} else {
			h.Write(key)
		}
	}
	a := h.Sum(nil) // 12

	h = newHash() // 13-15
	for range key {
		h.Write(key)
	}
	p := stretch(h.Sum(nil), len(key)) // 16
	h = newHash()                      // 17-19
	for range 16 + int(a[0]) {
		h.Write(salt)
	}
	s := stretch(h.Sum(nil), len(salt)) // 20

	for i := range rounds { // 21
		h.Reset()
		mix(h, i, a, p, s)
		a = h.Sum(a[:0])
	}
	return a[:size]
}

// mix is one round, the same for MD5 and SHA: password and hash change places,
// salt and password are thrown in at times.
func mix(h hash.Hash, i int, a, p, s []byte) {
	first, last := a, p
	if i%2 != 0 {
		first, last = p, a
	}
	h.Write(first)
	if i%3 != 0 {
		h.Write(s)
	}
	if i%7 != 0 {
		h.Write(p)
	}
	h.Write(last)
}

// md5Crypt is FreeBSD's crypt-md5.c of 1994.
func md5Crypt(key, salt []byte) string {
	b := digest(md5.New, key, salt, key)
	h := md5.New()
	h.Write(key)
	h.Write([]byte("$1$"))
	h.Write(salt)
	h.Write(stretch(b, len(key)))
	for n := len(key); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write([]byte{0})
		} else {
			h.Write(key[:1])
		}
	}
	a := h.Sum(nil)
	for i := range 1000 {
		h.Reset()
		mix(h, i, a, key, salt)
		a = h.Sum(a[:0])
	}
	return crypt64(a, orderMD5)
}

func digest(newHash func() hash.Hash, parts ...[]byte) []byte {
	h := newHash()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// stretch repeats b up to n octets.
func stretch(b []byte, n int) []byte {
	out := make([]byte, 0, n+len(b))
	for len(out) < n {
		out = append(out, b...)
	}
	return out[:n]
}

// The order in which each hash's octets are written, three at a time; -1 is an
// octet that is not there.
var (
	orderMD5 = []int{0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, -1, -1, 11}
	order256 = []int{
		0, 10, 20, 21, 1, 11, 12, 22, 2, 3, 13, 23, 24, 4, 14, 15, 25, 5,
		6, 16, 26, 27, 7, 17, 18, 28, 8, 9, 19, 29, -1, 31, 30,
	}
	order512 = []int{
		0, 21, 42, 22, 43, 1, 44, 2, 23, 3, 24, 45, 25, 46, 4, 47, 5, 26, 6, 27, 48,
		28, 49, 7, 50, 8, 29, 9, 30, 51, 31, 52, 10, 53, 11, 32, 12, 33, 54, 34, 55, 13,
		56, 14, 35, 15, 36, 57, 37, 58, 16, 59, 17, 38, 18, 39, 60, 40, 61, 19, 62, 20, 41,
		-1, -1, 63,
	}
)

// crypt64 is the base 64 of crypt(3): its own alphabet, low bits first.
func crypt64(sum []byte, order []int) string {
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 0, 88)
	for i := 0; i < len(order); i += 3 {
		v, chars := 0, 1 // one octet makes two characters, three make four
		for _, k := range order[i : i+3] {
			v <<= 8
			if k >= 0 {
				v |= int(sum[k])
				chars++
			}
		}
		for range chars {
			out = append(out, alphabet[v&63])
			v >>= 6
		}
	}
	return string(out)
}
