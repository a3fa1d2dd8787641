package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// Signer makes signatures with one key, relaxed/relaxed.
type Signer struct {
	Domain   string
	Selector string
	Key      crypto.Signer // RSA of 1,024 bits at least, or Ed25519
	// Expire is how long a signature is good; 0 = for ever.
	Expire time.Duration
}

// Algorithm is the a= of the signer's key.
func (s *Signer) Algorithm() string {
	if _, ok := s.Key.Public().(ed25519.PublicKey); ok {
		return "ed25519-sha256"
	}
	return "rsa-sha256"
}

// oversigned are the fields of which no further one may be added: each is
// signed once more than it is there (RFC 6376, 8.15).
var oversigned = []string{
	"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
	"In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}

// signedOnce are signed if they are there.
var signedOnce = []string{
	"Resent-From", "Resent-To", "Resent-Date", "Resent-Message-ID",
	"List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "List-Help", "Autocrypt", "Feedback-ID",
}

// SignedHeaders is the h= for a header: the fields that a reader sees, all of
// them and one more.
func SignedHeaders(h *Header) []string {
	var names []string
	for _, n := range oversigned {
		for range min(len(h.byName[strings.ToLower(n)]), 10) {
			names = append(names, n)
		}
		names = append(names, n)
	}
	for _, n := range signedOnce {
		for range min(len(h.byName[strings.ToLower(n)]), 2) {
			names = append(names, n)
		}
	}
	return names
}

// Sign makes a DKIM-Signature field, CRLF at its end, for a header and the
// relaxed hash of a body.
func (s *Signer) Sign(h *Header, bodyHash []byte, now time.Time) ([]byte, error) {
	names := SignedHeaders(h)
	tags := []string{"v=1", "a=" + s.Algorithm(), "c=relaxed/relaxed", "d=" + s.Domain, "s=" + s.Selector, fmt.Sprintf("t=%d", now.Unix())}
	if s.Expire > 0 {
		tags = append(tags, fmt.Sprintf("x=%d", now.Add(s.Expire).Unix()))
	}
	return s.Field("DKIM-Signature", tags, names, bodyHash, h)
}

// Field signs the named fields of a header: it writes the field with the given
// tags, h=, bh= and b=, CRLF at its end. ARC uses it under another name.
func (s *Signer) Field(name string, tags, headers []string, bodyHash []byte, h *Header) ([]byte, error) {
	w := &tagWriter{}
	w.out = append(w.out, name...)
	w.out = append(w.out, ':')
	w.col = len(w.out)
	for _, t := range tags {
		w.tag(t + ";")
	}
	for i, n := range headers {
		if i == 0 {
			n = "h=" + n
		}
		if i < len(headers)-1 {
			n += ":"
		} else {
			n += ";"
		}
		w.word(n, i == 0)
	}
	w.tag("bh=" + base64.StdEncoding.EncodeToString(bodyHash) + ";")
	w.tag("b=")
	field := append(w.out, crlf...)
	sig := &Signature{Headers: headers, HeaderCan: Relaxed}
	sig.field.Raw = field
	return s.Finish(field, h.sum(sig))
}

// Finish signs a hash and puts the signature behind the b= at the end of a
// field.
func (s *Signer) Finish(field, sum []byte) ([]byte, error) {
	var value []byte
	var err error
	switch key := s.Key.Public().(type) {
	case *rsa.PublicKey:
		value, err = s.Key.Sign(rand.Reader, sum, crypto.SHA256)
	case ed25519.PublicKey: // RFC 8463: it signs the hash as a message
		value, err = s.Key.Sign(rand.Reader, sum, crypto.Hash(0))
	default:
		err = fmt.Errorf("no DKIM algorithm for a %T", key)
	}
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", s.Domain, err)
	}
	out := bytes.TrimSuffix(field, crlf)
	out = out[:len(out):len(out)]
	b := base64.StdEncoding.EncodeToString(value)
	for len(b) > 0 {
		n := min(72, len(b))
		out = append(append(out, "\r\n\t "...), b[:n]...)
		b = b[n:]
	}
	return append(out, crlf...), nil
}

// SumFields hashes fields as ARC-Seal has it: relaxed, one after the other, the
// last without its line end.
func SumFields(raws ...[]byte) []byte {
	hash := sha256.New()
	var buf []byte
	for i, raw := range raws {
		buf = AppendHeader(buf[:0], raw, Relaxed)
		if i == len(raws)-1 {
			buf = bytes.TrimSuffix(buf, crlf)
		}
		hash.Write(buf)
	}
	return hash.Sum(nil)
}

// Verifies says whether a signature over a SHA-256 hash is by this key.
func (k *Key) Verifies(sum, sig []byte) bool { return k.verify(sum, sig) }

// tagWriter folds tags onto lines.
type tagWriter struct {
	out []byte
	col int
}

func (w *tagWriter) tag(s string) { w.word(s, true) }

// word appends s, after a space if it begins a tag.
func (w *tagWriter) word(s string, space bool) {
	if w.col+1+len(s) > 76 {
		w.out = append(w.out, "\r\n\t"...)
		w.col = 8
	} else if space {
		w.out = append(w.out, ' ')
		w.col++
	}
	w.out = append(w.out, s...)
	w.col += len(s)
}
