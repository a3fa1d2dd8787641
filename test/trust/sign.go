package trust

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
)

// keys holds keys that all cases share, because generating RSA keys is slow.
type keys struct {
	rsa map[int]*rsa.PrivateKey // by length in bits
	ed  ed25519.PrivateKey
}

func newKeys() (*keys, error) {
	k := &keys{rsa: map[int]*rsa.PrivateKey{}}
	for _, bits := range []int{512, 1024, 2048} {
		key, err := newRSA(bits)
		if err != nil {
			return nil, err
		}
		k.rsa[bits] = key
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	k.ed = ed
	return k, err
}

// newRSA generates RSA keys, including ones that crypto/rsa refuses to
// generate.
func newRSA(bits int) (*rsa.PrivateKey, error) {
	if bits >= 1024 {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	for {
		p, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			return nil, err
		}
		q, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			return nil, err
		}
		one, n := big.NewInt(1), new(big.Int).Mul(p, q)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(big.NewInt(65537), phi)
		if n.BitLen() == bits && d != nil {
			return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}, D: d, Primes: []*big.Int{p, q}}, nil
		}
	}
}

// signature holds the parameters of a DKIM-Signature, ARC-Message-Signature or
// ARC-Seal. The zero values of most fields stand for the usual settings.
type signature struct {
	field        string // default DKIM-Signature
	domain       string
	selector     string // default s1
	bits         int    // length of the RSA key; default 2048; 0 with ed25519
	algorithm    string // default rsa-sha256
	head, body   string // canonicalization; default relaxed, simple
	names        []string
	extra        string // additional tags
	version      string // default "v=1; "
	length       int    // l=, if length is not negative; see limited
	limited      bool
	instance     int      // ARC instance
	sealed       []string // fields that a seal covers
	cv           string
	noKey        bool
	record       string // replaces the key record; %s is the key
	foldedResult bool
}

// sign adds a signature at the top of the message and publishes its key.
func (c *Case) sign(s signature) {
	s.defaults(c)
	if !s.noKey {
		c.publish(s.selector+"._domainkey."+s.domain, "TXT", s.keyRecord(c.keys))
	}
	field := s.compose(c)
	hashed := s.input(c, field)
	sig := base64.StdEncoding.EncodeToString(s.raw(c.keys, hashed))
	if s.foldedResult {
		sig = sig[:20] + "\r\n\t " + sig[20:40] + " " + sig[40:]
	}
	c.head = append([]string{strings.TrimSuffix(field, "\r\n") + sig + "\r\n"}, c.head...)
}

func (s *signature) defaults(c *Case) {
	set := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	set(&s.field, "DKIM-Signature")
	set(&s.domain, c.domain)
	set(&s.selector, "s1")
	set(&s.algorithm, "rsa-sha256")
	set(&s.head, []string{"relaxed", "simple"}[c.random.IntN(2)])
	set(&s.body, []string{"relaxed", "simple"}[c.random.IntN(2)])
	if s.field == "DKIM-Signature" {
		set(&s.version, "v=1; ")
	}
	if s.version == "-" {
		s.version = ""
	}
	if s.bits == 0 {
		s.bits = 2048
	}
	if s.names == nil {
		s.names = []string{"From", "To", "Subject", "Date", "Message-ID"}
	}
}

// keyRecord returns the TXT record of the public key.
func (s *signature) keyRecord(k *keys) string {
	kind, public := "rsa", []byte(nil)
	if strings.HasPrefix(s.algorithm, "ed25519") {
		kind, public = "ed25519", k.ed.Public().(ed25519.PublicKey)
	} else {
		public, _ = x509.MarshalPKIXPublicKey(&k.rsa[s.bits].PublicKey) // cannot fail for RSA
	}
	key := base64.StdEncoding.EncodeToString(public)
	if s.record != "" {
		return strings.ReplaceAll(s.record, "%s", key)
	}
	return "v=DKIM1; k=" + kind + "; p=" + key
}

// compose returns the field with an empty b=.
func (s *signature) compose(c *Case) string {
	if s.field == "ARC-Seal" {
		return fmt.Sprintf("ARC-Seal: i=%d; a=%s; t=1796000000; cv=%s; d=%s; s=%s; b=\r\n", s.instance, s.algorithm, s.cv, s.domain, s.selector)
	}
	body := canonicalBody(c.body, s.body)
	if s.limited {
		body = body[:min(s.length, len(body))]
		s.extra += fmt.Sprintf(" l=%d;", s.length)
	}
	if s.instance > 0 {
		s.extra += fmt.Sprintf(" i=%d;", s.instance)
	}
	sum := base64.StdEncoding.EncodeToString(s.hash([]byte(body)))
	return fmt.Sprintf("%s: %sa=%s; c=%s/%s; d=%s; s=%s;%s\r\n\th=%s; bh=%s; b=\r\n",
		s.field, s.version, s.algorithm, s.head, s.body, s.domain, s.selector, s.extra, strings.Join(s.names, ":"), sum)
}

// input returns the data to be signed.
func (s *signature) input(c *Case, field string) []byte {
	var b strings.Builder
	if s.field == "ARC-Seal" {
		for _, f := range s.sealed {
			b.WriteString(canonicalField(f, "relaxed"))
		}
		b.WriteString(strings.TrimSuffix(canonicalField(field, "relaxed"), "\r\n"))
		return []byte(b.String())
	}
	used := map[string]int{}
	for _, name := range s.names {
		name = strings.ToLower(name)
		skip := used[name]
		used[name]++
		for i := len(c.head) - 1; i >= 0; i-- { // search from the bottom
			if fieldName(c.head[i]) != name {
				continue
			}
			if skip == 0 {
				b.WriteString(canonicalField(c.head[i], s.head))
				break
			}
			skip--
		}
	}
	b.WriteString(strings.TrimSuffix(canonicalField(field, s.head), "\r\n"))
	return []byte(b.String())
}

func (s *signature) hash(b []byte) []byte {
	if strings.HasSuffix(s.algorithm, "sha1") {
		sum := sha1.Sum(b)
		return sum[:]
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// raw returns the octets of the signature.
func (s *signature) raw(k *keys, input []byte) []byte {
	sum := s.hash(input)
	if strings.HasPrefix(s.algorithm, "ed25519") {
		return ed25519.Sign(k.ed, sum)
	}
	return signRSA(k.rsa[s.bits], sum)
}

// signRSA implements PKCS #1 v1.5 for keys of any length, because crypto/rsa
// refuses short ones.
func signRSA(key *rsa.PrivateKey, sum []byte) []byte {
	size, kind := key.Size(), crypto.SHA256
	if len(sum) == crypto.SHA1.Size() {
		kind = crypto.SHA1
	}
	if size >= 128 {
		if sig, err := rsa.SignPKCS1v15(nil, key, kind, sum); err == nil {
			return sig
		}
	}
	prefix := map[int][]byte{
		crypto.SHA1.Size():   {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14},
		crypto.SHA256.Size(): {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	}[len(sum)]
	padded := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-3-len(prefix)-len(sum))...)
	padded = append(append(append(padded, 0), prefix...), sum...)
	m := new(big.Int).Exp(new(big.Int).SetBytes(padded), key.D, key.N)
	return m.FillBytes(make([]byte, size))
}

func fieldName(field string) string {
	name, _, _ := strings.Cut(field, ":")
	return strings.ToLower(strings.TrimSpace(name))
}

// canonicalField implements RFC 6376, 3.4.1 and 3.4.2. It does not use the
// program's own code, because that is the code under test.
func canonicalField(field, how string) string {
	if how == "simple" {
		return field
	}
	name, value, _ := strings.Cut(field, ":")
	value = strings.ReplaceAll(value, "\r\n", "")
	return strings.ToLower(strings.TrimSpace(name)) + ":" + strings.Join(strings.FieldsFunc(value, isBlank), " ") + "\r\n"
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

// canonicalBody implements RFC 6376, 3.4.3 and 3.4.4.
func canonicalBody(body, how string) string {
	if how == "relaxed" {
		lines := strings.SplitAfter(body, "\r\n")
		for i, l := range lines {
			text, end := strings.CutSuffix(l, "\r\n")
			lead := ""
			if text != "" && isBlank(rune(text[0])) && strings.TrimFunc(text, isBlank) != "" {
				lead = " "
			}
			lines[i] = lead + strings.Join(strings.FieldsFunc(text, isBlank), " ")
			if end {
				lines[i] += "\r\n"
			}
		}
		body = strings.Join(lines, "")
	}
	for strings.HasSuffix(body, "\r\n\r\n") {
		body = strings.TrimSuffix(body, "\r\n")
	}
	switch {
	case body == "\r\n" && how == "relaxed":
		return ""
	case body == "" && how == "simple":
		return "\r\n"
	case body != "" && !strings.HasSuffix(body, "\r\n"):
		return body + "\r\n"
	}
	return body
}
