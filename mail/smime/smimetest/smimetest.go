// Package smimetest creates certificates and S/MIME messages for tests.
package smimetest

import (
	"bytes"
	"compress/zlib"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Now is the time at which tests evaluate certificates.
var Now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// Person has a certificate and its private key.
type Person struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Serials is the number of certificates created so far, and the serial number
// of the last one.
var Serials int64

// Issue creates a certificate with an ECDSA key; see IssueFor.
func Issue(t testing.TB, issuer *Person, cn string, edit func(*x509.Certificate)) *Person {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return IssueFor(t, issuer, cn, key, edit)
}

// NewEd25519 creates a private key.
func NewEd25519(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// IssueFor creates a certificate for a key. If issuer is nil, it is a root
// certificate; otherwise it is the certificate of a signer with the address cn.
// edit may change the template.
func IssueFor(t testing.TB, issuer *Person, cn string, key crypto.Signer, edit func(*x509.Certificate)) *Person {
	t.Helper()
	Serials++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(Serials), Subject: pkix.Name{CommonName: cn},
		NotBefore: Now.AddDate(-1, 0, 0), NotAfter: Now.AddDate(1, 0, 0),
		BasicConstraintsValid: true,
	}
	if issuer == nil {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	} else {
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		c.EmailAddresses = []string{cn}
	}
	if edit != nil {
		edit(c)
	}
	p := &Person{c, key}
	if issuer == nil {
		issuer = p
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer.Cert, key.Public(), issuer.Key)
	if err != nil {
		t.Fatal(err)
	}
	if p.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return p
}

func seq(b *cryptobyte.Builder, f func(*cryptobyte.Builder)) { b.AddASN1(cbasn1.SEQUENCE, f) }

func algorithmID(b *cryptobyte.Builder, id ...int) {
	seq(b, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(id) })
}

// Base64 encodes der in base64 lines.
func Base64(der []byte) string {
	var out bytes.Buffer
	text := base64.StdEncoding.EncodeToString(der)
	for len(text) > 64 {
		out.WriteString(text[:64] + "\r\n")
		text = text[64:]
	}
	return out.String() + text + "\r\n"
}

// Outer is the header of a message from ann@example.org, without Content-Type.
const Outer = "From: Ann <ann@example.org>\r\nTo: bob@example.com\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n"

// Text is a MIME part to sign.
const Text = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe \r\n.\r\nFrom here\r\n-- \r\nAnn\r\n"

// ClearSigned returns a multipart/signed message that contains part and its
// signature.
func ClearSigned(header, part string, sig []byte) string {
	return header + "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=b1\r\n\r\n" +
		"--b1\r\n" + part + "\r\n--b1\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n" + Base64(sig) + "--b1--\r\n"
}

// Opaque returns an application/pkcs7-mime message that contains a CMS object.
func Opaque(header, kind string, der []byte) string {
	return header + fmt.Sprintf("Content-Type: application/pkcs7-mime; smime-type=%s; name=smime.p7m\r\n"+
		"Content-Transfer-Encoding: base64\r\n\r\n", kind) + Base64(der)
}

// Compressed creates a CompressedData with the given content (RFC 3274).
func Compressed(t testing.TB, content string) []byte {
	t.Helper()
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var b cryptobyte.Builder
	seq(&b, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 9})
		b.AddASN1(context(0), func(b *cryptobyte.Builder) {
			seq(b, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				algorithmID(b, 1, 2, 840, 113549, 1, 9, 16, 3, 8)
				seq(b, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(idData)
					b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(z.Bytes()) })
				})
			})
		})
	})
	return b.BytesOrPanic()
}
