package cms

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Verdict is the result of verifying a signature. It is independent of whether
// the certificate is trusted.
type Verdict int

// The verdicts, worst last.
const (
	Good        Verdict = iota // valid
	Weak                       // valid, but could be forged: SHA-1, MD5, or a short key
	Unknown                    // its certificate or its content is missing
	Unsupported                // made with an unsupported algorithm
	Bad                        // invalid
)

func (v Verdict) String() string {
	return [...]string{"good", "weak", "unknown", "unsupported", "bad"}[v]
}

// MaxRSA is the maximum size of an RSA key in bits. It limits the work that a
// sender can cause. crypto/tls has the same limit.
const MaxRSA = 8192

// Verify verifies each signer's signature over the content and returns the
// worst verdict, or Unknown if there are no signers. content must be non-nil if
// and only if the signature is detached. If there is content both inside and
// outside the object, different mail programs might show different content, so
// every signer is Bad. more lists additional signer certificates.
//
// Verify may be called again with other content. It returns an error only if
// reading content fails.
func (sd *Signed) Verify(content io.Reader, more ...*Certificate) (Verdict, error) {
	if content != nil && sd.Detached {
		if err := sd.read(content); err != nil {
			return Unknown, err
		}
	}
	worst, left := Good, maxSupporting
	if len(sd.Signers) == 0 {
		worst = Unknown
	}
	for _, s := range sd.Signers {
		s.Reason = ""
		if s.Cert = sd.find(s, more); s.Cert != nil {
			s.describeKey()
		}
		switch {
		case content != nil && !sd.Detached:
			s.Verdict, s.Reason = Bad, "there is content both inside and outside the signature"
		case content == nil && sd.Detached:
			s.Verdict, s.Reason = Unknown, "detached signature: the signed content is not available"
		default:
			s.Verdict = sd.judge(s)
		}
		worst = max(worst, s.Verdict)
		if len(s.unsigned) > 0 && !sd.inner {
			sd.supporting(s, more, &left)
		}
	}
	return worst, nil
}

// judge sets s.Reason and returns the verdict.
func (sd *Signed) judge(s *Signer) Verdict {
	say := func(v Verdict, format string, args ...any) Verdict {
		s.Reason = fmt.Sprintf(format, args...)
		return v
	}
	if fault := s.checkAttributes(sd.contentType, sd.counter); fault != "" {
		return say(Bad, "%s", fault)
	}
	if s.rawAttrs == nil && looksLikeAttributes(sd.content.b) {
		return say(Bad, "forgery: the content is the signed attributes of another message")
	}
	d, ok := digests[s.digestAlg.id]
	if !ok || d.hash == 0 {
		return say(Unsupported, "digest algorithm %s is not supported", s.Digest)
	}
	sum := sd.sum(s.digestAlg.id)
	if sum == nil {
		return say(Bad, "the digest algorithm %s is not announced", s.Digest)
	}
	if s.rawAttrs != nil {
		s.DigestMatches = bytes.Equal(sum.value, s.messageDigest())
		if !s.DigestMatches {
			if sd.counter {
				return say(Bad, "it belongs to another signature")
			}
			return say(Bad, "the content is not what was signed")
		}
	}
	if s.Cert == nil {
		return say(Unknown, "the signer's certificate is missing (%s)", s.ID())
	}
	if fault := s.checkSigningCert(s.Cert); fault != "" {
		return say(Bad, "%s", fault)
	}
	v := sd.checkSignature(s, d, sum.value)
	if v == Good || v == Weak {
		s.DigestMatches = true
	}
	return v
}

// checkSignature verifies the signature value.
func (sd *Signed) checkSignature(s *Signer, d digest, contentSum []byte) Verdict {
	say := func(v Verdict, format string, args ...any) Verdict {
		s.Reason = fmt.Sprintf(format, args...)
		return v
	}
	sa, ok := signatures[s.sigAlg.id]
	if !ok || sa.kind == sigUnknown {
		return say(Unsupported, "signature algorithm %s is not supported", s.Algorithm)
	}
	if sa.hash != 0 && sa.hash != d.hash {
		return say(Bad, "digest %s, but the signature is over %s", s.Digest, hashName(sa.hash))
	}
	key, keyAlg, err := s.Cert.publicKey()
	if err != nil {
		return say(Unsupported, "the certificate's key (%s) is unreadable", keyAlg.id)
	}
	weak := ""
	if d.weak {
		weak = d.name + " can be forged"
	}
	t := sd.try(s, sa, key, keyAlg, d, s.signedSum(d, contentSum))
	switch {
	case t.unsupported != "":
		return say(Unsupported, "%s", t.unsupported)
	case !t.fits:
		return say(Bad, "an %s signature by a key of another kind (%s)", sa.name, keyAlg.id)
	case !t.holds:
		return say(Bad, "the signature is invalid")
	case cmp.Or(t.weak, weak) != "":
		return say(Weak, "%s", cmp.Or(t.weak, weak))
	}
	return Good
}

// verifyShort verifies PKCS #1 v1.5 signatures (RFC 8017, 8.2.2) with keys that
// crypto/rsa rejects. Such a signature is weak at best, but it can also be bad.
func verifyShort(pub *rsa.PublicKey, id oid, hashed, sig []byte) error {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes([]byte(id)) })
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(hashed)
	})
	info, err := b.Bytes()
	size := pub.Size()
	if err != nil || len(sig) != size || size < len(info)+11 {
		return rsa.ErrVerification
	}
	want := bytes.Repeat([]byte{0xff}, size)
	want[0], want[1], want[size-len(info)-1] = 0, 1, 0
	copy(want[size-len(info):], info)
	m := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(pub.E)), pub.N)
	if !bytes.Equal(m.FillBytes(make([]byte, size)), want) {
		return rsa.ErrVerification
	}
	return nil
}

// describeKey adds the key's size to the algorithm's name if the key is
// suitable for the algorithm.
func (s *Signer) describeKey() {
	sa, ok := signatures[s.sigAlg.id]
	if !ok {
		return
	}
	key, _, err := s.Cert.publicKey()
	if err != nil {
		return
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if sa.kind != sigRSA && sa.kind != sigPSS {
			return
		}
		s.Algorithm = fmt.Sprintf("%s %d", sa.name, k.N.BitLen())
	case *ecdsa.PublicKey:
		if sa.kind != sigECDSA {
			return
		}
		s.Algorithm = sa.name + " " + k.Curve.Params().Name
	}
}

// pssOptions parses RSASSA-PSS-params (RFC 4055, 3.1). It accepts only
// parameters used in practice: the same digest throughout, MGF1, and any salt
// length.
func pssOptions(params []byte, key algorithm, want crypto.Hash) (*rsa.PSSOptions, string) {
	h, salt, ok := pssParams(params)
	if !ok {
		return nil, "unreadable or unusual RSA-PSS parameters"
	}
	if h != want {
		return nil, "RSA-PSS with a digest different from the signer's"
	}
	if key.id == keyPSS && key.paramsOrNone() != nil {
		kh, ksalt, ok := pssParams(key.params)
		if !ok || kh != h || salt < ksalt {
			return nil, "the key does not allow these RSA-PSS parameters"
		}
	}
	if salt == 0 {
		// crypto/rsa treats 0 as any length.
		return nil, "RSA-PSS without salt"
	}
	return &rsa.PSSOptions{SaltLength: salt}, ""
}

func pssParams(params []byte) (h crypto.Hash, salt int, ok bool) {
	h, salt = crypto.SHA1, 20
	mgf := crypto.SHA1
	in := cryptobyte.String(params)
	var seq, s cryptobyte.String
	var has bool
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() {
		return h, salt, false
	}
	if !seq.ReadOptionalASN1(&s, &has, ctx(0)) {
		return h, salt, false
	}
	if has {
		a, err := readAlgorithm(&s)
		if h = digests[a.id].hash; err != nil || h == 0 {
			return h, salt, false
		}
	}
	if !seq.ReadOptionalASN1(&s, &has, ctx(1)) {
		return h, salt, false
	}
	if has {
		a, err := readAlgorithm(&s)
		if err != nil || a.id != oidMGF1 {
			return h, salt, false
		}
		m, err := parseAlgorithm(a.params)
		if mgf = digests[m.id].hash; err != nil || mgf == 0 {
			return h, salt, false
		}
	}
	trailer := 1
	if !seq.ReadOptionalASN1Integer(&salt, ctx(2), 20) || !seq.ReadOptionalASN1Integer(&trailer, ctx(3), 1) || !seq.Empty() {
		return h, salt, false
	}
	return h, salt, mgf == h && trailer == 1 && salt >= 0 && salt <= MaxRSA/8
}

// Fits reports whether all signers signed content, judging by its digest. It
// does not change earlier verdicts. Signers without signed attributes never
// match: their digest is unknown, and verifying the signature repeatedly would
// be too expensive.
func (sd *Signed) Fits(content io.Reader, more ...*Certificate) bool {
	try := *sd
	try.sums, try.content, try.Signers, try.inner = nil, head{}, nil, true
	for _, s := range sd.Signers {
		if s.rawAttrs == nil {
			return false
		}
		c := *s
		c.DigestMatches = false
		try.Signers = append(try.Signers, &c)
	}
	if _, err := try.Verify(content, more...); err != nil || !sd.Detached {
		return false
	}
	for _, s := range try.Signers {
		if !s.DigestMatches {
			return false
		}
	}
	return len(try.Signers) > 0
}
