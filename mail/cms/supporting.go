package cms

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxSupporting is the maximum number of countersignatures and time stamps
// verified in one object.
const maxSupporting = 16

// Timestamp is a time stamp on a signature (RFC 3161): a trusted authority
// states that the signature existed at the given time.
type Timestamp struct {
	Verdict Verdict
	Reason  string
	Time    time.Time // zero if the token is unreadable
	Signer  *Signer   // the authority; nil if the token is unreadable
	Certs   []*Certificate
}

// supporting verifies the countersignatures and time stamps in the unsigned
// attributes of a signature. They do not change its verdict. left is the number
// of signatures that may still be verified.
func (sd *Signed) supporting(s *Signer, more []*Certificate, left *int) {
	s.Countersigners, s.Timestamps = nil, nil
	for _, a := range s.unsigned {
		if a.id != attrCounterSign && a.id != attrTimestamp {
			continue
		}
		for values := a.values; !values.Empty(); {
			var v cryptobyte.String
			var tag cbasn1.Tag
			if *left--; *left < 0 || !values.ReadAnyASN1Element(&v, &tag) {
				return
			}
			if a.id == attrCounterSign {
				s.Countersigners = append(s.Countersigners, sd.countersigner(s, v, more))
			} else {
				s.Timestamps = append(s.Timestamps, sd.timestamp(s, v))
			}
		}
	}
}

// countersigner verifies a countersignature (RFC 5652, 11.4), which is a
// SignerInfo over another signature's octets.
func (sd *Signed) countersigner(s *Signer, der []byte, more []*Certificate) *Signer {
	c, err := parseSigner(der)
	if err != nil {
		return &Signer{Verdict: Bad, Reason: fmt.Sprintf("an unreadable countersignature: %v", err)}
	}
	over := &Signed{Detached: true, Certs: sd.Certs, Signers: []*Signer{c}, announced: []oid{c.digestAlg.id}, inner: true, counter: true}
	if _, err := over.Verify(bytes.NewReader(s.signature), more...); err != nil {
		c.Verdict, c.Reason = Bad, err.Error() // a bytes.Reader returns no errors
	}
	return c
}

// timestamp verifies a time stamp token (RFC 3161, 2.4.2 and appendix A):
// signed data that contains the digest of a signature and a time.
func (sd *Signed) timestamp(s *Signer, der []byte) *Timestamp {
	t := &Timestamp{Verdict: Bad}
	var content bytes.Buffer
	obj, err := Read(bytes.NewReader(der), Options{Max: int64(len(der)), MaxInflated: 1, Content: &content})
	if err != nil {
		t.Reason = fmt.Sprintf("an unreadable time stamp: %v", err)
		return t
	}
	if obj.Signed == nil || obj.Signed.Detached || obj.Signed.contentType != oidTSTInfo || len(obj.Signed.Signers) != 1 {
		t.Reason = "not a time stamp token"
		return t
	}
	token := obj.Signed
	token.inner = true
	if t.Verdict, err = token.Verify(nil, sd.Certs...); err != nil {
		t.Reason = err.Error() // nothing is read, so no reader can fail
		return t
	}
	t.Signer, t.Certs, t.Reason = token.Signers[0], token.Certs, token.Signers[0].Reason
	info, ok := parseTSTInfo(content.Bytes())
	switch {
	case !ok:
		t.Verdict, t.Reason = Bad, "an unreadable time stamp"
		return t
	case t.Verdict > Weak:
		return t
	}
	t.Time = info.time
	d := digests[info.digest.id]
	_, v1 := one(t.Signer.attrs, attrSigningCert)
	_, v2 := one(t.Signer.attrs, attrSigningCertV2)
	switch {
	case v1+v2 == 0:
		t.Verdict, t.Reason = Bad, "the time stamp does not name its certificate"
	case d.hash == 0:
		t.Verdict, t.Reason = Unsupported, "digest algorithm "+info.digest.id.String()+" is not supported"
	case !hashIs(d.hash, s.signature, info.imprint):
		t.Verdict, t.Reason = Bad, "it belongs to another signature"
	case d.weak:
		t.Verdict, t.Reason = Weak, d.name+" can be forged"
	}
	return t
}

// tstInfo holds the fields of a TSTInfo that are used.
type tstInfo struct {
	digest  algorithm
	imprint []byte
	time    time.Time
}

func parseTSTInfo(der []byte) (i tstInfo, ok bool) {
	in := cryptobyte.String(der)
	var seq, imprint, hash, text cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.SkipASN1(cbasn1.INTEGER) || !seq.SkipASN1(cbasn1.OBJECT_IDENTIFIER) ||
		!seq.ReadASN1(&imprint, cbasn1.SEQUENCE) {
		return i, false
	}
	var err error
	if i.digest, err = readAlgorithm(&imprint); err != nil || !imprint.ReadASN1(&hash, cbasn1.OCTET_STRING) {
		return i, false
	}
	i.imprint = hash
	if !seq.SkipASN1(cbasn1.INTEGER) || !seq.ReadASN1(&text, cbasn1.GeneralizedTime) {
		return i, false
	}
	// The time may contain a fraction of a second, which Parse accepts.
	i.time, err = time.Parse("20060102150405Z", string(text))
	return i, err == nil
}
