package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Key is a public key from DNS (RFC 6376, 3.6.1).
type Key struct {
	Public  crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey
	Kind    string           // rsa, ed25519
	Bits    int
	Testing bool // t=y: the domain is testing DKIM
	Strict  bool // t=s: i= must not be a subdomain
	hashes  []string
}

// The reasons why there is no usable key.
var (
	errNoKey   = errors.New("no key")
	errRevoked = errors.New("key revoked")
)

// temporary marks a temporary lookup error, which says nothing about the
// signature.
type temporary struct{ error }

func (t temporary) Unwrap() error { return t.error }

// IsTemporary reports whether an error of FetchKey is temporary.
func IsTemporary(err error) bool { return errors.As(err, &temporary{}) }

// FetchKey looks up the key of a selector.
func FetchKey(ctx context.Context, lookup Lookup, domain, selector string) (*Key, error) {
	name := selector + "._domainkey." + domain
	txts, err := lookup(ctx, name)
	if err != nil {
		return nil, temporary{err}
	}
	switch keys := selectKeys(txts); len(keys) {
	case 0:
		return nil, fmt.Errorf("%w at %s", errNoKey, name)
	case 1:
		return ParseKey(keys[0])
	}
	return nil, fmt.Errorf("more than one key at %s", name)
}

// selectKeys returns the key records among the TXT records at a name, where a
// wildcard may add records for other purposes. If any tag list with a p= has
// v=DKIM1, only such lists are returned. If there are no key records, a
// malformed one is returned so that its error can be reported.
func selectKeys(txts []string) []string {
	var keys, marked, malformed []string
	for _, txt := range txts {
		t, err := ParseTags(txt)
		v, versioned := t["v"]
		_, p := t["p"]
		switch {
		case versioned && !strings.HasPrefix(v, "DKIM"): // for another purpose
		case versioned && v != "DKIM1":
			malformed = append(malformed, txt)
		case err != nil || !p:
			if versioned {
				malformed = append(malformed, txt)
			}
		case versioned:
			marked = append(marked, txt)
		default:
			keys = append(keys, txt)
		}
	}
	for _, list := range [][]string{marked, keys} {
		if len(list) > 0 {
			return list
		}
	}
	return malformed
}

// ParseKey parses a key record.
func ParseKey(record string) (*Key, error) {
	t, err := ParseTags(record)
	if err != nil {
		return nil, fmt.Errorf("key record: %w", err)
	}
	if v, ok := t["v"]; ok && v != "DKIM1" {
		return nil, fmt.Errorf("key record: version %.10q is unknown", v)
	}
	p, ok := t["p"]
	switch {
	case !ok:
		return nil, errors.New("key record: no p=")
	case p == "":
		return nil, errRevoked
	}
	der, err := base64.StdEncoding.DecodeString(t.bare("p"))
	if err != nil || len(der) > 4096 {
		return nil, errors.New("key record: p= is not base64 of a key")
	}
	if s := t.bare("s"); s != "" && !slices.ContainsFunc(strings.Split(s, ":"), func(s string) bool { return s == "*" || s == "email" }) {
		return nil, fmt.Errorf("key is for %.20s, not for mail", s)
	}
	k := &Key{Kind: "rsa"}
	if kind := t.bare("k"); kind != "" {
		k.Kind = strings.ToLower(kind)
	}
	if h := t.bare("h"); h != "" {
		k.hashes = strings.Split(strings.ToLower(h), ":")
	}
	flags := strings.Split(t.bare("t"), ":")
	k.Testing, k.Strict = slices.Contains(flags, "y"), slices.Contains(flags, "s")
	return k, k.parse(der)
}

func (k *Key) parse(der []byte) error {
	switch k.Kind {
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return fmt.Errorf("key record: Ed25519 key of %d octets", len(der))
		}
		k.Public, k.Bits = ed25519.PublicKey(der), 256
		return nil
	case "rsa":
		pub, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			pub, err = x509.ParsePKCS1PublicKey(der) // erratum 3017
		}
		r, ok := pub.(*rsa.PublicKey)
		if err != nil || !ok {
			return errors.New("key record: p= is not an RSA key")
		}
		if k.Bits = r.N.BitLen(); k.Bits > maxKeyBits {
			return fmt.Errorf("RSA key of %d bits is too long to verify", k.Bits)
		}
		k.Public = r
		return nil
	}
	return fmt.Errorf("key record: kind %.20q is unknown", k.Kind)
}

// Verifies reports whether sig is a signature of the SHA-256 hash sum made with
// this key.
func (k *Key) Verifies(sum, sig []byte) bool {
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum, sig) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(pub, sum, sig)
	}
	return false
}
