package arc

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"hoplite/mail/dkim"
)

var crlf = []byte("\r\n")

// algorithm returns the a= tag for the sealer's key.
func (s *Sealer) algorithm() string {
	if _, ok := s.Key.Public().(ed25519.PublicKey); ok {
		return "ed25519-sha256"
	}
	return "rsa-sha256"
}

// field signs the named fields of a header. It returns a field with the given
// tags, h=, bh= and b=, ending in CRLF.
func (s *Sealer) field(name string, tags, headers []string, bodyHash []byte, h *dkim.Header) ([]byte, error) {
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
	return s.finish(field, h.Sum(headers, dkim.Relaxed, field))
}

// finish signs a hash and appends the signature to a field that ends in b=.
func (s *Sealer) finish(field, sum []byte) ([]byte, error) {
	var value []byte
	var err error
	switch key := s.Key.Public().(type) {
	case *rsa.PublicKey:
		value, err = s.Key.Sign(rand.Reader, sum, crypto.SHA256)
	case ed25519.PublicKey: // RFC 8463: the hash is signed like a message
		value, err = s.Key.Sign(rand.Reader, sum, crypto.Hash(0))
	default:
		err = fmt.Errorf("no algorithm for a %T", key)
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

// sumFields hashes fields as required for ARC-Seal: in relaxed form, one after
// another, the last without its line ending.
func sumFields(raws ...[]byte) []byte {
	hash := sha256.New()
	var buf []byte
	for i, raw := range raws {
		buf = dkim.AppendHeader(buf[:0], raw, dkim.Relaxed)
		if i == len(raws)-1 {
			buf = bytes.TrimSuffix(buf, crlf)
		}
		hash.Write(buf)
	}
	return hash.Sum(nil)
}

// tagWriter writes tags folded into lines.
type tagWriter struct {
	out []byte
	col int
}

func (w *tagWriter) tag(s string) { w.word(s, true) }

// word appends s, preceded by a space if s begins a tag.
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
