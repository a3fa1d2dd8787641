package cms

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Signer is one signature. Verdict and Reason are set by [Signed.Verify].
type Signer struct {
	Verdict Verdict
	Reason  string // "" for good

	Cert          *Certificate // nil if it was not found
	Algorithm     string       // such as "RSA-PSS 2048", "ECDSA P-256"
	Digest        string       // such as "SHA-256"
	SigningTime   time.Time    // claimed by the signer; zero if absent
	Attributes    []string     // names of the signed attributes
	Unsigned      []string     // names of the unsigned attributes
	DigestMatches bool         // the content matches the signed digest

	// Countersigners and Timestamps are signatures over this signature. The
	// signer did not sign them, and they do not affect Verdict.
	Countersigners []*Signer
	Timestamps     []*Timestamp

	sid       identifier
	digestAlg algorithm
	sigAlg    algorithm
	rawAttrs  []byte // DER, with the implicit tag; nil if there are none
	attrs     []attribute
	unsigned  []attribute
	signature []byte
}

// ID returns the identifier of the signer in the message: issuer and serial
// number, or a key identifier.
func (s *Signer) ID() string { return s.sid.String() }

// identifier identifies a signer or recipient.
type identifier struct {
	issuer, serial []byte
	keyID          []byte
}

func (id identifier) String() string {
	if id.keyID != nil {
		return fmt.Sprintf("key %x", trim(id.keyID))
	}
	return fmt.Sprintf("%s, serial %s", Name(id.issuer), serialText(trim(id.serial)))
}

func (id identifier) matches(c *Certificate) bool {
	if id.keyID != nil {
		return c.matchesKeyID(id.keyID)
	}
	return c.matchesIssuer(id.issuer, id.serial)
}

// readIdentifier parses a SignerIdentifier or a similar type: issuer and serial
// number, or a key identifier, which may be bare or the first element of a
// SEQUENCE.
func readIdentifier(in *cryptobyte.String) (identifier, error) {
	var id identifier
	var v, s cryptobyte.String
	var tag cbasn1.Tag
	bad := errors.New("bad identifier")
	if !in.ReadAnyASN1(&v, &tag) {
		return id, bad
	}
	switch tag {
	case cbasn1.SEQUENCE:
		if !v.ReadASN1Element(&s, cbasn1.SEQUENCE) {
			return id, bad
		}
		id.issuer = s
		if !v.ReadASN1(&s, cbasn1.INTEGER) {
			return id, bad
		}
		id.serial = s
	case cbasn1.Tag(0).ContextSpecific():
		id.keyID = v
	case ctx(0):
		if !v.ReadASN1(&s, cbasn1.OCTET_STRING) {
			return id, bad
		}
		id.keyID = s
	default:
		return id, bad
	}
	return id, nil
}

// parseSigner parses a SignerInfo (RFC 5652, 5.3).
func parseSigner(der []byte) (*Signer, error) {
	outer := cryptobyte.String(der)
	var in, el, v cryptobyte.String
	if !outer.ReadASN1(&in, cbasn1.SEQUENCE) || !in.SkipASN1(cbasn1.INTEGER) {
		return nil, errors.New("bad outline")
	}
	s := &Signer{}
	var err error
	if s.sid, err = readIdentifier(&in); err != nil {
		return nil, err
	}
	if s.digestAlg, err = readAlgorithm(&in); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	s.Digest = s.digestAlg.id.String()
	if in.PeekASN1Tag(ctx(0)) {
		in.ReadASN1Element(&el, ctx(0))
		if s.attrs, err = parseAttributes(el, ctx(0)); err != nil {
			return nil, fmt.Errorf("signed attributes: %w", err)
		}
		s.rawAttrs = el
	}
	if s.sigAlg, err = readAlgorithm(&in); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	s.Algorithm = s.sigAlg.id.String()
	if sa, ok := signatures[s.sigAlg.id]; ok {
		s.Algorithm = sa.name
	}
	if !in.ReadASN1(&v, cbasn1.OCTET_STRING) {
		return nil, errors.New("no signature")
	}
	s.signature = v
	if in.PeekASN1Tag(ctx(1)) {
		in.ReadASN1Element(&el, ctx(1))
		if s.unsigned, err = parseAttributes(el, ctx(1)); err != nil {
			return nil, fmt.Errorf("unsigned attributes: %w", err)
		}
	}
	if !in.Empty() {
		return nil, errors.New("octets after the signature")
	}
	s.Attributes, s.Unsigned = attributeNames(s.attrs), attributeNames(s.unsigned)
	s.SigningTime = signingTime(s.attrs)
	return s, nil
}

func readAlgorithm(in *cryptobyte.String) (algorithm, error) {
	var a cryptobyte.String
	if !in.ReadASN1Element(&a, cbasn1.SEQUENCE) {
		return algorithm{}, errors.New("bad algorithm identifier")
	}
	return parseAlgorithm(a)
}
