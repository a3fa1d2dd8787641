package cms

import (
	"bytes"
	"crypto"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const maxAttributes = 64

// attribute is an Attribute: a type and a SET of values, which are still
// DER-encoded.
type attribute struct {
	id     oid
	values cryptobyte.String
	n      int
}

func parseAttributes(der []byte, tag cbasn1.Tag) ([]attribute, error) {
	in := cryptobyte.String(der)
	var set, seq, id cryptobyte.String
	if !in.ReadASN1(&set, tag) {
		return nil, errors.New("no set")
	}
	attrs := make([]attribute, 0, 4)
	for !set.Empty() {
		var a attribute
		if len(attrs) == maxAttributes {
			return nil, errors.New("too many")
		}
		if !set.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) ||
			!seq.ReadASN1(&a.values, cbasn1.SET) || !seq.Empty() {
			return nil, errors.New("bad outline")
		}
		a.id = internOID(id)
		for vs := a.values; !vs.Empty(); a.n++ {
			var v cryptobyte.String
			var t cbasn1.Tag
			if !vs.ReadAnyASN1Element(&v, &t) {
				return nil, errors.New("bad value")
			}
		}
		attrs = append(attrs, a)
	}
	return attrs, nil
}

func attributeNames(attrs []attribute) []string {
	if len(attrs) == 0 {
		return nil
	}
	out := make([]string, len(attrs))
	for i, a := range attrs {
		out[i] = a.id.String()
	}
	return out
}

// one returns the attribute with the given type and the number of its
// occurrences.
func one(attrs []attribute, id oid) (a attribute, n int) {
	for _, x := range attrs {
		if x.id == id {
			a, n = x, n+1
		}
	}
	return a, n
}

// signingTime returns the claimed signing time, or the zero time if there is no
// valid one.
func signingTime(attrs []attribute) time.Time {
	a, n := one(attrs, attrSigningTime)
	if n != 1 {
		return time.Time{}
	}
	var t time.Time
	v := a.values
	if v.PeekASN1Tag(cbasn1.UTCTime) && v.ReadASN1UTCTime(&t) {
		return t.UTC()
	}
	if v.ReadASN1GeneralizedTime(&t) {
		return t.UTC()
	}
	return time.Time{}
}

// checkAttributes applies the rules of RFC 5652, 11 on which attributes may
// occur where, and how often. counter is set for a countersignature, whose
// content has no type. It returns a description of the violation, or "".
func (s *Signer) checkAttributes(contentType oid, counter bool) string {
	for _, id := range []oid{attrContentType, attrMessageDigest, attrSigningTime, attrAlgorithmProtec} {
		if _, n := one(s.unsigned, id); n > 0 {
			return "a " + id.String() + " attribute is unsigned"
		}
	}
	for _, a := range s.unsigned {
		if a.id == attrCounterSign && a.n == 0 {
			return "an empty countersignature"
		}
	}
	if s.rawAttrs == nil {
		if contentType != oidData && !counter {
			return "content of type " + contentType.String() + " without signed attributes"
		}
		return ""
	}
	required := []oid{attrContentType, attrMessageDigest}
	if counter {
		if _, n := one(s.attrs, attrContentType); n > 0 {
			return "a countersignature with a content type"
		}
		required = required[1:]
	}
	if fault := s.count(required, true); fault != "" {
		return fault
	}
	if fault := s.count([]oid{attrSigningTime, attrSigningCert, attrSigningCertV2, attrAlgorithmProtec}, false); fault != "" {
		return fault
	}
	if _, n := one(s.attrs, attrCounterSign); n > 0 {
		return "a countersignature among the signed attributes"
	}
	if !counter {
		a, _ := one(s.attrs, attrContentType)
		var id cryptobyte.String
		if !a.values.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) || oid(id) != contentType {
			return "the content-type attribute names another type"
		}
	}
	if _, n := one(s.attrs, attrSigningTime); n == 1 && s.SigningTime.IsZero() {
		return "an unreadable signing-time attribute"
	}
	return s.checkProtection()
}

// count checks that each signed attribute has exactly one value and, if
// required is set, that it is present.
func (s *Signer) count(ids []oid, required bool) string {
	for _, id := range ids {
		a, n := one(s.attrs, id)
		switch {
		case n == 0 && required:
			return "no " + id.String() + " attribute"
		case n > 1 || n == 1 && a.n != 1:
			return "not exactly one value of " + id.String()
		}
	}
	return ""
}

// checkProtection compares the algorithms with their signed copy, if there is
// one (RFC 6211).
func (s *Signer) checkProtection() string {
	a, n := one(s.attrs, attrAlgorithmProtec)
	if n == 0 {
		return ""
	}
	var seq, sig cryptobyte.String
	var has bool
	if !a.values.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return "an unreadable algorithm-protection attribute"
	}
	d, err := readAlgorithm(&seq)
	if err != nil || !seq.ReadOptionalASN1(&sig, &has, ctx(1)) || !has {
		return "an unreadable algorithm-protection attribute"
	}
	// The field is implicitly tagged: its content is that of the SEQUENCE.
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(c *cryptobyte.Builder) { c.AddBytes(sig) })
	der, err := b.Bytes()
	if err != nil {
		return "an unreadable algorithm-protection attribute"
	}
	p, err := parseAlgorithm(der)
	if err != nil || !d.same(s.digestAlg) || !p.same(s.sigAlg) {
		return "the algorithms are not those that were signed"
	}
	return ""
}

// messageDigest returns the value of the message-digest attribute.
func (s *Signer) messageDigest() []byte {
	a, _ := one(s.attrs, attrMessageDigest)
	var v cryptobyte.String
	if !a.values.ReadASN1(&v, cbasn1.OCTET_STRING) {
		return nil
	}
	return v
}

// checkSigningCert compares the certificate with the one named by the signer
// (RFC 5035), so that it cannot be replaced with another certificate for the
// same key.
func (s *Signer) checkSigningCert(c *Certificate) string {
	const changed = "the signing-certificate attribute names another certificate"
	if a, n := one(s.attrs, attrSigningCert); n == 1 {
		hash, _, ok := firstCertID(a.values, false)
		if !ok || !hashIs(crypto.SHA1, c.Raw, hash) {
			return changed
		}
	}
	if a, n := one(s.attrs, attrSigningCertV2); n == 1 {
		hash, alg, ok := firstCertID(a.values, true)
		if !ok {
			return changed
		}
		h := crypto.SHA256
		if alg != "" {
			if h = digests[alg].hash; h == 0 {
				return "" // the digest algorithm is not supported
			}
		}
		if !hashIs(h, c.Raw, hash) {
			return changed
		}
	}
	return ""
}

func hashIs(h crypto.Hash, data, want []byte) bool {
	w := h.New()
	w.Write(data)
	return bytes.Equal(w.Sum(nil), want)
}

// firstCertID parses the certHash of the first ESSCertID or ESSCertIDv2.
func firstCertID(v cryptobyte.String, v2 bool) (hash []byte, alg oid, ok bool) {
	var sc, certs, id, h cryptobyte.String
	if !v.ReadASN1(&sc, cbasn1.SEQUENCE) || !sc.ReadASN1(&certs, cbasn1.SEQUENCE) || !certs.ReadASN1(&id, cbasn1.SEQUENCE) {
		return nil, "", false
	}
	if v2 && id.PeekASN1Tag(cbasn1.SEQUENCE) {
		a, err := readAlgorithm(&id)
		if err != nil {
			return nil, "", false
		}
		alg = a.id
	}
	ok = id.ReadASN1(&h, cbasn1.OCTET_STRING)
	return h, alg, ok
}

// looksLikeAttributes reports whether content is the DER encoding of signed
// attributes. If it is, a signature over the attributes of another message
// would also be valid for this content
// (draft-ietf-lamps-cms-euf-cma-signeddata).
func looksLikeAttributes(content []byte) bool {
	if len(content) == 0 || content[0] != 0x31 {
		return false
	}
	h, n, err := parseHeader(content)
	if err != nil {
		return false
	}
	if h.length < 0 || h.length > int64(len(content)-n) {
		// The content is truncated or not DER. Two valid attributes at
		// the start are enough to reject it.
		in := cryptobyte.String(content[n:])
		var seq, id cryptobyte.String
		return in.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) &&
			seq.PeekASN1Tag(cbasn1.SET)
	}
	attrs, err := parseAttributes(content, cbasn1.SET)
	return err == nil && len(attrs) > 0
}
