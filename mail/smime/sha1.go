package smime

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"slices"
	"sync"
)

const (
	// maxChain is the maximum length of a chain with SHA-1.
	maxChain = 6
	// maxLinks is the maximum number of signatures verified to find such a
	// chain.
	maxLinks = 50
)

// sha1Chain returns a chain from cert to a root and the first certificate in it
// that is signed with SHA-1, or nil if there is none. It verifies the
// signatures itself, because crypto/x509 rejects SHA-1 and reports an unknown
// authority. All other rules (validity, purpose, constraints) are those of
// crypto/x509.
func sha1Chain(cert *x509.Certificate, between []*x509.Certificate, roots rootSet, opts x509.VerifyOptions) (chain []*x509.Certificate, weak *x509.Certificate) {
	s := chainSearch{issuers: append(slices.Clip(roots.certs), between...), roots: len(roots.certs), left: maxLinks}
	chain = s.from([]*x509.Certificate{cert})
	i := slices.IndexFunc(chain[:max(0, len(chain)-1)], signedWithSHA1)
	if i < 0 || !allowed(chain, opts) {
		return nil, nil
	}
	return chain, chain[i]
}

func signedWithSHA1(c *x509.Certificate) bool {
	return c.SignatureAlgorithm == x509.SHA1WithRSA || c.SignatureAlgorithm == x509.ECDSAWithSHA1
}

// chainSearch is a depth-first search for a chain. issuers starts with the
// roots.
type chainSearch struct {
	issuers []*x509.Certificate
	roots   int
	left    int // signatures that may still be verified
}

// from extends a chain to a root. It returns nil if that is impossible.
func (s *chainSearch) from(chain []*x509.Certificate) []*x509.Certificate {
	last := chain[len(chain)-1]
	for i, p := range s.issuers {
		if !bytes.Equal(p.RawSubject, last.RawIssuer) || costly(p) || slices.ContainsFunc(chain, p.Equal) {
			continue
		}
		if s.left--; s.left < 0 {
			return nil
		}
		if !issued(p, last) {
			continue
		}
		longer := append(slices.Clip(chain), p)
		if i < s.roots {
			return longer
		}
		if len(longer) < maxChain {
			if whole := s.from(longer); whole != nil {
				return whole
			}
		}
	}
	return nil
}

// issued reports whether c was signed with p's key, accepting SHA-1.
func issued(p, c *x509.Certificate) bool {
	if !signedWithSHA1(c) {
		return c.CheckSignatureFrom(p) == nil
	}
	sum := sha1.Sum(c.RawTBSCertificate)
	switch key := p.PublicKey.(type) {
	case *rsa.PublicKey:
		return c.SignatureAlgorithm == x509.SHA1WithRSA && rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], c.Signature) == nil
	case *ecdsa.PublicKey:
		return c.SignatureAlgorithm == x509.ECDSAWithSHA1 && ecdsa.VerifyASN1(key, sum[:], c.Signature)
	}
	return false
}

// resigner is a private key that exists only in this process.
var resigner = sync.OnceValue(func() ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	return ed25519.NewKeyFromSeed(seed)
})

// allowed applies the rules of crypto/x509 to a chain whose signatures have
// been verified. It checks copies of the certificates, signed with another key.
func allowed(chain []*x509.Certificate, opts x509.VerifyOptions) bool {
	key := resigner()
	opts.Roots, opts.Intermediates = x509.NewCertPool(), x509.NewCertPool()
	var leaf *x509.Certificate
	for i, c := range chain {
		again := *c
		again.PublicKey, again.SignatureAlgorithm = key.Public(), x509.PureEd25519
		again.Signature = ed25519.Sign(key, c.RawTBSCertificate)
		switch i {
		case 0:
			leaf = &again
		case len(chain) - 1:
			opts.Roots.AddCert(&again)
		default:
			opts.Intermediates.AddCert(&again)
		}
	}
	_, err := leaf.Verify(opts)
	return err == nil
}
