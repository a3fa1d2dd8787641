package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// identity is a key with a self-signed certificate.
type identity struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newIdentity(t testing.TB, cn string, key crypto.Signer, edit func(*x509.Certificate)) *identity {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0), SubjectKeyId: []byte("key of " + cn)}
	if edit != nil {
		edit(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{key, cert}
}

func newECDSA(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The keys are generated once, because generating an RSA key takes a while.
var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return key
	})
	edKey = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
)

// Identifiers used by name in tests.
const (
	idSHA1   = "1.3.14.3.2.26"
	idSHA256 = "2.16.840.1.101.3.4.2.1"
	idSHA384 = "2.16.840.1.101.3.4.2.2"
	idSHA512 = "2.16.840.1.101.3.4.2.3"

	idECDSA256 = "1.2.840.10045.4.3.2"
	idPSS      = "1.2.840.113549.1.1.10"
)

func element(tag cbasn1.Tag, content ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(content, nil)) })
	return b.BytesOrPanic()
}

func sequence(content ...[]byte) []byte { return element(cbasn1.SEQUENCE, content...) }
func setOf(content ...[]byte) []byte    { return element(cbasn1.SET, content...) }
func octet(content []byte) []byte       { return element(cbasn1.OCTET_STRING, content) }
func ident(o oid) []byte                { return element(cbasn1.OBJECT_IDENTIFIER, []byte(o)) }
func number(n int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1Int64(n)
	return b.BytesOrPanic()
}

func algID(dotted string, params ...[]byte) []byte {
	return sequence(append([][]byte{ident(mkoid(dotted))}, params...)...)
}

func attr(id oid, values ...[]byte) []byte { return sequence(ident(id), setOf(values...)) }

func utc(t time.Time) []byte {
	var b cryptobyte.Builder
	b.AddASN1UTCTime(t)
	return b.BytesOrPanic()
}

func generalized(t time.Time) []byte {
	var b cryptobyte.Builder
	b.AddASN1GeneralizedTime(t)
	return b.BytesOrPanic()
}

// draft is a SignedData with one signer that has not been signed yet. A test
// modifies the part under test; the rest is correct.
type draft struct {
	signer      *identity
	content     []byte
	contentType oid
	detached    bool
	announced   [][]byte // digest algorithms; nil means the signer's
	certs       [][]byte
	crls        [][]byte // in the SET [1]
	sid         []byte   // nil means issuer and serial number
	digest      []byte   // AlgorithmIdentifier
	hash        crypto.Hash
	sigAlg      []byte
	opts        crypto.SignerOpts // nil means hash
	bare        bool              // no signed attributes
	attrs       [][]byte
	unsigned    [][]byte
	spoil       func(sig []byte) []byte // changes the signature
}

func newDraft(signer *identity) *draft {
	d := &draft{signer: signer, content: []byte("Hi\r\n"), contentType: oidData, digest: algID(idSHA256), hash: crypto.SHA256,
		sigAlg: algID(idECDSA256), certs: [][]byte{signer.cert.Raw}}
	d.attrs = [][]byte{attr(attrContentType, ident(oidData)), attr(attrMessageDigest, octet(d.sum()))}
	return d
}

// sum returns the content's digest.
func (d *draft) sum() []byte {
	h := d.hash.New()
	h.Write(d.content)
	return h.Sum(nil)
}

func (d *draft) signature(t testing.TB, signed []byte) []byte {
	t.Helper()
	opts := d.opts
	if opts == nil {
		opts = d.hash
	}
	if opts.HashFunc() != 0 {
		h := opts.HashFunc().New()
		h.Write(signed)
		signed = h.Sum(nil)
	}
	sig, err := d.signer.key.Sign(rand.Reader, signed, opts)
	if err != nil {
		t.Fatal(err)
	}
	if d.spoil != nil {
		sig = d.spoil(sig)
	}
	return sig
}

func (d *draft) signerInfo(t testing.TB) []byte {
	t.Helper()
	sid := d.sid
	if sid == nil {
		var serial cryptobyte.Builder
		serial.AddASN1BigInt(d.signer.cert.SerialNumber)
		sid = sequence(d.signer.cert.RawIssuer, serial.BytesOrPanic())
	}
	parts := [][]byte{number(1), sid, d.digest}
	signed := d.content
	if !d.bare {
		signed = setOf(d.attrs...)
		parts = append(parts, element(ctx(0), d.attrs...))
	}
	parts = append(parts, d.sigAlg, octet(d.signature(t, signed)))
	if d.unsigned != nil {
		parts = append(parts, element(ctx(1), d.unsigned...))
	}
	return sequence(parts...)
}

// der signs and encodes the object. more lists further signers.
func (d *draft) der(t testing.TB, more ...*draft) []byte {
	t.Helper()
	announced := d.announced
	if announced == nil {
		announced = [][]byte{d.digest}
	}
	content := [][]byte{ident(d.contentType)}
	if !d.detached {
		content = append(content, element(ctx(0), octet(d.content)))
	}
	parts := [][]byte{number(1), setOf(announced...), sequence(content...)}
	if d.certs != nil {
		parts = append(parts, element(ctx(0), d.certs...))
	}
	if d.crls != nil {
		parts = append(parts, element(ctx(1), d.crls...))
	}
	infos := [][]byte{d.signerInfo(t)}
	for _, m := range more {
		infos = append(infos, m.signerInfo(t))
	}
	return info(oidSigned, sequence(append(parts, setOf(infos...))...))
}

// info returns a ContentInfo.
func info(id oid, content []byte) []byte { return sequence(ident(id), element(ctx(0), content)) }

// judged reads and verifies an object, and returns the verdict on its first
// signer and the reason.
func judged(t testing.TB, der []byte, content io.Reader, more ...*Certificate) string {
	t.Helper()
	obj, err := Read(bytes.NewReader(der), Options{})
	if err != nil {
		return "error: " + err.Error()
	}
	if _, err := obj.Signed.Verify(content, more...); err != nil {
		t.Fatal(err)
	}
	s := obj.Signed.Signers[0]
	if s.Reason == "" {
		return s.Verdict.String()
	}
	return s.Verdict.String() + ": " + s.Reason
}

func mustCert(t testing.TB, id *identity) *Certificate {
	t.Helper()
	c, err := ParseCertificate(id.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// marshal is asn1.Marshal for values that can always be encoded.
func marshal(v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
