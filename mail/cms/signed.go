package cms

import (
	"fmt"
	"hash"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Limits on signed-data. A message that exceeds them is rejected, because a
// verdict on only some of its signers would be misleading.
const (
	maxDigests   = 8
	maxCerts     = 128
	maxCertsSize = 1 << 20
	maxCRLs      = 64
	maxCRLsSize  = 4 << 20
	maxSigners   = 32

	// headSize is the number of octets of content kept for the two checks
	// that need the content rather than its digest.
	headSize = 16 << 10
)

// Signed holds the content of a SignedData.
type Signed struct {
	Detached bool           // the content is not part of the object
	Digests  []string       // the announced digest algorithms
	Certs    []*Certificate // in message order
	CRLs     [][]byte       // DER certificate lists
	OCSP     [][]byte       // DER OCSP responses (RFC 5940)
	Others   int            // number of attribute certificates and other elements that are not parsed
	Signers  []*Signer

	contentType oid
	announced   []oid
	sums        []sum
	content     head
	inner       bool // signatures on its signatures are not verified
	counter     bool // its content is another signature
}

// head keeps the start of the content and counts all octets.
type head struct {
	b []byte
	n int64
}

func (h *head) write(b []byte) {
	if room := headSize - len(h.b); room > 0 {
		h.b = append(h.b, b[:min(room, len(b))]...)
	}
	h.n += int64(len(b))
}

// whole returns the content and reports whether all of it was kept.
func (h *head) whole() ([]byte, bool) { return h.b, h.n == int64(len(h.b)) }

// sum is a digest of the content.
type sum struct {
	id    oid
	h     hash.Hash
	value []byte
}

// signedData reads a SignedData (RFC 5652, 5.1).
func (r *reader) signedData(obj *Object, o Options) error {
	s := &Signed{}
	obj.Signed = s
	if err := r.open(universal, tagSeq, "signed-data"); err != nil {
		return err
	}
	if err := r.integer("version"); err != nil {
		return err
	}
	if err := r.digestAlgorithms(s); err != nil {
		return err
	}
	if err := r.signedContent(obj, s, o); err != nil {
		return err
	}
	if err := r.signedTail(s); err != nil {
		return err
	}
	if s.Detached && len(s.Signers) == 0 {
		obj.Type = TypeCertsOnly
	}
	return r.leave()
}

func (r *reader) digestAlgorithms(s *Signed) error {
	return r.set(universal, tagSet, "digest algorithms", func(h header) error {
		if len(s.announced) == maxDigests {
			return r.fault("more than %d digest algorithms", maxDigests)
		}
		der, err := r.capture(h, maxPiece)
		if err != nil {
			return err
		}
		alg, err := parseAlgorithm(der)
		if err != nil {
			return r.fault("digest algorithm: %v", err)
		}
		s.announced = append(s.announced, alg.id)
		s.Digests = append(s.Digests, alg.id.String())
		return nil
	})
}

// set opens a SET or SEQUENCE and calls each for every element in it.
func (r *reader) set(class byte, tag uint32, what string, each func(header) error) error {
	if err := r.open(class, tag, what); err != nil {
		return err
	}
	return r.elements(each)
}

func (r *reader) elements(each func(header) error) error {
	for {
		more, err := r.more()
		if err != nil {
			return err
		}
		if !more {
			return r.leave()
		}
		h, err := r.next()
		if err != nil {
			return err
		}
		if err := each(h); err != nil {
			return err
		}
	}
}

// signedContent reads and hashes the content, if it is included.
func (r *reader) signedContent(obj *Object, s *Signed, o Options) error {
	content, id, err := r.encapsulated(obj)
	if err != nil {
		return err
	}
	s.contentType = id
	if content == nil {
		s.Detached = true
		return r.leave()
	}
	s.startSums()
	obj.Size, err = copyChunks(content, func(b []byte) error {
		s.hash(b)
		return write(o.Content, b)
	})
	if err != nil {
		return err
	}
	s.finishSums()
	if err := r.leave(); err != nil {
		return err
	}
	return r.leave()
}

// startSums starts a digest for each announced algorithm that is supported.
func (s *Signed) startSums() {
	s.sums, s.content = s.sums[:0], head{b: s.content.b[:0]}
	for _, id := range s.announced {
		if d := digests[id]; d.hash != 0 && s.sum(id) == nil {
			s.sums = append(s.sums, sum{id: id, h: d.hash.New()})
		}
	}
}

func (s *Signed) hash(b []byte) {
	for i := range s.sums {
		s.sums[i].h.Write(b)
	}
	s.content.write(b)
}

func (s *Signed) finishSums() {
	for i := range s.sums {
		s.sums[i].value = s.sums[i].h.Sum(nil)
	}
}

func (s *Signed) sum(id oid) *sum {
	for i := range s.sums {
		if s.sums[i].id == id {
			return &s.sums[i]
		}
	}
	return nil
}

// signedTail reads the certificates, revocation lists and signers.
func (r *reader) signedTail(s *Signed) error {
	size := 0
	h, err := r.next()
	if err == nil && h.is(context, 0) {
		if err = r.enter(h); err != nil {
			return err
		}
		err = r.elements(func(h header) error { return r.certificate(s, h, &size) })
		if err != nil {
			return err
		}
		h, err = r.next()
	}
	if err == nil && h.is(context, 1) {
		size = 0
		if err = r.enter(h); err != nil {
			return err
		}
		err = r.elements(func(h header) error { return r.revocation(s, h, &size) })
		if err != nil {
			return err
		}
		h, err = r.next()
	}
	if err != nil {
		return err
	}
	if !h.is(universal, tagSet) {
		return r.fault("no set of signers")
	}
	if err := r.enter(h); err != nil {
		return err
	}
	return r.elements(func(h header) error { return r.signer(s, h) })
}

func (r *reader) certificate(s *Signed, h header, size *int) error {
	if !h.is(universal, tagSeq) {
		s.Others++
		return r.skip(h)
	}
	if len(s.Certs) == maxCerts || *size > maxCertsSize {
		return r.fault("more than %d certificates or %d octets of them", maxCerts, maxCertsSize)
	}
	der, err := r.capture(h, maxCertsSize/4)
	if err != nil {
		return err
	}
	*size += len(der)
	c, err := ParseCertificate(der)
	if err != nil {
		s.Others++ // an unreadable certificate may not be needed
		return nil
	}
	s.Certs = append(s.Certs, c)
	return nil
}

func (r *reader) revocation(s *Signed, h header, size *int) error {
	if len(s.CRLs)+len(s.OCSP) == maxCRLs || *size > maxCRLsSize {
		return r.fault("more than %d revocation lists or %d octets of them", maxCRLs, maxCRLsSize)
	}
	der, err := r.capture(h, maxCRLsSize/4)
	if err != nil {
		return err
	}
	*size += len(der)
	if h.is(universal, tagSeq) {
		s.CRLs = append(s.CRLs, der)
		return nil
	}
	// This is an OtherRevocationInfoFormat: a type and a value (RFC 5652,
	// 10.2.1).
	in := cryptobyte.String(der)
	var other, id, v cryptobyte.String
	if h.is(context, 1) && in.ReadASN1(&other, ctx(1)) && other.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) &&
		oid(id) == oidOCSPRevInfo && other.ReadASN1Element(&v, cbasn1.SEQUENCE) {
		s.OCSP = append(s.OCSP, v)
	}
	return nil
}

func (r *reader) signer(s *Signed, h header) error {
	if len(s.Signers) == maxSigners {
		return r.fault("more than %d signers", maxSigners)
	}
	der, err := r.capture(h, 4*maxPiece)
	if err != nil {
		return err
	}
	si, err := parseSigner(der)
	if err != nil {
		return r.fault("signer %d: %v", len(s.Signers)+1, err)
	}
	s.Signers = append(s.Signers, si)
	return nil
}

// find returns the certificate of signer s, either from the message or from
// more.
func (sd *Signed) find(s *Signer, more []*Certificate) *Certificate {
	for _, list := range [][]*Certificate{sd.Certs, more} {
		for _, c := range list {
			if s.sid.matches(c) {
				return c
			}
		}
	}
	return nil
}

// read hashes detached content.
func (sd *Signed) read(content io.Reader) error {
	sd.startSums()
	p := windows.Get().(*[]byte)
	defer windows.Put(p)
	for idle := 0; ; {
		n, err := content.Read(*p)
		sd.hash((*p)[:n])
		if err == io.EOF {
			sd.finishSums()
			return nil
		}
		if err != nil {
			return fmt.Errorf("read signed content: %w", err)
		}
		if n == 0 {
			if idle++; idle > 100 {
				return io.ErrNoProgress
			}
		}
	}
}
