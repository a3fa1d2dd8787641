package cms

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Certificate is a certificate in a message. Initially, only the parts needed
// to find a signer and verify a signature are parsed, because crypto/x509
// rejects some certificates found in messages, and most certificates are not
// needed.
type Certificate struct {
	Raw []byte // DER

	issuer, subject []byte // DER names
	serial          []byte // content octets of the INTEGER
	spki            []byte // DER SubjectPublicKeyInfo
	keyID           []byte // subject key identifier, or nil

	once   sync.Once
	parsed *x509.Certificate
	err    error

	keyOnce sync.Once
	key     crypto.PublicKey
	keyAlg  algorithm
	keyErr  error
}

// ParseCertificate parses the outline of a DER certificate; see [Certificate].
func ParseCertificate(der []byte) (*Certificate, error) {
	c := &Certificate{Raw: der}
	in := cryptobyte.String(der)
	var cert, tbs, ver, name, s cryptobyte.String
	if !in.ReadASN1(&cert, cbasn1.SEQUENCE) || !cert.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!tbs.ReadOptionalASN1(&ver, nil, cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!tbs.ReadASN1(&s, cbasn1.INTEGER) {
		return nil, errors.New("certificate: bad outline")
	}
	c.serial = s
	if !tbs.ReadASN1(&s, cbasn1.SEQUENCE) || !tbs.ReadASN1Element(&name, cbasn1.SEQUENCE) {
		return nil, errors.New("certificate: bad issuer")
	}
	c.issuer = name
	if !tbs.ReadASN1(&s, cbasn1.SEQUENCE) || !tbs.ReadASN1Element(&name, cbasn1.SEQUENCE) {
		return nil, errors.New("certificate: bad subject")
	}
	c.subject = name
	if !tbs.ReadASN1Element(&s, cbasn1.SEQUENCE) {
		return nil, errors.New("certificate: bad public key")
	}
	c.spki = s
	c.keyID = readKeyID(tbs)
	return c, nil
}

// readKeyID returns the subject key identifier, which is located after the
// public key.
func readKeyID(tbs cryptobyte.String) []byte {
	for !tbs.Empty() {
		var v cryptobyte.String
		var tag cbasn1.Tag
		if !tbs.ReadAnyASN1(&v, &tag) {
			return nil
		}
		if tag != cbasn1.Tag(3).Constructed().ContextSpecific() {
			continue
		}
		var exts, ext, id, val, key cryptobyte.String
		if !v.ReadASN1(&exts, cbasn1.SEQUENCE) {
			return nil
		}
		for exts.ReadASN1(&ext, cbasn1.SEQUENCE) {
			if !ext.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) || !ext.SkipOptionalASN1(cbasn1.BOOLEAN) ||
				!ext.ReadASN1(&val, cbasn1.OCTET_STRING) {
				return nil
			}
			if string(id) == string(oidSKI) && val.ReadASN1(&key, cbasn1.OCTET_STRING) {
				return key
			}
		}
	}
	return nil
}

// X509 parses the certificate with crypto/x509. The result is cached.
func (c *Certificate) X509() (*x509.Certificate, error) {
	c.once.Do(func() { c.parsed, c.err = x509.ParseCertificate(c.Raw) })
	return c.parsed, c.err
}

// Subject returns the subject's name as text, starting with the most specific
// part.
func (c *Certificate) Subject() string { return Name(c.subject) }

// Issuer returns the issuer's name as text.
func (c *Certificate) Issuer() string { return Name(c.issuer) }

// Name formats a DER name as "CN=..., O=..., C=...".
func Name(der []byte) string {
	var rdn pkix.RDNSequence
	if _, err := asn1.Unmarshal(der, &rdn); err != nil {
		return "(unreadable name)"
	}
	for _, set := range rdn {
		for i, a := range set {
			if a.Type.String() == "1.2.840.113549.1.9.1" {
				set[i].Type = nil // formatted below, because pkix would print it in hexadecimal
			}
		}
	}
	var parts []string
	for i := len(rdn) - 1; i >= 0; i-- {
		for _, a := range rdn[i] {
			if a.Type == nil {
				parts = append(parts, fmt.Sprintf("emailAddress=%v", a.Value))
				continue
			}
			parts = append(parts, pkix.RDNSequence{{a}}.String())
		}
	}
	return strings.Join(parts, ", ")
}

// Serial returns the serial number in hexadecimal.
func (c *Certificate) Serial() string { return serialText(c.serial) }

func serialText(b []byte) string { return fmt.Sprintf("%x", bytes.TrimLeft(b, "\x00")) }

// matchesKeyID reports whether id identifies the certificate's key, either by
// the subject key identifier or, if there is none, by the SHA-1 hash of the key
// (RFC 5280, 4.2.1.2, method 1).
func (c *Certificate) matchesKeyID(id []byte) bool {
	if c.keyID != nil {
		return bytes.Equal(c.keyID, id)
	}
	_, key, err := splitSPKI(c.spki)
	if err != nil {
		return false
	}
	sum := sha1.Sum(key)
	return bytes.Equal(sum[:], id)
}

func (c *Certificate) matchesIssuer(issuer, serial []byte) bool {
	return bytes.Equal(c.serial, serial) &&
		(bytes.Equal(c.issuer, issuer) || sameName(c.issuer, issuer))
}

// sameName reports whether two names are equal according to RFC 5280, 7.1.
// Signers may encode their issuer's name differently, with another string type
// or case.
func sameName(a, b []byte) bool {
	var x, y pkix.RDNSequence
	if _, err := asn1.Unmarshal(a, &x); err != nil {
		return false
	}
	if _, err := asn1.Unmarshal(b, &y); err != nil || len(x) != len(y) {
		return false
	}
	for i := range x {
		if len(x[i]) != len(y[i]) {
			return false
		}
		for j := range x[i] {
			p, q := x[i][j], y[i][j]
			if !p.Type.Equal(q.Type) || fold(p.Value) != fold(q.Value) {
				return false
			}
		}
	}
	return true
}

func fold(v any) string {
	return strings.ToLower(strings.Join(strings.Fields(fmt.Sprint(v)), " "))
}

// splitSPKI returns the key's algorithm and the key itself.
func splitSPKI(spki []byte) (alg algorithm, key []byte, err error) {
	in := cryptobyte.String(spki)
	var seq, a cryptobyte.String
	var bits asn1.BitString
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Element(&a, cbasn1.SEQUENCE) || !seq.ReadASN1BitString(&bits) {
		return alg, nil, errors.New("public key: bad outline")
	}
	if alg, err = parseAlgorithm(a); err != nil {
		return alg, nil, err
	}
	return alg, bits.RightAlign(), nil
}

// publicKey parses the certificate's key. It also accepts keys restricted to
// RSA-PSS (RFC 4055, 1.2), which crypto/x509 does not support; they are
// ordinary RSA keys.
func (c *Certificate) publicKey() (key crypto.PublicKey, alg algorithm, err error) {
	c.keyOnce.Do(func() { c.key, c.keyAlg, c.keyErr = c.readKey() })
	return c.key, c.keyAlg, c.keyErr
}

func (c *Certificate) readKey() (key crypto.PublicKey, alg algorithm, err error) {
	alg, bits, err := splitSPKI(c.spki)
	if err != nil {
		return nil, alg, err
	}
	if alg.id == keyPSS {
		key, err = x509.ParsePKCS1PublicKey(bits)
		return key, alg, err
	}
	key, err = x509.ParsePKIXPublicKey(c.spki)
	return key, alg, err
}

// algorithm is an AlgorithmIdentifier.
type algorithm struct {
	id     oid
	params []byte // DER; nil if absent
}

func parseAlgorithm(der []byte) (algorithm, error) {
	in := cryptobyte.String(der)
	var seq, id cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) {
		return algorithm{}, errors.New("bad algorithm identifier")
	}
	a := algorithm{id: internOID(id)}
	if !seq.Empty() {
		a.params = seq
	}
	return a, nil
}

// same reports whether two algorithms are equal. Absent parameters are treated
// as NULL.
func (a algorithm) same(b algorithm) bool {
	return a.id == b.id && string(a.paramsOrNone()) == string(b.paramsOrNone())
}

func (a algorithm) paramsOrNone() []byte {
	if len(a.params) == 2 && a.params[0] == 5 {
		return nil
	}
	return a.params
}
