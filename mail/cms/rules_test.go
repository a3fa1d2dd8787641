package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/internal/memory"
)

// TestAttributeRules checks the rules for attributes in RFC 5652, 5.3 and 11,
// RFC 5035 and RFC 6211. All attributes are correctly signed, so only the rule
// under test can reject them.
func TestAttributeRules(t *testing.T) {
	ann := newIdentity(t, "Ann", newECDSA(t, elliptic.P256()), nil)
	eve := newIdentity(t, "Eve", ann.key.(*ecdsa.PrivateKey), nil) // another certificate for the same key
	when := utc(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	ct := attr(attrContentType, ident(oidData))
	md := func(d *draft) []byte { return attr(attrMessageDigest, octet(d.sum())) }
	sum256 := func(c *identity) []byte { s := sha256.Sum256(c.cert.Raw); return s[:] }
	sum1 := func(c *identity) []byte { s := sha1.Sum(c.cert.Raw); return s[:] }
	v2 := func(fields ...[]byte) []byte {
		return attr(attrSigningCertV2, sequence(sequence(sequence(fields...))))
	}
	protected := func(digest, sig []byte) []byte {
		return attr(attrAlgorithmProtec, sequence(digest, element(ctx(1), sig)))
	}
	ecdsaOID := ident(mkoid(idECDSA256))
	for _, c := range []struct {
		name string
		edit func(*draft)
		want string
	}{
		{"the two that must be there", func(*draft) {}, "good"},
		{"no content-type", func(d *draft) { d.attrs = [][]byte{md(d)} }, "bad: no content-type attribute"},
		{"no message-digest", func(d *draft) { d.attrs = [][]byte{ct} }, "bad: no message-digest attribute"},
		{"an empty set", func(d *draft) { d.attrs = nil }, "bad: no content-type attribute"},
		{"content-type twice", func(d *draft) { d.attrs = [][]byte{ct, ct, md(d)} }, "bad: not exactly one value of content-type"},
		{"content-type with two values", func(d *draft) { d.attrs = [][]byte{attr(attrContentType, ident(oidData), ident(oidData)), md(d)} }, "bad: not exactly one value of content-type"},
		{"content-type without value", func(d *draft) { d.attrs = [][]byte{attr(attrContentType), md(d)} }, "bad: not exactly one value of content-type"},
		{"content-type of another kind", func(d *draft) { d.attrs = [][]byte{attr(attrContentType, octet([]byte("x"))), md(d)} }, "bad: the content-type attribute names another type"},
		{"another content-type", func(d *draft) { d.attrs = [][]byte{attr(attrContentType, ident(oidSigned)), md(d)} }, "bad: the content-type attribute names another type"},
		{"content of that other type", func(d *draft) {
			d.contentType = oidSigned
			d.attrs = [][]byte{attr(attrContentType, ident(oidSigned)), md(d)}
		}, "good"},
		{"message-digest twice", func(d *draft) { d.attrs = [][]byte{ct, md(d), md(d)} }, "bad: not exactly one value of message-digest"},
		{"message-digest with two values", func(d *draft) {
			d.attrs = [][]byte{ct, attr(attrMessageDigest, octet(d.sum()), octet([]byte("x")))}
		}, "bad: not exactly one value of message-digest"},
		{"message-digest of another kind", func(d *draft) { d.attrs = [][]byte{ct, attr(attrMessageDigest, number(1))} }, "bad: the content is not what was signed"},
		{"another digest", func(d *draft) { d.attrs = [][]byte{ct, attr(attrMessageDigest, octet(make([]byte, 32)))} }, "bad: the content is not what was signed"},
		{"a digest cut off", func(d *draft) { d.attrs = [][]byte{ct, attr(attrMessageDigest, octet(d.sum()[:16]))} }, "bad: the content is not what was signed"},
		{"an empty digest", func(d *draft) { d.attrs = [][]byte{ct, attr(attrMessageDigest, octet(nil))} }, "bad: the content is not what was signed"},

		{"signing-time", func(d *draft) { d.attrs = append(d.attrs, attr(attrSigningTime, when)) }, "good"},
		{"signing-time after 2050", func(d *draft) {
			d.attrs = append(d.attrs, attr(attrSigningTime, generalized(time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC))))
		}, "good"},
		{"signing-time twice", func(d *draft) { d.attrs = append(d.attrs, attr(attrSigningTime, when), attr(attrSigningTime, when)) }, "bad: not exactly one value of signing-time"},
		{"signing-time with two values", func(d *draft) { d.attrs = append(d.attrs, attr(attrSigningTime, when, when)) }, "bad: not exactly one value of signing-time"},
		{"signing-time that is no time", func(d *draft) { d.attrs = append(d.attrs, attr(attrSigningTime, octet([]byte("now")))) }, "bad: an unreadable signing-time attribute"},
		{"signing-time unsigned", func(d *draft) { d.unsigned = [][]byte{attr(attrSigningTime, when)} }, "bad: a signing-time attribute is unsigned"},
		{"content-type unsigned", func(d *draft) { d.unsigned = [][]byte{ct} }, "bad: a content-type attribute is unsigned"},
		{"message-digest unsigned", func(d *draft) { d.unsigned = [][]byte{md(d)} }, "bad: a message-digest attribute is unsigned"},
		{"algorithm protection unsigned", func(d *draft) { d.unsigned = [][]byte{protected(d.digest, ecdsaOID)} }, "bad: a " + attrAlgorithmProtec.String() + " attribute is unsigned"},

		{"countersignature signed", func(d *draft) { d.attrs = append(d.attrs, attr(attrCounterSign, sequence())) }, "bad: a countersignature among the signed attributes"},
		{"countersignature without value", func(d *draft) { d.unsigned = [][]byte{attr(attrCounterSign)} }, "bad: an empty countersignature"},
		{"countersignature", func(d *draft) { d.unsigned = [][]byte{attr(attrCounterSign, sequence())} }, "good"},
		{"unknown attributes", func(d *draft) {
			d.attrs = append(d.attrs, attr(mkoid("1.2.3.4"), number(1)))
			d.unsigned = [][]byte{attr(mkoid("1.2.3.5"), number(2))}
		}, "good"},

		{"signing-certificate", func(d *draft) {
			d.attrs = append(d.attrs, attr(attrSigningCert, sequence(sequence(sequence(octet(sum1(ann)))))))
		}, "good"},
		{"signing-certificate of another", func(d *draft) {
			d.attrs = append(d.attrs, attr(attrSigningCert, sequence(sequence(sequence(octet(sum1(eve)))))))
		}, "bad: the signing-certificate attribute names another certificate"},
		{"signing-certificate v2 by default SHA-256", func(d *draft) { d.attrs = append(d.attrs, v2(octet(sum256(ann)))) }, "good"},
		{"signing-certificate v2 with its digest named", func(d *draft) { d.attrs = append(d.attrs, v2(algID(idSHA1), octet(sum1(ann)))) }, "good"},
		{"signing-certificate v2 of another", func(d *draft) { d.attrs = append(d.attrs, v2(octet(sum256(eve)))) }, "bad: the signing-certificate attribute names another certificate"},
		{"signing-certificate v2 by the wrong digest", func(d *draft) { d.attrs = append(d.attrs, v2(octet(sum1(ann)))) }, "bad: the signing-certificate attribute names another certificate"},
		{"signing-certificate v2, empty", func(d *draft) { d.attrs = append(d.attrs, attr(attrSigningCertV2, sequence(sequence()))) }, "bad: the signing-certificate attribute names another certificate"},
		{"signing-certificate v2 twice", func(d *draft) { d.attrs = append(d.attrs, v2(octet(sum256(ann))), v2(octet(sum256(ann)))) }, "bad: not exactly one value of " + attrSigningCertV2.String()},

		{"algorithm protection", func(d *draft) { d.attrs = append(d.attrs, protected(d.digest, ecdsaOID)) }, "good"},
		{"algorithm protection, NULL for absent", func(d *draft) {
			d.attrs = append(d.attrs, protected(algID(idSHA256, []byte{5, 0}), ecdsaOID))
		}, "good"},
		{"algorithm protection of another digest", func(d *draft) { d.attrs = append(d.attrs, protected(algID(idSHA1), ecdsaOID)) }, "bad: the algorithms are not those that were signed"},
		{"algorithm protection of another signature", func(d *draft) { d.attrs = append(d.attrs, protected(d.digest, ident(mkoid(idPSS)))) }, "bad: the algorithms are not those that were signed"},
		{"algorithm protection for a MAC", func(d *draft) {
			d.attrs = append(d.attrs, attr(attrAlgorithmProtec, sequence(d.digest, element(ctx(2), ecdsaOID))))
		}, "bad: an unreadable algorithm-protection attribute"},
		{"algorithm protection, empty", func(d *draft) { d.attrs = append(d.attrs, attr(attrAlgorithmProtec, sequence())) }, "bad: an unreadable algorithm-protection attribute"},

		{"no attributes", func(d *draft) { d.bare = true }, "good"},
		{"no attributes, content of another type", func(d *draft) { d.bare, d.contentType = true, oidSigned }, "bad: content of type signed-data without signed attributes"},
		{"no attributes, content that is attributes", func(d *draft) { d.content, d.bare = setOf(d.attrs...), true }, "bad: forgery: the content is the signed attributes of another message"},
		{"no attributes, long content that begins like attributes", func(d *draft) {
			d.content, d.bare = setOf(ct, attr(mkoid("1.2.3.4"), octet(make([]byte, 2*headSize)))), true
		}, "bad: forgery: the content is the signed attributes of another message"},
		{"no attributes, content that begins like a set", func(d *draft) { d.content, d.bare = []byte("1\x02no attribute"), true }, "good"},
		{"attributes over content that is attributes", func(d *draft) {
			d.content = setOf(ct)
			d.attrs = [][]byte{ct, md(d)}
		}, "good"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDraft(ann)
			c.edit(d)
			if got := judged(t, d.der(t), nil); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestAttributeSyntax checks that attributes that cannot be parsed cause an
// error, because another parser might interpret the signed octets differently.
func TestAttributeSyntax(t *testing.T) {
	ann := newIdentity(t, "Ann", newECDSA(t, elliptic.P256()), nil)
	many := slices.Repeat([][]byte{attr(mkoid("1.2.3.4"), number(1))}, maxAttributes+1)
	for _, c := range []struct {
		name string
		attr []byte
	}{
		{"no SEQUENCE", number(1)},
		{"no type", sequence(setOf(number(1)))},
		{"no SET", sequence(ident(attrContentType), ident(oidData))},
		{"more after the SET", sequence(ident(attrContentType), setOf(ident(oidData)), number(1))},
		{"a value that is cut off", sequence(ident(attrContentType), setOf([]byte{4, 5, 1}))},
		{"too many", bytes.Join(many, nil)},
	} {
		d := newDraft(ann)
		d.attrs = append(d.attrs, c.attr)
		if got := judged(t, d.der(t), nil); !strings.HasPrefix(got, "error: ") {
			t.Errorf("signed, %s: %s", c.name, got)
		}
		d = newDraft(ann)
		d.unsigned = [][]byte{c.attr}
		if got := judged(t, d.der(t), nil); !strings.HasPrefix(got, "error: ") {
			t.Errorf("unsigned, %s: %s", c.name, got)
		}
	}
	d := newDraft(ann)
	d.unsigned = many[:maxAttributes]
	if got := judged(t, d.der(t), nil); got != "good" {
		t.Errorf("as many as are allowed: %s", got)
	}
}

// TestSignerFields checks the information returned about a signer.
func TestSignerFields(t *testing.T) {
	ann := newIdentity(t, "Ann", newECDSA(t, elliptic.P384()), nil)
	d := newDraft(ann)
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	d.attrs = append(d.attrs, attr(attrSigningTime, utc(at)))
	d.unsigned = [][]byte{attr(attrCounterSign, sequence())}
	obj, err := Read(bytes.NewReader(d.der(t)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := obj.Signed.Verify(nil); v != Good || err != nil {
		t.Fatal(v, err)
	}
	s := obj.Signed.Signers[0]
	if s.ID() != "CN=Ann, serial 01" || !s.SigningTime.Equal(at) || s.Digest != "SHA-256" || s.Algorithm != "ECDSA P-384" || !s.DigestMatches {
		t.Errorf("%q %v %q %q %v", s.ID(), s.SigningTime, s.Digest, s.Algorithm, s.DigestMatches)
	}
	if got := strings.Join(s.Attributes, " "); got != "content-type message-digest signing-time" {
		t.Errorf("signed attributes %q", got)
	}
	if got := strings.Join(s.Unsigned, " "); got != attrCounterSign.String() {
		t.Errorf("unsigned attributes %q", got)
	}
	if s.Cert == nil || s.Cert.Subject() != "CN=Ann" || s.Cert.Issuer() != "CN=Ann" || s.Cert.Serial() != "01" {
		t.Errorf("certificate %+v", s.Cert)
	}
}

// TestAlgorithms checks the verdict for each algorithm and key. Every signature
// is valid unless the case states otherwise.
func TestAlgorithms(t *testing.T) {
	p256 := newIdentity(t, "P-256", newECDSA(t, elliptic.P256()), nil)
	p224 := newIdentity(t, "P-224", newECDSA(t, elliptic.P224()), nil)
	big2048 := newIdentity(t, "RSA", rsaKey(), nil)
	ed := newIdentity(t, "Ed25519", edKey(), nil)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	short1024 := newIdentity(t, "RSA 1024", short, nil)
	flip := func(sig []byte) []byte { sig[len(sig)-1] ^= 1; return sig }
	pss := func(hash string, salt int64, more ...[]byte) []byte {
		fields := [][]byte{element(ctx(0), algID(hash)), element(ctx(1), algID("1.2.840.113549.1.1.8", algID(hash))), element(ctx(2), number(salt))}
		return algID(idPSS, sequence(append(fields, more...)...))
	}
	usePSS := func(salt int, alg []byte) func(*draft) {
		return func(d *draft) {
			d.sigAlg, d.opts = alg, &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256}
		}
	}
	with := func(sig string) func(*draft) { return func(d *draft) { d.sigAlg = algID(sig) } }
	digest := func(id string, h crypto.Hash, sig string) func(*draft) {
		return func(d *draft) {
			d.digest, d.hash, d.sigAlg = algID(id), h, algID(sig)
			d.attrs[1] = attr(attrMessageDigest, octet(d.sum()))
		}
	}
	const idRSA = "1.2.840.113549.1.1.1"
	for _, c := range []struct {
		name   string
		signer *identity
		edit   func(*draft)
		want   string
	}{
		{"ECDSA with SHA-256", p256, with(idECDSA256), "good"},
		{"ECDSA by the key's identifier", p256, with("1.2.840.10045.2.1"), "good"},
		{"ECDSA with SHA-512", p256, digest(idSHA512, crypto.SHA512, "1.2.840.10045.4.3.4"), "good"},
		{"ECDSA with SHA-1", p256, digest(idSHA1, crypto.SHA1, "1.2.840.10045.4.1"), "weak: SHA-1 can be forged"},
		{"ECDSA on a short curve", p224, with(idECDSA256), "weak: the curve P-224 is too short"},
		{"ECDSA, changed", p256, func(d *draft) { d.spoil = flip }, "bad: the signature is invalid"},
		{"ECDSA over another digest than the signer's", p256, with("1.2.840.10045.4.3.3"), "bad: digest SHA-256, but the signature is over SHA-384"},
		{"RSA", big2048, with(idRSA), "good"},
		{"RSA with SHA-256", big2048, with("1.2.840.113549.1.1.11"), "good"},
		{"RSA over another digest than the signer's", big2048, with("1.2.840.113549.1.1.13"), "bad: digest SHA-256, but the signature is over SHA-512"},
		{"RSA, changed", big2048, func(d *draft) { d.sigAlg, d.spoil = algID(idRSA), flip }, "bad: the signature is invalid"},
		{"RSA, cut off", big2048, func(d *draft) { d.sigAlg, d.spoil = algID(idRSA), func(b []byte) []byte { return b[:255] } }, "bad: the signature is invalid"},
		{"RSA, empty", big2048, func(d *draft) { d.sigAlg, d.spoil = algID(idRSA), func([]byte) []byte { return nil } }, "bad: the signature is invalid"},
		{"RSA with a short key", short1024, with(idRSA), "weak: an RSA key of 1024 bits is too short"},
		{"RSA with a short key and SHA-1", short1024, digest(idSHA1, crypto.SHA1, idRSA), "weak: an RSA key of 1024 bits is too short"},
		{"RSA-PSS", big2048, usePSS(32, pss(idSHA256, 32)), "good"},
		{"RSA-PSS with another salt length", big2048, usePSS(20, pss(idSHA256, 20)), "good"},
		{"RSA-PSS, the salt length is wrong", big2048, usePSS(20, pss(idSHA256, 32)), "bad: the signature is invalid"},
		{"RSA-PSS without salt", big2048, usePSS(32, pss(idSHA256, 0)), "unsupported: RSA-PSS without salt"},
		{"RSA-PSS with negative salt", big2048, usePSS(32, pss(idSHA256, -1)), "unsupported: unreadable or unusual RSA-PSS parameters"},
		{"RSA-PSS with endless salt", big2048, usePSS(32, pss(idSHA256, 1<<30)), "unsupported: unreadable or unusual RSA-PSS parameters"},
		{"RSA-PSS with the trailer named", big2048, usePSS(32, pss(idSHA256, 32, element(ctx(3), number(1)))), "good"},
		{"RSA-PSS with another trailer", big2048, usePSS(32, pss(idSHA256, 32, element(ctx(3), number(2)))), "unsupported: unreadable or unusual RSA-PSS parameters"},
		{"RSA-PSS with more parameters", big2048, usePSS(32, pss(idSHA256, 32, number(1))), "unsupported: unreadable or unusual RSA-PSS parameters"},
		{"RSA-PSS with another digest", big2048, usePSS(32, pss(idSHA384, 32)), "unsupported: RSA-PSS with a digest different from the signer's"},
		{"RSA-PSS with another mask digest", big2048, usePSS(32, algID(idPSS, sequence(element(ctx(0), algID(idSHA256)),
			element(ctx(1), algID("1.2.840.113549.1.1.8", algID(idSHA1))), element(ctx(2), number(32))))), "unsupported: unreadable or unusual RSA-PSS parameters"},
		{"RSA-PSS with another mask function", big2048, usePSS(32, algID(idPSS, sequence(element(ctx(0), algID(idSHA256)),
			element(ctx(1), algID("1.2.3.4", algID(idSHA256))), element(ctx(2), number(32))))), "unsupported: unreadable or unusual RSA-PSS parameters"},
		{"RSA-PSS without parameters", big2048, usePSS(32, algID(idPSS)), "unsupported: unreadable or unusual RSA-PSS parameters"},
		{"RSA-PSS with default parameters, SHA-1", big2048, usePSS(32, algID(idPSS, sequence())), "unsupported: RSA-PSS with a digest different from the signer's"},
		{"Ed25519", ed, func(d *draft) { d.sigAlg, d.opts = algID("1.3.101.112"), crypto.Hash(0) }, "good"},
		{"Ed25519, changed", ed, func(d *draft) { d.sigAlg, d.opts, d.spoil = algID("1.3.101.112"), crypto.Hash(0), flip }, "bad: the signature is invalid"},
		{"Ed25519 without attributes", ed, func(d *draft) { d.sigAlg, d.opts, d.bare = algID("1.3.101.112"), crypto.Hash(0), true }, "good"},
		{"Ed25519 without attributes, long", ed, func(d *draft) {
			d.content = bytes.Repeat([]byte("x"), headSize+1)
			d.sigAlg, d.opts, d.bare = algID("1.3.101.112"), crypto.Hash(0), true
		}, "unsupported: Ed25519 without signed attributes over more than 16384 octets"},
		{"an RSA signature by an ECDSA key", p256, with(idRSA), "bad: an RSA signature by a key of another kind (" + keyEC.String() + ")"},
		{"an ECDSA signature by an RSA key", big2048, with(idECDSA256), "bad: an ECDSA signature by a key of another kind (RSA)"},
		{"an ECDSA signature by an Ed25519 key", ed, func(d *draft) { d.opts = crypto.Hash(0) }, "bad: an ECDSA signature by a key of another kind (Ed25519)"},
		{"DSA", p256, with("2.16.840.1.101.3.4.3.2"), "unsupported: signature algorithm DSA is not supported"},
		{"Ed448", p256, with("1.3.101.113"), "unsupported: signature algorithm Ed448 is not supported"},
		{"ML-DSA", p256, with("2.16.840.1.101.3.4.3.18"), "unsupported: signature algorithm ML-DSA-65 is not supported"},
		{"an unknown signature", p256, with("1.2.3.4"), "unsupported: signature algorithm 1.2.3.4 is not supported"},
		{"an unknown digest", p256, func(d *draft) { d.digest = algID("1.2.3.4") }, "unsupported: digest algorithm 1.2.3.4 is not supported"},
		{"MD4", p256, func(d *draft) { d.digest = algID("1.2.840.113549.2.4") }, "unsupported: digest algorithm MD4 is not supported"},
		{"a digest that is not announced", p256, func(d *draft) { d.announced = [][]byte{algID(idSHA512)} }, "bad: the digest algorithm SHA-256 is not announced"},
		{"a digest announced among others", p256, func(d *draft) { d.announced = [][]byte{algID("1.2.3.4"), algID(idSHA512), algID(idSHA256)} }, "good"},
		{"a digest announced twice", p256, func(d *draft) { d.announced = [][]byte{algID(idSHA256), algID(idSHA256)} }, "good"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDraft(c.signer)
			c.edit(d)
			if got := judged(t, d.der(t), nil); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestSignerSelection checks which certificate is selected for a signer (RFC
// 5652, 5.3).
func TestSignerSelection(t *testing.T) {
	key := newECDSA(t, elliptic.P256())
	ann := newIdentity(t, "Ann", key, nil)
	eve := newIdentity(t, "Eve", newECDSA(t, elliptic.P256()), nil)
	second := newIdentity(t, "Ann", newECDSA(t, elliptic.P256()), func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) })
	noID := newIdentity(t, "No identifier", key, nil)
	noID = withoutKeyID(t, noID)
	name := func(cn string) []byte {
		return sequence(setOf(sequence(ident(mkoid("2.5.4.3")), marshal(asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(cn)}))))
	}
	keyID := func(id []byte) []byte { return element(0x80, id) }
	_, point, err := splitSPKI(noID.cert.RawSubjectPublicKeyInfo)
	if err != nil {
		t.Fatal(err)
	}
	keySum := sha1.Sum(point)
	missing := "unknown: the signer's certificate is missing ("
	for _, c := range []struct {
		name  string
		sid   []byte
		certs []*identity
		more  []*identity
		want  string
	}{
		{"issuer and serial number", nil, []*identity{ann}, nil, "good"},
		{"among others", nil, []*identity{eve, second, ann}, nil, "good"},
		{"not in the message", nil, []*identity{eve}, []*identity{ann}, "good"},
		{"nowhere", nil, []*identity{eve}, nil, missing + "CN=Ann, serial 01)"},
		{"no certificates at all", nil, nil, nil, missing + "CN=Ann, serial 01)"},
		{"another serial number", sequence(ann.cert.RawIssuer, number(3)), []*identity{ann}, nil, missing + "CN=Ann, serial 03)"},
		{"a negative serial number", sequence(ann.cert.RawIssuer, number(-1)), []*identity{ann}, nil, missing + "CN=Ann, serial ff)"},
		{"another issuer", sequence(eve.cert.RawIssuer, number(1)), []*identity{ann}, nil, missing + "CN=Eve, serial 01)"},
		{"the issuer as another string type", sequence(name("Ann"), number(1)), []*identity{ann}, nil, "good"},
		{"the issuer in capitals", sequence(name("ANN"), number(1)), []*identity{ann}, nil, "good"},
		{"the issuer with more spaces", sequence(name("  Ann "), number(1)), []*identity{ann}, nil, "good"},
		{"the issuer with another name", sequence(name("Anna"), number(1)), []*identity{ann}, nil, missing + "CN=Anna, serial 01)"},
		{"an issuer that is not a name", sequence(sequence(number(1)), number(1)), []*identity{ann}, nil, missing + "(unreadable name), serial 01)"},
		{"key identifier", keyID([]byte("key of Ann")), []*identity{eve, ann}, nil, "good"},
		{"key identifier of another", keyID([]byte("key of Eve")), []*identity{ann}, nil, missing + "key 6b6579206f6620457665)"},
		{"key identifier of another who is there", keyID([]byte("key of Eve")), []*identity{ann, eve}, nil, "bad: the signature is invalid"},
		{"an empty key identifier", keyID(nil), []*identity{ann}, nil, missing + "key )"},
		{"the key's hash, no identifier in the certificate", keyID(keySum[:]), []*identity{noID}, nil, "good"},
		{"the key's hash, another identifier in the certificate", keyID(keySum[:]), []*identity{ann}, nil, missing + "key " + hexOf(keySum[:]) + ")"},
		{"key identifier, explicitly tagged", element(ctx(0), octet([]byte("key of Ann"))), []*identity{ann}, nil, "good"},
		{"no identifier", number(1), []*identity{ann}, nil, "error: read CMS: CMS octet"},
		{"an identifier without serial number", sequence(ann.cert.RawIssuer), []*identity{ann}, nil, "error: read CMS: CMS octet"},
		{"an identifier without issuer", sequence(number(1)), []*identity{ann}, nil, "error: read CMS: CMS octet"},
		{"an explicit tag around something else", element(ctx(0), number(1)), []*identity{ann}, nil, "error: read CMS: CMS octet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDraft(ann)
			d.sid, d.certs = c.sid, nil
			for _, id := range c.certs {
				d.certs = append(d.certs, id.cert.Raw)
			}
			var more []*Certificate
			for _, id := range c.more {
				more = append(more, mustCert(t, id))
			}
			got := judged(t, d.der(t), nil, more...)
			if got != c.want && !(strings.HasPrefix(c.want, "error") && strings.HasPrefix(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func hexOf(b []byte) string { return identifier{keyID: b}.String()[len("key "):] }

// withoutKeyID returns the identity with its subject key identifier removed
// from the certificate.
func withoutKeyID(t *testing.T, id *identity) *identity {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(9), Subject: id.cert.Subject, NotBefore: id.cert.NotBefore, NotAfter: id.cert.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, c, c, id.key.Public(), id.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil || len(cert.SubjectKeyId) > 0 {
		t.Fatal(err, cert.SubjectKeyId)
	}
	return &identity{id.key, cert}
}

// TestWorstSigner checks that the worst signer determines the verdict,
// regardless of order.
func TestWorstSigner(t *testing.T) {
	ann := newIdentity(t, "Ann", newECDSA(t, elliptic.P256()), nil)
	weak := newIdentity(t, "Weak", newECDSA(t, elliptic.P224()), nil)
	unknown := newIdentity(t, "Unknown", newECDSA(t, elliptic.P256()), nil)
	draftOf := map[string]func() *draft{
		"good":    func() *draft { return newDraft(ann) },
		"weak":    func() *draft { return newDraft(weak) },
		"unknown": func() *draft { return newDraft(unknown) },
		"unsupported": func() *draft {
			d := newDraft(ann)
			d.sigAlg = algID("1.2.3.4")
			return d
		},
		"bad": func() *draft {
			d := newDraft(ann)
			d.spoil = func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
			return d
		},
	}
	order := []string{"good", "weak", "unknown", "unsupported", "bad"}
	for i, a := range order {
		for j, b := range order {
			first, second := draftOf[a](), draftOf[b]()
			first.certs = [][]byte{ann.cert.Raw, weak.cert.Raw}
			obj, err := Read(bytes.NewReader(first.der(t, second)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			v, err := obj.Signed.Verify(nil)
			if err != nil || v.String() != order[max(i, j)] {
				t.Errorf("%s and %s: %s, %v", a, b, v, err)
			}
			if s := obj.Signed.Signers; s[0].Verdict.String() != a || s[1].Verdict.String() != b {
				t.Errorf("%s and %s: judged %s and %s", a, b, s[0].Verdict, s[1].Verdict)
			}
		}
	}
	if v, err := (&Signed{}).Verify(nil); v != Unknown || err != nil {
		t.Errorf("nobody: %s, %v", v, err)
	}
}

// TestSignedLimits checks that the maximum number of each part of signed-data
// is accepted, and that one more is an error.
func TestSignedLimits(t *testing.T) {
	ann := newIdentity(t, "Ann", newECDSA(t, elliptic.P256()), nil)
	certs := func(n int) func(*draft) {
		return func(d *draft) { d.certs = slices.Repeat([][]byte{ann.cert.Raw}, n) }
	}
	crls := func(n int, one []byte) func(*draft) {
		return func(d *draft) { d.crls = slices.Repeat([][]byte{one}, n) }
	}
	for _, c := range []struct {
		name string
		edit func(*draft)
		want string // substring of the error
	}{
		{"digests", func(d *draft) { d.announced = slices.Repeat([][]byte{algID(idSHA256)}, maxDigests) }, ""},
		{"too many digests", func(d *draft) { d.announced = slices.Repeat([][]byte{algID(idSHA256)}, maxDigests+1) }, "more than 8 digest algorithms"},
		{"a digest that is no algorithm", func(d *draft) { d.announced = [][]byte{number(1)} }, "digest algorithm: bad algorithm identifier"},
		{"certificates", certs(maxCerts), ""},
		{"too many certificates", certs(maxCerts + 1), "more than 128 certificates"},
		{"a large certificate", func(d *draft) { d.certs = append(d.certs, sequence(octet(make([]byte, maxCertsSize/4)))) }, "octets where 262144 are allowed"},
		{"a certificate that is not one", func(d *draft) { d.certs = append(d.certs, sequence(number(1))) }, ""},
		{"an attribute certificate", func(d *draft) { d.certs = append(d.certs, element(ctx(2), number(1))) }, ""},
		{"revocation lists", crls(maxCRLs, sequence(number(1))), ""},
		{"too many revocation lists", crls(maxCRLs+1, sequence(number(1))), "more than 64 revocation lists"},
		{"a revocation format of another kind", crls(1, element(ctx(1), ident(mkoid("1.2.3.4")), number(1))), ""},
	} {
		d := newDraft(ann)
		c.edit(d)
		got := judged(t, d.der(t), nil)
		if c.want == "" && got != "good" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	d := newDraft(ann)
	more := slices.Repeat([]*draft{newDraft(ann)}, maxSigners-1)
	if got := judged(t, d.der(t, more...), nil); got != "good" {
		t.Errorf("%d signers: %s", maxSigners, got)
	}
	if got := judged(t, d.der(t, append(more, d)...), nil); !strings.Contains(got, "more than 32 signers") {
		t.Errorf("%d signers: %s", maxSigners+1, got)
	}
}

// TestRevocationData checks that revocation data is classified by its form (RFC
// 5652, 10.2.1, and RFC 5940).
func TestRevocationData(t *testing.T) {
	d := newDraft(newIdentity(t, "Ann", newECDSA(t, elliptic.P256()), nil))
	answer := sequence(number(7))
	d.crls = [][]byte{sequence(number(1)), element(ctx(1), ident(oidOCSPRevInfo), answer), element(ctx(1), ident(mkoid("1.2.3.4")), answer), element(ctx(1), ident(oidOCSPRevInfo), number(1))}
	d.certs = append(d.certs, sequence(number(1)), element(ctx(2), number(1)))
	obj, err := Read(bytes.NewReader(d.der(t)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := obj.Signed
	if len(s.CRLs) != 1 || !bytes.Equal(s.CRLs[0], sequence(number(1))) || len(s.OCSP) != 1 || !bytes.Equal(s.OCSP[0], answer) {
		t.Errorf("lists %x, answers %x", s.CRLs, s.OCSP)
	}
	if len(s.Certs) != 1 || s.Others != 2 {
		t.Errorf("%d certificates, %d others", len(s.Certs), s.Others)
	}
}

// TestFits checks that Fits recognises the content that was signed, and does
// not change earlier verdicts.
func TestFits(t *testing.T) {
	ann := newIdentity(t, "Ann", newECDSA(t, elliptic.P256()), nil)
	read := func(d *draft) *Signed {
		obj, err := Read(bytes.NewReader(d.der(t)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return obj.Signed
	}
	d := newDraft(ann)
	d.detached = true
	s := read(d)
	if v, err := s.Verify(strings.NewReader("Bye\r\n")); v != Bad || err != nil {
		t.Fatal(v, err)
	}
	if !s.Fits(strings.NewReader("Hi\r\n")) || s.Fits(strings.NewReader("Hi\n")) || s.Fits(strings.NewReader("")) {
		t.Error("the wrong content fits, or the right one does not")
	}
	if s.Signers[0].Verdict != Bad || s.Signers[0].DigestMatches {
		t.Errorf("the earlier verdict changed: %+v", s.Signers[0])
	}
	if v, err := s.Verify(strings.NewReader("Hi\r\n")); v != Good || err != nil {
		t.Errorf("verified again: %s, %v", v, err)
	}
	bare := newDraft(ann)
	bare.detached, bare.bare = true, true
	if read(bare).Fits(strings.NewReader("Hi\r\n")) {
		t.Error("without signed attributes the digest is not known")
	}
	if read(newDraft(ann)).Fits(strings.NewReader("Hi\r\n")) {
		t.Error("the content is inside")
	}
	broken := errors.New("broken")
	if _, err := s.Verify(&failing{err: broken}); !errors.Is(err, broken) {
		t.Errorf("the reader's error: %v", err)
	}
	if s.Fits(&failing{err: broken}) {
		t.Error("unreadable content fits")
	}
}

// failing is a reader and writer that always returns an error.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error)  { return 0, f.err }
func (f *failing) Write([]byte) (int, error) { return 0, f.err }

// TestMemory checks that memory for the parts of an object that are kept is
// reserved from the share.
func TestMemory(t *testing.T) {
	b, err := os.ReadFile("testdata/generated/s_rsa_sha256_opq.der")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limit int64
		want  error
	}{{100, memory.ErrFull}, {1 << 20, nil}} {
		budget := memory.New(c.limit)
		share := budget.Share(0)
		if _, err := Read(bytes.NewReader(b), Options{Memory: share}); !errors.Is(err, c.want) {
			t.Errorf("%d octets: %v, want %v", c.limit, err, c.want)
		}
		if c.want == nil && budget.Used() == 0 {
			t.Error("nothing was taken")
		}
	}
}
