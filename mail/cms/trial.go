package cms

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
)

// signedSet returns the octets that were signed if there are signed attributes:
// the SET itself, not its implicitly tagged form (RFC 5652, 5.4).
func (s *Signer) signedSet() []byte { return append([]byte{0x31}, s.rawAttrs[1:]...) }

// signedSum returns the digest of the octets that were signed.
func (s *Signer) signedSum(d digest, contentSum []byte) []byte {
	if s.rawAttrs == nil {
		return contentSum
	}
	h := d.hash.New()
	h.Write(s.signedSet())
	return h.Sum(nil)
}

// trial is the result of verifying a signature with one key.
type trial struct {
	unsupported string // the reason why it could not be verified
	fits        bool   // the key is suitable for this kind of signature
	holds       bool
	weak        string // the weakness of the key
}

func (sd *Signed) try(s *Signer, sa signature, key any, keyAlg algorithm, d digest, sum []byte) trial {
	switch pub := key.(type) {
	case *rsa.PublicKey:
		return s.tryRSA(sa, pub, keyAlg, d, sum)
	case *ecdsa.PublicKey:
		t := trial{fits: sa.kind == sigECDSA}
		t.holds = t.fits && ecdsa.VerifyASN1(pub, sum, s.signature)
		if c := pub.Curve.Params(); c.BitSize < 256 {
			t.weak = "the curve " + c.Name + " is too short"
		}
		return t
	case ed25519.PublicKey:
		if sa.kind != sigEd25519 {
			break
		}
		if s.rawAttrs != nil {
			return trial{fits: true, holds: ed25519.Verify(pub, s.signedSet(), s.signature)}
		}
		message, ok := sd.content.whole()
		if !ok {
			return trial{unsupported: fmt.Sprintf("Ed25519 without signed attributes over more than %d octets", headSize)}
		}
		return trial{fits: true, holds: ed25519.Verify(pub, message, s.signature)}
	}
	return trial{}
}

func (s *Signer) tryRSA(sa signature, pub *rsa.PublicKey, keyAlg algorithm, d digest, sum []byte) trial {
	t := trial{fits: true}
	bits := pub.N.BitLen()
	if bits < 2048 {
		t.weak = fmt.Sprintf("an RSA key of %d bits is too short", bits)
	}
	plain := sa.kind == sigRSA && keyAlg.id == keyRSA
	switch {
	case bits > MaxRSA, bits < 1024 && !plain:
		t.unsupported = fmt.Sprintf("an RSA key of %d bits", bits)
	case bits < 1024:
		t.holds = verifyShort(pub, s.digestAlg.id, sum, s.signature) == nil
	case plain:
		t.holds = rsa.VerifyPKCS1v15(pub, d.hash, sum, s.signature) == nil
	case sa.kind == sigPSS:
		opts, fault := pssOptions(s.sigAlg.params, keyAlg, d.hash)
		if t.unsupported = fault; fault == "" {
			t.holds = rsa.VerifyPSS(pub, d.hash, sum, s.signature, opts) == nil
		}
	default:
		t.fits = false
	}
	return t
}
