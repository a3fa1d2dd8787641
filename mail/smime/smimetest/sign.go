package smimetest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	idData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	idSigned  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	idTSTInfo = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}

	attrContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	attrDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	attrSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	attrCounterSign   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 6}
	attrTimestamp     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
	attrSigningCertV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

var sha256ID = []int{2, 16, 840, 1, 101, 3, 4, 2, 1}

func context(n int) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// Sign creates a SignedData with the content included or, if detached is set,
// without it. signed is the claimed signing time. The certificates of more are
// added.
func (p *Person) Sign(t testing.TB, content []byte, detached bool, signed time.Time, more ...*Person) []byte {
	t.Helper()
	return p.SignWith(t, content, detached, signed, nil, more...)
}

// SignWith is like Sign, with the unsigned attributes that supporting returns
// for the signature value.
func (p *Person) SignWith(t testing.TB, content []byte, detached bool, signed time.Time, supporting func(signature []byte) [][]byte, more ...*Person) []byte {
	t.Helper()
	info := p.signerInfo(t, content, idData, attributes(attribute(attrSigningTime, func(b *cryptobyte.Builder) { b.AddASN1UTCTime(signed) })), supporting)
	if detached {
		content = nil
	}
	return p.signedData(idData, content, info, more...)
}

func attribute(id asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	seq(&b, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		b.AddASN1(cbasn1.SET, value)
	})
	return b.BytesOrPanic()
}

func attributes(list ...[]byte) [][]byte { return list }

// signerInfo creates a SignerInfo. If kind is nil, it is a countersignature,
// which has no content type.
func (p *Person) signerInfo(t testing.TB, content []byte, kind asn1.ObjectIdentifier, more [][]byte, supporting func([]byte) [][]byte) []byte {
	t.Helper()
	sum := sha256.Sum256(content)
	var list []byte
	if kind != nil {
		list = attribute(attrContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(kind) })
	}
	for _, a := range more {
		list = append(list, a...)
	}
	list = append(list, attribute(attrDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(sum[:]) })...)
	algorithm, signature := p.signSet(t, list)
	var b cryptobyte.Builder
	seq(&b, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		seq(b, func(b *cryptobyte.Builder) {
			b.AddBytes(p.Cert.RawIssuer)
			b.AddASN1BigInt(p.Cert.SerialNumber)
		})
		algorithmID(b, sha256ID...)
		b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddBytes(list) })
		algorithmID(b, algorithm...)
		b.AddASN1OctetString(signature)
		if supporting != nil {
			b.AddASN1(context(1), func(b *cryptobyte.Builder) {
				for _, a := range supporting(signature) {
					b.AddBytes(a)
				}
			})
		}
	})
	return b.BytesOrPanic()
}

// signSet signs a set of attributes.
func (p *Person) signSet(t testing.TB, list []byte) (algorithm []int, signature []byte) {
	t.Helper()
	var set cryptobyte.Builder
	set.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(list) })
	message, hash := set.BytesOrPanic(), crypto.Hash(0)
	// RFC 8419 requires SHA-512 for the content, but readers accept the
	// announced digest.
	algorithm = []int{1, 3, 101, 112}
	if _, ok := p.Key.(ed25519.PrivateKey); !ok {
		sum := sha256.Sum256(message)
		message, hash, algorithm = sum[:], crypto.SHA256, []int{1, 2, 840, 10045, 4, 3, 2}
	}
	signature, err := p.Key.Sign(rand.Reader, message, hash)
	if err != nil {
		t.Fatal(err)
	}
	return algorithm, signature
}

// signedData creates a SignedData with one signer. If content is nil, it is
// detached.
func (p *Person) signedData(kind asn1.ObjectIdentifier, content, info []byte, more ...*Person) []byte {
	var b cryptobyte.Builder
	seq(&b, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(idSigned)
		b.AddASN1(context(0), func(b *cryptobyte.Builder) {
			seq(b, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { algorithmID(b, sha256ID...) })
				seq(b, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(kind)
					if content != nil {
						b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
					}
				})
				b.AddASN1(context(0), func(b *cryptobyte.Builder) {
					b.AddBytes(p.Cert.Raw)
					for _, m := range more {
						b.AddBytes(m.Cert.Raw)
					}
				})
				b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(info) })
			})
		})
	})
	return b.BytesOrPanic()
}

// Countersign creates an attribute with a countersignature over a signature
// (RFC 5652, 11.4).
func (p *Person) Countersign(t testing.TB, signature []byte) []byte {
	t.Helper()
	info := p.signerInfo(t, signature, nil, nil, nil)
	return attribute(attrCounterSign, func(b *cryptobyte.Builder) { b.AddBytes(info) })
}

// CountersignWithType creates a countersignature that has a content type, which
// is not allowed.
func (p *Person) CountersignWithType(t testing.TB, signature []byte) []byte {
	t.Helper()
	info := p.signerInfo(t, signature, idData, nil, nil)
	return attribute(attrCounterSign, func(b *cryptobyte.Builder) { b.AddBytes(info) })
}

// Stamp creates an attribute with a time stamp on a signature (RFC 3161).
func (p *Person) Stamp(t testing.TB, signature []byte, at time.Time) []byte {
	t.Helper()
	return StampOf(p.Token(t, signature, at, true))
}

// StampOf creates an attribute that contains a time stamp token.
func StampOf(token []byte) []byte {
	return attribute(attrTimestamp, func(b *cryptobyte.Builder) { b.AddBytes(token) })
}

// Token creates a time stamp token. named adds the required attribute with the
// authority's certificate.
func (p *Person) Token(t testing.TB, signature []byte, at time.Time, named bool) []byte {
	t.Helper()
	sum, cert := sha256.Sum256(signature), sha256.Sum256(p.Cert.Raw)
	var info cryptobyte.Builder
	seq(&info, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1})
		seq(b, func(b *cryptobyte.Builder) {
			algorithmID(b, sha256ID...)
			b.AddASN1OctetString(sum[:])
		})
		b.AddASN1Int64(7)
		b.AddASN1(cbasn1.GeneralizedTime, func(b *cryptobyte.Builder) { b.AddBytes([]byte(at.UTC().Format("20060102150405.5Z"))) })
	})
	var extra [][]byte
	if named {
		extra = attributes(attribute(attrSigningCertV2, func(b *cryptobyte.Builder) {
			seq(b, func(b *cryptobyte.Builder) {
				seq(b, func(b *cryptobyte.Builder) {
					seq(b, func(b *cryptobyte.Builder) { b.AddASN1OctetString(cert[:]) })
				})
			})
		}))
	}
	content := info.BytesOrPanic()
	return p.signedData(idTSTInfo, content, p.signerInfo(t, content, idTSTInfo, extra, nil))
}
