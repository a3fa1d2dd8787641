package cms

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxPiece is the maximum size of a small element, which is kept in memory.
const maxPiece = 64 << 10

// maxListed is the maximum number of recipients that are described. All of them
// are counted.
const maxListed = 100

// Encrypted describes an encrypted object to the extent possible without a key.
type Encrypted struct {
	Recipients []Recipient // the first 100
	Count      int         // number of all recipients
	Algorithm  string      // algorithm that encrypts the content
	AEAD       bool        // changes to the content can be detected
}

// Recipient is a recipient who can decrypt the content.
type Recipient struct {
	Kind      string // key transport, key agreement, shared key, password, other
	ID        string // issuer and serial number, or key identifier; "" for a password
	Algorithm string // the algorithm that encrypts the content key
}

// envelopedData reads an EnvelopedData (RFC 5652, 6.1) or AuthEnvelopedData
// (RFC 5083, 2.1).
func (r *reader) envelopedData(obj *Object) error {
	if err := r.open(universal, tagSeq, string(obj.Type)); err != nil {
		return err
	}
	if err := r.integer("version"); err != nil {
		return err
	}
	h, err := r.next()
	if err != nil {
		return err
	}
	if h.is(context, 0) { // originatorInfo
		if err := r.skip(h); err != nil {
			return err
		}
		if h, err = r.next(); err != nil {
			return err
		}
	}
	if !h.is(universal, tagSet) {
		return r.fault("no recipients")
	}
	e := &Encrypted{AEAD: obj.Type == TypeAuthEnveloped}
	obj.Encrypted = e
	if err := r.recipients(e, h); err != nil {
		return err
	}
	if err := r.encryptedContent(obj); err != nil {
		return err
	}
	return r.leave()
}

func (r *reader) recipients(e *Encrypted, set header) error {
	if err := r.enter(set); err != nil {
		return err
	}
	for {
		more, err := r.more()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		h, err := r.next()
		if err != nil {
			return err
		}
		e.Count++
		if len(e.Recipients) == maxListed {
			if err := r.skip(h); err != nil {
				return err
			}
			continue
		}
		der, err := r.capture(h, maxPiece)
		if err != nil {
			return err
		}
		rcpt, err := parseRecipient(h, der)
		if err != nil {
			return r.fault("recipient %d: %v", e.Count, err)
		}
		e.Recipients = append(e.Recipients, rcpt)
	}
	if e.Count == 0 {
		return r.fault("no recipients")
	}
	return r.leave()
}

// encryptedData reads an EncryptedData (RFC 5652, 8).
func (r *reader) encryptedData(obj *Object) error {
	if err := r.open(universal, tagSeq, string(obj.Type)); err != nil {
		return err
	}
	if err := r.integer("version"); err != nil {
		return err
	}
	obj.Encrypted = &Encrypted{}
	if err := r.encryptedContent(obj); err != nil {
		return err
	}
	return r.leave()
}

// encryptedContent reads an EncryptedContentInfo.
func (r *reader) encryptedContent(obj *Object) error {
	if err := r.open(universal, tagSeq, "encrypted content"); err != nil {
		return err
	}
	id, err := r.oid("type of the encrypted content")
	if err != nil {
		return err
	}
	obj.ContentType = id.String()
	alg, err := r.algorithm("content encryption")
	if err != nil {
		return err
	}
	obj.Encrypted.Algorithm = alg.id.String()
	more, err := r.more()
	if err != nil {
		return err
	}
	if more {
		h, err := r.expect(context, 0, "encrypted octets")
		if err != nil {
			return err
		}
		s, err := r.octetString(h)
		if err != nil {
			return err
		}
		if err := s.drain(); err != nil {
			return err
		}
		obj.Size = s.n
	}
	return r.leave()
}

// recipientKinds lists the forms of a RecipientInfo (RFC 5652, 6.2).
var recipientKinds = []struct {
	class byte
	tag   uint32
	name  string
	parse func(*Recipient, cryptobyte.String) error
}{
	{universal, tagSeq, "key transport", (*Recipient).transport},
	{context, 1, "key agreement", (*Recipient).agreement},
	{context, 2, "shared key", (*Recipient).sharedKey},
	{context, 3, "password", (*Recipient).password},
	{context, 4, "other", (*Recipient).other},
}

// parseRecipient parses one RecipientInfo.
func parseRecipient(h header, der []byte) (Recipient, error) {
	var in cryptobyte.String
	var tag cbasn1.Tag
	outer := cryptobyte.String(der)
	if !outer.ReadAnyASN1(&in, &tag) {
		return Recipient{}, errShort
	}
	for _, k := range recipientKinds {
		if h.is(k.class, k.tag) {
			rcpt := Recipient{Kind: k.name}
			err := k.parse(&rcpt, in)
			return rcpt, err
		}
	}
	return Recipient{}, fmt.Errorf("unknown kind")
}

// transport parses a KeyTransRecipientInfo.
func (rcpt *Recipient) transport(in cryptobyte.String) error {
	if !in.SkipASN1(cbasn1.INTEGER) {
		return fmt.Errorf("bad version")
	}
	id, err := readIdentifier(&in)
	if err != nil {
		return err
	}
	rcpt.ID = id.String()
	return rcpt.encryptedKey(in)
}

// sharedKey parses a KEKRecipientInfo.
func (rcpt *Recipient) sharedKey(in cryptobyte.String) error {
	var id, key cryptobyte.String
	if !in.SkipASN1(cbasn1.INTEGER) || !in.ReadASN1(&id, cbasn1.SEQUENCE) || !id.ReadASN1(&key, cbasn1.OCTET_STRING) {
		return fmt.Errorf("bad key identifier")
	}
	rcpt.ID = fmt.Sprintf("key %x", trim(key))
	return rcpt.encryptedKey(in)
}

// password parses a PasswordRecipientInfo.
func (rcpt *Recipient) password(in cryptobyte.String) error {
	if !in.SkipASN1(cbasn1.INTEGER) || !in.SkipOptionalASN1(ctx(0)) {
		return fmt.Errorf("bad key derivation")
	}
	return rcpt.encryptedKey(in)
}

// other parses the type of an OtherRecipientInfo.
func (rcpt *Recipient) other(in cryptobyte.String) error {
	var id cryptobyte.String
	if !in.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) {
		return fmt.Errorf("bad type")
	}
	rcpt.Algorithm = internOID(id).String()
	return nil
}

// encryptedKey parses the two fields that end most forms: the algorithm and the
// encrypted key.
func (rcpt *Recipient) encryptedKey(in cryptobyte.String) error {
	var a cryptobyte.String
	if !in.ReadASN1Element(&a, cbasn1.SEQUENCE) || !in.SkipASN1(cbasn1.OCTET_STRING) {
		return fmt.Errorf("bad key encryption")
	}
	alg, err := parseAlgorithm(a)
	if err != nil {
		return err
	}
	rcpt.Algorithm = alg.id.String()
	if alg.id == oidOAEP {
		return checkOAEP(alg.params)
	}
	return nil
}

// agreement parses a KeyAgreeRecipientInfo. Its algorithm must contain the key
// wrap algorithm (RFC 5753, 7.1.4). CVE-2026-28389 was caused by assuming that
// it does.
func (rcpt *Recipient) agreement(in cryptobyte.String) error {
	var a, keys, key, originator cryptobyte.String
	var tag cbasn1.Tag
	if !in.SkipASN1(cbasn1.INTEGER) || !in.ReadAnyASN1(&originator, &tag) || tag != ctx(0) || !in.SkipOptionalASN1(ctx(1)) {
		return fmt.Errorf("bad originator")
	}
	if !in.ReadASN1Element(&a, cbasn1.SEQUENCE) || !in.ReadASN1(&keys, cbasn1.SEQUENCE) {
		return fmt.Errorf("bad key encryption")
	}
	alg, err := parseAlgorithm(a)
	if err != nil {
		return err
	}
	wrap, err := parseAlgorithm(alg.params)
	if err != nil {
		return fmt.Errorf("%s without a key wrap algorithm", alg.id)
	}
	rcpt.Algorithm = alg.id.String() + ", " + wrap.id.String()
	if !keys.ReadASN1(&key, cbasn1.SEQUENCE) {
		return fmt.Errorf("key agreement without recipients")
	}
	id, err := readIdentifier(&key)
	if err != nil {
		return err
	}
	rcpt.ID = id.String()
	return nil
}

// checkOAEP checks the parameters of RSA-OAEP (RFC 4055, 4.1). CVE-2026-28390
// was caused by accepting a pSpecified without its octets.
func checkOAEP(params []byte) error {
	if params == nil {
		return nil
	}
	in := cryptobyte.String(params)
	var seq, s, a cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return fmt.Errorf("bad OAEP parameters")
	}
	for tag := range 3 {
		var has bool
		if !seq.ReadOptionalASN1(&s, &has, ctx(tag)) {
			return fmt.Errorf("bad OAEP parameters")
		}
		if !has {
			continue
		}
		if !s.ReadASN1Element(&a, cbasn1.SEQUENCE) {
			return fmt.Errorf("bad OAEP parameters")
		}
		alg, err := parseAlgorithm(a)
		if err != nil || tag > 0 && alg.params == nil {
			return fmt.Errorf("bad OAEP parameters")
		}
	}
	return nil
}

// ctx returns a constructed, context-specific tag.
func ctx(n int) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// trim truncates an identifier chosen by the sender.
func trim(b []byte) []byte { return b[:min(len(b), 64)] }
